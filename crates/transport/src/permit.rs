//! What connections and streams hold as long as they are open. Dropping it gives their share back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// How many connections are open on all the listeners that share it: they have one limit.
#[derive(Clone, Default)]
pub struct Connections(Arc<AtomicUsize>);

/// Counts a connection while it lives.
pub(crate) struct ConnectionPermit {
    count: Connections,
    /// The connection is beyond the limit: its client gets an answer that says so, and it is
    /// closed.
    pub(crate) overloaded: bool,
}

/// Counts a stream, or a poll that waits, while it lives.
pub struct StreamPermit {
    gauge: IntGauge,
    /// The route's own permit, if there is one.
    _admission: Option<Box<dyn Send>>,
}

impl ConnectionPermit {
    /// Beyond the limit a sixteenth more is let in, to be told so. The rest get no permit: they are
    /// closed without an answer.
    pub(crate) fn take(count: &Connections, limit: usize) -> Option<Self> {
        let now = count.0.fetch_add(1, Ordering::Relaxed) + 1;
        let permit = Self { count: count.clone(), overloaded: now > limit };
        (now <= limit + limit / 16 + 1).then_some(permit)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StreamPermit {
    pub(crate) fn new<P: Send + 'static>(gauge: IntGauge, admission: Option<Box<P>>) -> Self {
        gauge.inc();
        Self { gauge, _admission: admission.map(|permit| permit as Box<dyn Send>) }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
