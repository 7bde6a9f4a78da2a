//! From when to when a node hears a topic.

use tidegate_protocol::Topic;

use super::Fixture;
use super::cluster::{Cluster, PASS, eventually, said, sibling, text, topic, topics, within};
use crate::{Publication, Span};

/// What is published right after the confirmation arrives, each time.
pub async fn subscribed_means_subscribed(fixture: &impl Fixture) {
    let mut cluster = Cluster::start(fixture).await;
    for (round, topic) in topics("fresh", 100).iter().enumerate() {
        cluster.subscribe(round, std::slice::from_ref(topic)).await;
        let receipt = cluster.publish(round + 1, text(topic, "hello")).await;
        assert_eq!(receipt.nodes, 1);
        let event = cluster.tap(round).event().await;
        assert_eq!((&event.topic, Some(event.mark.position())), (topic, receipt.mark.map(|mark| mark.1)));
    }
}

/// One call for hundreds: the cursor names their partitions, no others, and all are heard.
pub async fn many_topics_in_one_subscription(fixture: &impl Fixture) {
    let topics = topics("many", 500);
    let mut cluster = Cluster::start(fixture).await;
    let cursor = cluster.subscribe(0, &topics).await;
    assert_eq!(cursor.len(), usize::from(cluster.broker(0).partitions()));
    let batch = topics.iter().map(|topic| text(topic, "hello")).collect();
    for result in within("a batch", cluster.broker(1).publish(batch)).await {
        let (partition, position) = result.unwrap().mark.unwrap();
        let from = cursor.get(partition).unwrap();
        assert_eq!(from.epoch, position.epoch);
        assert!(from.offset < position.offset);
    }
    assert_eq!(cluster.settle_node(0, &topics).await.len(), 500);
    let single = cluster.subscribe(0, &topics[..1]).await;
    assert_eq!(single.len(), 1, "one topic, one partition: {single}");
}

/// Twice subscribed is still delivered once, and unsubscribed once it is silent.
pub async fn subscriptions_are_not_counted(fixture: &impl Fixture) {
    let topics = [topic("twice")];
    let mut cluster = Cluster::start(fixture).await;
    for _ in 0..3 {
        cluster.subscribe(0, &topics).await;
    }
    cluster.publish(1, text(&topics[0], "once")).await;
    assert_eq!(said(&cluster.settle_node(0, &topics).await), ["once"]);
    cluster.broker(0).unsubscribe(topics.to_vec());
    deaf(&cluster, &topics[0], 0).await;
}

/// Once a node is out, nothing of the topic reaches it. The others hear on, and it may come back.
pub async fn unsubscribing_ends_deliveries(fixture: &impl Fixture) {
    let left = topic("left");
    let mut cluster = Cluster::start(fixture).await;
    let stays = sibling(&left, cluster.broker(0).partitions());
    let both = [left.clone(), stays.clone()];
    for node in 0..cluster.len() {
        cluster.subscribe(node, &both).await;
    }
    cluster.broker(0).unsubscribe(vec![left.clone()]);
    deaf(&cluster, &left, cluster.len() - 1).await;
    cluster.publish(1, text(&left, "missed")).await;
    let heard = cluster.settle_node(0, std::slice::from_ref(&stays)).await;
    assert!(!said(&heard).contains(&"missed"));

    let cursor = cluster.subscribe(0, std::slice::from_ref(&left)).await;
    cluster.publish(1, text(&left, "back")).await;
    let heard = cluster.settle_node(0, std::slice::from_ref(&left)).await;
    assert_eq!(said(&heard), ["back"]);
    let page = cluster.after(0, &left, cursor.get(heard[0].mark.partition).unwrap()).await;
    assert_eq!((said(&page.events), page.reset), (vec!["back"], None));
}

/// Published, stored, sent to no node; who subscribes later finds it in history only.
pub async fn nobody_listens(fixture: &impl Fixture) {
    let topics = [topic("empty:room")];
    let mut cluster = Cluster::start(fixture).await;
    let receipt = cluster.publish(0, text(&topics[0], "stored")).await;
    assert_eq!(receipt.nodes, 0);
    assert!(receipt.mark.is_some());
    let receipt = cluster.publish(0, Publication { retention: PASS, ..text(&topics[0], "gone") }).await;
    assert_eq!((receipt.nodes, receipt.mark), (0, None));
    cluster.subscribe(1, &topics).await;
    assert!(cluster.settle_node(1, &topics).await.is_empty());
    let page = cluster.read(1, &topics[0], Span::Last { limit: 10 }).await;
    assert_eq!(said(&page.events), ["stored"]);
}

/// Waits until only `nodes` nodes hear the topic: a broker may take its time to leave.
async fn deaf(cluster: &Cluster, topic: &Topic, nodes: usize) {
    eventually("the node no longer listens", async || {
        let receipt =
            cluster.publish(1, Publication { retention: PASS, ..text(topic, "still there?") }).await;
        (receipt.nodes as usize == nodes).then_some(())
    })
    .await;
}
