//! What is published arrives: all of it, once, in order.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_protocol::Topic;

use super::Fixture;
use super::cluster::{Cluster, PASS, of, said, text, topic, topics, within};
use crate::{Publication, Span};

/// Of each subscribed topic every event arrives, once, at every node, under the mark that the publisher was told.
pub async fn every_event_arrives_once_and_in_order(fixture: &impl Fixture) {
    let topics = topics("room", 8);
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let mut published: HashMap<Topic, Vec<(String, _)>> = HashMap::new();
    for n in 0..240 {
        let topic = &topics[n * n % 7];
        let receipt = cluster.publish(n, text(topic, &n.to_string())).await;
        assert_eq!(receipt.nodes as usize, cluster.len());
        published.entry(topic.clone()).or_default().push((n.to_string(), receipt.mark.unwrap()));
    }
    for events in cluster.settle(&topics).await {
        assert_eq!(events.len(), 240);
        for (topic, published) in &published {
            let arrived: Vec<_> = of(topic, &events)
                .iter()
                .map(|event| {
                    (said(&[Arc::clone(event)]).concat(), (event.mark.partition, event.mark.position()))
                })
                .collect();
            assert_eq!(arrived, *published, "{topic}");
        }
    }
}

/// Publishers on all nodes at the same time: no two events have one offset, and all nodes see the same order.
pub async fn concurrent_publishers_share_one_order(fixture: &impl Fixture) {
    let topic = topic("busy");
    let mut cluster = Cluster::subscribed(fixture, std::slice::from_ref(&topic)).await;
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (broker, topic) = (Arc::clone(cluster.broker(publisher)), topic.clone());
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for n in 0..25 {
                    let said = format!("{publisher} {n}");
                    let result = broker.publish(vec![text(&topic, &said)]).await.remove(0);
                    receipts.push((result.unwrap().mark.unwrap().1.offset, said));
                }
                receipts
            })
        })
        .collect();
    let mut published = Vec::new();
    for publisher in publishers {
        let receipts = within("a publisher ends", publisher).await.unwrap();
        assert!(receipts.is_sorted_by(|a, b| a.0 < b.0), "a publisher's own order: {receipts:?}");
        published.extend(receipts);
    }
    published.sort();
    for events in cluster.settle(&[topic]).await {
        let arrived: Vec<_> =
            events.iter().map(|event| (event.mark.offset, said(&[Arc::clone(event)]).concat())).collect();
        assert_eq!(arrived, published);
    }
}

/// One result for each publication, whatever its topic, its retention and its listeners.
pub async fn a_batch_keeps_its_order_and_its_results(fixture: &impl Fixture) {
    let topics = topics("batch", 10);
    let (heard, unheard) = topics.split_at(5);
    let mut cluster = Cluster::subscribed(fixture, heard).await;
    let stored = |n: usize| n % 7 != 3;
    let batch: Vec<_> = (0..300)
        .map(|n| {
            let publication = text(&topics[n % 10], &n.to_string());
            if stored(n) { publication } else { Publication { retention: PASS, ..publication } }
        })
        .collect();
    let results = within("a batch", cluster.broker(1).publish(batch)).await;
    assert_eq!(results.len(), 300);
    let receipts: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    for (n, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.mark.is_some(), stored(n), "{n}");
        assert_eq!(receipt.nodes as usize, if n % 10 < 5 { cluster.len() } else { 0 }, "{n}");
    }
    let numbers = |topic: usize, stored_only: bool| -> Vec<String> {
        (0..300).filter(|n| n % 10 == topic && (stored(*n) || !stored_only)).map(|n| n.to_string()).collect()
    };
    for events in cluster.settle(heard).await {
        for (n, topic) in heard.iter().enumerate() {
            assert_eq!(said(&of(topic, &events)), numbers(n, false));
        }
    }
    for (n, topic) in unheard.iter().enumerate() {
        let page = cluster.read(0, topic, Span::Last { limit: 300 }).await;
        assert_eq!(said(&page.events), numbers(5 + n, true));
        for event in page.events {
            let sent: usize = said(&[Arc::clone(&event)]).concat().parse().unwrap();
            assert_eq!(receipts[sent].mark, Some((event.mark.partition, event.mark.position())));
        }
    }
}

/// Sent, not stored: no id, no place of its own, no replay.
pub async fn events_without_history_have_no_id(fixture: &impl Fixture) {
    let topics = [topic("typing")];
    let [topic] = &topics;
    let mut cluster = Cluster::subscribed(fixture, &topics).await;
    let before = cluster.store(0, text(topic, "before")).await;
    for n in 0..3 {
        let receipt = cluster.publish(n, Publication { retention: PASS, ..text(topic, "passing") }).await;
        assert_eq!((receipt.mark, receipt.id()), (None, None));
        assert_eq!(receipt.nodes as usize, cluster.len());
    }
    let after = cluster.store(1, text(topic, "after")).await;
    assert_eq!(after.offset, before.offset + 1, "what is not stored moves no counter");
    for events in cluster.settle(&topics).await {
        assert_eq!(said(&events), ["before", "passing", "passing", "passing", "after"]);
        for event in &events[1..4] {
            assert_eq!((event.mark.prev, event.mark.position()), (None, before));
        }
        assert_eq!(events[4].mark.prev, Some(before.offset));
    }
    let page = cluster.read(0, topic, Span::Last { limit: 10 }).await;
    assert_eq!(said(&page.events), ["before", "after"]);
    assert_eq!(page.head, after);
}

/// Empty calls are answered emptily.
pub async fn nothing_asked_nothing_done(fixture: &impl Fixture) {
    let cluster = Cluster::start(fixture).await;
    let broker = cluster.broker(0);
    assert!((1..=8).contains(&broker.partitions()));
    assert!(within("publish", broker.publish(Vec::new())).await.is_empty());
    assert!(within("history", broker.history(Vec::new())).await.unwrap().is_empty());
    assert!(within("subscribe", broker.subscribe(Vec::new())).await.unwrap().is_empty());
    assert!(within("disconnects", broker.disconnects(&[])).await.unwrap().is_empty());
    broker.unsubscribe(Vec::new());
    broker.unsubscribe(vec![topic("never:subscribed")]);
    assert!(broker.health().ready, "{:?}", broker.health());
}
