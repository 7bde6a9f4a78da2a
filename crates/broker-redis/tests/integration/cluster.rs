//! Nodes on a Redis, and what a test sees of their deliveries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidegate_broker::{
    Broker, Deliveries, Delivery, Error, Metrics, Page, Publication, Read, Receipt, ResetReason, Retention,
    Span,
};
use tidegate_broker_redis::{Options, RedisBroker};
use tidegate_protocol::{Cursor, Data, Event, Partition, Position, Topic};
use tidegate_testkit::{DEADLINE, eventually};

/// Short times: an outage of a test lasts as long as they say.
pub(crate) fn options(url: &str) -> Options {
    Options {
        url: url.into(),
        connect_timeout: Duration::from_millis(500),
        response_timeout: Duration::from_secs(1),
        probe_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(500),
        ..Options::default()
    }
}

pub(crate) fn start(options: Options) -> (Arc<RedisBroker>, Deliveries) {
    RedisBroker::start(options, metrics(), &Default::default()).unwrap()
}

pub(crate) fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

pub(crate) fn topics(count: usize) -> Vec<Topic> {
    (0..count).map(|n| topic(&format!("room:{n}"))).collect()
}

/// What most tests keep: enough.
pub(crate) fn kept(size: u32) -> Retention {
    let hour = Duration::from_secs(3600);
    Retention { size, ttl: hour, record_ttl: 24 * hour, key_ttl: hour }
}

pub(crate) fn publication(topic: &Topic, text: &str) -> Publication {
    let data = Data::Text(text.to_owned().into());
    Publication { topic: topic.clone(), name: None, data, at: 1, retention: kept(100_000), key: None }
}

/// A broker and everything that it has delivered, checked as it comes: places never go back within an epoch.
pub(crate) struct Node {
    pub(crate) broker: Arc<RedisBroker>,
    pub(crate) metrics: Metrics,
    deliveries: Deliveries,
    batch: VecDeque<Delivery>,
    places: Vec<Option<Position>>,
}

/// What a test waits for; places and gaps are taken in between.
#[derive(Debug)]
pub(crate) enum Word {
    Event(Arc<Event>),
    Reset { topics: Option<Vec<Topic>>, reason: ResetReason, position: Position },
    Gap,
    Continued(Position),
}

impl Node {
    pub(crate) fn start(options: Options) -> Node {
        let (metrics, places) = (metrics(), vec![None; usize::from(options.partitions)]);
        let (broker, deliveries) = RedisBroker::start(options, metrics.clone(), &Default::default()).unwrap();
        Node { broker, metrics, deliveries, batch: VecDeque::new(), places }
    }

    pub(crate) async fn subscribe(&self, topics: &[Topic]) -> Cursor {
        let subscribed = self.broker.subscribe(topics.to_vec());
        tokio::time::timeout(DEADLINE, subscribed).await.expect("subscribed in time").unwrap()
    }

    pub(crate) async fn publish(&self, topic: &Topic, text: &str) -> Result<Receipt, Error> {
        self.broker.publish(vec![publication(topic, text)]).await.pop().unwrap()
    }

    /// Publishes until Redis takes it.
    pub(crate) async fn publish_at_last(&self, topic: &Topic, text: &str) -> Receipt {
        eventually("a publish that works", async || self.publish(topic, text).await.ok()).await
    }

    pub(crate) async fn read(&self, topic: &Topic, span: Span) -> Page {
        let read = Read { topic: topic.clone(), span };
        eventually("a history", async || self.broker.history(vec![read.clone()]).await.ok()).await.remove(0)
    }

    pub(crate) async fn wait_ready(&self, ready: bool) {
        let mut detail = String::new();
        eventually(&format!("ready: {ready}"), async || {
            let health = self.broker.health();
            if health.detail != detail {
                detail.clone_from(&health.detail);
                // Shown when a test fails: what the node thought on the way.
                eprintln!("{detail}");
            }
            (health.ready == ready).then_some(())
        })
        .await;
    }

    pub(crate) async fn word(&mut self) -> Word {
        loop {
            match self.next().await {
                Delivery::Event(event) => {
                    self.place(event.mark.partition, event.mark.position(), event.mark.stored());
                    return Word::Event(event);
                }
                Delivery::Control { seen, .. } | Delivery::Forgotten { seen, .. } => {
                    self.place(seen.0, seen.1, false);
                }
                Delivery::Seen(partition, position) => self.place(partition, position, false),
                Delivery::Reset { partition, topics, reason, position } => {
                    if topics.is_none() {
                        self.places[partition.index()] = None;
                    }
                    self.place(partition, position, false);
                    return Word::Reset { topics, reason, position };
                }
                Delivery::Gap(_) => return Word::Gap,
                Delivery::Continued(partition, position) => {
                    self.places[partition.index()] = Some(position);
                    return Word::Continued(position);
                }
            }
        }
    }

    /// The next event. Gaps and clean changes of the epoch are passed over, resets are failures.
    pub(crate) async fn event(&mut self) -> Arc<Event> {
        loop {
            match self.word().await {
                Word::Event(event) => return event,
                Word::Gap | Word::Continued(_) => {}
                reset @ Word::Reset { .. } => panic!("unexpected: {reset:?}"),
            }
        }
    }

    /// The next event's text.
    pub(crate) async fn text(&mut self) -> String {
        String::from_utf8(self.event().await.data.as_bytes().to_vec()).unwrap()
    }

    /// The next reset: nothing but gaps may come before it.
    pub(crate) async fn reset(&mut self) -> (Option<Vec<Topic>>, ResetReason, Position) {
        loop {
            match self.word().await {
                Word::Reset { topics, reason, position } => return (topics, reason, position),
                Word::Gap => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// The next change of epoch in which nothing was lost.
    pub(crate) async fn continued(&mut self) -> Position {
        loop {
            match self.word().await {
                Word::Continued(position) => return position,
                Word::Gap => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    pub(crate) async fn gap(&mut self) {
        match self.word().await {
            Word::Gap => {}
            other => panic!("unexpected: {other:?}"),
        }
    }

    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.batch.pop_front() {
                return delivery;
            }
            let more = tokio::time::timeout(DEADLINE, self.deliveries.next(&mut self.batch)).await;
            assert!(more.expect("a delivery in time"), "the deliveries have ended");
        }
    }

    fn place(&mut self, partition: Partition, position: Position, stored: bool) {
        if let Some(last) = self.places[partition.index()].replace(position) {
            assert_eq!(last.epoch, position.epoch, "an epoch has changed without a word");
            let after = position.offset > last.offset || (!stored && position.offset == last.offset);
            assert!(after, "{position:?} after {last:?}");
        }
    }
}
