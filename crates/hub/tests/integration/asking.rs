//! Clients that ask: for other topics while connected, and for all that waits.

use std::future::poll_fn;

use serde_json::Value;
use tidegate_broker::Control;
use tidegate_hub::{Batch, Options, Resume, SubscriberHandle};

use crate::rig::{Rig, control, quiet, topic};

async fn batch(subscription: &mut SubscriberHandle, wait: bool) -> Batch {
    let asking = poll_fn(|cx| subscription.poll_batch(cx, wait));
    tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.expect("nothing comes")
}

fn data(batch: &Batch) -> Vec<String> {
    let object = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("a JSON object");
    batch.events.iter().map(|chunk| object(&chunk.bytes)["data"].as_str().unwrap().to_owned()).collect()
}

/// One poll after another, as a client does it that knows only the last cursor.
async fn poll(rig: &Rig, topics: &[&str], cursor: &mut String) -> Vec<String> {
    let mut subscription = rig.objects(topics, Resume::After(cursor.clone())).await;
    let batch = batch(&mut subscription, true).await;
    if let Some(place) = &batch.cursor {
        *cursor = place.to_string();
    }
    data(&batch)
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_between_polls() {
    for partitions in [1, 4] {
        let rig = Rig::new(partitions, quiet());
        let topics = ["topic:a", "topic:b", "topic:c"];
        let first = batch(&mut rig.objects(&topics, Resume::Live).await, false).await;
        assert!(first.events.is_empty() && !first.reset);
        let mut cursor = first.cursor.unwrap().to_string();
        let mut got = Vec::new();
        for n in 0..60 {
            rig.publish(topics[n % 3], &n.to_string()).await;
            if n % 7 == 0 {
                got.extend(poll(&rig, &topics, &mut cursor).await);
            }
        }
        while got.len() < 60 {
            got.extend(poll(&rig, &topics, &mut cursor).await);
        }
        let mut sorted: Vec<usize> = got.iter().map(|n| n.parse().unwrap()).collect();
        if partitions == 1 {
            assert!(sorted.is_sorted(), "{sorted:?}");
        }
        sorted.sort_unstable();
        assert_eq!(sorted, (0..60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_poll_that_ends_without_an_event_moves_on_with_the_others() {
    let rig = Rig::new(1, quiet());
    let mut quiet = rig.objects(&["topic:a"], Resume::Live).await;
    let before = batch(&mut quiet, false).await.cursor.unwrap();
    let mut other = rig.join(None, &["topic:b"], Resume::Live).await;
    other.ready().await;
    rig.publish("topic:b", "b").await;
    assert_eq!(other.data().await, "b");
    rig.settled().await;
    let after = batch(&mut quiet, false).await;
    assert!(after.events.is_empty() && after.cursor.is_some_and(|cursor| cursor != before));
}

#[tokio::test]
async fn a_poll_says_that_events_were_lost() {
    let rig = Rig::new(1, quiet());
    for wrong in ["nonsense", "000000-1"] {
        let mut lost = rig.objects(&["topic:a"], Resume::After(wrong.into())).await;
        let batch = batch(&mut lost, true).await;
        assert!(batch.reset && batch.events.is_empty() && batch.cursor.is_some(), "{wrong}");
    }
}

/// What was thrown away is asked for again.
#[tokio::test]
async fn a_poll_that_was_cut_leaves_the_client_where_it_was() {
    let rig = Rig::new(1, Options { outbox_events: 3, ..quiet() });
    let mut slow = rig.objects(&["topic:a"], Resume::Live).await;
    assert!(batch(&mut slow, false).await.cursor.is_some());
    let mut other = rig.join(None, &["topic:a"], Resume::Live).await;
    other.ready().await;
    for n in 0..5 {
        rig.publish("topic:a", &n.to_string()).await;
    }
    other.all(5).await;
    let batch = batch(&mut slow, true).await;
    assert!(batch.events.is_empty() && batch.cursor.is_none());
}

#[tokio::test]
async fn topics_come_and_go_while_connected() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
    reader.ready().await;
    rig.publish("topic:b", "too early").await;
    reader.subscription.subscribe(vec![topic("topic:b"), topic("topic:c")]);
    assert_eq!(reader.told("tidegate:subscribed").await, r#"{"topics":["topic:b","topic:c"]}"#);
    for name in ["topic:c", "topic:a", "topic:b"] {
        rig.publish(name, name).await;
    }
    assert_eq!(reader.all(3).await, ["topic:c", "topic:a", "topic:b"]);
    reader.subscription.unsubscribe(vec![topic("topic:a"), topic("topic:c")]);
    assert_eq!(reader.told("tidegate:unsubscribed").await, r#"{"topics":["topic:a","topic:c"]}"#);
    for name in ["topic:c", "topic:a", "topic:b"] {
        rig.publish(name, "later").await;
    }
    assert_eq!(reader.data().await, "later");
    reader.subscription.subscribe(vec![topic("topic:a")]);
    reader.told("tidegate:subscribed").await;
    assert_eq!(reader.subscription.topics(), 2);
    rig.publish("topic:a", "last").await;
    assert_eq!(reader.data().await, "last");
}

/// The wish to leave comes while the wish to come is still under way.
#[tokio::test]
async fn wishes_are_done_in_their_order() {
    let rig = Rig::new(1, quiet());
    let mut reader = rig.join(None, &["topic:a"], Resume::Live).await;
    reader.ready().await;
    reader.subscription.subscribe(vec![topic("topic:b")]);
    reader.subscription.unsubscribe(vec![topic("topic:b")]);
    reader.subscription.subscribe(vec![topic("topic:c")]);
    for name in ["tidegate:subscribed", "tidegate:unsubscribed", "tidegate:subscribed"] {
        reader.told(name).await;
    }
    rig.publish("topic:b", "unwanted").await;
    rig.publish("topic:c", "wanted").await;
    assert_eq!(reader.data().await, "wanted");
}

/// The word that a topic comes no longer is the last of it, also where its events were held back.
#[tokio::test]
async fn nothing_follows_the_word_that_it_comes_no_longer() {
    let rig = Rig::new(1, quiet());
    let (partition, first) = rig.publish("topic:late", "1").await;
    rig.publish("topic:late", "2").await;
    let mut reader = rig.join(Some("alice"), &["topic:a"], Resume::Live).await;
    reader.ready().await;
    // Its read keeps the change of membership under way.
    rig.broker.history.shut();
    let joined = Control::Joined { topic: topic("topic:late"), from: Some(first) };
    rig.say(&[control("alice", (partition, first), joined)]);
    rig.broker.history.reached(1).await;
    rig.publish("topic:a", "held").await;
    rig.settled().await;
    reader.subscription.unsubscribe(vec![topic("topic:a")]);
    rig.broker.history.open();
    assert_eq!(reader.told("tidegate:unsubscribed").await, r#"{"topics":["topic:a"]}"#);
    rig.publish("topic:late", "3").await;
    assert_eq!(reader.all(2).await, ["2", "3"]);
}
