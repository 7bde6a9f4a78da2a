//! A gateway of the version before and one of this version on one Redis: nothing is lost in
//! silence, whichever way clients go. `make test-upgrade` builds the one before and runs these.

mod account;
mod outages;
mod together;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_testkit::{Gateway, RedisOptions, RedisServer, Sse, http};

use crate::cluster::{BIN, SETTINGS};

/// Topics without history beside those with one.
const FLEETING: (&str, &str) = ("TIDEGATE_NAMESPACES__FLEETING__SIZE", "0");

const FOUR_PARTITIONS: (&str, &str) = ("TIDEGATE_REDIS__PARTITIONS", "4");

/// A gateway of each version on one Redis.
struct Mixed {
    redis: RedisServer,
    old: Gateway,
    new: Gateway,
}

impl Mixed {
    async fn start() -> Self {
        Self::with(false, &[]).await
    }

    /// `aof`: Redis loses nothing, whenever it is killed.
    async fn with(aof: bool, more: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start_with(RedisOptions { aof, ..RedisOptions::default() }).await;
        let old = before(&redis, more).await;
        Self { old, new: current(&redis, more).await, redis }
    }

    /// A crash of Redis; it comes back with what it has on disk, and both gateways are ready again.
    async fn restart_redis(&mut self) {
        self.redis.stop().await;
        self.redis.start_again().await;
        self.ready().await;
    }

    async fn ready(&self) {
        self.old.ready().await;
        self.new.ready().await;
    }

    fn bases(&self) -> Vec<String> {
        vec![self.old.base(), self.new.base()]
    }

    /// The old one first, and each pair both ways.
    fn pairs(&self) -> [(&Gateway, &Gateway); 2] {
        [(&self.old, &self.new), (&self.new, &self.old)]
    }
}

/// A gateway of the version before.
async fn before(redis: &RedisServer, more: &[(&str, &str)]) -> Gateway {
    let binary = std::env::var_os("OLD_GATEWAY").map(PathBuf::from);
    let binary = binary.filter(|binary| binary.is_file()).expect(
        "no gateway of the version before: `make test-upgrade`, or OLD_GATEWAY=$(scripts/old-gateway.sh)",
    );
    start(&binary, redis, more).await
}

/// A gateway of this version.
async fn current(redis: &RedisServer, more: &[(&str, &str)]) -> Gateway {
    start(Path::new(BIN), redis, more).await
}

async fn start(binary: &Path, redis: &RedisServer, more: &[(&str, &str)]) -> Gateway {
    Gateway::spawn(binary, &["--redis", &redis.url()], &[SETTINGS, &[FLEETING], more].concat()).await
}

/// Publishes and gives the receipt.
async fn publish(node: &Gateway, event: Value) -> Value {
    let (status, receipt) = http::publish(&node.base(), &event).await;
    assert_eq!(status, 200, "{receipt}");
    receipt
}

/// The id of an event that was kept.
async fn publish_kept(node: &Gateway, topic: &str, data: impl Into<Value>) -> String {
    let data: Value = data.into();
    let receipt = publish(node, json!({ "topic": topic, "data": data })).await;
    receipt["id"].as_str().unwrap_or_else(|| panic!("no id: {receipt}")).to_owned()
}

/// A page of a topic's history.
async fn history(node: &Gateway, query: &str) -> Value {
    let answer = http::get(&node.url(query)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The data of a page's events.
fn data(page: &Value) -> Vec<Value> {
    page["events"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
}

/// A stream on another node that goes on after `id`.
async fn resume(node: &Gateway, query: &str, id: &str) -> Sse {
    Sse::builder(&node.url(query)).last_event_id(id).open().await
}

/// No reset among what a stream has brought.
fn assert_no_reset(stream: &Sse) {
    let reset = stream.seen().iter().find(|block| block.event.as_deref() == Some("tidegate:reset"));
    assert_eq!(reset, None);
}
