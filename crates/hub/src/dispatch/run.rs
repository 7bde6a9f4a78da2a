//! The loop between the broker's deliveries and the emitters.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use tidegate_broker::{Deliveries, Delivery, ResetReason};
use tidegate_protocol::{Event, Partition, Position, Topic};

use super::flush;
use crate::item::Item;
use crate::subscriber::{Emitter, Given, Joined, Next};
use crate::{Inner, Options, control_events};

/// Events, and bytes of them, handed on before the writers get their turn: a flood must reach sockets while it lasts, or outboxes would fill
/// for nothing, and clients that read be cut. At most half of what an outbox takes.
const ROUND: usize = 256;
const ROUND_BYTES: usize = 256 << 10;

/// Bytes joined into one piece. More in one write gains nothing, and an outbox takes a piece as a whole or not at all.
const RUN_BYTES: usize = 64 << 10;

/// Hands deliveries on until the feed ends. Everything that waits is taken at once; connections are
/// woken when all of it has been queued, so that many events leave in one write.
pub(crate) async fn run(hub: Arc<Inner>, mut deliveries: Deliveries) {
    let mut batch = VecDeque::new();
    let mut touched = Touched::default();
    loop {
        batch.clear();
        if !deliveries.next(&mut batch).await {
            return;
        }
        while let Some(delivery) = batch.pop_front() {
            hub.handle(delivery, &mut batch, &mut touched);
            let (events, bytes) = round(&hub.options);
            if touched.events >= events || touched.bytes >= bytes {
                touched.rouse(&hub).await;
                tokio::task::yield_now().await;
            }
        }
        touched.rouse(&hub).await;
    }
}

fn round(options: &Options) -> (usize, usize) {
    (ROUND.min(options.outbox_events / 2).max(1), ROUND_BYTES.min(options.outbox_bytes / 2))
}

/// Connections that something was queued for, and how much was handed on since they were last seen to.
#[derive(Default)]
struct Touched {
    events: usize,
    bytes: usize,
    sinks: Vec<Arc<Emitter>>,
    wakers: Vec<Waker>,
    evicted: Vec<Arc<Emitter>>,
}

impl Touched {
    fn add(&mut self, emitter: &Arc<Emitter>, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Flush => self.sinks.push(Arc::clone(emitter)),
            Next::Wake(waker) => self.wakers.push(waker),
        }
    }

    /// Tasks first: they run on other cores while this one writes.
    async fn rouse(&mut self, hub: &Arc<Inner>) {
        (self.events, self.bytes) = (0, 0);
        self.wakers.drain(..).for_each(Waker::wake);
        flush::all(hub, &mut self.sinks).await;
        // Only here: while their channel was dispatched to, its lock was held.
        self.evicted.drain(..).for_each(|emitter| hub.vacate(&emitter));
    }
}

impl Inner {
    fn handle(self: &Arc<Self>, delivery: Delivery, rest: &mut VecDeque<Delivery>, touched: &mut Touched) {
        touched.events += 1;
        match delivery {
            Delivery::Event(event) => {
                let run = same_topic(event, rest, &self.options);
                touched.events += run.len() - 1;
                touched.bytes += run.iter().map(|item| item.event.data.as_bytes().len()).sum::<usize>();
                self.fan_out(&run, touched);
                if let Some(last) = run.last() {
                    let mark = &last.event.mark;
                    self.seen.advance(mark.partition, mark.position());
                }
            }
            Delivery::Control { user, seen: (partition, position), control } => {
                self.control(&user, &control);
                self.seen.advance(partition, position);
            }
            Delivery::Forgotten { topic, seen: (partition, position) } => {
                if let Some(channel) = self.channels.get(&topic).map(|channel| Arc::clone(&channel)) {
                    channel.forget(position);
                }
                self.seen.advance(partition, position);
            }
            Delivery::Reset { partition, topics, reason, position } => {
                self.lost(partition, topics.as_deref(), reason, position);
                self.seen.advance(partition, position);
            }
            Delivery::Seen(partition, position) => self.seen.advance(partition, position),
            Delivery::Gap => {
                // Deletions may have been missed as well.
                let channels: Vec<_> = self.channels.iter().map(|channel| Arc::clone(&channel)).collect();
                for channel in channels {
                    if let Some(position) = self.seen.get(channel.partition) {
                        channel.distrust(position);
                    }
                }
                self.gap.notify_one();
            }
        }
    }

    fn fan_out(&self, items: &[Item], touched: &mut Touched) {
        let Some(first) = items.first() else { return };
        let Some(channel) = self.channels.get(&first.event.topic).map(|channel| Arc::clone(&channel)) else {
            return;
        };
        let joined = Joined::default();
        let now = self.wheel.now();
        let mut most = 0;
        channel.dispatch(items, &self.options, |emitter| {
            match emitter.give(items, &joined, now, &self.options) {
                Given::Queued(bytes, next) => {
                    most = most.max(bytes);
                    touched.add(emitter, next);
                }
                Given::Evicted(next) => {
                    touched.add(emitter, next);
                    touched.evicted.push(Arc::clone(emitter));
                }
                Given::Nothing => {}
            }
        });
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        if most > self.metrics.highwater.get() {
            self.metrics.highwater.set(most);
        }
    }

    /// Tells every stream of the topics that events were lost for good.
    fn lost(&self, partition: Partition, topics: Option<&[Topic]>, reason: ResetReason, position: Position) {
        let channels: Vec<_> = match topics {
            Some(topics) => {
                topics.iter().filter_map(|t| self.channels.get(t).map(|c| Arc::clone(&c))).collect()
            }
            None => self
                .channels
                .iter()
                .map(|channel| Arc::clone(&channel))
                .filter(|c| c.partition == partition)
                .collect(),
        };
        let mut told: HashMap<u64, (Arc<Emitter>, Vec<Topic>)> = HashMap::new();
        for channel in channels {
            channel.reset(position);
            for emitter in channel.emitters() {
                told.entry(emitter.id).or_insert_with(|| (emitter, Vec::new())).1.push(channel.topic.clone());
            }
        }
        for (emitter, topics) in told.into_values() {
            let told = emitter.lose(self.wheel.now(), |format, cursor| {
                // Within an epoch the cursor stays: events of other topics up to `position` may still be on their way.
                if cursor.get(partition).is_none_or(|place| place.epoch != position.epoch) {
                    cursor.set(partition, position);
                }
                control_events::reset(format, cursor, &topics, reason)
            });
            if told {
                self.metrics.resets.with_label_values(&[reason.as_str()]).inc();
            }
        }
    }
}

/// The events of the same topic that follow directly. Others in between end the run: a connection may have both.
fn same_topic(first: Arc<Event>, rest: &mut VecDeque<Delivery>, options: &Options) -> Vec<Item> {
    let (most, most_bytes) = round(options);
    let mut run = vec![Item::new(first)];
    let mut bytes = run[0].event.data.as_bytes().len();
    while run.len() < most && bytes < most_bytes.min(RUN_BYTES) {
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
