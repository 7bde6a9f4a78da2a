//! Between a node's broker and its hub: what the broker promised with a subscription, and what
//! came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_broker::{
    Broker, Deliveries, Delivery, Error, Health, Page, Publication, Read, Receipt, ResetReason, queue,
};
use tidegate_broker_redis::RedisBroker;
use tidegate_protocol::{Cursor, Epoch, Event, Partition, Position, Topic};
use tokio::time::Instant;

use super::{Failure, Log};
use crate::trace::Trace;
use crate::world::number;

/// The hub takes deliveries on when it can; the broker's own queue is the one with a bound.
const QUEUE: usize = 1 << 30;

pub(crate) struct Tap {
    inner: Arc<RedisBroker>,
    state: Arc<Mutex<State>>,
    trace: Trace,
    node: usize,
}

#[derive(Default)]
struct State {
    spans: BTreeMap<Topic, Vec<Span>>,
    /// How far each partition has been handed on.
    seen: BTreeMap<Partition, Position>,
    /// Every event with its place, as it came or was read.
    places: Vec<(usize, (Partition, Position))>,
    resets: Vec<Reset>,
    /// The partitions whose last change of epoch lost nothing.
    continued: BTreeSet<Partition>,
    failures: Vec<Failure>,
}

/// The node was told of a loss.
#[derive(Clone, Copy)]
pub(crate) struct Reset {
    pub(crate) at: Instant,
    pub(crate) partition: Partition,
    pub(crate) reason: ResetReason,
    /// The partition's epoch was not the node's first, and continued the one before.
    pub(crate) continued: bool,
}

/// A time in which the node had a topic.
#[derive(Default)]
struct Span {
    /// The first place that was promised in it.
    from: Option<(Partition, Position)>,
    /// The partition's epochs since then: one continued the other.
    epochs: Vec<Epoch>,
    got: Vec<(Option<usize>, Position)>,
    reset: bool,
    over: bool,
}

impl Span {
    fn has(&self, number: usize) -> bool {
        self.got.iter().any(|(got, _)| *got == Some(number))
    }
}

impl Tap {
    pub(crate) fn new(
        inner: Arc<RedisBroker>,
        mut deliveries: Deliveries,
        trace: Trace,
        (node, bound): (usize, usize),
    ) -> (Arc<Self>, Deliveries) {
        let (feed, out) = queue(QUEUE);
        let state: Arc<Mutex<State>> = Arc::default();
        let tap = Arc::new(Self { inner, state: Arc::clone(&state), trace: trace.clone(), node });
        tokio::spawn(async move {
            let mut batch = VecDeque::new();
            while deliveries.next(&mut batch).await {
                state.lock().weigh(node, &batch, bound);
                for delivery in batch.drain(..) {
                    if matches!(delivery, Delivery::Reset { .. } | Delivery::Continued(..) | Delivery::Gap(_))
                    {
                        trace.note(|| format!("node {node} hears {delivery:?}"));
                    }
                    state.lock().note(node, &delivery);
                    let _ = feed.push(delivery);
                }
            }
            feed.close();
        });
        (tap, out)
    }

    /// The node's process ends: what has not come by now need not come.
    pub(crate) fn stop(&self) {
        self.state.lock().spans.values_mut().flatten().for_each(|span| span.over = true);
    }

    /// Whether an event has come to this node.
    pub(crate) fn knows(&self, number: usize) -> bool {
        self.state.lock().places.iter().any(|(known, _)| *known == number)
    }

    pub(crate) fn resets(&self) -> Vec<Reset> {
        self.state.lock().resets.clone()
    }

    pub(crate) fn places(&self) -> Vec<(usize, (Partition, Position))> {
        self.state.lock().places.clone()
    }

