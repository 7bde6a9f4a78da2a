//! Publishing again with the same key is safe.

use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::Topic;

use super::Fixture;
use super::cluster::{Cluster, KEEP, PASS, eventually, said, text, topic, within};
use crate::{Publication, Retention, Span};

/// On any node: the first receipt, no second event, stored or live.
pub async fn the_same_key_gives_the_first_receipt(fixture: &impl Fixture) {
    let topics = [topic("orders")];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let first = cluster.publish(0, keyed(&topics[0], "first", "k")).await;
    let other = cluster.publish(0, keyed(&topics[0], "other", "k2")).await;
    assert_ne!(first, other);
    for node in 0..4 {
        assert_eq!(cluster.publish(node, keyed(&topics[0], "again", "k")).await, first);
    }
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["first", "other"]);
    }
    let page = cluster.read(0, &topics[0], Span::Last { limit: 10 }).await;
    assert_eq!(said(&page.events), ["first", "other"]);
    assert_eq!(Some(page.head), other.mark.map(|mark| mark.1), "no number was used up");
}

/// The same key on another topic is another key.
pub async fn keys_belong_to_their_topic(fixture: &impl Fixture) {
    let topics = ["a", "b", "ab", "a:b"].map(topic);
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    for topic in &topics {
        for key in ["k", "b:k", "bk", ":k", "열쇠 \"1\"\n"] {
            cluster.publish(0, keyed(topic, "new", key)).await;
            cluster.publish(1, keyed(topic, "again", key)).await;
        }
    }
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["new"; 20]);
    }
}

/// What is only sent is sent once.
pub async fn keys_work_without_history(fixture: &impl Fixture) {
    let topics = [topic("passing")];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let publication = Publication { retention: PASS, ..keyed(&topics[0], "once", "k") };
    let first = cluster.publish(0, publication.clone()).await;
    assert_eq!(cluster.publish(1, publication).await, first);
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["once"]);
    }
}

/// Twice in one batch, and from many publishers at once.
pub async fn keys_work_within_a_batch_and_a_race(fixture: &impl Fixture) {
    let topics = [topic("race")];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let batch = ["first", "again", "again"].map(|said| keyed(&topics[0], said, "batch"));
    let results = within("a batch", cluster.broker(0).publish(batch.into())).await;
    let receipts: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!((receipts[1], receipts[2]), (receipts[0], receipts[0]));

    let racers: Vec<_> = (0..20)
        .map(|n| {
            let (broker, publication) = (Arc::clone(cluster.broker(n)), keyed(&topics[0], "race", "race"));
            tokio::spawn(async move { broker.publish(vec![publication]).await.remove(0).unwrap() })
        })
        .collect();
    let mut receipts = Vec::new();
    for racer in racers {
        receipts.push(within("a publisher ends", racer).await.unwrap());
    }
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["first", "race"]);
    }
}

/// A key is remembered for its time, then it is new.
pub async fn keys_end(fixture: &impl Fixture) {
    let topic = topic("short");
    let cluster = Cluster::start(fixture).await;
    let retention = Retention { key_ttl: Duration::from_millis(150), ..KEEP };
    let publication = Publication { retention, ..keyed(&topic, "said", "k") };
    let first = cluster.publish(0, publication.clone()).await;
    let second = eventually("the key ends", async || {
        let receipt = cluster.publish(1, publication.clone()).await;
        (receipt != first).then_some(receipt)
    })
    .await;
    let page = cluster.read(0, &topic, Span::Last { limit: 10 }).await;
    let places: Vec<_> = page.events.iter().map(|event| Some(event.mark.position())).collect();
    assert_eq!(places, [first.mark.map(|mark| mark.1), second.mark.map(|mark| mark.1)]);
}

fn keyed(topic: &Topic, said: &str, key: &str) -> Publication {
    Publication { key: Some(key.into()), ..text(topic, said) }
}
