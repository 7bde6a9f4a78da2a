use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_broker::{Delivery, ResetReason};
use tidegate_hub::{Options, Resume};
use tidegate_protocol::{Cursor, Epoch, Position};

use crate::rig::{Rig, event, publish, quiet, topic};

/// What is read of one topic is ahead of what has been dispatched of another: neither is lost, and
/// the order is one.
#[tokio::test]
async fn a_replay_does_not_overtake_the_dispatch() {
    let rig = Rig::new(1, quiet());
    let mut other = rig.join(None, &["topic:a"], Resume::Live).await;
    other.ready().await;
    let (partition, first) = rig.publish("topic:a", "a1").await;
    assert_eq!(other.data().await, "a1");
    rig.broker.deliveries.shut();
    rig.publish("topic:a", "a2").await;
    rig.publish("topic:b", "b3").await;
    let id = Cursor::single(partition, first).to_string();
    let mut reader = rig.join(None, &["topic:a", "topic:b"], Resume::After(id)).await;
    rig.broker.deliveries.open();
    rig.publish("topic:a", "a4").await;
    reader.ready().await;
    assert_eq!(reader.all(3).await, ["a2", "b3", "a4"]);
}

/// The same with events that are published while the join reads.
#[tokio::test]
async fn a_read_that_is_ahead_waits_for_the_dispatch() {
    let rig = Arc::new(Rig::new(1, quiet()));
    let mut other = rig.join(None, &["topic:a"], Resume::Live).await;
    other.ready().await;
    let (partition, first) = rig.publish("topic:a", "a1").await;
    rig.publish("topic:b", "b2").await;
    rig.settled().await;
    rig.broker.deliveries.shut();
    rig.broker.history.shut();
    let joining = {
        let (rig, id) = (Arc::clone(&rig), Cursor::single(partition, first).to_string());
        tokio::spawn(async move { rig.join(None, &["topic:a", "topic:b"], Resume::After(id)).await })
    };
    rig.broker.history.reached(1).await;
    rig.publish("topic:a", "a3").await;
    rig.publish("topic:b", "b4").await;
    rig.broker.history.open();
    let mut reader = joining.await.unwrap();
    rig.broker.deliveries.open();
    reader.ready().await;
    assert_eq!(reader.all(3).await, ["b2", "a3", "b4"]);
    assert_eq!(rig.counter("tidegate_history_reads_total", "ring"), 1);
}

#[tokio::test]
async fn identical_reads_run_once() {
    let rig = Arc::new(Rig::new(1, quiet()));
    let (partition, first) = rig.publish("topic:a", "1").await;
    rig.publish("topic:a", "2").await;
    let id = Cursor::single(partition, first).to_string();
    rig.broker.history.shut();
    let mut joins = Vec::new();
    for _ in 0..20 {
        let (rig, id) = (Arc::clone(&rig), id.clone());
        joins.push(tokio::spawn(async move { rig.join(None, &["topic:a"], Resume::After(id)).await }));
    }
    rig.broker.history.reached(1).await;
    while rig.counter("tidegate_history_reads_total", "shared") < 19 {
        tokio::task::yield_now().await;
    }
    rig.broker.history.open();
    for join in joins {
        let mut reader = join.await.unwrap();
        reader.ready().await;
        assert_eq!(reader.data().await, "2");
    }
    assert_eq!(rig.counter("tidegate_history_reads_total", "broker"), 1);
    // What was read is in the ring now.
    let mut late = rig.join(None, &["topic:a"], Resume::After(id)).await;
    late.ready().await;
    assert_eq!(late.data().await, "2");
    assert_eq!(rig.counter("tidegate_history_reads_total", "ring"), 1);
}

#[tokio::test]
async fn the_last_few_are_shared_too() {
    let rig = Arc::new(Rig::new(1, quiet()));
    for n in 1..=9 {
        rig.publish("topic:a", &n.to_string()).await;
    }
    rig.broker.history.shut();
    let mut joins = Vec::new();
    for _ in 0..3 {
        let rig = Arc::clone(&rig);
        joins.push(tokio::spawn(async move { rig.join(None, &["topic:a"], Resume::Last(2)).await }));
    }
    while rig.counter("tidegate_history_reads_total", "shared") < 2 {
        tokio::task::yield_now().await;
    }
    rig.broker.history.open();
    for join in joins {
        let mut reader = join.await.unwrap();
        reader.ready().await;
        assert_eq!(reader.all(2).await, ["8", "9"]);
    }
    assert_eq!(rig.counter("tidegate_history_reads_total", "broker"), 1);
}

