//! The promises of every broker, with one partition and with four.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidegate_broker::contract::{Fixture, MEMBERSHIPS};
use tidegate_broker::{Broker, Deliveries};
use tidegate_testkit::{DEADLINE, RedisServer};

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
        (options.partitions, options.memberships) = (self.partitions, MEMBERSHIPS);
        let (broker, deliveries) = start(options);
        // `eventually` can't be awaited here: the trait's futures are Send.
        let ready = async {
            while !broker.health().ready {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.expect("ready in time");
        (broker, deliveries)
    }
}

mod one_partition {
    tidegate_broker::contract::suite!(super::cluster(1).await);
}

mod four_partitions {
    tidegate_broker::contract::suite!(super::cluster(4).await);
}
