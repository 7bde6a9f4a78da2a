use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_broker::{Broker, Control, Delivery};
use tidegate_hub::Resume;
use tidegate_protocol::{Position, Topic};

use crate::rig::{Rig, control, event, quiet, topic};

fn user() -> Topic {
    Topic::user("u").unwrap()
}

#[tokio::test]
async fn a_new_topic_does_not_overtake_the_others() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
    reader.ready().await;
    let (partition, first) = rig.publish("topic:a", "a1").await;
    assert_eq!(reader.data().await, "a1");
    rig.broker.deliveries.shut();
    rig.publish("topic:a", "a2").await;
    rig.publish("topic:b", "b3").await;
    let joined = Control::Joined { topic: topic("topic:b"), from: Some(first) };
    rig.say(&[control("u", (partition, first), joined)]);
    while rig.hub.metrics().topics.get() < 3 {
        tokio::task::yield_now().await;
    }
    rig.settled().await;
    rig.broker.deliveries.open();
    rig.publish("topic:b", "b4").await;
    assert_eq!(reader.all(3).await, ["a2", "b3", "b4"]);
}

/// Nothing that is dispatched after the word is for the stream any more.
#[tokio::test]
async fn who_left_gets_nothing_more() {
    let rig = Rig::new(1, quiet());
    rig.broker.set_membership(&user(), &topic("topic:b"), true).await.unwrap();
    let mut reader = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
    reader.ready().await;
    let (partition, at) = rig.publish("topic:b", "b").await;
    assert_eq!(reader.data().await, "b");
    let left = Control::Left { topic: topic("topic:b") };
    let secret = event("topic:b", partition, at.epoch, at.offset + 1, Some(at.offset), "secret");
    let open = event("topic:a", partition, at.epoch, at.offset + 2, Some(0), "open");
    rig.say(&[
        control("u", (partition, at), left),
        Delivery::Event(Arc::new(secret)),
        Delivery::Event(Arc::new(open)),
    ]);
    assert_eq!(reader.data().await, "open");
}

#[tokio::test]
async fn memberships_are_read_after_a_gap_until_they_are_known() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(Some("u"), &[], Resume::Live).await;
    reader.ready().await;
    rig.broker.deaf.store(true, Ordering::Relaxed);
    rig.broker.set_membership(&user(), &topic("topic:b"), true).await.unwrap();
    rig.broker.failures.store(2, Ordering::Relaxed);
    rig.say(&[Delivery::Gap]);
    // Since when it is a member, nobody can tell: the stream is told so.
    let told = reader.told("tidegate:reset").await;
    assert!(told.contains("topic:b"), "{told}");
    rig.publish("topic:b", "b").await;
    assert_eq!(reader.data().await, "b");
}

/// It would stay held, and silent, as long as its client waits.
#[tokio::test]
async fn a_stream_whose_change_panics_is_closed() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
    reader.ready().await;
    rig.broker.faulty.store(true, Ordering::Relaxed);
    rig.broker.set_membership(&user(), &topic("topic:b"), true).await.unwrap();
    assert_eq!(reader.told("tidegate:closing").await, r#"{"reason":"unavailable"}"#);
}

/// Read before, and told to leave since: what is newer counts.
#[tokio::test]
async fn what_was_read_does_not_undo_what_was_told() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
    reader.ready().await;
    rig.broker.deaf.store(true, Ordering::Relaxed);
    rig.broker.set_membership(&user(), &topic("topic:b"), true).await.unwrap();
    rig.publish("topic:a", "nothing heard").await;
    assert_eq!(reader.data().await, "nothing heard");
    rig.broker.deaf.store(false, Ordering::Relaxed);
    rig.broker.memberships.shut();
    rig.say(&[Delivery::Gap]);
    rig.broker.memberships.reached(1).await;
    rig.broker.set_membership(&user(), &topic("topic:b"), false).await.unwrap();
    rig.publish("topic:a", "after it").await;
    assert_eq!(reader.data().await, "after it");
    rig.broker.memberships.open();
    // Once at the join, once after the gap, and once more for what was told meanwhile.
    rig.broker.memberships.passed(3).await;
    rig.settled().await;
    rig.publish("topic:b", "secret").await;
    rig.publish("topic:a", "open").await;
    assert_eq!(reader.data().await, "open");
}

/// A disconnect whose word comes after its number was read is not counted twice: the next one, missed, is noticed.
#[tokio::test]
async fn a_missed_disconnect_is_noticed() {
    let rig = Rig::new(1, quiet());
    rig.broker.disconnect(&user()).await.unwrap();
    let mut first = rig.join(Some("u"), &[], Resume::Live).await;
    first.ready().await;
    let (partition, seen) = (user().partition(1), Position { offset: 0, epoch: epoch(&rig).await });
    rig.say(&[control("u", (partition, seen), Control::Disconnect)]);
    assert_eq!(first.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
    let mut second = rig.join(Some("u"), &[], Resume::Live).await;
    second.ready().await;
    drop(first);
    rig.broker.deaf.store(true, Ordering::Relaxed);
    rig.broker.disconnect(&user()).await.unwrap();
    rig.say(&[Delivery::Gap]);
    assert_eq!(second.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
}

async fn epoch(rig: &Rig) -> tidegate_protocol::Epoch {
    let places = rig.broker.subscribe(vec![user()]).await.unwrap();
    places.iter().next().unwrap().1.epoch
}
