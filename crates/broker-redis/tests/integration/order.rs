//! Every event once and in order, whatever happens to the connection.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Broker, ResetReason};
use tidegate_broker_redis::Options;
use tidegate_testkit::{RedisOptions, RedisServer, TcpProxy, eventually};

use tidegate_protocol::Topic;

use crate::cluster::{Node, kept, options, publication, topic, topics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_see_the_same_order() {
    let redis = RedisServer::start().await;
    let (mut a, mut b) = (Node::start(options(&redis.url())), Node::start(options(&redis.url())));
    let topics = topics(8);
    tokio::join!(a.subscribe(&topics), b.subscribe(&topics));
    let publish = |node: &Node, name: &'static str| {
        let (broker, topics) = (Arc::clone(&node.broker), topics.clone());
        tokio::spawn(async move {
            for n in 0..500 {
                let batch = vec![publication(&topics[n % 8], &format!("{name}{n}"))];
                broker.publish(batch).await.pop().unwrap().unwrap();
            }
        })
    };
    let publishers = [publish(&a, "a"), publish(&b, "b")];
    for n in 0..1000 {
        assert_eq!(a.text().await, b.text().await, "event {n}");
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

/// A burst of thousands of events, and the subscription is cut again and again: nothing lost, nothing twice, one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_subscription_loses_and_repeats_nothing() {
    for partitions in [1, 4] {
        let redis = RedisServer::start().await;
        let options = Options { partitions, ..options(&redis.url()) };
        let (mut node, other) = (Node::start(options.clone()), Node::start(options));
        let topics = topics(10);
        node.subscribe(&topics).await;
        let publisher = tokio::spawn({
            let topics = topics.clone();
            async move {
                for round in 0..400 {
                    let batch = (0..10).map(|n| publication(&topics[n], &round.to_string())).collect();
                    for result in other.broker.publish(batch).await {
                        result.unwrap();
                    }
                }
            }
        });
        let cutter = async {
            while !publisher.is_finished() {
                redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
                // The next cut comes once somebody is there again to be cut off.
                eventually("a subscriber", async || {
                    let clients = redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
                    format!("{clients:?}").contains("id=").then_some(())
                })
                .await;
            }
            publisher.await.unwrap();
        };
        let reader = read_all(&mut node, &topics);
        tokio::join!(cutter, reader);
        assert!(node.metrics.reconnects.get() > 0);
    }
}

/// 400 events of each of the topics, each topic's in its order.
async fn read_all(node: &mut Node, topics: &[Topic]) {
    let mut next = [0; 10];
    for _ in 0..4000 {
        let event = node.event().await;
        let at = topics.iter().position(|topic| *topic == event.topic).unwrap();
        assert_eq!(event.data.as_bytes(), next[at].to_string().as_bytes(), "{}", event.topic);
        next[at] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_after_a_subscribe_arrives() {
    let redis = RedisServer::start().await;
    let (mut node, other) = (Node::start(options(&redis.url())), Node::start(options(&redis.url())));
    for topic in topics(1000) {
        node.subscribe(std::slice::from_ref(&topic)).await;
        other.publish(&topic, topic.as_str()).await.unwrap();
        assert_eq!(node.text().await, topic.as_str());
        if topic.as_str().ends_with('7') {
            node.broker.unsubscribe(vec![topic]);
        }
    }
}

/// The dispatch is too slow for a flood: the node drops its connection, catches up from the streams, and misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_dispatch_costs_memory_only_up_to_the_limit() {
    let redis = RedisServer::start().await;
    let small = Options { queue_bytes: 20_000, ..options(&redis.url()) };
    let (mut node, other) = (Node::start(small), Node::start(options(&redis.url())));
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    for round in 0..20 {
        let batch = (0..100).map(|n| publication(&room, &(round * 100 + n).to_string())).collect();
        for result in other.broker.publish(batch).await {
            result.unwrap();
        }
    }
    eventually("a reconnection", async || (node.metrics.reconnects.get() > 0).then_some(())).await;
    for n in 0..2000 {
        assert_eq!(node.text().await, n.to_string());
    }
}

/// While nobody listened, events were pushed out of one topic and deleted from another: that is said, and what is left comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_that_cannot_be_repaired_is_said() {
    let args = ["--stream-node-max-entries", "1"].map(Into::into).to_vec();
    let redis = RedisServer::start_with(RedisOptions { args, ..RedisOptions::default() }).await;
    let proxy = TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let mut node = Node::start(options(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let (short, long, gone) = (topic("room:short"), topic("room:long"), topic("room:gone"));
    node.subscribe(&[short.clone(), long.clone(), gone.clone()]).await;
    other.publish(&long, "before").await.unwrap();
    assert_eq!(node.text().await, "before");

    proxy.refuse();
    proxy.cut();
    node.wait_ready(false).await;
    let mut last = other.publish(&gone, "gone").await.unwrap();
    for n in 0..5 {
        let mut publication = publication(&short, &n.to_string());
        publication.retention = kept(1);
        last = other.broker.publish(vec![publication]).await.remove(0).unwrap();
        other.publish(&long, &n.to_string()).await.unwrap();
    }
    assert!(other.broker.forget(&gone).await.unwrap());
    proxy.accept();

    for n in 0..4 {
        assert_eq!(node.text().await, n.to_string());
    }
    let (topics, reason, position) = node.reset().await;
    assert_eq!((topics, reason), (Some(vec![short.clone()]), ResetReason::Trimmed));
    assert_eq!(position.offset + 1, last.mark.unwrap().1.offset);
    assert_eq!(node.event().await.topic, short);
    assert_eq!(node.event().await.topic, long);
    let (topics, reason, _) = node.reset().await;
    assert_eq!((topics, reason), (Some(vec![gone]), ResetReason::Expired));
    node.gap().await;
}

/// More than one window of missed events, with many topics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_absence_is_repaired() {
    let redis = RedisServer::start().await;
    let proxy = TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let mut node = Node::start(options(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let topics = topics(1200);
    node.subscribe(&topics).await;
    proxy.refuse();
    proxy.cut();
    node.wait_ready(false).await;
    let mut expected = Vec::new();
    for round in 0..8 {
        let batch = topics.iter().map(|topic| publication(topic, &round.to_string())).collect();
        for (topic, result) in topics.iter().zip(other.broker.publish(batch).await) {
            expected.push((result.unwrap().mark.unwrap().1.offset, topic.clone()));
        }
    }
    expected.sort();
    proxy.accept();
    for expected in expected {
        let event = node.event().await;
        assert_eq!((event.mark.offset, event.topic.clone()), expected);
    }
}

/// Stores an event as the publish script does, and tells nobody.
async fn store_silently(redis: &RedisServer, text: &str) {
    let script = "local epoch, prev = redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[3], 'l')
        local offset = redis.call('INCR', KEYS[2])
        local envelope = '1 ' .. epoch .. ' ' .. offset .. ' ' .. prev .. '\\ns 1 \\n' .. ARGV[1]
        redis.call('XADD', KEYS[4], offset .. '-0', 'm', envelope)
        redis.call('HSET', KEYS[3], 'l', offset)";
    let keys = ["tg:{0}:epoch", "tg:{0}:offset", "tg:{0}:t:room:1", "tg:{0}:s:room:1"];
    redis.cli(&["EVAL", script, "4", keys[0], keys[1], keys[2], keys[3], text]).await;
}

/// A message that never came, on a connection that never broke: the next event of the topic shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_message_is_brought_in_order() {
    let redis = RedisServer::start().await;
    // No probe passes by in between: it would move the place beyond the hole.
    let rare = Duration::from_secs(60);
    let mut node = Node::start(Options { probe_interval: rare, ..options(&redis.url()) });
    let room = topic("room:1");
    node.subscribe(std::slice::from_ref(&room)).await;
    node.wait_ready(true).await;
    node.publish(&room, "first").await.unwrap();
    store_silently(&redis, "silent").await;
    node.publish(&room, "last").await.unwrap();
    assert_eq!([node.text().await, node.text().await, node.text().await], ["first", "silent", "last"]);
    assert_eq!(node.metrics.reconnects.get(), 0);
}

/// The same, noticed only after others of the partition have been handed on: too late to bring it, so it is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_message_that_was_passed_is_said() {
    let redis = RedisServer::start().await;
    let mut node = Node::start(options(&redis.url()));
    let (room, other) = (topic("room:1"), topic("room:2"));
    node.subscribe(&[room.clone(), other.clone()]).await;
    node.publish(&room, "first").await.unwrap();
    store_silently(&redis, "silent").await;
    let passed = node.publish(&other, "other").await.unwrap();
    node.publish(&room, "last").await.unwrap();
    assert_eq!([node.text().await, node.text().await], ["first", "other"]);
    let (topics, reason, position) = node.reset().await;
    assert_eq!((topics, reason), (Some(vec![room]), ResetReason::Trimmed));
    assert_eq!(position, passed.mark.unwrap().1);
    assert_eq!(node.text().await, "last");
}
