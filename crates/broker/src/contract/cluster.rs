use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::{Cursor, Data, Event, Position, Topic};
use tokio::time::{Instant, sleep, timeout};

use super::Fixture;
use super::tap::Tap;
use crate::{Broker, Page, Publication, Read, Receipt, Retention, Span};

/// How long anything may take before it counts as never.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps all that a test publishes.
pub(super) const KEEP: Retention = Retention {
    size: 1000,
    ttl: Duration::from_secs(3600),
    record_ttl: Duration::from_secs(30 * 24 * 3600),
    key_ttl: Duration::from_secs(600),
};

/// Keeps nothing.
pub(super) const PASS: Retention = Retention { size: 0, ..KEEP };

const MARKER: &str = "all before this has arrived";

/// All nodes of a fixture. They are numbered from 0 and numbers wrap, so a test reads the same with one node.
pub(super) struct Cluster {
    brokers: Vec<Arc<dyn Broker>>,
    pub(super) taps: Vec<Tap>,
}

impl Cluster {
    pub(super) async fn start(fixture: &dyn Fixture) -> Self {
        let mut cluster = Self { brokers: Vec::new(), taps: Vec::new() };
        for _ in 0..fixture.nodes() {
            let (broker, deliveries) = within("a node starts", fixture.node()).await;
            cluster.taps.push(Tap::new(deliveries, broker.partitions()));
            cluster.brokers.push(broker);
        }
        cluster
    }

    /// All nodes, each subscribed to `topics`.
    pub(super) async fn subscribed(fixture: &dyn Fixture, topics: &[Topic]) -> Self {
        let cluster = Self::start(fixture).await;
        for node in 0..cluster.len() {
            cluster.subscribe(node, topics).await;
        }
        cluster
    }

    pub(super) fn len(&self) -> usize {
        self.brokers.len()
    }

    pub(super) fn broker(&self, node: usize) -> &Arc<dyn Broker> {
        &self.brokers[node % self.len()]
    }

    pub(super) fn tap(&mut self, node: usize) -> &mut Tap {
        let node = node % self.len();
        &mut self.taps[node]
    }

    pub(super) async fn subscribe(&self, node: usize, topics: &[Topic]) -> Cursor {
        within("a subscription", self.broker(node).subscribe(topics.to_vec())).await.unwrap()
    }

    pub(super) async fn publish(&self, node: usize, publication: Publication) -> Receipt {
        let mut results = within("a publication", self.broker(node).publish(vec![publication])).await;
        assert_eq!(results.len(), 1);
        results.remove(0).unwrap()
    }

    /// Publishes a stored event and gives its place.
    pub(super) async fn store(&self, node: usize, publication: Publication) -> Position {
        self.publish(node, publication).await.mark.expect("a stored event has a mark").1
    }

    pub(super) async fn read(&self, node: usize, topic: &Topic, span: Span) -> Page {
        let reads = vec![Read { topic: topic.clone(), span }];
        let mut pages = within("history", self.broker(node).history(reads)).await.unwrap();
        assert_eq!(pages.len(), 1);
        pages.remove(0)
    }

    /// Everything after `position`.
    pub(super) async fn after(&self, node: usize, topic: &Topic, position: Position) -> Page {
        self.read(node, topic, Span::After { position, limit: 10_000 }).await
    }

    /// Waits until all that was published on `topics`, to which every node is subscribed, must have arrived: gives each node's events.
    pub(super) async fn settle(&mut self, topics: &[Topic]) -> Vec<Vec<Arc<Event>>> {
        self.mark(topics).await;
        let mut all = Vec::new();
        for tap in &mut self.taps {
            all.push(until_marked(tap, topics).await);
        }
        all
    }

    /// The same for one node.
    pub(super) async fn settle_node(&mut self, node: usize, topics: &[Topic]) -> Vec<Arc<Event>> {
        self.mark(topics).await;
        until_marked(self.tap(node), topics).await
    }

    async fn mark(&self, topics: &[Topic]) {
        for topic in topics {
            self.publish(0, Publication { retention: PASS, ..text(topic, MARKER) }).await;
        }
    }
}

async fn until_marked(tap: &mut Tap, topics: &[Topic]) -> Vec<Arc<Event>> {
    let (mut events, mut missing) = (Vec::new(), topics.iter().cloned().collect::<HashSet<_>>());
    while !missing.is_empty() {
        let event = tap.event().await;
        if event.data.as_bytes() == MARKER.as_bytes() {
            assert!(missing.remove(&event.topic), "{} was marked once and arrived twice", event.topic);
        } else {
            events.push(event);
        }
    }
    events
}

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Asks until there is an answer: for what comes by the clock.
pub(super) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

/// `count` topics. With several partitions they are in several.
pub(super) fn topics(prefix: &str, count: usize) -> Vec<Topic> {
    (0..count).map(|n| topic(&format!("{prefix}:{n}"))).collect()
}

/// Another topic in the partition of `other`.
pub(super) fn sibling(other: &Topic, partitions: u8) -> Topic {
    (0..)
        .map(|n| topic(&format!("sibling:{n}")))
        .find(|topic| topic != other && topic.partition(partitions) == other.partition(partitions))
        .unwrap()
}

/// A publication that is kept.
pub(super) fn text(topic: &Topic, text: &str) -> Publication {
    Publication {
        topic: topic.clone(),
        name: None,
        data: Data::Text(text.to_owned().into()),
        at: 1_760_000_000_000,
        retention: KEEP,
        key: None,
    }
}

/// The data of events.
pub(super) fn said(events: &[Arc<Event>]) -> Vec<&str> {
    events.iter().map(|event| std::str::from_utf8(event.data.as_bytes()).unwrap()).collect()
}

/// The events of one topic.
pub(super) fn of(topic: &Topic, events: &[Arc<Event>]) -> Vec<Arc<Event>> {
    events.iter().filter(|event| event.topic == *topic).cloned().collect()
}
