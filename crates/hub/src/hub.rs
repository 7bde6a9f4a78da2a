use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_broker::{self as broker, Broker, Deliveries, Page, Read};
use tidegate_protocol::Format;
use tidegate_tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::catch_up::CatchUp;
use crate::control_events;
use crate::dispatch::{Dispatch, Seen};
use crate::handle::SubscriberHandle;
use crate::history_memory::HistoryMemory;
use crate::join::{Error, Join};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::subscriber::Subscribers;
use crate::wheel::Wheel;

/// The subscribers of one node: a cheap handle, cloned into every route.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    subscribers: Arc<Subscribers>,
    catch_up: Arc<CatchUp>,
    wheel: Arc<Wheel>,
    broker: Arc<dyn Broker>,
    memory: Arc<HistoryMemory>,
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
        let tasks = tasks.until(&stop);
        let subscribers = Arc::new(Subscribers::new(options, &broker, metrics));
        let seen = Arc::new(Seen::default());
        let memory = HistoryMemory::new(subscribers.options().history_memory, subscribers.metrics().clone());
        let catch_up = Arc::new(CatchUp::new(&subscribers, &seen, &memory, Arc::clone(&broker)));
        let wheel = Arc::new(Wheel::new(&subscribers, &seen));
        let dispatch = Dispatch::new(&subscribers, &seen, &catch_up);
        let users = Arc::clone(subscribers.users());
        tasks.spawn("hub dispatch", dispatch.run(deliveries));
        tasks.spawn("hub wheel", Arc::clone(&wheel).run());
        tasks.spawn("hub resync", users.resync(Arc::clone(&catch_up)));
        let draining = AtomicBool::new(false);
        Self(Arc::new(Inner { subscribers, catch_up, wheel, broker, memory, draining, tasks, stop }))
    }

    /// Opens a stream. When this returns, every event published from now on reaches it.
    pub async fn join(&self, join: Join) -> Result<SubscriberHandle, Error> {
        if self.draining() {
            return Err(Error::Draining);
        }
        let hub = &self.0;
        // From here on, also when the caller goes away meanwhile: the handle takes all of it back.
        let handle = SubscriberHandle::new(&hub.catch_up, &join);
        hub.catch_up.open(handle.subscriber(), &join).await?;
        hub.wheel.add(handle.subscriber());
        Ok(handle)
    }

    /// Reads a page of what is stored, within the node's [memory for it](Options::history_memory).
    /// Waits for room as long as a join does.
    pub async fn history(&self, read: Read) -> Result<Page, broker::Error> {
        let (memory, patience) = (&self.0.memory, self.options().join_timeout);
        let waited = tokio::time::timeout(patience, memory.grant()).await;
        let _grant = waited.map_err(|_| broker::Error::Busy("too much history is being read".into()))?;
        let page = self.0.broker.history(vec![read]).await?.pop();
        page.ok_or_else(|| broker::Error::Protocol("a page is missing".into()))
    }

    /// The closing block for a stream that could not be opened: a client gets it with 200 and comes
    /// back later.
    pub fn turned_away(&self, reason: &str) -> Vec<u8> {
        // Later than after a stream that ended: what turned it away may take a while.
        control_events::closing(Format::Sse, self.options().retry * 4, reason)
    }

    /// The settings it was started with.
    pub fn options(&self) -> &Options {
        self.0.subscribers.options()
    }

    /// For tasks that are to live as long as the hub does.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        self.0.subscribers.metrics()
    }

    /// Streams open on this node.
    pub fn live(&self) -> usize {
        self.0.subscribers.live()
    }

    /// Whether new streams are turned away because the node is shutting down.
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Closes every stream at a moment of its own within `window`, each with a `retry:` of its own,
    /// and turns new ones away. Returns at once; [`Hub::live`] tells when all are gone.
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
