//! However much a client has missed, and of however many topics: reads stay within their bounds,
//! and the client gets all of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_broker::{Broker as _, PAGE_BYTES};
use tidegate_hub::{Options, Resume};
use tidegate_protocol::Cursor;

use crate::rig::{Rig, quiet, topic};

const BUDGET: usize = 8_000;

/// Reads until the stream ends for a replay that goes on, and gives where. `None`: it has sent
/// all that was missing, and nothing after that but what is published then.
async fn piece(rig: &Rig, topics: &[&str], resume: Resume, missing: usize) -> (Vec<String>, Option<String>) {
    let mut reader = rig.join(None, topics, resume).await;
    reader.ready().await;
    let mut got = Vec::new();
    while let Some(block) = reader.block().await {
        match block.name.as_deref() {
            Some("tidegate:reset") => got.push("reset".into()),
            Some("tidegate:closing") => assert_eq!(block.data.unwrap(), r#"{"reason":"replay"}"#),
            None => got.push(block.data.unwrap()),
            Some(name) => panic!("{name}"),
        }
        if got.len() == missing && reader.subscription.close_reason().is_none() {
            rig.publish(topics[0], "end").await;
            assert_eq!(reader.data().await, "end");
            return (got, None);
        }
    }
    (got, Some(reader.last_id.clone()))
}

/// Ten budgets behind, on topics of all densities: one with everything at the beginning, one with
/// large events, many with a few.
#[tokio::test]
async fn a_client_far_behind_on_many_topics_arrives() {
    for partitions in [1, 4] {
        let rig = Rig::new(partitions, Options { replay_bytes: BUDGET, ..quiet() });
        rig.broker.apart.store(false, Ordering::Relaxed);
        let names: Vec<String> = (0..60).map(|n| format!("topic:{n}")).collect();
        let topics: Vec<&str> = names.iter().map(String::as_str).collect();
        let start = rig.broker.subscribe(topics.iter().map(|name| topic(name)).collect()).await.unwrap();
        let mut expected = Vec::new();
        for n in 0..400 {
            let size = if n % 60 == 7 { 3_000 } else { 200 };
            let data = format!("{n:04}{}", "x".repeat(size));
            rig.publish(topics[if n < 150 { 0 } else { n % 60 }], &data).await;
            expected.push(data);
        }
        let whole = expected.iter().map(String::len).sum::<usize>();
        let (mut got, mut id, mut streams) = (Vec::new(), start.to_string(), 0);
        loop {
            let missing = expected.len() - got.len();
            let (piece, next) = piece(&rig, &topics, Resume::After(id), missing).await;
            assert!(!piece.is_empty() || next.is_none(), "no progress after {}", got.len());
            got.extend(piece);
            streams += 1;
            match next {
                Some(next) => id = next,
                None => break,
            }
        }
        if partitions > 1 {
            got.sort();
        }
        assert!(got == expected, "{} of {}", got.len(), expected.len());
        assert!((10..=2 * whole / BUDGET).contains(&streams), "{streams} streams for {whole} bytes");
        let largest = rig.broker.largest.load(Ordering::Relaxed);
        // One event always fits in each partition.
        let most = BUDGET + usize::from(partitions - 1) * 3_004;
        assert!(largest <= most, "{largest} bytes in one answer");
        assert_eq!(rig.hub.metrics().history_bytes.get(), 0);
    }
}

/// A gap in one topic is told when the client gets there, and once.
#[tokio::test]
async fn a_client_far_behind_hears_of_a_gap_once() {
    let rig = Rig::new(1, Options { replay_bytes: 1_000, ..quiet() });
    rig.broker.apart.store(false, Ordering::Relaxed);
    let topics = ["topic:a", "topic:b"];
    let start = rig.broker.subscribe(vec![topic("topic:a")]).await.unwrap();
    let mut expected = Vec::new();
    for n in 0..60 {
        if n == 30 {
            rig.publish("topic:b", "lost").await;
            rig.broker.forget(&topic("topic:b")).await.unwrap();
        }
        let data = format!("{n:03}{}", "x".repeat(200));
        rig.publish("topic:a", &data).await;
        expected.push(data);
    }
    rig.publish("topic:b", "kept").await;
    expected.extend(["kept".into(), "reset".into()]);
    let (mut got, mut id) = (Vec::new(), start.to_string());
    loop {
        let missing = expected.len() - got.len();
        let (piece, next) = piece(&rig, &topics, Resume::After(id), missing).await;
        let reset = piece.iter().any(|data| data == "reset");
        assert!(!reset || got.len() > 20, "not before the client gets there");
        got.extend(piece);
        match next {
            Some(next) => id = next,
            None => break,
        }
    }
    got.sort();
    assert!(got == expected, "{} of {}", got.len(), expected.len());
    assert_eq!(rig.counter("tidegate_resets_total", "trimmed"), 1);
}

/// The last few events of many topics are more than a join may read: at least the last one of each
/// comes, in pieces.
#[tokio::test]
async fn the_last_few_of_many_topics_come_in_pieces() {
    for partitions in [1, 4] {
        let rig = Rig::new(partitions, Options { replay_bytes: BUDGET, ..quiet() });
        rig.broker.apart.store(false, Ordering::Relaxed);
        let names: Vec<String> = (0..50).map(|n| format!("topic:{n}")).collect();
        let topics: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut last = BTreeSet::new();
        for n in 0..150 {
            let data = format!("{n:03}{}", "x".repeat(500));
            rig.publish(topics[n % 50], &data).await;
            last.extend((n >= 100).then_some(data));
        }
        let (mut got, mut resume) = (BTreeSet::new(), Resume::Last(3));
        loop {
            let missing = last.difference(&got).count();
            let (piece, next) = piece(&rig, &topics, resume, missing).await;
            for data in piece {
                assert!(got.insert(data), "twice");
            }
            match next {
                Some(next) => resume = Resume::After(next),
                None => break,
            }
        }
        assert!(last.is_subset(&got));
        let largest = rig.broker.largest.load(Ordering::Relaxed);
        assert!(largest <= 2 * BUDGET, "{largest} bytes in one answer");
    }
}

/// A read of several pages whose client leaves after the first asks for no second one.
#[tokio::test]
async fn a_read_ends_when_its_clients_are_gone() {
    let rig = Arc::new(Rig::new(1, quiet()));
    let big = "x".repeat(PAGE_BYTES * 2 / 3);
    let (partition, first) = rig.publish("topic:a", &big).await;
    for _ in 0..3 {
        rig.publish("topic:a", &big).await;
    }
    rig.publish("topic:b", "b").await;
    let id = Cursor::single(partition, first).to_string();
    rig.broker.history.shut();
    let (of, resume) = (Arc::clone(&rig), Resume::After(id.clone()));
    let join = tokio::spawn(async move { of.join(None, &["topic:a"], resume).await });
    rig.broker.history.reached(1).await;
    join.abort();
    assert!(join.await.is_err());
    rig.broker.history.open();
    let mut other = rig.join(None, &["topic:b"], Resume::Last(1)).await;
    other.ready().await;
    assert_eq!(other.data().await, "b");
    assert_eq!(rig.broker.history.count(), 1, "the other's read only");
    assert_eq!(rig.hub.metrics().history_bytes.get(), 0);
    // And nothing of it is left in the way of the next.
    let mut next = rig.join(None, &["topic:a"], Resume::After(id)).await;
    next.ready().await;
    assert_eq!(next.all(3).await, [&*big, &*big, &*big]);
}

/// Joins that read from the store wait for each other when the node's memory for that is taken.
#[tokio::test]
async fn joins_wait_for_memory_in_their_order() {
    let rig = Arc::new(Rig::new(1, Options { history_memory: PAGE_BYTES, ..quiet() }));
    for name in ["topic:a", "topic:b", "topic:c"] {
        rig.publish(name, name).await;
    }
    rig.broker.history.shut();
    let metrics = rig.hub.metrics().clone();
    let mut joins = Vec::new();
    for (waits, name) in ["topic:a", "topic:b", "topic:c"].into_iter().enumerate() {
        let of = Arc::clone(&rig);
        joins.push(tokio::spawn(async move {
            let mut reader = of.join(None, &[name], Resume::Last(1)).await;
            reader.ready().await;
            assert_eq!(reader.data().await, name);
        }));
        if waits == 0 {
            rig.broker.history.reached(1).await;
        }
        while metrics.history_waits.get() < waits as u64 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(metrics.history_bytes.get(), PAGE_BYTES as i64);
    assert_eq!(rig.broker.history.waiting(), 1, "one reads");
    rig.broker.history.open();
    for join in joins {
        join.await.unwrap();
    }
    assert_eq!(metrics.history_bytes.get(), 0);
}
