//! What a node has handed on, and what it does with the next message. No I/O and no waiting: the connection's read task runs it.
//!
//! While [`Mode::Live`], messages go straight to the [`Feed`]. While [`Mode::Repairing`] they are held back, in the
//! order of their arrival, until what was missed has been read from the streams. While [`Mode::Away`] nothing is taken.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidegate_broker::{Delivery, Feed, Full, ResetReason};
use tidegate_protocol::{Cursor, Envelope, Epoch, Message, Partition, Position, Topic};
use tokio::sync::{oneshot, watch};

use super::changes::Changes;
use super::entry::Entry;
use super::words::{delivery, reset};

/// A flat charge for each message held, besides its data.
const HELD_BYTES: usize = 256;

/// The state of a node's subscription.
pub(super) struct Sequencer {
    feed: Feed,
    /// By channel.
    pub(super) entries: HashMap<Arc<str>, Entry>,
    pub(super) mode: Mode,
    /// Deliveries have begun once: from then on, a repair may have missed controls.
    pub(super) ever_live: bool,
    /// The connection whose messages count: those of earlier ones may still trickle in. 0: none.
    pub(super) link: u64,
    /// For each partition the highest place handed on; `None` before the first connection.
    pub(super) seen: Vec<Option<Position>>,
    /// Messages held back, for each partition in the order of arrival.
    pub(super) held: Vec<VecDeque<Held>>,
    held_bytes: usize,
    held_limit: usize,
    pub(super) changes: Changes,
    waiters: Vec<Waiter>,
    closed: bool,
    /// The last probe heard, for each partition.
    pub(super) heard: watch::Sender<Vec<u64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Away,
    Repairing,
    Live,
}

/// A message that waits for a repair.
pub(super) struct Held {
    pub(super) channel: Arc<str>,
    pub(super) envelope: Envelope,
    bytes: usize,
}

