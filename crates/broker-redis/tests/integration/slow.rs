//! Links that carry little.

use std::time::Duration;

use tidegate_broker::{Broker, Read, Span};
use tidegate_broker_redis::Options;
use tidegate_protocol::Topic;
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

/// Redis runs a script to its end before it serves others: one that brings little of large events
/// must not copy more of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_copies_about_what_it_brings() {
    let redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url()));
    let room = topic("room:1");
    let begin = node.subscribe(std::slice::from_ref(&room)).await;
    for _ in 0..60 {
        node.publish(&room, &"x".repeat(60_000)).await.unwrap();
    }
    let position = begin.iter().next().unwrap().1;
    for span in [Span::After { position, limit: 100 }, Span::Last { limit: 100 }] {
        redis.cli(&["SCRIPT", "FLUSH"]).await;
        let read = Read { topic: room.clone(), span };
        let page = node.broker.history_within(vec![read], 100_000).await.unwrap().remove(0);
        assert_eq!((page.events.len(), page.more), (1, true));
        let memory = redis.cli(&["INFO", "memory"]).await;
        let redis::Value::BulkString(text) = memory else { panic!("{memory:?}") };
        let text = String::from_utf8(text).unwrap();
        let lua = text.lines().find_map(|line| line.strip_prefix("used_memory_lua:")).unwrap();
        assert!(lua.parse::<usize>().unwrap() < 2_000_000, "{span:?}: {lua} bytes");
    }
}

/// Small events are many: one answer brings some of them, and a page has all the same as many as
/// its reader asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_events_come_in_several_answers() {
    let redis = RedisServer::start().await;
    let node = Node::start(options(&redis.url()));
    let rooms = topics(2);
    let begin = node.subscribe(&rooms).await;
    for number in 0..1_400 {
        node.publish(&rooms[number % 2], &number.to_string()).await.unwrap();
    }
    let position = begin.iter().next().unwrap().1;
    let read = |topic: &Topic, span| Read { topic: topic.clone(), span };
    let after = Span::After { position, limit: 1_300 };
    let reads = rooms.iter().map(|room| read(room, after)).collect();
    let pages = node.broker.history(reads).await.unwrap();
    assert_eq!((pages[0].events.len(), pages[1].events.len()), (650, 650));
    let last = node.broker.history(vec![read(&rooms[0], Span::Last { limit: 600 })]).await.unwrap().remove(0);
    assert_eq!((last.events.len(), last.more), (600, true));
    let numbers: Vec<String> = (100..700).map(|n| (2 * n).to_string()).collect();
    assert!(last.events.iter().map(|event| event.data.as_bytes()).eq(numbers.iter().map(String::as_bytes)));
}
