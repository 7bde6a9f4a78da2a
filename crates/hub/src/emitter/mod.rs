mod leave;
mod sink;
mod state;
mod subscription;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tidegate_protocol::{Cursor, Format, Partition, Position, Topic};

pub use leave::Leave;
pub use sink::{Flushed, Sink};
use state::{Held, Phase, State};
pub(crate) use state::{Joined, Merge};
pub use subscription::{Batch, Chunk, Subscription};
pub use watch::Watch;

use crate::blocks::Word;
use crate::channel::Channel;
use crate::item::Item;
use crate::members::User;
use crate::outbox::Outbox;
use crate::wheel::Tick;
use crate::{Manner, Options, blocks};

/// One connection as the hub sees it.
pub(crate) struct Emitter {
    pub(crate) id: u64,
    state: Mutex<State>,
    /// When something was last queued: heartbeats go to the silent only.
    pub(crate) last: AtomicU32,
    /// When the credential expires; [`Tick::MAX`]: never.
    pub(crate) expires: Tick,
    /// When it is too old.
    pub(crate) oldest: Tick,
    /// When the drain takes it.
    pub(crate) drains: AtomicU32,
    /// How it differs from the node's settings.
    pub(crate) manner: Option<Arc<Manner>>,
}

/// An emitter's place in a channel.
pub(crate) struct Seat {
    pub(crate) channel: Arc<Channel>,
    pub(crate) key: usize,
    /// The client asked for the topic, or it is the user's own: it stays when the membership goes.
    pub(crate) asked: bool,
}

/// A change of what a stream receives.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The user became a member: what was published since `from` belongs to the stream.
    Joined { topic: Topic, from: Option<Position> },
    /// The user is no member any more.
    Left(Topic),
    /// The client wants these, beginning with what comes.
    Asked(Vec<Topic>),
    /// The client does not want these any more.
    Dropped(Vec<Topic>),
}

/// What became of the wish to go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Live now, or the stream has ended.
    Done,
    /// Memberships changed meanwhile: apply [`Emitter::next_change`] first.
    Changed,
    /// Events were lost meanwhile: what was read and held is worth nothing, and was dropped.
    Reset,
    /// What was read does not reach far enough yet.
    Uneven,
}

/// What became of an item given to an emitter.
pub(crate) enum Given {
    /// Nothing to do: a repeat, held, or the stream has ended.
    Nothing,
    /// Queued, with the bytes that wait now.
    Queued(usize, Next),
    /// The outbox is full: the stream has been cut.
    Evicted(Next),
}

/// What is to be done when all that came together has been queued.
pub(crate) enum Next {
    /// Nothing: somebody is at it.
    Nothing,
    /// [`Emitter::flush`].
    Flush,
    /// The writer is asleep.
    Wake(Waker),
}