/// What asks for the same afterwards must not share the failure.
#[tokio::test]
async fn a_read_that_panics_is_over() {
    let rig = Rig::new(1, quiet());
    rig.publish("topic:a", "1").await;
    rig.broker.history.shut();
    let failed = rig.try_join(None, &["topic:a"], Resume::Last(2));
    let fault = async {
        // Only the read is to fail: what comes before it has passed.
        rig.broker.history.reached(1).await;
        rig.broker.faulty.store(true, Ordering::Relaxed);
        rig.broker.history.open();
    };
    let (failed, ()) = tokio::join!(failed, fault);
    assert_eq!(failed.err().expect("a failure").reason(), "unavailable");
    let mut reader = rig.join(None, &["topic:a"], Resume::Last(2)).await;
    reader.ready().await;
    assert_eq!(reader.data().await, "1");
}

/// A client far behind gets all of it, in several streams, and never stays where it is.
#[tokio::test]
async fn a_big_replay_comes_in_pieces() {
    for options in [
        Options { replay_events: 4, ..quiet() },
        Options { replay_bytes: 10, ..quiet() },
        Options { replay_bytes: 1, ..quiet() },
    ] {
        let rig = Rig::new(1, options);
        let mut expected = Vec::new();
        for n in 0..30 {
            let data = format!("{n:03}");
            rig.publish(if n % 3 == 0 { "topic:a" } else { "topic:b" }, &data).await;
            expected.push(data);
        }
        let epoch = rig.publish("topic:a", "end").await.1.epoch;
        expected.push("end".into());
        let partition = topic("topic:a").partition(1);
        let mut id = Cursor::single(partition, Position { epoch, offset: 0 }).to_string();
        let mut got = Vec::new();
        let mut streams = 0;
        while got.len() < expected.len() {
            let mut reader = rig.join(None, &["topic:a", "topic:b"], Resume::After(id)).await;
            reader.ready().await;
            let before = got.len();
            while got.len() < expected.len() {
                let Some(block) = reader.block().await else { break };
                match block.name.as_deref() {
                    Some("tidegate:closing") => assert_eq!(block.data.unwrap(), r#"{"reason":"replay"}"#),
                    None => got.push(block.data.unwrap()),
                    Some(name) => panic!("{name}"),
                }
            }
            assert!(got.len() > before, "no progress");
            id = reader.last_id.clone();
            streams += 1;
        }
        assert_eq!(got, expected);
        assert!(streams > 3);
    }
}

/// Events get lost while history is read: what was read is read again, and nothing is missing or
/// told twice.
#[tokio::test]
async fn a_reset_during_a_join_begins_it_again() {
    let rig = Arc::new(Rig::new(1, quiet()));
    let (partition, first) = rig.publish("topic:a", "1").await;
    rig.publish("topic:a", "2").await;
    let id = Cursor::single(partition, first).to_string();
    rig.broker.history.shut();
    let joining = {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.join(None, &["topic:a"], Resume::After(id)).await })
    };
    rig.broker.history.reached(1).await;
    let at = rig.publish("topic:a", "3").await.1;
    let topics = Some(vec![topic("topic:a")]);
    rig.say(&[Delivery::Reset { partition, topics, reason: ResetReason::Trimmed, position: at }]);
    rig.settled().await;
    rig.publish("topic:a", "4").await;
    rig.broker.history.open();
    let mut reader = joining.await.unwrap();
    reader.ready().await;
    assert_eq!(reader.all(3).await, ["2", "3", "4"]);
}

