//! The promises of every broker, with one partition and with four.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_broker::contract::Fixture;
use tidegate_broker::{Broker, Deliveries};
use tidegate_testkit::RedisServer;

use crate::cluster::{options, start};

struct Cluster {
    redis: RedisServer,
    partitions: u8,
}

async fn cluster(partitions: u8) -> Cluster {
    Cluster { redis: RedisServer::start().await, partitions }
}

#[async_trait]
impl Fixture for Cluster {
    fn nodes(&self) -> usize {
        2
    }

    async fn node(&self) -> (Arc<dyn Broker>, Deliveries) {
        let mut options = options(&self.redis.url());
        options.partitions = self.partitions;
        let (broker, deliveries) = start(options);
        (broker, deliveries)
    }
}

mod one_partition {
    tidegate_broker::contract::suite!(super::cluster(1).await);
}

mod four_partitions {
    tidegate_broker::contract::suite!(super::cluster(4).await);
}
