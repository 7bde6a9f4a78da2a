//! What a node has handed on, and what it does with the next message. No I/O and no waiting: the connection's read task runs it.
//!
//! While [`Mode::Live`], messages go straight to the [`Feed`]. While [`Mode::Repairing`] they are held back, in the
//! order of their arrival, until what was missed has been read from the streams. While [`Mode::Away`] nothing is taken.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_broker::{Delivery, Feed, Full, ResetReason};
use tidegate_protocol::{Envelope, Epoch, Message, Offset, Partition, Position, Topic};
use tokio::sync::{oneshot, watch};

use super::changes::Changes;
use super::entry::Entry;
use super::words::{delivery, reset};
use crate::place::{Evidence, Place, Verdict};

/// A flat charge for each message held, besides its data.
const HELD_BYTES: usize = 256;

/// The state of a partition's subscription.
pub(super) struct Sequencer {
    feed: Feed,
    partition: Partition,
    evidence: Arc<Mutex<Evidence>>,
    /// By channel.
    pub(super) entries: HashMap<Arc<str>, Entry>,
    pub(super) mode: Mode,
    /// Deliveries have begun once: from then on, a repair may have missed controls.
    pub(super) ever_live: bool,
    /// The connection whose messages count: those of earlier ones may still trickle in. 0: none.
    pub(super) link: u64,
    /// The highest place handed on; `None` before the first connection.
    pub(super) seen: Option<Position>,
    /// Where the current epoch began.
    begin: Offset,
    /// An epoch before that ended where this one began, until an event of this one is seen: if the
    /// primary that began it dies at once, the next one has not heard of it.
    was: Option<Epoch>,
    /// Messages held back, in the order of arrival.
    pub(super) held: VecDeque<Held>,
    held_bytes: usize,
    held_limit: usize,
    pub(super) changes: Changes,
    waiters: Vec<Waiter>,
    closed: bool,
    /// The last probe heard.
    pub(super) heard: watch::Sender<u64>,
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
    confirmed: oneshot::Sender<Position>,
}