/// Another life of the counter: told once, and its events follow from the first on. Stragglers of
/// the life before are no events any more.
#[tokio::test]
async fn a_new_epoch_is_told_and_followed() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
    reader.ready().await;
    let (partition, old) = rig.publish("topic:a", "old").await;
    assert_eq!(reader.data().await, "old");
    let epoch = Epoch::parse(b"newww").unwrap();
    let new = |offset, prev, data| {
        Delivery::Event(Arc::new(event("topic:a", partition, epoch, offset, Some(prev), data)))
    };
    let position = Position { epoch, offset: 0 };
    let straggler = event("topic:a", partition, old.epoch, old.offset + 1, Some(old.offset), "straggler");
    rig.say(&[
        Delivery::Reset { partition, topics: None, reason: ResetReason::Epoch, position },
        Delivery::Event(Arc::new(straggler)),
        new(1, 0, "n1"),
        new(2, 1, "n2"),
    ]);
    let told = reader.told("tidegate:reset").await;
    assert!(told.contains("epoch") && reader.last_id == "0newww-0", "{told} {}", reader.last_id);
    assert_eq!(reader.all(2).await, ["n1", "n2"]);
    assert_eq!(reader.last_id, "0newww-2");
}

/// Another epoch, with all events, begins while a stream is ahead of what was dispatched: it is sent
/// nothing twice.
#[tokio::test]
async fn a_stream_that_is_ahead_stays_ahead_in_the_next_epoch() {
    let rig = Rig::new(1, quiet());
    let (partition, first) = rig.publish("topic:a", "a1").await;
    rig.settled().await;
    rig.broker.deliveries.shut();
    rig.publish("topic:a", "a2").await;
    let id = Cursor::single(partition, first).to_string();
    let mut reader = rig.join(None, &["topic:a"], Resume::After(id)).await;
    reader.ready().await;
    assert_eq!(reader.data().await, "a2");
    let epoch = Epoch::parse(b"newww").unwrap();
    let new = |offset, data| {
        let event = event("topic:a", partition, epoch, offset, Some(offset - 1), data);
        Delivery::Event(Arc::new(event))
    };
    rig.say(&[
        Delivery::Continued(partition, Position { epoch, ..first }),
        new(first.offset + 1, "a2"),
        new(first.offset + 2, "a3"),
    ]);
    assert_eq!(reader.data().await, "a3");
    assert_eq!(reader.last_id, format!("0newww-{}", first.offset + 2));
}

#[tokio::test]
async fn events_without_history_come_live_and_have_no_id() {
    let rig = Rig::new(4, quiet());
    let mut reader = rig.join(None, &["topic:a", "topic:b", "topic:c"], Resume::Live).await;
    let id = reader.ready().await.id;
    rig.whisper("topic:a", "psst").await;
    let block = reader.block().await.unwrap();
    assert_eq!((block.id, block.data.as_deref()), (None, Some("psst")));
    rig.publish("topic:a", "loud").await;
    assert_eq!(reader.data().await, "loud");
    assert_ne!(Some(reader.last_id), id);
}

/// Let go and taken again: what is left over from the time before does not hide what nobody
/// listened to.
#[tokio::test]
async fn a_ring_has_no_hole_after_a_time_without_listeners() {
    let rig = Rig::new(1, Options { linger: std::time::Duration::ZERO, ..quiet() });
    let mut first = rig.join(None, &["topic:a"], Resume::Live).await;
    first.ready().await;
    let (partition, _) = rig.publish("topic:a", "1").await;
    assert_eq!(first.data().await, "1");
    rig.broker.deliveries.shut();
    let two = rig.publish("topic:a", "2").await.1;
    drop(first);
    while rig.hub.metrics().topics.get() > 0 {
        tokio::task::yield_now().await;
    }
    for n in 3..=5 {
        publish(&rig.broker.local, "topic:a", &n.to_string(), 1_000).await;
    }
    let mut second = rig.join(None, &["topic:a"], Resume::Live).await;
    second.ready().await;
    rig.broker.deliveries.open();
    rig.publish("topic:a", "6").await;
    assert_eq!(second.data().await, "6");
    let id = Cursor::single(partition, two).to_string();
    let mut third = rig.join(None, &["topic:a"], Resume::After(id)).await;
    third.ready().await;
    assert_eq!(third.all(4).await, ["3", "4", "5", "6"]);
}
