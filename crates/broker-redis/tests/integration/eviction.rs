//! Redis throws away what it should keep.

use tidegate_broker::{Broker as _, ResetReason, Span};
use tidegate_broker_redis::Options;
use tidegate_testkit::{RedisOptions, RedisServer, eventually};

use crate::cluster::{Node, options, topic};

async fn published(node: &Node, name: &str, texts: &[&str]) -> Vec<tidegate_protocol::Position> {
    let mut positions = Vec::new();
    for text in texts {
        positions.push(node.publish(&topic(name), text).await.unwrap().mark.unwrap().1);
    }
    positions
}

fn texts(page: &tidegate_broker::Page) -> Vec<String> {
    page.events.iter().map(|event| String::from_utf8_lossy(event.data.as_bytes()).into_owned()).collect()
}

/// The stream says all that the record said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_evicted_hides_no_events() {
    let mut redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let positions = published(&node, "room:1", &["0", "1", "2"]).await;
    let evict = || redis.cli(&["DEL", "tg:{0}:t:room:1"]);
    evict().await;
    let page = node.read(&room, Span::After { position: positions[0], limit: 10 }).await;
    assert_eq!((texts(&page), page.reset), (vec!["1".into(), "2".into()], None));
    let page = node.read(&room, Span::Last { limit: 2 }).await;
    assert_eq!(texts(&page), ["1", "2"]);
    // The chain goes on, in a later epoch too.
    redis.restart().await;
    node.publish_at_last(&topic("other"), "x").await;
    redis.cli(&["DEL", "tg:{0}:t:room:1"]).await;
    let next = node.publish(&room, "3").await.unwrap().mark.unwrap().1;
    assert_ne!(next.epoch, positions[2].epoch);
    let page = node.read(&room, Span::After { position: positions[1], limit: 10 }).await;
    assert_eq!((texts(&page), page.reset), (vec!["2".into(), "3".into()], None));
    assert_eq!(page.events[1].mark.prev, Some(positions[2].offset));
}

/// A node that was away missed it with the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_reads_what_an_evicted_record_no_longer_tells() {
    let redis = RedisServer::start().await;
    let proxy = tidegate_testkit::TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let mut node = Node::start(options(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    published(&other, "room:1", &["0"]).await;
    assert_eq!(node.text().await, "0");
    proxy.pause();
    published(&other, "room:1", &["1", "2"]).await;
    redis.cli(&["DEL", "tg:{0}:t:room:1"]).await;
    proxy.cut();
    proxy.resume();
    published(&other, "room:1", &["end"]).await;
    assert_eq!([node.text().await, node.text().await, node.text().await], ["1", "2", "end"]);
}

/// What a stream holds of another life is not taken for the topic's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_life_stays_unread() {
    let redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let old = published(&node, "room:1", &["old"]).await[0];
    redis.cli(&["DEL", "tg:{0}:place", "tg:{0}:offset", "tg:{0}:epoch", "tg:{0}:t:room:1"]).await;
    node.publish_at_last(&topic("other"), "x").await;
    let page = node.read(&room, Span::Last { limit: 10 }).await;
    assert_eq!(texts(&page), [""; 0]);
    let page = node.read(&room, Span::After { position: old, limit: 10 }).await;
    assert_eq!((page.reset, page.events.len()), (Some(ResetReason::Epoch), 0));
    let new = published(&node, "room:1", &["new"]).await[0];
    let page = node.read(&room, Span::Last { limit: 10 }).await;
    assert_eq!((texts(&page), page.events[0].mark.offset), (vec!["new".into()], new.offset));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_evicts_is_told_and_stops_the_node_once_it_did() {
    let args = ["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"].map(str::to_owned).to_vec();
    let redis = RedisServer::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let node = Node::start(options(&redis.url()));
    let strict = Node::start(Options { require_noeviction: true, ..options(&redis.url()) });
    node.wait_ready(true).await;
    eventually("it is told", async || node.broker.health().eviction).await;
    assert_eq!(node.metrics.evicting.with_label_values(&["0"]).get(), 1);
    eventually("it is strict", async || {
        let health = strict.broker.health();
        (!health.ready && health.detail.contains("volatile-lru")).then_some(())
    })
    .await;
    // Something else in the same Redis fills it.
    for n in 0..100 {
        redis.cli(&["SETEX", &format!("cache:{n}"), "3600", &"x".repeat(10_000)]).await;
    }
    let info: String = redis::from_redis_value(redis.cli(&["INFO", "memory"]).await).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let less = used.parse::<u64>().unwrap() - 300_000;
    redis.cli(&["CONFIG", "SET", "maxmemory", &less.to_string()]).await;
    node.wait_ready(false).await;
    let health = node.broker.health();
    assert!(health.detail.contains("has evicted") && health.degraded.is_empty(), "{health:?}");
    assert!(node.metrics.evicted_keys.with_label_values(&["0"]).get() > 0);
    redis.cli(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    for node in [&node, &strict] {
        node.wait_ready(true).await;
        assert_eq!(node.broker.health().eviction, None);
    }
    assert_eq!(node.metrics.evicting.with_label_values(&["0"]).get(), 0);
}
