//! Publishers: with and without keys, alone and in batches. One with a key repeats what it has no
//! answer to.

use std::sync::Arc;
use std::time::Duration;

use tidegate_broker::{Broker, Error, Publication, Retention};
use tidegate_protocol::{Data, Topic};

use super::World;
use crate::chance::Chance;
use crate::oracle::{Failure, Sent};

/// How often an event with a key is tried.
const ATTEMPTS: usize = 20;

impl World {
    pub(super) async fn publisher(self: Arc<Self>, mut chance: Chance, number: usize) {
        let keyed = chance.percent(self.plan.keyed);
        loop {
            let pause = chance.skewed(1, self.plan.pause.max(2));
            if !self.pause(Duration::from_millis(pause)).await {
                return;
            }
            let count = if chance.percent(self.plan.batched) { chance.range(2, 5) } else { 1 };
            let topics: Vec<_> = (0..count).map(|_| chance.pick(&self.topics).clone()).collect();
            let mut waiting = self.begin_all(&topics, keyed);
            for attempt in 0..ATTEMPTS {
                // A key is good on any node; without one a publisher stays where it is.
                let node = if keyed && attempt > 0 { chance.index(self.plan.nodes) } else { number };
                waiting = self.publish(node, waiting).await;
                if waiting.is_empty() || !keyed {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(chance.skewed(1, 1000))).await;
            }
        }
    }

    /// The very last event of a topic: it must be possible to publish it.
    pub(super) async fn last_word(&self, topic: usize) -> Option<Failure> {
        let topics = [self.topics[topic].clone()];
        let numbers = self.begin_all(&topics, false);
        let failed = !self.publish(topic % self.plan.nodes, numbers).await.is_empty();
        failed.then(|| Failure::new("NOT LIVE", format!("nothing can be published on {}", topics[0])))
    }

    fn begin_all(&self, topics: &[Topic], keyed: bool) -> Vec<usize> {
        let mut log = self.log.lock();
        let batch = log.sent.len();
        topics.iter().map(|topic| log.begin(Sent::new(topic.clone(), keyed, batch))).collect()
    }

    /// Publishes these events, and gives those of which it is not known that they are stored.
    async fn publish(&self, node: usize, numbers: Vec<usize>) -> Vec<usize> {
        let Some(node) = self.node(node) else { return numbers };
        let batch = numbers.iter().map(|number| self.publication(*number)).collect();
        {
            // Until there is an answer.
            let mut log = self.log.lock();
            numbers.iter().for_each(|number| log.sent[*number].unknown += 1);
        }
        let results = tokio::select! {
            results = node.broker.publish(batch) => results,
            () = node.stopped() => return numbers,
        };
        let mut unknown = Vec::new();
        for (number, result) in numbers.into_iter().zip(results) {
            self.note(|| format!("event {number} by node {}: {result:?}", node.number));
            match result {
                Ok(receipt) => self.log.lock().acknowledge(number, receipt, node.life),
                Err(error) => {
                    unknown.push(number);
                    if matches!(error, Error::Unavailable(_) | Error::Refused(_)) {
                        self.log.lock().sent[number].unknown -= 1;
                    }
                }
            }
        }
        unknown
    }

    fn publication(&self, number: usize) -> Publication {
        let log = self.log.lock();
        let sent = &log.sent[number];
        let hour = Duration::from_secs(3600);
        let size = if sent.stored() { self.plan.keeps } else { 0 };
        Publication {
            topic: sent.topic.clone(),
            name: None,
            data: Data::Text(format!("{number} {}", "x".repeat(self.plan.payload)).into()),
            at: 1,
            retention: Retention { size, ttl: hour, record_ttl: hour, key_ttl: hour },
            key: sent.keyed.then(|| format!("key-{number}")),
        }
    }
}