    /// `kept`: the events that the primary has. `known`: whether it is one of them, or anything that is left could know that it is lost.
    pub(crate) fn judge(
        &self,
        log: &Log,
        kept: &BTreeSet<usize>,
        known: &dyn Fn(usize) -> bool,
        seconds: &dyn Fn(Instant) -> f64,
    ) -> Vec<Failure> {
        let state = self.state.lock();
        let mut failures = state.failures.clone();
        for (topic, spans) in &state.spans {
            let sent = log.sent.iter().enumerate().filter(|(_, sent)| &sent.topic == topic);
            let placed: Vec<_> =
                sent.filter_map(|(number, sent)| Some((number, sent.done?, sent.place?))).collect();
            for span in spans.iter().filter(|span| !span.reset) {
                let Some((partition, from)) = span.from else { continue };
                let continued = |epoch: Epoch| epoch == from.epoch || span.epochs.contains(&epoch);
                let of_line = span.got.iter().filter(|(_, place)| continued(place.epoch));
                let last = of_line.map(|(_, place)| place.offset).max().unwrap_or(0);
                for (number, done, (of, place)) in &placed {
                    let due = *of == partition && continued(place.epoch) && place.offset > from.offset;
                    // What was beyond the end of an epoch is told when a node finds that out.
                    let ended = span.epochs.last().is_some_and(|current| *current != place.epoch);
                    let begun = log.sent[*number].begun;
                    let told = |reset: &Reset| reset.partition == partition && reset.at >= begun;
                    // A node that ends before that leaves it to the others.
                    let left = || span.over && !kept.contains(number);
                    let due = due && !(ended && (left() || state.resets.iter().any(told)));
                    // What comes while the topic is let go need not arrive, unless something later
                    // has.
                    if due && (!span.over || place.offset < last) && !span.has(*number) && known(*number) {
                        let words = format!(
                            "node {} has {topic} from {} and was not given event {number} (offset {}), acknowledged at {:.3}",
                            self.node,
                            from.offset,
                            place.offset,
                            seconds(*done)
                        );
                        failures.push(Failure::new("BROKEN PROMISE", words));
                    }
                }
            }
        }
        failures
    }
}

impl State {
    fn note(&mut self, node: usize, delivery: &Delivery) {
        match delivery {
            Delivery::Event(event) => {
                let (partition, position) = (event.mark.partition, event.mark.position());
                if event.mark.stored() {
                    self.forward(node, partition, position, true);
                    self.places.extend(number(event.data.as_bytes()).map(|n| (n, (partition, position))));
                    if let Some(span) = self.spans.get_mut(&event.topic).and_then(|spans| spans.last_mut()) {
                        span.got.push((number(event.data.as_bytes()), position));
                    }
                }
            }
            Delivery::Seen(partition, position) => self.forward(node, *partition, *position, false),
            Delivery::Continued(partition, position) => {
                self.continued.insert(*partition);
                let before = self.seen.insert(*partition, *position);
                if before.is_some_and(|before| before.offset > position.offset) {
                    let words =
                        format!("node {node}, partition {partition}: continued {before:?} at {position:?}");
                    self.failures.push(Failure::new("OUT OF ORDER", words));
                }
                for span in self.spans.values_mut().filter_map(|spans| spans.last_mut()) {
                    if span.from.is_none_or(|(of, _)| of == *partition) {
                        span.epochs.push(position.epoch);
                    }
                }
            }
            Delivery::Reset { partition, topics, position, reason } => {
                let continued = self.continued.remove(partition);
                let (partition, reason) = (*partition, *reason);
                self.resets.push(Reset { at: Instant::now(), partition, reason, continued });
                self.seen.insert(partition, *position);
                for (topic, spans) in &mut self.spans {
                    let named = match topics {
                        Some(topics) => topics.contains(topic),
                        None => spans.iter().any(|span| span.from.is_some_and(|(of, _)| of == partition)),
                    };
                    if let Some(span) = spans.last_mut().filter(|_| named) {
                        span.reset = true;
                    }
                }
            }
            Delivery::Control { .. } | Delivery::Forgotten { .. } | Delivery::Gap(_) => {}
        }
    }

