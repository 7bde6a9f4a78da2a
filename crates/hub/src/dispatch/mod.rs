//! The loop between the broker's deliveries and the subscribers, and how far it has come.

mod flush;
mod lost;
mod seen;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use tidegate_broker::{Deliveries, Delivery};
use tidegate_protocol::Event;

pub(crate) use seen::Seen;

use crate::item::Item;
use crate::options::Options;
use crate::subscriber::{Given, Next, SharedFrames, Subscriber, Subscribers};
use crate::users::Streams;

/// Events, and bytes of them, handed on before the writers get their turn: a flood must reach
/// sockets while it lasts, or outboxes would fill for nothing, and clients that read be cut. At
/// most half of what an outbox takes.
const ROUND: usize = 256;
const ROUND_BYTES: usize = 256 << 10;

/// Bytes joined into one piece. More in one write gains nothing, and an outbox takes a piece as a
/// whole or not at all.
const RUN_BYTES: usize = 64 << 10;

/// Hands deliveries on.
pub(crate) struct Dispatch<A> {
    subscribers: Arc<Subscribers>,
    seen: Arc<Seen>,
    /// Does what control messages ask for.
    streams: Arc<A>,
}

impl<A: Streams<Stream = Subscriber>> Dispatch<A> {
    pub(crate) fn new(subscribers: &Arc<Subscribers>, seen: &Arc<Seen>, streams: &Arc<A>) -> Self {
        Self { subscribers: Arc::clone(subscribers), seen: Arc::clone(seen), streams: Arc::clone(streams) }
    }

    /// Runs until the feed ends. Everything that waits is taken at once; subscribers are woken when
    /// all of it has been queued, so that many events leave in one write.
    pub(crate) async fn run(self, mut deliveries: Deliveries) {
        let mut batch = VecDeque::new();
        let mut touched = Touched::default();
        let (max_events, max_bytes) = round(self.subscribers.options());
        loop {
            batch.clear();
            if !deliveries.next(&mut batch).await {
                return;
            }
            while let Some(delivery) = batch.pop_front() {
                self.handle(delivery, &mut batch, &mut touched);
                if touched.events >= max_events || touched.bytes >= max_bytes {
                    touched.rouse(&self.subscribers).await;
                    tokio::task::yield_now().await;
                }
            }
            touched.rouse(&self.subscribers).await;
        }
    }

    fn handle(&self, delivery: Delivery, rest: &mut VecDeque<Delivery>, touched: &mut Touched) {
        touched.events += 1;
        let topics = self.subscribers.topics();
        match delivery {
            Delivery::Event(event) => {
                let run = same_topic(event, rest, self.subscribers.options());
                touched.events += run.len() - 1;
                touched.bytes += run.iter().map(|item| item.event.data.as_bytes().len()).sum::<usize>();
                self.fan_out(&run, touched);
                if let Some(last) = run.last() {
                    let mark = &last.event.mark;
                    self.seen.advance(mark.partition, mark.position());
                }
            }
            Delivery::Control { user, seen: (partition, position), control } => {
                self.subscribers.users().control(&user, &control, &self.streams);
                self.seen.advance(partition, position);
            }
            Delivery::Forgotten { topic, seen: (partition, position) } => {
                if let Some(state) = topics.get(&topic) {
                    state.forget(position);
                }
                self.seen.advance(partition, position);
            }
            Delivery::Reset { partition, topics, reason, position } => {
                self.lost(partition, topics.as_deref(), reason, position);
                self.seen.advance(partition, position);
            }
            Delivery::Seen(partition, position) => self.seen.advance(partition, position),
            Delivery::Continued(partition, position) => {
                self.continued(partition, position);
                self.seen.advance(partition, position);
            }
            Delivery::Gap(partition) => {
                // Deletions may have been missed as well.
                if let Some(position) = self.seen.get(partition) {
                    topics.of(partition).iter().for_each(|state| state.distrust(position));
                }
                self.subscribers.users().missed_controls(partition);
            }
        }
    }

    fn fan_out(&self, items: &[Item], touched: &mut Touched) {
        let Some(first) = items.first() else { return };
        let Some(topic) = self.subscribers.topics().get(&first.event.topic) else { return };
        let (options, now) = (self.subscribers.options(), self.subscribers.clock().now());
        let frames = SharedFrames::default();
        let mut most = 0;
        topic.dispatch(items, options, |subscriber| match subscriber.give(items, &frames, now, options) {
            Given::Queued(bytes, next) => {
                most = most.max(bytes);
                touched.add(subscriber, next);
            }
            Given::Evicted(next) => {
                touched.add(subscriber, next);
                touched.evicted.push(Arc::clone(subscriber));
            }
            Given::Nothing => {}
        });
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let highwater = &self.subscribers.metrics().highwater;
        if most > highwater.get() {
            highwater.set(most);
        }
    }
}

/// Subscribers that something was queued for, and how much was handed on since they were last seen
/// to.
#[derive(Default)]
struct Touched {
    events: usize,
    bytes: usize,
    sinks: Vec<Arc<Subscriber>>,
    wakers: Vec<Waker>,
    evicted: Vec<Arc<Subscriber>>,
}

impl Touched {
    fn add(&mut self, subscriber: &Arc<Subscriber>, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Flush => self.sinks.push(Arc::clone(subscriber)),
            Next::Wake(waker) => self.wakers.push(waker),
        }
    }

    /// Tasks first: they run on other cores while this one writes.
    async fn rouse(&mut self, subscribers: &Arc<Subscribers>) {
        (self.events, self.bytes) = (0, 0);
        self.wakers.drain(..).for_each(Waker::wake);
        flush::all(subscribers, &mut self.sinks).await;
        // Only here: while their topic was dispatched to, its lock was held.
        self.evicted.drain(..).for_each(|subscriber| subscribers.vacate(&subscriber));
    }
}

fn round(options: &Options) -> (usize, usize) {
    (ROUND.min(options.outbox_events / 2).max(1), ROUND_BYTES.min(options.outbox_bytes / 2))
}

/// The events of the same topic that follow directly. Others in between end the run: a stream may
/// have both.
fn same_topic(first: Arc<Event>, rest: &mut VecDeque<Delivery>, options: &Options) -> Vec<Item> {
    let (max_events, max_bytes) = round(options);
    let mut run = vec![Item::new(first)];
    let mut bytes = run[0].event.data.as_bytes().len();
    while run.len() < max_events && bytes < max_bytes.min(RUN_BYTES) {
        match rest.front() {
            Some(Delivery::Event(next)) if next.topic == run[0].event.topic => {}
            _ => break,
        }
        if let Some(Delivery::Event(next)) = rest.pop_front() {
            let item = Item::new(next);
            bytes += item.event.data.as_bytes().len();
            run.push(item);
        }
    }
    run
}
