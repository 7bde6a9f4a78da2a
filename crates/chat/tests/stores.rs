//! Both stores against the promises of every store.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use tidegate_chat::Options;
use tidegate_chat::store::{Memory, Redis, Store};
use tidegate_testkit::RedisServer;

type Nodes<T> = (Arc<dyn Store>, Arc<dyn Store>, T);

async fn memory(options: &Options) -> Nodes<()> {
    let store: Arc<dyn Store> = Arc::new(Memory::new(options));
    (Arc::clone(&store), store, ())
}

async fn redis(options: &Options) -> Nodes<RedisServer> {
    let server = RedisServer::start().await;
    let node = || {
        let redis = tidegate_broker_redis::Options { url: server.url(), ..Default::default() };
        let pool = tidegate_broker_redis::Pool::open(&redis).unwrap();
        Arc::new(Redis::new(pool, "tg", options))
    };
    (node(), node(), server)
}

mod in_process {
    tidegate_chat::store::contract::suite!(super::memory);
}

mod in_redis {
    tidegate_chat::store::contract::suite!(super::redis);
}
