//! One life of one node: a real broker and a real hub, with a tap between them.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Broker, Metrics};
use tidegate_broker_redis::{Options, RedisBroker};
use tidegate_hub::Hub;
use tidegate_tasks::Tasks;
use tokio::sync::watch;

use super::World;
use crate::oracle::Tap;

pub(crate) struct Node {
    pub(crate) number: usize,
    /// Which of all lives of all nodes this is.
    pub(crate) life: usize,
    pub(crate) broker: Arc<RedisBroker>,
    pub(crate) tap: Arc<Tap>,
    pub(crate) hub: Hub,
    stopped: watch::Sender<bool>,
}

impl World {
    pub(super) fn start(self: &Arc<Self>, number: usize) {
        let life = self.lives.lock().len();
        let node = Arc::new(Node::start(self, number, life));
        self.lives.lock().push(Arc::clone(&node));
        self.nodes.lock()[number] = Some(node);
    }

    /// Ends a node's process: its connections are cut, its streams end.
    pub(super) fn stop(&self, number: usize) {
        let node = self.nodes.lock()[number].take();
        if let Some(node) = node {
            node.stop();
            self.redis.state().cut(Some(number), 100);
        }
    }
}

impl Node {
    fn start(world: &World, number: usize, life: usize) -> Self {
        let plan = &world.plan;
        let (registry, tasks) = (prometheus::Registry::new(), Tasks::default());
        let name = format!("n{number}");
        let options = Options {
            partitions: plan.partitions,
            node: name.clone(),
            dialer: Some(world.redis.dialer(number)),
            pool_size: 2,
            queue_bytes: plan.queue,
            ..Options::default()
        };
        let metrics = Metrics::new(&registry).expect("names are new");
        let (broker, deliveries) = RedisBroker::start(options, metrics, &tasks).expect("settings are valid");
        let options = tidegate_hub::Options {
            node: name,
            linger: Duration::from_millis(plan.linger),
            heartbeat: Duration::from_millis(plan.heartbeat),
            ring_events: plan.ring,
            ..tidegate_hub::Options::default()
        };
        let (tap, deliveries) =
            Tap::new(Arc::clone(&broker), deliveries, world.redis.trace().clone(), (number, plan.queue));
        let metrics = tidegate_hub::Metrics::new(&registry).expect("names are new");
        let hub = Hub::start(options, Arc::clone(&tap) as Arc<dyn Broker>, deliveries, metrics, &tasks);
        Self { number, life, broker, tap, hub, stopped: watch::Sender::new(false) }
    }

    pub(super) fn stop(&self) {
        self.tap.stop();
        self.hub.stop();
        self.broker.shutdown();
        self.stopped.send_replace(true);
    }

    pub(crate) fn lives(&self) -> bool {
        !*self.stopped.borrow()
    }

    /// Waits until the process ends.
    pub(super) async fn stopped(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}