impl Emitter {
    pub(crate) fn new(
        id: u64,
        format: Format,
        now: Tick,
        expires: Tick,
        oldest: Tick,
        manner: Option<Arc<Manner>>,
    ) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                format,
                cursor: Cursor::default(),
                outbox: Outbox::default(),
                waker: None,
                phase: Phase::Held(Box::default()),
                seats: Vec::new(),
                user: None,
                joined: false,
                gone: false,
                evicted: 0,
                sink: None,
                blocked: None,
                due: false,
            }),
            last: AtomicU32::new(now),
            expires,
            oldest,
            drains: AtomicU32::new(Tick::MAX),
            manner,
        }
    }

    /// Gives it events of one topic, in order. `joined` is the same for every connection they are given to.
    pub(crate) fn give(&self, items: &[Item], joined: &Joined, now: Tick, options: &Options) -> Given {
        let mut state = self.state.lock();
        let fits = match &mut state.phase {
            Phase::Closed(..) => return Given::Nothing,
            Phase::Held(held) => {
                held.bytes += items.iter().map(Item::weight).sum::<usize>();
                held.items.extend_from_slice(items);
                // A join takes milliseconds; what piles up meanwhile is bounded like what piles up later.
                if held.items.len() <= items.len()
                    || (held.items.len() <= options.outbox_events && held.bytes <= 2 * options.outbox_bytes)
                {
                    return Given::Nothing;
                }
                false
            }
            Phase::Live => state.push(items, joined, options),
        };
        if !fits {
            return Given::Evicted(state.close(Leave::SlowConsumer, None).map_or(Next::Nothing, Next::Wake));
        }
        self.last.store(now, Ordering::Relaxed);
        Given::Queued(state.outbox.bytes(), state.next())
    }

    /// Ends the stream: what is queued goes out, then `goodbye`. Does nothing to a stream that has ended.
    pub(crate) fn close(&self, reason: Leave, options: &Options) {
        let mut state = self.state.lock();
        let cut = reason == Leave::SlowConsumer;
        let goodbye = (!cut).then(|| blocks::closing(state.format, options.retry, reason.as_str()));
        let waker = state.close(reason, goodbye);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Queues something of the gateway's own, if the stream is live and, for a heartbeat, nothing waits.
    pub(crate) fn tell(&self, now: Tick, word: Word, say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>) {
        let state = self.state.lock();
        let silent = state.outbox.is_empty() && state.blocked.is_none();
        if matches!(state.phase, Phase::Live) && (silent || word != Word::Heartbeat) {
            self.speak(state, now, word, say);
        }
    }

    fn speak(
        &self,
        mut state: MutexGuard<'_, State>,
        now: Tick,
        word: Word,
        say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>,
    ) {
        let format = state.format;
        let bytes = say(format, &mut state.cursor);
        state.say(word, bytes);
        self.last.store(now, Ordering::Relaxed);
        state::wake(state);
    }

    /// Holds back live events from now on, for the change to come. True if whoever asked must see to the change; false if somebody is at it.
    pub(crate) fn hold(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Closed(..) => false,
            Phase::Held(held) => {
                held.changes.push_back(change);
                false
            }
            Phase::Live => {
                let held = Held { changes: VecDeque::from([change]), ..Held::default() };
                state.phase = Phase::Held(Box::new(held));
                true
            }
        }
    }

    /// Tells whoever is at a change already of another one. False if nobody is.
    pub(crate) fn note(&self, change: Change) -> bool {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return false };
        held.changes.push_back(change);
        true
    }

    /// The same for one that has been done: if nobody is at a change, the client is told what `say` says.
    pub(crate) fn note_or_tell(
        &self,
        change: Change,
        now: Tick,
        say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>,
    ) {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Held(held) => held.changes.push_back(change),
            Phase::Live => self.speak(state, now, Word::Topics, say),
            Phase::Closed(..) => {}
        }
    }

    /// Drops what is held back of these topics.
    pub(crate) fn forgo(&self, topics: &[Topic]) {
        if let Phase::Held(held) = &mut self.state.lock().phase {
            held.items.retain(|item| !topics.contains(&item.event.topic));
            held.bytes = held.items.iter().map(Item::weight).sum();
        }
    }

    /// Takes the next change to apply while events are held back.
    pub(crate) fn next_change(&self) -> Option<Change> {
        match &mut self.state.lock().phase {
            Phase::Held(held) => held.changes.pop_front(),
            _ => None,
        }
    }

    /// Events were lost: a live stream's client is told so, and whoever is at a join or a change that what is being read is worth nothing.
    /// True: the client was told.
    pub(crate) fn lose(&self, now: Tick, say: impl FnOnce(Format, &mut Cursor) -> Vec<u8>) -> bool {
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Live => {
                self.speak(state, now, Word::Reset, say);
                return true;
            }
            Phase::Held(held) => held.reset = true,
            Phase::Closed(..) => {}
        }
        false
    }

    /// Ends the time of holding back, unless something came up: calls `merge` with the events held. If that gives false, it has queued nothing,
    /// and the holding back goes on.
    pub(crate) fn release(
        &self,
        now: Tick,
        merge: impl FnOnce(&mut Merge<'_>, &mut Vec<Item>) -> bool,
    ) -> Release {
        let mut state = self.state.lock();
        let Phase::Held(held) = &mut state.phase else { return Release::Done };
        if held.reset {
            let changes = std::mem::take(&mut held.changes);
            **held = Held { changes, ..Held::default() };
            return Release::Reset;
        }
        if !held.changes.is_empty() {
            return Release::Changed;
        }
        if let Phase::Held(mut held) = std::mem::replace(&mut state.phase, Phase::Live)
            && !merge(&mut Merge { state: &mut state }, &mut held.items)
        {
            state.phase = Phase::Held(held);
            return Release::Uneven;
        }
        self.last.store(now, Ordering::Relaxed);
        state::wake(state);
        Release::Done
    }

    /// The channels at which it has a seat.
    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.state.lock().seats.iter().map(|seat| Arc::clone(&seat.channel)).collect()
    }

    /// Puts its place in a partition that it had no topic in so far, or none since the partition's epoch began.
    pub(crate) fn place(&self, partition: Partition, position: Position) {
        let mut state = self.state.lock();
        if state.cursor.get(partition).is_none_or(|place| place.epoch != position.epoch) {
            state.cursor.set(partition, position);
        }
    }

    /// Where it stands.
    pub(crate) fn cursor(&self) -> Cursor {
        self.state.lock().cursor.clone()
    }

    /// Takes a seat's note. False if the stream has ended: the caller must give the seat back.
    pub(crate) fn seat(&self, seat: Seat) -> bool {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed(..)) {
            return false;
        }
        state.seats.push(seat);
        true
    }

    /// Whether it has a seat at `topic`; if so and `asked`, the seat outlives the membership.
    pub(crate) fn has_seat(&self, topic: &Topic, asked: bool) -> bool {
        let mut state = self.state.lock();
        let seat = state.seats.iter_mut().find(|seat| seat.channel.topic == *topic);
        seat.map(|seat| seat.asked |= asked).is_some()
    }

    /// Takes a seat back that only a membership gave or, with `asked`, any.
    pub(crate) fn unseat(&self, topic: &Topic, asked: bool) -> Option<Seat> {
        let mut state = self.state.lock();
        let at =
            state.seats.iter().position(|seat| seat.channel.topic == *topic && (asked || !seat.asked))?;
        Some(state.seats.swap_remove(at))
    }

    /// The topics it receives, and whether each was asked for.
    pub(crate) fn topics(&self) -> Vec<(Topic, bool)> {
        self.state.lock().seats.iter().map(|seat| (seat.channel.topic.clone(), seat.asked)).collect()
    }

    fn poll(&self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Chunk>> {
        let mut state = self.state.lock();
        if let Some(chunk) = state.take(most) {
            return Poll::Ready(Some(chunk));
        }
        if matches!(state.phase, Phase::Closed(..)) {
            return Poll::Ready(None);
        }
        state.park(cx);
        Poll::Pending
    }

    /// Notes the user's count that it is part of.
    pub(crate) fn belongs(&self, user: (Arc<User>, usize)) {
        self.state.lock().user = Some(user);
    }

    /// Whose it is, while it is part of the count.
    pub(crate) fn user(&self) -> Option<Arc<User>> {
        self.state.lock().user.as_ref().map(|(user, _)| Arc::clone(user))
    }

    /// It is open: its end will be counted.
    pub(crate) fn opened(&self) {
        self.state.lock().joined = true;
    }

    /// Gives its seats and its place among its user's streams back, if it has ended: it gets nothing more.
    pub(crate) fn vacate(&self) -> (Vec<Seat>, Option<(Arc<User>, usize)>) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Closed(..)) {
            (std::mem::take(&mut state.seats), state.user.take())
        } else {
            (Vec::new(), None)
        }
    }

    /// Marks it gone. The first time, says why (`None`: it was never opened) and how many events went with it.
    pub(crate) fn depart(&self) -> Option<(Option<Leave>, usize)> {
        let mut state = self.state.lock();
        let reason = match state.phase {
            Phase::Closed(reason, _) => reason,
            _ => Leave::Client,
        };
        state.phase = Phase::Closed(reason, true);
        let dropped = state.outbox.events() + state.evicted;
        state.outbox.clear();
        state.waker = None;
        state.sink = None;
        let first = !std::mem::replace(&mut state.gone, true);
        first.then(|| (state.joined.then_some(reason), dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle stream costs here; docs/benchmarks.md has the other parts. What makes it larger should be worth that.
    #[test]
    fn an_idle_emitter_is_small() {
        let (emitter, seat, subscription) =
            (size_of::<Emitter>(), size_of::<Seat>(), size_of::<Subscription>());
        assert!(emitter <= 288, "{emitter} bytes");
        assert_eq!((seat, subscription), (24, 16));
    }
}
