//! Redis gives out numbers that it has given out before, or forgets the count: another epoch.

use tidegate_broker::{Broker as _, ResetReason, Span};
use tidegate_protocol::Topic;
use tidegate_testkit::{RedisServer, eventually};

use crate::cluster::{Node, options, start, topic};

/// A Redis that falls back to older data would number other events with offsets that nodes have seen already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn falling_back_to_older_data_ends_the_epoch() {
    let mut redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish(&room, "saved").await.unwrap();
    redis.cli(&["SAVE"]).await;
    let lost = node.publish(&room, "lost").await.unwrap().mark.unwrap().1;
    assert_eq!([node.text().await, node.text().await], ["saved", "lost"]);
    redis.stop().await;
    redis.start_again().await;
    let (topics, reason, position) = node.reset().await;
    assert_eq!((topics, reason), (None, ResetReason::Epoch));
    assert_ne!(position.epoch, lost.epoch);
    let other = node.publish_at_last(&room, "other").await.mark.unwrap().1;
    assert_eq!(other.epoch, position.epoch);
    assert_eq!(node.text().await, "other");
    let page = node.read(&room, Span::After { position: lost, limit: 10 }).await;
    assert_eq!(page.reset, Some(ResetReason::Epoch));
}

/// Both nodes notice; there is one new epoch, not two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_agree_on_the_new_epoch() {
    let mut redis = RedisServer::start().await;
    let (mut a, mut b) = (Node::start(options(&redis.url())), Node::start(options(&redis.url())));
    let room = topic("room:1");
    a.subscribe(std::slice::from_ref(&room)).await;
    b.subscribe(std::slice::from_ref(&room)).await;
    redis.cli(&["SAVE"]).await;
    a.publish(&room, "lost").await.unwrap();
    assert_eq!((a.text().await, b.text().await), ("lost".into(), "lost".into()));
    redis.stop().await;
    redis.start_again().await;
    assert_eq!(a.reset().await.2.epoch, b.reset().await.2.epoch);
    a.publish_at_last(&room, "after").await;
    assert_eq!((a.text().await, b.text().await), ("after".into(), "after".into()));
}

/// `FLUSHALL` breaks no connection: the next message tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_is_noticed_on_a_live_connection() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish(&room, "old").await.unwrap();
    assert_eq!(node.text().await, "old");
    redis.cli(&["FLUSHALL"]).await;
    // The node looks again where the primary is: one that knows less than it may be another one.
    let new = node.publish(&room, "new").await.unwrap().mark.unwrap().1;
    let (_, reason, position) = node.reset().await;
    assert_eq!((reason, position.epoch), (ResetReason::Epoch, new.epoch));
    assert_eq!(node.text().await, "new");
    assert_eq!(node.metrics.reconnects.get(), 1);
}

/// A place that is lost alone (evicted, deleted) would start again at 1 with names that are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_place_is_another_life() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    let old = node.publish(&room, "old").await.unwrap().mark.unwrap().1;
    redis.cli(&["DEL", "tg:{0}:place", "tg:{0}:offset", "tg:{0}:epoch"]).await;
    let new = node.publish(&room, "new").await.unwrap().mark.unwrap().1;
    assert_ne!(old.epoch, new.epoch);
    assert_eq!(node.text().await, "old");
    assert_eq!(node.reset().await.1, ResetReason::Epoch);
    assert_eq!(node.text().await, "new");
}

/// Whatever else is published on our channels is not for us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bytes_are_ignored() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    for bytes in ["", "hello", "1 2 3", "2 abcde 1 0\nj 1 \n{}", "1 abcde 1 0\nj 1 \n"] {
        redis.cli(&["PUBLISH", "tg:{0}:c:room:2", bytes]).await;
        if !bytes.starts_with("1 abcde") {
            redis.cli(&["PUBLISH", "tg:{0}:c:room:1", bytes]).await;
        }
    }
    node.publish(&room, "ours").await.unwrap();
    assert_eq!(node.text().await, "ours");
    assert_eq!(node.metrics.reconnects.get(), 0);
}

/// A user's number of disconnects that was lost, or that fell back, does not hide the next
/// disconnect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_number_hides_no_disconnect() {
    let redis = RedisServer::start().await;
    let (broker, _deliveries) = start(options(&redis.url()));
    let ann = Topic::user("ann").unwrap();
    eventually("the broker is ready", async || broker.health().ready.then_some(())).await;
    let number = async || broker.disconnects(std::slice::from_ref(&ann)).await.unwrap()[0];
    for loss in [&["DEL", "tg:{0}:d:ann"][..], &["SET", "tg:{0}:d:ann", "1"]] {
        for _ in 0..3 {
            broker.disconnect(&ann).await.unwrap();
        }
        let known = number().await;
        redis.cli(loss).await;
        assert!(number().await < known);
        broker.disconnect(&ann).await.unwrap();
        assert!(number().await > known, "after {loss:?}");
    }
}
