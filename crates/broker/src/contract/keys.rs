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

/// Versions that late publishers send are neither stored nor delivered, on any node.
pub async fn an_old_version_never_follows_a_newer_one(fixture: &impl Fixture) {
    let topics = [topic("seats"), topic("passing"), topic("others")];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let big = (1 << 53) - 1;
    for (topic, retention) in topics.iter().zip([KEEP, PASS, KEEP]) {
        for (node, version) in
            [(0, 7), (1, 7), (1, 6), (0, 9), (2, 8), (1, 7), (3, big), (0, big - 1), (2, 9)]
        {
            let publication = Publication { retention, ..text(topic, &version.to_string()) };
            let sent = cluster.broker(node).publish_version(publication, version);
            let receipt = within("an answer", sent).await.unwrap();
            let new = [(0, 7), (0, 9), (3, big)].contains(&(node, version));
            assert_eq!(receipt.is_some(), new, "{topic}: {version} by {node}");
            let stored = receipt.is_some_and(|receipt| receipt.mark.is_some());
            assert_eq!(stored, new && retention.size > 0);
        }
        // Keys are another matter.
        cluster.publish(0, Publication { retention, ..keyed(topic, "keyed", "7") }).await;
    }
    let big = big.to_string();
    for events in cluster.settle(&topics).await {
        for topic in &topics {
            let own: Vec<_> = events.iter().filter(|event| event.topic == *topic).cloned().collect();
            assert_eq!(said(&own), ["7", "9", &big, "keyed"]);
        }
    }
}

/// As many at once, on all nodes: one of them sends it.
pub async fn versions_work_in_a_race(fixture: &impl Fixture) {
    let topics = [topic("race")];
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let racers: Vec<_> = (0..20)
        .map(|n| {
            let (broker, publication) = (Arc::clone(cluster.broker(n)), text(&topics[0], "race"));
            tokio::spawn(async move { broker.publish_version(publication, 1).await.unwrap() })
        })
        .collect();
    let mut sent = 0;
    for racer in racers {
        sent += usize::from(within("a publisher ends", racer).await.unwrap().is_some());
    }
    assert_eq!(sent, 1);
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["race"]);
    }
}

fn keyed(topic: &Topic, said: &str, key: &str) -> Publication {
    Publication { key: Some(key.into()), ..text(topic, said) }
}
