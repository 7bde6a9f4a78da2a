//! What is no longer kept is said.

use std::time::Duration;

use tidegate_protocol::{Epoch, MAX_OFFSET, Position, Topic};

use super::Fixture;
use super::cluster::{Cluster, KEEP, eventually, said, sibling, text, topic, within};
use super::tap::Word;
use crate::{Publication, ResetReason, Retention, Span};

/// So short that a test can wait for its end.
const SHORT: Duration = Duration::from_millis(150);

/// Newer events pushed out some after the cursor: said, with what is left. A cursor right before what is left misses nothing.
pub async fn trimmed(fixture: &impl Fixture) {
    let topic = topic("trimmed");
    let cluster = Cluster::start(fixture).await;
    let small = Retention { size: 10, ..KEEP };
    let publish = |n: usize| Publication { retention: small, ..text(&topic, &n.to_string()) };
    let early = cluster.store(0, publish(0)).await;
    let batch = (1..=600).map(publish).collect();
    let late = within("a batch", cluster.broker(0).publish(batch)).await.pop().unwrap().unwrap();

    let page = cluster.after(1, &topic, early).await;
    assert_eq!(page.reset, Some(ResetReason::Trimmed));
    assert!(page.events.len() >= 10 && page.events.len() < 600, "{} are kept", page.events.len());
    let kept: Vec<_> = (601 - page.events.len()..=600).map(|n| n.to_string()).collect();
    assert_eq!(said(&page.events), kept);
    assert_eq!(Some(page.head), late.mark.map(|mark| mark.1));

    let first_page = cluster.read(1, &topic, Span::After { position: early, limit: 5 }).await;
    assert_eq!((first_page.reset, first_page.more), (Some(ResetReason::Trimmed), true));
    assert_eq!(said(&first_page.events), kept[..5]);

    let first = page.events[0].mark;
    let at = |offset| Position { offset, ..early };
    let page = cluster.after(1, &topic, at(first.prev.unwrap())).await;
    assert_eq!((page.reset, page.events.len()), (None, kept.len()), "all after the one before are there");
    let page = cluster.after(1, &topic, at(first.offset)).await;
    assert_eq!((page.reset, page.events.len()), (None, kept.len() - 1));
    let page = cluster.after(1, &topic, at(first.prev.unwrap() - 1)).await;
    assert_eq!(page.reset, Some(ResetReason::Trimmed), "one is missing");
}

/// The history timed out: a reader with events to come is told, one who had them all is not.
pub async fn expired(fixture: &impl Fixture) {
    let topic = topic("expired");
    let cluster = Cluster::start(fixture).await;
    let (early, late) = expire(&cluster, &topic).await;
    let page = cluster.after(1, &topic, early).await;
    assert_eq!((page.reset, page.events.len(), page.more), (Some(ResetReason::Expired), 0, false));
    let page = cluster.after(1, &topic, late).await;
    assert_eq!((page.reset, page.events.len()), (None, 0));
    let page = cluster.read(1, &topic, Span::Last { limit: 10 }).await;
    assert_eq!((page.events.len(), page.head), (0, late));
}

/// New events on a topic whose history timed out do not hide that.
pub async fn publishing_after_expiry(fixture: &impl Fixture) {
    let topic = topic("expired");
    let cluster = Cluster::start(fixture).await;
    let (early, late) = expire(&cluster, &topic).await;
    cluster.publish(0, text(&topic, "new")).await;
    let page = cluster.after(1, &topic, early).await;
    match page.reset {
        Some(ResetReason::Trimmed) => assert_eq!(said(&page.events), ["new"]),
        Some(ResetReason::Expired) => assert!(page.events.is_empty()),
        reset => panic!("events are missing, and the reset is {reset:?}"),
    }
    let page = cluster.after(1, &topic, late).await;
    assert_eq!((page.reset, said(&page.events)), (None, vec!["new"]));
    assert_eq!(page.events[0].mark.prev, Some(late.offset), "the chain goes on");
}

/// When the record is gone too, the topic never was.
pub async fn records_end_too(fixture: &impl Fixture) {
    let topic = topic("record");
    let cluster = Cluster::start(fixture).await;
    let other = sibling(&topic, cluster.broker(0).partitions());
    let early = cluster.store(0, text(&other, "other")).await;
    let short = Retention { ttl: SHORT, record_ttl: SHORT, ..KEEP };
    cluster.store(0, Publication { retention: short, ..text(&topic, "a") }).await;
    eventually("the record ends", async || {
        let page = cluster.after(1, &topic, early).await;
        (page.reset.is_none() && page.events.is_empty()).then_some(())
    })
    .await;
    cluster.publish(0, text(&topic, "b")).await;
    let page = cluster.after(1, &topic, early).await;
    assert_eq!((page.reset, said(&page.events)), (None, vec!["b"]));
    assert_eq!(page.events[0].mark.prev, Some(0));
}

