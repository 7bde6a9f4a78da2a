//! Links that carry little.

use std::time::Duration;

use tidegate_broker::{Broker, Read, Span};
use tidegate_broker_redis::Options;
use tidegate_testkit::{RedisServer, TcpProxy};

use crate::cluster::{Node, options, topic, topics};

/// 16 KiB in 20 ms: a megabyte takes more than a second, and an answer may take half a second.
const CRAWL: Duration = Duration::from_millis(20);

fn patient(url: &str) -> Options {
    Options {
        response_timeout: Duration::from_millis(500),
        probe_timeout: Duration::from_secs(5),
        probe_interval: Duration::from_secs(5),
        ..options(url)
    }
}

/// What a node missed is more than the link carries within the time for an answer: it comes all the
/// same, in order and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_makes_a_repair_slow_and_not_endless() {
    let redis = RedisServer::start().await;
    let proxy = TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let mut node = Node::start(patient(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let rooms = topics(3);
    node.subscribe(&rooms).await;
    for room in &rooms {
        other.publish(room, "first").await.unwrap();
        assert_eq!(node.text().await, "first");
    }

    proxy.refuse();
    proxy.cut();
    let padding = "x".repeat(40_000);
    for number in 0..60 {
        other.publish(&rooms[number % 3], &format!("{number} {padding}")).await.unwrap();
    }
    proxy.delay(CRAWL);
    proxy.accept();
    for number in 0..60 {
        assert_eq!(node.text().await.split(' ').next(), Some(number.to_string().as_str()));
    }
}

/// A page of history that the link does not carry in time is asked for again, in smaller parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_makes_pages_small() {
    let redis = RedisServer::start().await;
    let proxy = TcpProxy::start(([127, 0, 0, 1], redis.port()).into()).await;
    let node = Node::start(patient(&format!("redis://{}/", proxy.addr())));
    let other = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let begin = node.subscribe(std::slice::from_ref(&room)).await;
    let padding = "x".repeat(40_000);
    for number in 0..40 {
        other.publish(&room, &format!("{number} {padding}")).await.unwrap();
    }
    proxy.delay(CRAWL);
    let position = begin.iter().next().unwrap().1;
    let read = Read { topic: room, span: Span::After { position, limit: 100 } };
    let page = node.broker.history(vec![read]).await.unwrap().remove(0);
    assert!(page.more && !page.events.is_empty(), "{} events, more: {}", page.events.len(), page.more);
    assert!(page.events[0].data.as_bytes().starts_with(b"0 "));
}
