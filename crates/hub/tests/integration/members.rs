use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_broker::{Broker, Control, Delivery};
use tidegate_hub::{Error, Options, Resume, Scope};
use tidegate_protocol::{Position, Topic};

use crate::rig::{Rig, control, event, quiet, topic, zero};

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
    rig.say(&[Delivery::Gap(zero())]);
    // Since when it is a member, nobody can tell: the stream is told so.
    let told = reader.told("tidegate:reset").await;
    assert!(told.contains("topic:b"), "{told}");
    rig.publish("topic:b", "b").await;
    assert_eq!(reader.data().await, "b");
}

/// A gap costs an exchange for many users, not one for each.
#[tokio::test]
async fn after_a_gap_many_users_are_asked_for_at_once() {
    let rig = Rig::new(1, quiet());
    let mut readers = Vec::new();
    for n in 0..50 {
        let mut reader = rig.join(Some(&format!("u{n}")), &[], Resume::Live).await;
        reader.ready().await;
        readers.push(reader);
    }
    rig.broker.deaf.store(true, Ordering::Relaxed);
    for n in 0..50 {
        let user = Topic::user(&format!("u{n}")).unwrap();
        rig.broker.set_membership(&user, &topic("topic:b"), true).await.unwrap();
    }
    let asked = rig.broker.memberships.count();
    rig.say(&[Delivery::Gap(zero())]);
    for reader in &mut readers {
        let told = reader.told("tidegate:reset").await;
        assert!(told.contains("topic:b"), "{told}");
    }
    assert_eq!(rig.broker.memberships.count() - asked, 2, "32 of them at a time");
}