struct Waiter {
    channels: Vec<Arc<str>>,
    confirmed: oneshot::Sender<Cursor>,
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Handed on, or not for us.
    Fine,
    /// Something is missing or changed: the supervisor must look. The message is held.
    Repair(&'static str),
    /// The connection must go: what it would bring can't be taken.
    Drop(&'static str),
}

/// Why a message can't be handed on right now.
pub(super) enum Refused {
    Gap(&'static str),
    Full,
}

impl Sequencer {
    pub(super) fn new(feed: Feed, partitions: u8, held_limit: usize) -> Self {
        let count = usize::from(partitions);
        Self {
            feed,
            entries: HashMap::new(),
            mode: Mode::Away,
            ever_live: false,
            link: 0,
            seen: vec![None; count],
            held: (0..count).map(|_| VecDeque::new()).collect(),
            held_bytes: 0,
            held_limit,
            changes: Changes::default(),
            waiters: Vec::new(),
            closed: false,
            heard: watch::Sender::new(vec![0; count]),
        }
    }

    /// Takes a message off the wire.
    pub(super) fn receive(&mut self, channel: &str, envelope: Envelope, bytes: usize) -> Outcome {
        let Some((channel, entry)) = self.entries.get_key_value(channel) else { return Outcome::Fine };
        let (channel, partition) = (Arc::clone(channel), entry.partition.index());
        let why = match self.mode {
            Mode::Away => return Outcome::Fine,
            Mode::Repairing => None,
            Mode::Live => match self.accept(&channel, &envelope) {
                Ok(()) => return Outcome::Fine,
                Err(Refused::Full) => {
                    return Outcome::Drop("the node is too slow: its dispatch queue is full");
                }
                Err(Refused::Gap(why)) => Some(why),
            },
        };
        let bytes = bytes + HELD_BYTES;
        self.held_bytes += bytes;
        if self.held_bytes > self.held_limit {
            return Outcome::Drop("too many messages came while the node caught up");
        }
        self.held[partition].push_back(Held { channel, envelope, bytes });
        match why {
            Some(why) => {
                self.mode = Mode::Repairing;
                Outcome::Repair(why)
            }
            None => Outcome::Fine,
        }
    }

    /// Hands a message on if it is the next one of its partition and its topic. Changes nothing otherwise.
    pub(super) fn accept(&mut self, channel: &Arc<str>, envelope: &Envelope) -> Result<(), Refused> {
        let Some(entry) = self.entries.get_mut(channel) else { return Ok(()) };
        let (partition, position) = (entry.partition, envelope.position);
        let Some(seen) = self.seen[partition.index()] else { return Err(Refused::Gap("no place yet")) };
        if position.epoch != seen.epoch {
            return Err(Refused::Gap("another epoch has begun"));
        }
        let mut lost = None;
        match envelope.prev {
            Some(_) if position.offset <= seen.offset => return Err(Refused::Gap("an offset came again")),
            None if position.offset < seen.offset => return Err(Refused::Gap("the counter went back")),
            Some(prev) if entry.confirmed && prev > entry.last => {
                if prev > seen.offset {
                    return Err(Refused::Gap("an event is missing"));
                }
                // Others have been handed on since: it is too late to bring it in order.
                lost = Some(reset(partition, vec![entry.topic.clone()], ResetReason::Trimmed, seen));
            }
            _ => {}
        }
        let delivery = delivery(&entry.topic, partition, envelope, position);
        self.feed.push_all(lost.into_iter().chain([delivery])).map_err(|Full| Refused::Full)?;
        if envelope.prev.is_some() {
            entry.last = position.offset;
        }
        self.seen[partition.index()] = Some(position);
        self.hear(partition, &envelope.message);
        Ok(())
    }

    /// Tells whoever waits for a probe.
    pub(super) fn hear(&self, partition: Partition, message: &Message) {
        if let Message::Probe { nonce } = *message {
            self.heard.send_modify(|heard| heard[partition.index()] = nonce);
        }
    }

    pub(super) fn pop_held(&mut self, partition: Partition) -> Option<Held> {
        let held = self.held[partition.index()].pop_front()?;
        self.held_bytes -= held.bytes;
        Some(held)
    }

    /// A new connection: everything is to be subscribed again, and messages are held until the repair is done.
    pub(super) fn connected(&mut self, link: u64) {
        self.link = link;
        self.mode = Mode::Repairing;
        self.clear_held();
        self.changes = Changes::all(self.entries.keys());
    }

    /// The connection is gone: nothing that it may still say counts.
    pub(super) fn away(&mut self) {
        self.link = 0;
        self.mode = Mode::Away;
        self.changes = Changes::default();
        self.clear_held();
    }

    fn clear_held(&mut self) {
        self.held.iter_mut().for_each(VecDeque::clear);
        self.held_bytes = 0;
    }

    /// Adds wanted topics. Gives the cursor at once if all are live already, and otherwise whom to wait for.
    pub(super) fn subscribe(
        &mut self,
        topics: Vec<(Arc<str>, Topic, Partition)>,
    ) -> Result<Cursor, oneshot::Receiver<Cursor>> {
        let mut channels = Vec::with_capacity(topics.len());
        let mut cursor = Cursor::default();
        let mut ready = self.mode == Mode::Live;
        for (channel, topic, partition) in topics {
            match self.seen[partition.index()] {
                Some(seen) => cursor.set(partition, seen),
                None => ready = false,
            }
            let entry = self.entries.entry(Arc::clone(&channel)).or_insert_with(|| {
                if self.mode != Mode::Away {
                    self.changes.pending.push(Arc::clone(&channel));
                }
                Entry::new(Arc::clone(&channel), topic, partition)
            });
            ready &= entry.confirmed;
            channels.push(channel);
        }
        if ready {
            return Ok(cursor);
        }
        let (confirmed, answer) = oneshot::channel();
        // Those who gave up while Redis was away. Only now and then: there may be as many as there are clients.
        if self.waiters.len().is_power_of_two() {
            self.waiters.retain(|waiter| !waiter.confirmed.is_closed());
        }
        if !self.closed {
            self.waiters.push(Waiter { channels, confirmed });
        }
        Err(answer)
    }

    /// Forgets topics. What is still on the wire for them is dropped from now on.
    pub(super) fn unsubscribe(&mut self, channels: impl Iterator<Item = Arc<str>>) {
        for channel in channels {
            if self.entries.remove(&channel).is_some() && self.mode != Mode::Away {
                self.changes.leaving.push(channel);
            }
        }
    }

    /// Takes the channels to unsubscribe: wanted again in the meantime is not unsubscribed.
    pub(super) fn take_leaving(&mut self) -> Vec<Arc<str>> {
        let leaving = std::mem::take(&mut self.changes.leaving);
        leaving.into_iter().filter(|channel| !self.entries.contains_key(channel)).collect()
    }

    /// Takes the channels to subscribe, as far as they are still wanted.
    pub(super) fn take_pending(&mut self) -> Vec<Arc<str>> {
        let pending = std::mem::take(&mut self.changes.pending);
        pending
            .into_iter()
            .filter(|channel| self.entries.get(channel).is_some_and(|e| e.is(channel)))
            .collect()
    }

    /// `channels` are subscribed, and `heads` was read after that on the same connection: so whatever came before it has been received.
    ///
    /// Unless a topic was let go and is wanted again since: what came in between was dropped, and
    /// its new entry waits for later heads.
    pub(super) fn confirm(&mut self, channels: &[Arc<str>], heads: &[Position]) {
        for channel in channels {
            if let Some(entry) = self.entries.get_mut(channel)
                && !entry.confirmed
                && entry.is(channel)
            {
                entry.confirmed = true;
                entry.last = entry.last.max(heads[entry.partition.index()].offset);
            }
        }
    }

    /// Everything up to `head` has been received and handed on.
    pub(super) fn reach(&mut self, partition: Partition, head: Position) {
        let seen = &mut self.seen[partition.index()];
        if seen.is_none_or(|seen| seen.epoch != head.epoch || seen.offset < head.offset) {
            *seen = Some(head);
            self.tell(Delivery::Seen(partition, head));
        }
    }

    /// Answers the subscribers whose topics are all confirmed. Everything after `heads` will be delivered to them.
    pub(super) fn answer(&mut self, heads: &[Position]) {
        let entries = &self.entries;
        let done = |waiter: &mut Waiter| {
            waiter.channels.iter().all(|channel| entries.get(channel).is_none_or(|entry| entry.confirmed))
        };
        for waiter in self.waiters.extract_if(.., done) {
            let mut cursor = Cursor::default();
            for partition in waiter.channels.iter().filter_map(|c| Some(entries.get(c)?.partition)) {
                cursor.set(partition, heads[partition.index()]);
            }
            // The subscriber may have given up.
            let _ = waiter.confirmed.send(cursor);
        }
    }

    /// Hands on what was read from a stream, or held back: leaves out what has been handed on, and says what is missing.
    pub(super) fn replay(&mut self, channel: &Arc<str>, envelope: &Envelope) -> Result<(), Full> {
        let Some(entry) = self.entries.get_mut(channel) else { return Ok(()) };
        let (partition, position) = (entry.partition, envelope.position);
        let Some(seen) = self.seen[partition.index()] else { return Ok(()) };
        let mut lost = None;
        let position = match envelope.prev {
            Some(prev) => {
                if position.epoch != seen.epoch || position.offset <= seen.offset {
                    return Ok(());
                }
                if entry.confirmed && prev > entry.last {
                    lost = Some(reset(partition, vec![entry.topic.clone()], ResetReason::Trimmed, seen));
                }
                position
            }
            // Not stored, so its place is only where the counter stood. It never takes the partition back.
            None if position.epoch == seen.epoch && position.offset > seen.offset => position,
            None => seen,
        };
        let delivery = delivery(&entry.topic, partition, envelope, position);
        self.feed.push_all(lost.into_iter().chain([delivery]))?;
        if envelope.prev.is_some() {
            entry.last = position.offset;
        }
        self.seen[partition.index()] = Some(position);
        self.hear(partition, &envelope.message);
        Ok(())
    }

    /// Another life of a partition's counter: everything of the old one is lost, and everything of the new one comes.
    pub(super) fn renewed(&mut self, partition: Partition, epoch: Epoch) {
        let position = Position { epoch, offset: 0 };
        self.seen[partition.index()] = Some(position);
        self.entries
            .values_mut()
            .filter(|entry| entry.partition == partition)
            .for_each(|entry| entry.last = 0);
        self.tell(Delivery::Reset { partition, topics: None, reason: ResetReason::Epoch, position });
    }

    /// Pushes what always fits: resets, gaps and places.
    pub(super) fn tell(&self, delivery: Delivery) {
        let _ = self.feed.push(delivery);
    }

    /// No more deliveries.
    pub(super) fn close(&mut self) {
        self.away();
        self.closed = true;
        self.waiters.clear();
        self.feed.close();
    }
}