/// What came of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Handed on, or not for us.
    Fine,
    /// Something is missing or changed: the link must look. The message is held.
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
    pub(super) fn new(
        feed: Feed,
        partition: Partition,
        evidence: Arc<Mutex<Evidence>>,
        held_limit: usize,
    ) -> Self {
        Self {
            feed,
            partition,
            evidence,
            entries: HashMap::new(),
            mode: Mode::Away,
            ever_live: false,
            link: 0,
            seen: None,
            begin: 0,
            was: None,
            held: VecDeque::new(),
            held_bytes: 0,
            held_limit,
            changes: Changes::default(),
            waiters: Vec::new(),
            closed: false,
            heard: watch::Sender::new(0),
        }
    }

    /// Takes a message off the wire.
    pub(super) fn receive(&mut self, channel: &str, envelope: Envelope, bytes: usize) -> Outcome {
        let Some((channel, _)) = self.entries.get_key_value(channel) else { return Outcome::Fine };
        let channel = Arc::clone(channel);
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
        self.know(envelope.position);
        let bytes = bytes + HELD_BYTES;
        self.held_bytes += bytes;
        if self.held_bytes > self.held_limit {
            return Outcome::Drop("too many messages came while the node caught up");
        }
        self.held.push_back(Held { channel, envelope, bytes });
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
        let (partition, position) = (self.partition, envelope.position);
        let Some(seen) = self.seen else { return Err(Refused::Gap("no place yet")) };
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
        self.see(position);
        self.hear(&envelope.message);
        Ok(())
    }

    /// Tells whoever waits for a probe.
    pub(super) fn hear(&self, message: &Message) {
        if let Message::Probe { nonce } = *message {
            self.heard.send_replace(nonce);
        }
    }

    /// Everything up to `position` has been handed on.
    fn see(&mut self, position: Position) {
        self.seen = Some(position);
        if position.offset > self.begin {
            self.was = None;
        }
        self.know(position);
    }

    /// Something of that name exists, or existed. At an epoch's beginning nothing of it does.
    fn know(&self, name: Position) {
        if self.seen.is_some_and(|seen| seen.epoch == name.epoch) && name.offset > self.begin {
            self.evidence.lock().note(name);
        }
    }

    pub(super) fn pop_held(&mut self) -> Option<Held> {
        let held = self.held.pop_front()?;
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
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Adds wanted topics. Gives the place at once if all are live already, and otherwise whom to wait for.
    pub(super) fn subscribe(
        &mut self,
        topics: Vec<(Arc<str>, Topic)>,
    ) -> Result<Position, oneshot::Receiver<Position>> {
        let mut channels = Vec::with_capacity(topics.len());
        let mut ready = self.mode == Mode::Live;
        for (channel, topic) in topics {
            let entry = self.entries.entry(Arc::clone(&channel)).or_insert_with(|| {
                if self.mode != Mode::Away {
                    self.changes.pending.push(Arc::clone(&channel));
                }
                Entry::new(Arc::clone(&channel), topic)
            });
            ready &= entry.confirmed;
            channels.push(channel);
        }
        if let Some(seen) = self.seen.filter(|_| ready) {
            return Ok(seen);
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
        let leaving: Vec<Arc<str>> =
            leaving.into_iter().filter(|channel| !self.entries.contains_key(channel)).collect();
        for channel in &leaving {
            *self.changes.ending.entry(Arc::clone(channel)).or_default() += 1;
        }
        leaving
    }

    /// Redis says that a channel has ended. False: it was not asked to.
    pub(super) fn has_left(&mut self, channel: &str) -> bool {
        let Some(times) = self.changes.ending.get_mut(channel) else { return false };
        *times -= 1;
        if *times == 0 {
            self.changes.ending.remove(channel);
        }
        true
    }

    /// Takes the channels to subscribe, as far as they are still wanted.
    pub(super) fn take_pending(&mut self) -> Vec<Arc<str>> {
        let pending = std::mem::take(&mut self.changes.pending);
        pending
            .into_iter()
            .filter(|channel| self.entries.get(channel).is_some_and(|e| e.is(channel)))
            .collect()
    }

    /// `channels` are subscribed, and `head` was read after that on the same connection: so whatever came before it has been received.
    ///
    /// Unless a topic was let go and is wanted again since: what came in between was dropped, and
    /// its new entry waits for a later head.
    pub(super) fn confirm(&mut self, channels: &[Arc<str>], head: Position) {
        for channel in channels {
            if let Some(entry) = self.entries.get_mut(channel)
                && !entry.confirmed
                && entry.is(channel)
            {
                entry.confirmed = true;
                entry.last = entry.last.max(head.offset);
            }
        }
    }

    /// Everything up to `head` has been received and handed on.
    pub(super) fn reach(&mut self, head: Position) {
        if self.seen.is_none_or(|seen| seen.epoch != head.epoch || seen.offset < head.offset) {
            self.see(head);
            self.tell(Delivery::Seen(self.partition, head));
        }
    }

    /// Answers the subscribers whose topics are all confirmed. Everything after `head` will be delivered to them.
    pub(super) fn answer(&mut self, head: Position) {
        let entries = &self.entries;
        let done = |waiter: &mut Waiter| {
            waiter.channels.iter().all(|channel| entries.get(channel).is_none_or(|entry| entry.confirmed))
        };
        for waiter in self.waiters.extract_if(.., done) {
            // The subscriber may have given up.
            let _ = waiter.confirmed.send(head);
        }
    }

    /// Hands on what was read from a stream, or held back: leaves out what has been handed on, and says what is missing.
    pub(super) fn replay(&mut self, channel: &Arc<str>, envelope: &Envelope) -> Result<(), Full> {
        let Some(entry) = self.entries.get_mut(channel) else { return Ok(()) };
        let (partition, position) = (self.partition, envelope.position);
        let Some(seen) = self.seen else { return Ok(()) };
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
        self.see(position);
        self.hear(&envelope.message);
        Ok(())
    }

    /// The node has entered at `place`. What was handed on goes on from there, or events were lost.
    pub(super) fn entered(&mut self, place: &Place) {
        let (epoch, counter) = (place.head.epoch, place.head.offset);
        let goes_on =
            |seen: Position| seen.epoch == epoch && place.judge(seen, counter) == Verdict::Continues;
        if self.seen.is_some_and(goes_on) {
            return;
        }
        let was = std::mem::replace(&mut self.was, place.before());
        self.begin = place.begin;
        let Some(mut seen) = self.seen else { return };
        if self.mode == Mode::Live {
            self.mode = Mode::Repairing;
        }
        if let Some(was) = was.filter(|_| !place.knows(seen.epoch)) {
            let earlier = Position { epoch: was, ..seen };
            if place.judge(earlier, counter) == Verdict::Continues {
                seen = earlier;
            }
        }
        match place.judge(seen, counter) {
            Verdict::Continues => {
                let position = Position { epoch, ..seen };
                self.seen = Some(position);
                self.tell(Delivery::Continued(self.partition, position));
            }
            Verdict::Ahead => self.lost(Position { epoch, offset: counter }),
            Verdict::Lost(offset) => self.lost(Position { epoch, offset }),
        }
    }

    /// Events were lost: what is after `position` comes.
    fn lost(&mut self, position: Position) {
        self.seen = Some(position);
        self.entries.values_mut().for_each(|entry| entry.last = position.offset);
        let (partition, reason) = (self.partition, ResetReason::Epoch);
        self.tell(Delivery::Reset { partition, topics: None, reason, position });
    }

    /// Controls and deletions may have been missed.
    pub(super) fn tell_gap(&self) {
        self.tell(Delivery::Gap(self.partition));
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
