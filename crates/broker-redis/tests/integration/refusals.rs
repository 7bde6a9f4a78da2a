//! Redis refuses a part of a publish: nothing of it is stored, sent or remembered.

use tidegate_broker::{Broker, Error, Publication, Receipt, Span};
use tidegate_broker_redis::Options;
use tidegate_testkit::RedisServer;

use crate::cluster::{Node, options, publication, topic};

const RECORD: &str = "tg:{0}:t:room:1";
const STREAM: &str = "tg:{0}:s:room:1";
const KEY: &str = "tg:{0}:k:room:1 once";

async fn publish(node: &Node) -> Result<Receipt, Error> {
    let publication = Publication { key: Some("once".into()), ..publication(&topic("room:1"), "once") };
    node.broker.publish(vec![publication]).await.remove(0)
}

/// The topic's keys, and those of its idempotency keys.
async fn keys(redis: &RedisServer) -> Vec<String> {
    let answer = redis.cli(&["KEYS", "tg:{0}:[tsk]:room*"]).await;
    let mut keys: Vec<String> = redis::from_redis_value(answer).unwrap();
    keys.sort();
    keys
}

/// A key is of another type: by hand, or by another program with the same prefix. When that is
/// mended, a repeat with the same idempotency key is the first one that is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_refuses_all_of_a_publish() {
    for key in [RECORD, STREAM, KEY] {
        let redis = RedisServer::start().await;
        let mut node = Node::start(options(&redis.url()));
        let room = topic("room:1");
        node.subscribe(std::slice::from_ref(&room)).await;
        node.publish_at_last(&room, "first").await;
        assert_eq!(node.text().await, "first");
        redis.cli(&["DEL", key]).await;
        redis.cli(&["RPUSH", key, "a list"]).await;
        let before = keys(&redis).await;
        for _ in 0..2 {
            let refused = publish(&node).await.unwrap_err();
            assert!(matches!(refused, Error::Refused(_)), "{key}: {refused}");
            assert!(refused.to_string().contains("WRONGTYPE"), "{key}: {refused}");
        }
        assert_eq!(keys(&redis).await, before, "{key}");

        redis.cli(&["DEL", key]).await;
        let stored = publish(&node).await.unwrap();
        assert_eq!(publish(&node).await.unwrap().mark, stored.mark, "{key}");
        node.publish(&room, "next").await.unwrap();
        assert_eq!([node.text().await, node.text().await], ["once", "next"], "{key}");
        let page = node.read(&room, Span::Last { limit: 2 }).await;
        let texts: Vec<_> = page.events.iter().map(|event| event.data.as_bytes()).collect();
        assert_eq!(texts, [b"once", b"next"], "{key}");
    }
}

/// The same in a batch: the others of it are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_one_does_not_hurt_its_batch() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let (room, other) = (topic("room:1"), topic("room:2"));
    node.subscribe(&[room.clone(), other.clone()]).await;
    node.publish_at_last(&room, "first").await;
    assert_eq!(node.text().await, "first");
    redis.cli(&["DEL", STREAM]).await;
    redis.cli(&["RPUSH", STREAM, "a list"]).await;
    let texts = [(&other, "1"), (&room, "refused"), (&other, "2")];
    let batch = texts.map(|(topic, text)| publication(topic, text)).to_vec();
    let results = node.broker.publish(batch).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!([node.text().await, node.text().await], ["1", "2"]);
}

/// A place of another type is told, and not touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_of_another_type_is_told() {
    let redis = RedisServer::start().await;
    redis.cli(&["SET", "tg:{0}:place", "mine"]).await;
    let node = Node::start(options(&redis.url()));
    tidegate_testkit::eventually("a reason", async || {
        node.broker.health().detail.contains("WRONGTYPE").then_some(())
    })
    .await;
    publish(&node).await.unwrap_err();
    assert_eq!(redis.cli(&["GET", "tg:{0}:place"]).await, redis::Value::BulkString(b"mine".into()));
    redis.cli(&["DEL", "tg:{0}:place"]).await;
    node.wait_ready(true).await;
}

/// A primary that refuses all writes for want of replicas, or because its disk is full, still sends
/// and still answers: streams stay, and new ones begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_refuses_writes_keeps_its_listeners() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let (room, other) = (topic("room:1"), topic("room:2"));
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish_at_last(&room, "before").await;
    node.wait_ready(true).await;
    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let refused = publish(&node).await.unwrap_err();
    assert!(refused.to_string().contains("NOREPLICAS"), "{refused}");
    tidegate_testkit::eventually("the probe is refused", async || {
        let health = node.broker.health();
        (!health.ready && health.detail.contains("NOREPLICAS")).then_some(())
    })
    .await;
    node.subscribe(std::slice::from_ref(&other)).await;
    let late = Node::start(options(&redis.url()));
    late.subscribe(std::slice::from_ref(&room)).await;
    assert_eq!(late.read(&room, Span::Last { limit: 1 }).await.events.len(), 1);

    redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    node.publish_at_last(&other, "after").await;
    assert_eq!([node.text().await, node.text().await], ["before", "after"]);
    node.wait_ready(true).await;
    assert_eq!(node.metrics.reconnects.get(), 0);
}

/// One gauge is about the probes of all partitions: those that come back don't hide one that does
/// not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_silent_partition_shows_in_the_gauge() {
    let redis = RedisServer::start().await;
    let node = Node::start(Options { partitions: 2, ..options(&redis.url()) });
    node.wait_ready(true).await;
    assert_eq!(node.metrics.probe_up.get(), 1);
    redis.cli(&["DEL", "tg:{1}:place"]).await;
    redis.cli(&["RPUSH", "tg:{1}:place", "a list"]).await;
    node.wait_ready(false).await;
    let heard = || node.metrics.probe_seconds.get_sample_count();
    let before = heard();
    tidegate_testkit::eventually("the other's probes", async || (heard() > before + 2).then_some(())).await;
    assert_eq!(node.metrics.probe_up.get(), 0);
    redis.cli(&["DEL", "tg:{1}:place"]).await;
    node.wait_ready(true).await;
    tidegate_testkit::eventually("the gauge", async || (node.metrics.probe_up.get() == 1).then_some(()))
        .await;
}
