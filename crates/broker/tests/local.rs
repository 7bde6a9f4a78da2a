//! The in-process broker keeps the broker's promises.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_broker::contract::{Fixture, MEMBERSHIPS};
use tidegate_broker::{Broker, Deliveries, Local, LocalOptions, Metrics};

/// A store that is its only node.
struct Alone(Mutex<Option<(Arc<Local>, Deliveries)>>);

impl Alone {
    fn new(partitions: u8) -> Self {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let options = LocalOptions { partitions, memberships: MEMBERSHIPS, ..LocalOptions::default() };
        Self(Mutex::new(Some(Local::new(options, metrics))))
    }
}

#[async_trait::async_trait]
impl Fixture for Alone {
    fn nodes(&self) -> usize {
        1
    }

    async fn node(&self) -> (Arc<dyn Broker>, Deliveries) {
        let (local, deliveries) = self.0.lock().take().expect("the one node is given out once");
        (local, deliveries)
    }
}

mod one_partition {
    tidegate_broker::contract::suite!(super::Alone::new(1));
}

mod four_partitions {
    tidegate_broker::contract::suite!(super::Alone::new(4));
}