/// Dropping a topic's events: once, and cursors before them get a reset.
pub async fn forgotten(fixture: &impl Fixture) {
    let topic = topic("forgotten");
    let cluster = Cluster::start(fixture).await;
    let early = cluster.store(0, text(&topic, "a")).await;
    let late = cluster.store(0, text(&topic, "b")).await;
    let forget =
        async |node: usize, topic: &Topic| within("forget", cluster.broker(node).forget(topic)).await;
    assert!(forget(1, &topic).await.unwrap());
    assert!(!forget(0, &topic).await.unwrap(), "there is nothing left");
    assert!(!forget(0, &super::cluster::topic("never")).await.unwrap());
    let page = cluster.after(0, &topic, early).await;
    assert_eq!((page.reset, page.events.len()), (Some(ResetReason::Expired), 0));
    let page = cluster.after(0, &topic, late).await;
    assert_eq!((page.reset, page.events.len()), (None, 0));

    let new = cluster.store(0, text(&topic, "new")).await;
    assert!(new.epoch == late.epoch && new.offset > late.offset, "the counter goes on");
    assert!(cluster.after(0, &topic, early).await.reset.is_some());
    let page = cluster.after(0, &topic, late).await;
    assert_eq!((page.reset, said(&page.events)), (None, vec!["new"]));
}

/// Every node with the topic is told, after the events before and before those after, whether there was something to drop or not.
pub async fn nodes_are_told_of_forgotten_events(fixture: &impl Fixture) {
    let (topic, other) = (topic("forgotten"), super::cluster::topic("other"));
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&topic)).await;
    for round in 0..3 {
        let last = cluster.store(round, text(&topic, "before")).await;
        cluster.store(round, text(&other, "elsewhere")).await;
        for forgotten in [&other, &topic, &topic] {
            within("forget", cluster.broker(round + 1).forget(forgotten)).await.unwrap();
        }
        let next = cluster.store(round, text(&topic, "after")).await;
        for node in 0..cluster.len() {
            assert_eq!(cluster.tap(node).event().await.mark.position(), last);
            for _ in 0..2 {
                match cluster.tap(node).word().await {
                    Word::Forgotten { topic: told, seen: (_, position) } => {
                        assert_eq!(told, topic);
                        assert!(last.offset <= position.offset && position.offset < next.offset);
                    }
                    word => panic!("the topic is forgotten, not {word:?}"),
                }
            }
            assert_eq!(cluster.tap(node).event().await.mark.position(), next);
        }
    }
}

/// A cursor out of another life of the counter.
pub async fn another_epoch(fixture: &impl Fixture) {
    let topic = topic("epoch");
    let cluster = Cluster::start(fixture).await;
    let place = cluster.store(0, text(&topic, "a")).await;
    let other = (0..).map(Epoch::from_random).find(|epoch| *epoch != place.epoch).unwrap();
    for (epoch, offset) in [(Epoch::NONE, 0), (other, 0), (other, place.offset), (other, place.offset + 9)] {
        let page = cluster.after(1, &topic, Position { epoch, offset }).await;
        assert_eq!((page.reset, page.events.len()), (Some(ResetReason::Epoch), 0), "{epoch:?} {offset}");
        assert_eq!((page.head, page.more), (place, false));
    }
}

/// A cursor that was never given: the counter is not there yet.
pub async fn ahead_of_the_counter(fixture: &impl Fixture) {
    let topic = topic("ahead");
    let cluster = Cluster::start(fixture).await;
    let place = cluster.store(0, text(&topic, "a")).await;
    for offset in [place.offset + 1, MAX_OFFSET] {
        let page = cluster.after(1, &topic, Position { offset, ..place }).await;
        assert_eq!((page.reset, page.events.len()), (Some(ResetReason::Unknown), 0), "{offset}");
        assert_eq!((page.head, page.more), (place, false));
    }
}

/// Publishes two events that time out, and waits for that. Gives the places of the two.
async fn expire(cluster: &Cluster, topic: &Topic) -> (Position, Position) {
    let short = |said| Publication { retention: Retention { ttl: SHORT, ..KEEP }, ..text(topic, said) };
    let early = cluster.store(0, short("a")).await;
    let late = cluster.store(0, short("b")).await;
    eventually("the history times out", async || {
        let page = cluster.after(0, topic, early).await;
        if page.reset.is_none() {
            assert_eq!(said(&page.events), ["b"], "there until it is said that it is not");
        }
        page.reset
    })
    .await;
    (early, late)
}
