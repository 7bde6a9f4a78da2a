//! The property that everything else is for.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_protocol::{Position, Topic};

use super::Fixture;
use super::cluster::{Cluster, said, text, topics, within};
use crate::{Read, Span};

const TOPICS: usize = 3;
const ROUNDS: usize = 12;
const EVENTS: usize = 60;

/// A reader that leaves and comes back on another node, while publishers go on, and each time subscribes, reads history after its place
/// and then takes what is live: it has every event once, in order.
pub async fn replay_meets_live(fixture: &impl Fixture) {
    let topics = topics("merge", TOPICS);
    let mut cluster = Cluster::start(fixture).await;
    let start = cluster.subscribe(0, &topics).await;
    cluster.broker(0).unsubscribe(topics.clone());
    let mut reader = Reader { topics: topics.clone(), places: HashMap::new(), had: HashMap::new() };
    for topic in &topics {
        let partition = topic.partition(cluster.broker(0).partitions());
        reader.places.insert(topic.clone(), start.get(partition).unwrap());
    }
    for round in 0..ROUNDS {
        let brokers: Vec<_> = (0..cluster.len()).map(|node| Arc::clone(cluster.broker(node))).collect();
        let to = topics.clone();
        let writer = tokio::spawn(async move {
            for n in round * EVENTS..(round + 1) * EVENTS {
                let publication = text(&to[n % TOPICS], &(n / TOPICS).to_string());
                brokers[n / 2 % brokers.len()].publish(vec![publication]).await.remove(0).unwrap();
            }
        });
        reader.round(&mut cluster, round, (round + 1) * EVENTS - EVENTS / 2).await;
        within("the writer ends", writer).await.unwrap();
    }
    reader.replay(&cluster, ROUNDS).await;
    for topic in &topics {
        let all: Vec<_> = (0..ROUNDS * EVENTS / TOPICS).map(|n| n.to_string()).collect();
        assert_eq!(reader.had[topic], all, "{topic}");
    }
}

struct Reader {
    topics: Vec<Topic>,
    /// Everything up to here is had.
    places: HashMap<Topic, Position>,
    had: HashMap<Topic, Vec<String>>,
}

impl Reader {
    /// Joins on the node of this round, and leaves in the middle of things: as soon as it has had `enough` events in all.
    async fn round(&mut self, cluster: &mut Cluster, node: usize, enough: usize) {
        cluster.subscribe(node, &self.topics).await;
        self.replay(cluster, node).await;
        while self.had.values().map(Vec::len).sum::<usize>() < enough {
            let event = cluster.tap(node).event().await;
            // Heard while history was read, or in an earlier round and left lying.
            if event.mark.offset > self.places[&event.topic].offset {
                self.have(&event.topic, &said(&[Arc::clone(&event)]), event.mark.position());
            }
        }
        cluster.broker(node).unsubscribe(self.topics.clone());
    }

    async fn replay(&mut self, cluster: &Cluster, node: usize) {
        let reads = self
            .topics
            .iter()
            .map(|topic| Read {
                topic: topic.clone(),
                span: Span::After { position: self.places[topic], limit: 1000 },
            })
            .collect();
        let pages = within("history", cluster.broker(node).history(reads)).await.unwrap();
        for (topic, page) in self.topics.clone().iter().zip(pages) {
            assert_eq!((page.reset, page.more), (None, false), "{topic}");
            self.have(topic, &said(&page.events), page.head);
        }
    }

    fn have(&mut self, topic: &Topic, said: &[&str], place: Position) {
        self.had.entry(topic.clone()).or_default().extend(said.iter().map(ToString::to_string));
        self.places.insert(topic.clone(), place);
    }
}