/// One round trip, however far the store is.
#[tokio::test]
async fn a_user_is_asked_for_all_at_once() {
    let rig = Rig::new(1, quiet());
    rig.broker.set_membership(&user(), &topic("topic:b"), true).await.unwrap();
    rig.broker.memberships.shut();
    rig.broker.disconnects.shut();
    let join = rig.join(Some("u"), &["topic:a"], Resume::Live);
    let doors = async {
        rig.broker.memberships.reached(1).await;
        rig.broker.disconnects.reached(1).await;
        rig.broker.memberships.open();
        rig.broker.disconnects.open();
    };
    let (mut reader, ()) = tokio::join!(join, doors);
    assert!(reader.ready().await.data.unwrap().contains("topic:b"));
    // The count is known all the same: a disconnect that is missed is noticed.
    rig.broker.deaf.store(true, Ordering::Relaxed);
    rig.broker.disconnect(&user()).await.unwrap();
    rig.say(&[Delivery::Gap(zero())]);
    assert_eq!(reader.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
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

/// All of them end at once: each comes back at a time of its own, and not at once.
#[tokio::test]
async fn streams_that_end_for_want_of_the_broker_come_back_one_by_one() {
    let rig = Rig::new(1, Options { join_timeout: Duration::from_millis(20), ..quiet() });
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut reader = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
        reader.ready().await;
        readers.push(reader);
    }
    let (_, before) = rig.publish("topic:b", "b").await;
    rig.publish("topic:b", "more").await;
    rig.broker.history.shut();
    // From a place that the node has not passed: it has to ask.
    let from = Some(Position { offset: 0, ..before });
    let joined = Control::Joined { topic: topic("topic:b"), from };
    let seen = rig.publish("topic:a", "a").await;
    rig.say(&[control("u", seen, joined)]);
    let mut retries = std::collections::HashSet::new();
    for reader in &mut readers {
        let blocks = reader.rest().await;
        let closing = blocks.last().unwrap();
        assert_eq!(closing.data.as_deref(), Some(r#"{"reason":"unavailable"}"#));
        let retry = closing.retry.unwrap();
        assert!((4_000..=12_000).contains(&retry), "{retry} ms around four times two seconds");
        retries.insert(retry);
    }
    assert!(retries.len() > 10, "{retries:?}");
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
    rig.say(&[Delivery::Gap(zero())]);
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

/// A disconnect whose word comes after its number was read is not counted twice: the next one,
/// missed, is noticed.
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
    rig.say(&[Delivery::Gap(zero())]);
    assert_eq!(second.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
}

/// The number may have been lost after a disconnect that was missed.
#[tokio::test]
async fn a_number_that_was_lost_ends_the_streams() {
    let rig = Rig::new(1, quiet());
    rig.broker.disconnect(&user()).await.unwrap();
    let mut stream = rig.join(Some("u"), &[], Resume::Live).await;
    stream.ready().await;
    rig.broker.deaf.store(true, Ordering::Relaxed);
    rig.broker.disconnect(&user()).await.unwrap();
    rig.broker.forgetful.store(true, Ordering::Relaxed);
    rig.say(&[Delivery::Gap(zero())]);
    assert_eq!(stream.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
}

/// Whatever it carries of the user's: it is counted among the user's streams, and ends with them.
/// Its ids know nothing of the user's topic.
#[tokio::test]
async fn a_stream_without_the_own_topic_is_the_users_all_the_same() {
    let rig = Rig::new(4, Options { user_connections: 2, ..quiet() });
    assert_ne!(user().partition(4), topic("topic:a").partition(4));
    let mut streams = Vec::new();
    for scope in [Scope::Topics, Scope::Membership] {
        let mut stream = rig.scoped(Some("u"), scope, &["topic:a"], Resume::Live).await.unwrap();
        let ready = stream.ready().await;
        assert!(!ready.id.unwrap().contains('.') && ready.data.unwrap().contains(r#""topics":["topic:a"]"#));
        streams.push(stream);
    }
    let third = rig.try_join(Some("u"), &[], Resume::Live).await;
    assert!(matches!(third, Err(Error::UserLimit(2))));
    assert_eq!(rig.hub.metrics().users.get(), 1);
    rig.publish("user:u", "own").await;
    rig.publish("topic:a", "a").await;
    assert_eq!(rig.broker.disconnect(&user()).await.unwrap(), 1);
    for stream in &mut streams {
        assert_eq!(stream.data().await, "a");
        assert_eq!(stream.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
    }
    drop(streams);
    while rig.hub.metrics().topics.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.hub.metrics().users.get(), 0);
    assert_eq!(rig.broker.disconnect(&user()).await.unwrap(), 0, "the topic is let go");
}

/// The work grows with the memberships, not with their square: so many would take longer than a
/// join may.
#[tokio::test]
async fn many_memberships_are_joined_in_time() {
    const MANY: usize = 50_000;
    let rig = Rig::new(1, quiet());
    for n in 0..MANY {
        rig.broker.local.set_membership(&user(), &topic(&format!("topic:{n}")), true).await.unwrap();
    }
    let mut reader = rig.join(Some("u"), &["topic:0"], Resume::Live).await;
    let id = reader.ready().await.id.unwrap();
    assert_eq!(reader.subscription.topics(), 2, "the own topic, and what was asked for");
    let mut again = rig.join(Some("u"), &[], Resume::After(id)).await;
    again.ready().await;
    rig.broker.deaf.store(true, Ordering::Relaxed);
    for n in 1..MANY {
        rig.broker.local.set_membership(&user(), &topic(&format!("topic:{n}")), n < 10).await.unwrap();
    }
    rig.say(&[Delivery::Gap(zero())]);
    drop(again);
    while rig.hub.metrics().topics.get() > 11 {
        tokio::task::yield_now().await;
    }
    rig.publish("topic:11", "gone").await;
    rig.publish("topic:9", "still").await;
    assert_eq!(reader.data().await, "still");
}

#[tokio::test]
async fn who_unsubscribes_from_the_own_topic_is_disconnected_all_the_same() {
    let rig = Rig::new(1, Options { linger: Duration::ZERO, ..quiet() });
    let mut stream = rig.join(Some("u"), &["topic:a"], Resume::Live).await;
    stream.ready().await;
    let other = rig.join(None, &["topic:other"], Resume::Live).await;
    stream.subscription.unsubscribe(vec![user()]);
    stream.told("tidegate:unsubscribed").await;
    // When the other's topic has been let go, so has all that nobody needed before.
    let topics = rig.hub.metrics().topics.get();
    drop(other);
    while rig.hub.metrics().topics.get() == topics {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.broker.disconnect(&user()).await.unwrap(), 1);
    assert_eq!(stream.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
}

#[tokio::test]
async fn a_stream_ends_with_the_membership_that_it_is_for() {
    let rig = Rig::new(1, quiet());
    for missed in [false, true] {
        let of = async |topic_: &str, member: bool| {
            rig.broker.set_membership(&user(), &topic(topic_), member).await.unwrap();
        };
        of("topic:a", true).await;
        of("topic:b", true).await;
        let mut stream = rig.scoped(Some("u"), Scope::Membership, &["topic:a"], Resume::Live).await.unwrap();
        let mut public = rig.scoped(Some("u"), Scope::Topics, &["topic:a"], Resume::Live).await.unwrap();
        stream.ready().await;
        public.ready().await;
        rig.broker.deaf.store(missed, Ordering::Relaxed);
        of("topic:b", false).await;
        rig.say(&[Delivery::Gap(zero())]);
        rig.publish("topic:b", "b").await;
        rig.publish("topic:a", "a").await;
        assert_eq!((stream.data().await, public.data().await), ("a".into(), "a".into()));
        of("topic:a", false).await;
        rig.say(&[Delivery::Gap(zero())]);
        assert_eq!(stream.told("tidegate:closing").await, r#"{"reason":"disconnected"}"#);
        rig.broker.deaf.store(false, Ordering::Relaxed);
        rig.publish("topic:a", "public").await;
        assert_eq!(public.data().await, "public");
    }
}

async fn epoch(rig: &Rig) -> tidegate_protocol::Epoch {
    let places = rig.broker.subscribe(vec![user()]).await.unwrap();
    places.iter().next().unwrap().1.epoch
}
