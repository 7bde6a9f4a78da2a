//! Who listens to what on this node.
//!
//! The hub owns the loop that takes deliveries from the broker and hands each to the emitters of its topic. A connection is an
//! emitter with a bounded outbox; a transport polls the [`Subscription`] that stands for it and writes what it gets.
//!
//! Locks are taken in one order: a channel's, then an emitter's. Neither is held across an `.await`, and no map guard is held while
//! a lock is waited for, but in the reaper, which says why.

mod catch_up;
mod close_reason;
mod control_events;
mod dispatch;
mod item;
mod metrics;
mod options;
mod subscriber;
mod topics;
mod users;
mod wheel;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tidegate_broker::{Broker, Deliveries};
use tidegate_protocol::Topic;
use tidegate_tasks::Tasks;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use catch_up::{Error, Join, Resume, Scope};
pub use close_reason::Leave;
pub use control_events::Word;
pub use metrics::Metrics;
pub use options::{Greeting, Heartbeat, Manner, Options};
pub use subscriber::{Batch, Chunk, Flushed, Sink, Subscription, Watch};

use catch_up::Flights;
use dispatch::Seen;
use topics::Channel;
use users::{User, resync};
use wheel::Wheel;

/// The registry of one node: a cheap handle, cloned into every route.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

pub(crate) struct Inner {
    options: Options,
    broker: Arc<dyn Broker>,
    metrics: Metrics,
    /// Topic → its emitters on this node.
    channels: DashMap<Topic, Arc<Channel>>,
    /// A user's own topic → that user's emitters on this node.
    users: DashMap<Topic, Arc<User>>,
    flights: Flights,
    seen: Seen,
    /// Controls may have been missed.
    gap: Notify,
    wheel: Wheel,
    ring_bytes: Arc<AtomicUsize>,
    /// Topics whose last listener left, and when they may be let go.
    lingering: Mutex<VecDeque<(wheel::Tick, Topic)>>,
    next_id: AtomicU64,
    live: AtomicUsize,
    draining: AtomicBool,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Hub {
    /// Starts the node's dispatch loop and its wheel on the current runtime, as some of the node's
    /// `tasks`.
    pub fn start(
        options: Options,
        broker: Arc<dyn Broker>,
        deliveries: Deliveries,
        metrics: Metrics,
        tasks: &Tasks,
    ) -> Self {
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            channels: DashMap::with_shard_amount(64),
            users: DashMap::with_shard_amount(64),
            flights: Flights::default(),
            seen: Seen::default(),
            gap: Notify::new(),
            wheel: Wheel::new(),
            ring_bytes: Arc::default(),
            lingering: Mutex::default(),
            next_id: AtomicU64::new(1),
            live: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            tasks: tasks.until(&stop),
            stop,
            options,
            broker,
            metrics,
        });
        let tasks = &inner.tasks;
        tasks.spawn("hub dispatch", dispatch::run(Arc::clone(&inner), deliveries));
        tasks.spawn("hub wheel", wheel::run(Arc::clone(&inner)));
        tasks.spawn("hub resync", resync::run(Arc::clone(&inner)));
        Self(inner)
    }

    /// The broker behind it, for publishing and reading history.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The settings it was started with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// For tasks that are to live as long as the hub does.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Streams open on this node.
    pub fn live(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Whether new streams are turned away because the node goes away.
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Closes every stream at a moment of its own within `window`, each with a `retry:` of its own, and turns new ones away.
    /// Returns at once; [`Hub::live`] tells when all are gone.
    pub fn drain(&self, window: Duration) {
        self.0.draining.store(true, Ordering::Relaxed);
        self.0.wheel.drain(window);
    }

    /// Ends the loops, and all other [tasks](Self::tasks). Streams that are still open get nothing
    /// any more.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }
}
