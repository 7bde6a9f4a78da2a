//! Redis goes away in all the ways it has, and comes back.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Broker, Error, ResetReason, Span};
use tidegate_testkit::{RedisOptions, RedisServer, TcpProxy, eventually};
use tokio::time::Instant;

use crate::cluster::{Node, options, publication, topic};

/// On one thread: nothing of the node runs before the test waits.
#[tokio::test]
async fn a_node_is_ready_soon_after_its_start() {
    let redis = RedisServer::start().await;
    let slow =
        tidegate_broker_redis::Options { probe_interval: Duration::from_secs(60), ..options(&redis.url()) };
    let node = Node::start(slow);
    assert!(!node.broker.health().ready);
    node.wait_ready(true).await;
    assert_eq!(node.metrics.probe_up.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_yet() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let refused = node.publish(&room, "too early").await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    eventually("a reason", async || node.broker.health().detail.contains("refused").then_some(())).await;
    let subscriber = tokio::spawn({
        let (broker, room) = (Arc::clone(&node.broker), room.clone());
        async move { broker.subscribe(vec![room]).await }
    });
    redis.start_again().await;
    subscriber.await.unwrap().unwrap();
    node.publish_at_last(&room, "hello").await;
    assert_eq!(node.text().await, "hello");
    node.wait_ready(true).await;
}

/// Redis crashes and comes back with its data while somebody publishes: whatever was answered with a receipt arrives, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_data_loses_nothing() {
    let mut redis = RedisServer::start_with(RedisOptions { aof: true, ..RedisOptions::default() }).await;
    let (mut node, other) = (Node::start(options(&redis.url())), Node::start(options(&redis.url())));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let publisher = tokio::spawn({
        let room = room.clone();
        async move {
            let (mut n, mut taken) = (0, Vec::new());
            while !*stopped.borrow_and_update() {
                match other.publish(&room, &n.to_string()).await {
                    Ok(receipt) => taken.push((receipt.mark.unwrap().1, n.to_string())),
                    Err(error) => {
                        assert!(
                            matches!(error, Error::Unavailable(_) | Error::Refused(_) | Error::Unknown(_)),
                            "{error}"
                        );
                    }
                }
                n += 1;
            }
            (other, taken)
        }
    });
    for _ in 0..20 {
        node.text().await;
    }
    redis.restart().await;
    node.wait_ready(true).await;
    for _ in 0..20 {
        node.text().await;
    }
    stop.send_replace(true);
    let (other, mut taken) = publisher.await.unwrap();
    let receipt = other.publish_at_last(&room, "end").await;
    taken.push((receipt.mark.unwrap().1, "end".into()));
    let mut texts = vec![node.text().await];
    while texts.last().unwrap() != "end" {
        texts.push(node.text().await);
    }
    // Those after the restart, in their order; some may be there that were reported as errors.
    let page = node.read(&room, Span::Last { limit: 100_000 }).await;
    let stored: Vec<_> =
        page.events.iter().map(|e| String::from_utf8_lossy(e.data.as_bytes()).into_owned()).collect();
    assert!(stored.ends_with(&texts));
    for (position, text) in taken {
        // Another reign, another epoch: read again, an event has the same number of that.
        let event = page.events.iter().find(|event| event.mark.offset == position.offset).expect("stored");
        assert_eq!(event.data.as_bytes(), text.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_data_is_another_epoch() {
    let mut redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    let old = node.publish(&room, "old").await.unwrap().mark.unwrap().1;
    assert_eq!(node.text().await, "old");
    redis.restart_empty().await;
    let new = node.publish_at_last(&room, "new").await.mark.unwrap().1;
    assert_ne!(old.epoch, new.epoch);
    assert_eq!(new.offset, 1);
    let (topics, reason, position) = node.reset().await;
    assert_eq!((topics, reason, position.epoch), (None, ResetReason::Epoch, new.epoch));
    assert_eq!(node.text().await, "new", "what the new epoch has stored is not lost");
    let page = node.read(&room, Span::After { position: old, limit: 10 }).await;
    assert_eq!((page.reset, page.events.len()), (Some(ResetReason::Epoch), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_is_noticed_in_time_and_forgiven() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.wait_ready(true).await;
    redis.pause();
    let paused = Instant::now();
    node.wait_ready(false).await;
    let limit = Duration::from_millis(200 + 500 + 300);
    assert!(paused.elapsed() < limit, "{:?}", paused.elapsed());
    let refused = node.publish(&room, "lost?").await.unwrap_err();
    assert!(matches!(refused, Error::Unknown(_)), "{refused}");
    assert_eq!(node.metrics.probe_up.get(), 0);
    redis.resume();
    node.wait_ready(true).await;
    node.publish_at_last(&room, "here").await;
    // A publish without an answer may have been taken all the same.
    let first = node.text().await;
    assert!(first == "here" || node.text().await == "here");
}

/// The wire to Redis is cut without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_wire_is_replaced() {
    let redis = RedisServer::start().await;
    let proxy = TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let mut node = Node::start(options(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.wait_ready(true).await;
    proxy.pause();
    other.publish(&room, "1").await.unwrap();
    node.wait_ready(false).await;
    proxy.cut();
    proxy.resume();
    node.wait_ready(true).await;
    other.publish(&room, "2").await.unwrap();
    assert_eq!([node.text().await, node.text().await], ["1", "2"]);
}

/// After a failover the publishing connections are on the new Redis, and the subscription still listens to the old one:
/// everything is connected, and nothing comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_subscription_is_noticed() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = TcpProxy::start(([127, 0, 0, 1], old.port()).into()).await;
    let mut node = Node::start(options(&format!("redis://{}/", proxy.addr())));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.wait_ready(true).await;
    proxy.set_upstream(([127, 0, 0, 1], new.port()).into());
    old.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let (_, reason, position) = node.reset().await;
    assert_eq!(reason, ResetReason::Epoch);
    let receipt = node.publish_at_last(&room, "here").await;
    assert_eq!(receipt.mark.unwrap().1.epoch, position.epoch);
    assert_eq!(node.text().await, "here");
    // Once more than that: the new one knows less than the node, so the node looks again.
    assert_eq!(node.metrics.reconnects.get(), 2);
    node.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_connection_controls_may_be_missing() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    node.subscribe(&[topic("user:ann")]).await;
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    node.gap().await;
}

/// A full Redis refuses in its own words, and numbers nothing that it does not store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_publish_leaves_no_trace() {
    let redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let first = node.publish(&room, "first").await.unwrap().mark.unwrap().1;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = node.publish(&room, "refused").await.unwrap_err();
    assert!(refused.to_string().contains("OOM"), "{refused}");
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let second = node.publish(&room, "second").await.unwrap().mark.unwrap().1;
    assert_eq!(second.offset, first.offset + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.publish(&room, "before").await.unwrap();
    redis.cli(&["SCRIPT", "FLUSH"]).await;
    let batch = (0..100).map(|n| publication(&room, &n.to_string())).collect();
    for result in node.broker.publish(batch).await {
        result.unwrap();
    }
    assert_eq!(node.text().await, "before");
    for n in 0..100 {
        assert_eq!(node.text().await, n.to_string());
    }
}

/// Each idle connection is asked for a sign of life, and gives none.
#[tokio::test]
async fn a_hanging_redis_costs_one_waiting_time_however_many_connections_are_idle() {
    let redis = RedisServer::start().await;
    let options = options(&redis.url());
    let pool = tidegate_broker_redis::Pool::open(&options).unwrap();
    let mut idle = Vec::new();
    for _ in 0..options.pool_size {
        idle.push(pool.get().await.unwrap());
    }
    drop(idle);
    redis.pause();
    let paused = Instant::now();
    let Err(error) = pool.get().await else { panic!("nothing answers") };
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let most = 2 * options.response_timeout.max(options.connect_timeout);
    assert!(paused.elapsed() < most, "{:?}", paused.elapsed());
    redis.resume();
    let mut connection = pool.get().await.expect("it answers again");
    assert_eq!(redis::cmd("PING").query_async::<String>(&mut connection).await.unwrap(), "PONG");
}
