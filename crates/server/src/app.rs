use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_auth::{Authenticator, Identity};
use tidegate_broker::Broker;
use tidegate_hub::{Heartbeat, Hub, Options as HubOptions, StreamOverrides};

use crate::metrics::Metrics;
use crate::options::Options;
use crate::policy::{Admission, BodyMemory, PublishRate};
use crate::problem::Problem;

/// What every route needs: a cheap handle.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// See [`App`].
pub struct Inner {
    pub(crate) options: Options,
    pub(crate) auth: Authenticator,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) hub: Hub,
    pub(crate) metrics: Metrics,
    rate: Arc<PublishRate>,
    pub(crate) admission: Admission,
    pub(crate) bodies: BodyMemory,
    /// For streams whose heartbeats are events: otherwise as all.
    pub(crate) watched: Arc<StreamOverrides>,
    draining: AtomicBool,
}

impl App {
    /// Puts the parts together. Must be called on a runtime: it starts the task that forgets idle
    /// rate limits, which ends with the hub.
    pub fn new(
        options: Options,
        auth: Authenticator,
        broker: Arc<dyn Broker>,
        hub: Hub,
        metrics: Metrics,
    ) -> Self {
        let limits = &options.limits;
        let rate = Arc::new(PublishRate::new(
            limits.publish_rate,
            limits.publish_burst,
            metrics.rate_limited.clone(),
        ));
        hub.tasks().spawn("publish rates", Arc::clone(&rate).sweep());
        let admission = Admission::new(&options.admission, metrics.transport.refused.clone());
        let bodies = BodyMemory::new(limits.body_memory);
        let HubOptions { heartbeat, max_age, .. } = *hub.options();
        let watched =
            Arc::new(StreamOverrides { greeting: None, heartbeat, style: Heartbeat::Named, max_age });
        let draining = AtomicBool::new(false);
        Self(Arc::new(Inner {
            options,
            auth,
            broker,
            hub,
            metrics,
            rate,
            admission,
            bodies,
            watched,
            draining,
        }))
    }

    /// Answers `/readyz` with 503 from now on: load balancers take the node out, while it still
    /// serves.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Who listens here.
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Whether nobody is asked for a key: the caller is who `?userId=` says.
    pub fn is_open(&self) -> bool {
        self.0.auth.is_open()
    }

    /// The most bytes that an event's data may have.
    pub fn event_bytes(&self) -> usize {
        self.0.options.limits.event_bytes
    }

    /// Where events go.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }
}

impl Inner {
    /// Takes `events` from what the caller may publish, or says when to come back.
    pub fn allow(&self, who: &Identity, events: usize) -> Result<(), Problem> {
        self.rate.take(&who.label, events)
    }

    /// The same for one request that fans out into `events`, which may be more than may go at once.
    pub fn allow_fan_out(&self, who: &Identity, events: usize) -> Result<(), Problem> {
        self.rate.take_fan_out(&who.label, events)
    }

    /// Counts refusals by these limits of an application: from 0, so that the first one is seen as
    /// a change.
    pub fn count_refusals_by(&self, limits: &[&str]) {
        for limit in limits {
            self.metrics.apps_refused.with_label_values(&[*limit]);
        }
    }

    /// A request was refused because a limit of an application was reached. `problem` says which to
    /// the client, and a metric counts it.
    pub fn refused_by(&self, limit: &str, problem: Problem) -> Problem {
        self.metrics.apps_refused.with_label_values(&[limit]).inc();
        problem.with("limit", limit)
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