    /// What waited for the hub was within its bound, one event more or less.
    fn weigh(&mut self, node: usize, batch: &VecDeque<Delivery>, bound: usize) {
        let bytes = |delivery: &Delivery| match delivery {
            Delivery::Event(event) => event.data.as_bytes().len(),
            _ => 0,
        };
        let (sum, largest) =
            (batch.iter().map(bytes).sum::<usize>(), batch.iter().map(bytes).max().unwrap_or(0));
        if sum > bound + largest {
            self.failures
                .push(Failure::new("MEMORY", format!("node {node}: {sum} bytes waited for the hub")));
        }
    }

    /// Whatever comes later has a larger offset, and a new epoch is said with a reset.
    fn forward(&mut self, node: usize, partition: Partition, position: Position, event: bool) {
        let Some(before) = self.seen.insert(partition, position) else { return };
        let back = position.offset < before.offset || (event && position.offset == before.offset);
        if position.epoch != before.epoch || back {
            let words = format!("node {node}, partition {partition}: {position:?} after {before:?}");
            self.failures.push(Failure::new("OUT OF ORDER", words));
        }
    }

    /// The current span of a topic, or a new one.
    fn span(&mut self, topic: &Topic) -> &mut Span {
        let spans = self.spans.entry(topic.clone()).or_default();
        if spans.last().is_none_or(|span| span.over) {
            spans.push(Span::default());
        }
        spans.last_mut().expect("just pushed")
    }
}

#[async_trait]
impl Broker for Tap {
    fn partitions(&self) -> u8 {
        self.inner.partitions()
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Result<Receipt, Error>> {
        self.inner.publish(batch).await
    }

    async fn publish_version(
        &self,
        publication: Publication,
        version: u64,
    ) -> Result<Option<Receipt>, Error> {
        self.inner.publish_version(publication, version).await
    }

    async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error> {
        for topic in &topics {
            self.state.lock().span(topic);
        }
        self.trace.note(|| format!("node {} asks for {topics:?}", self.node));
        let cursor = self.inner.subscribe(topics.clone()).await?;
        self.trace.note(|| format!("node {} has {topics:?} from {cursor}", self.node));
        for topic in &topics {
            let partition = topic.partition(self.partitions());
            let mut state = self.state.lock();
            let spans = state.spans.get_mut(topic);
            let current = spans.and_then(|spans| spans.last_mut()).filter(|span| !span.over);
            if let Some(span) = current.filter(|span| span.from.is_none()) {
                span.from = cursor.get(partition).map(|position| (partition, position));
            }
        }
        Ok(cursor)
    }

    fn unsubscribe(&self, topics: Vec<Topic>) {
        self.trace.note(|| format!("node {} lets {topics:?} go", self.node));
        for topic in &topics {
            self.state.lock().span(topic).over = true;
        }
        self.inner.unsubscribe(topics);
    }

    async fn history_within(&self, reads: Vec<Read>, bytes: usize) -> Result<Vec<Page>, Error> {
        let pages = self.inner.history_within(reads, bytes).await?;
        let events = pages.iter().flat_map(|page| &page.events).filter(|event| event.mark.stored());
        let place = |event: &Arc<Event>| {
            Some((number(event.data.as_bytes())?, (event.mark.partition, event.mark.position())))
        };
        self.state.lock().places.extend(events.filter_map(place));
        Ok(pages)
    }

    async fn forget(&self, topic: &Topic) -> Result<bool, Error> {
        self.inner.forget(topic).await
    }

    async fn memberships_of(&self, users: &[Topic]) -> Result<Vec<Vec<Topic>>, Error> {
        self.inner.memberships_of(users).await
    }

    async fn set_membership(&self, user: &Topic, topic: &Topic, member: bool) -> Result<bool, Error> {
        self.inner.set_membership(user, topic, member).await
    }

    async fn disconnect(&self, user: &Topic) -> Result<u32, Error> {
        self.inner.disconnect(user).await
    }

    async fn disconnects(&self, users: &[Topic]) -> Result<Vec<u64>, Error> {
        self.inner.disconnects(users).await
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}
