use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tidegate_broker::Control;
use tidegate_protocol::{Cursor, Partition, Position, Topic};

use crate::channel::Channel;
use crate::item::Item;
use crate::members::User;
use crate::outbox::{Entry, Outbox};
use crate::wheel::Tick;
use crate::{Inner, Options, blocks};

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
    /// Cuts the connection even when its writer is stuck in the socket.
    abort: Option<Abort>,
}

/// Called once when a stream ends that may be stuck in a full socket. Must not block.
pub(crate) type Abort = Arc<dyn Fn() + Send + Sync>;

struct State {
    /// The place of what was queued last: what comes at or before it is a repeat.
    cursor: Cursor,
    outbox: Outbox,
    waker: Option<Waker>,
    phase: Phase,
    seats: Vec<Seat>,
    /// Events that were thrown away when it was cut.
    evicted: usize,
}

enum Phase {
    /// Live events wait here while history is read; merged and queued at the end.
    Held(Box<Held>),
    /// Events go to the outbox.
    Live,
    /// What is queued still goes out, then the stream ends. With `true` it is cut.
    Closed(Leave, bool),
}

/// What came while a join or a change of topics was under way.
#[derive(Default)]
struct Held {
    items: Vec<Item>,
    bytes: usize,
    /// Changes of membership to apply before going live.
    changes: VecDeque<Control>,
    /// A reset came in between.
    reset: bool,
}

/// An emitter's place in a channel.
pub(crate) struct Seat {
    pub(crate) channel: Arc<Channel>,
    pub(crate) key: usize,
    /// The client asked for the topic, or it is the user's own: it stays when the membership goes.
    pub(crate) asked: bool,
}

/// Why a stream ended. The words go over the wire and into metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leave {
    /// The client went away.
    Client,
    /// The client did not read fast enough.
    SlowConsumer,
    /// Its credential expired.
    TokenExpired,
    /// It was open for as long as a stream may be.
    MaxAge,
    /// The node goes away.
    Drain,
    /// The user was disconnected.
    Disconnected,
    /// A replay was larger than one stream may queue: the rest comes at the reconnect.
    Replay,
    /// The broker could not be asked for what the stream needs.
    Unavailable,
}

impl Leave {
    /// The word on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::SlowConsumer => "slow_consumer",
            Self::TokenExpired => "token_expired",
            Self::MaxAge => "max_age",
            Self::Drain => "drain",
            Self::Disconnected => "disconnected",
            Self::Replay => "replay",
            Self::Unavailable => "unavailable",
        }
    }
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
}

/// What became of an item given to an emitter.
pub(crate) enum Given {
    /// Nothing to do: a repeat, held, or the stream has ended.
    Nothing,
    /// Queued, with the bytes that wait now and the writer to wake if it is asleep.
    Queued(usize, Option<Waker>),
    /// The outbox is full: the stream has been cut.
    Evicted(Option<Waker>),
}

impl Emitter {
    pub(crate) fn new(id: u64, now: Tick, expires: Tick, oldest: Tick, abort: Option<Abort>) -> Self {
        Self {
            id,
            state: Mutex::new(State {
                cursor: Cursor::default(),
                outbox: Outbox::default(),
                waker: None,
                phase: Phase::Held(Box::default()),
                seats: Vec::new(),
                evicted: 0,
            }),
            last: AtomicU32::new(now),
            expires,
            oldest,
            drains: AtomicU32::new(Tick::MAX),
            abort,
        }
    }

    /// Gives it events of one topic, in order. `joined` is their whole frames in one buffer.
    pub(crate) fn give(&self, items: &[Item], joined: &Bytes, now: Tick, options: &Options) -> Given {
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
            let waker = state.close(Leave::SlowConsumer, None);
            drop(state);
            self.abort();
            return Given::Evicted(waker);
        }
        self.last.store(now, Ordering::Relaxed);
        Given::Queued(state.outbox.bytes(), state.waker.take())
    }

    /// Ends the stream: what is queued goes out, then `goodbye`. Does nothing to a stream that has ended.
    pub(crate) fn close(&self, reason: Leave, options: &Options) {
        let mut state = self.state.lock();
        let cut = reason == Leave::SlowConsumer;
        let goodbye = (!cut).then(|| blocks::closing(options.retry, reason));
        let waker = state.close(reason, goodbye);
        drop(state);
        if cut {
            self.abort();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort();
        }
    }

    /// Queues a block of the gateway's own, if the stream is live and, with `idle`, nothing waits.
    pub(crate) fn tell(&self, now: Tick, idle: bool, block: impl FnOnce(&mut Cursor) -> Vec<u8>) {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Live) || (idle && !state.outbox.is_empty()) {
            return;
        }
        let bytes = block(&mut state.cursor);
        state.force(bytes.into());
        self.last.store(now, Ordering::Relaxed);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Holds back live events from now on, for the change to come. True if whoever asked must see to the change; false if somebody is at it.
    pub(crate) fn hold(&self, change: Control) -> bool {
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

    /// Takes the next change to apply while events are held back.
    pub(crate) fn next_change(&self) -> Option<Control> {
        match &mut self.state.lock().phase {
            Phase::Held(held) => held.changes.pop_front(),
            _ => None,
        }
    }

    /// Says that what is being read is worth nothing. False if the emitter is live.
    pub(crate) fn spoil(&self) -> bool {
        match &mut self.state.lock().phase {
            Phase::Held(held) => {
                held.reset = true;
                true
            }
            _ => false,
        }
    }

    /// Ends the time of holding back: calls `merge` with the events held, unless something came up.
    pub(crate) fn release(&self, now: Tick, merge: impl FnOnce(&mut Merge<'_>, Vec<Item>)) -> Release {
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
        let items = std::mem::take(&mut held.items);
        state.phase = Phase::Live;
        merge(&mut Merge { state: &mut state }, items);
        self.last.store(now, Ordering::Relaxed);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Release::Done
    }

    /// The channels at which it has a seat.
    pub(crate) fn channels(&self) -> Vec<Arc<Channel>> {
        self.state.lock().seats.iter().map(|seat| Arc::clone(&seat.channel)).collect()
    }

    /// Puts its place in a partition that it had no topic in so far.
    pub(crate) fn place(&self, partition: Partition, position: Position) {
        let mut state = self.state.lock();
        if state.cursor.get(partition).is_none() {
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
        if matches!(state.phase, Phase::Closed(Leave::Client, _)) {
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

    /// Takes a seat back that only a membership gave.
    pub(crate) fn unseat(&self, topic: &Topic) -> Option<Seat> {
        let mut state = self.state.lock();
        let at = state.seats.iter().position(|seat| seat.channel.topic == *topic && !seat.asked)?;
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
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Marks it gone and gives all its seats back.
    fn depart(&self) -> (Leave, Vec<Seat>, usize) {
        let mut state = self.state.lock();
        let reason = match state.phase {
            Phase::Closed(reason, _) => reason,
            _ => Leave::Client,
        };
        state.phase = Phase::Closed(Leave::Client, true);
        let waiting = state.outbox.events() + state.evicted;
        state.outbox.clear();
        state.waker = None;
        (reason, std::mem::take(&mut state.seats), waiting)
    }
}

impl State {
    fn push(&mut self, items: &[Item], joined: &Bytes, options: &Options) -> bool {
        let Some(first) = items.first() else { return true };
        let last = &items[items.len() - 1].event.mark;
        let mark = &first.event.mark;
        let place = self.cursor.get(mark.partition);
        let new = place.is_none_or(|place| place.epoch != mark.epoch || mark.offset > place.offset);
        // The common case: one partition, nothing of it a repeat. All connections share one buffer.
        if self.cursor.len() <= 1
            && items.iter().all(|item| item.event.mark.stored())
            && new
            && place.is_some()
        {
            let entry =
                Entry { bytes: joined.clone(), events: count(items), at: first.event.at, counted: true };
            if !self.outbox.push(entry, options.outbox_events, options.outbox_bytes) {
                return false;
            }
            self.cursor.set(last.partition, last.position());
            return true;
        }
        items.iter().all(|item| self.push_one(item, true, options))
    }

    fn push_one(&mut self, item: &Item, counted: bool, options: &Options) -> bool {
        let mark = &item.event.mark;
        let at = if counted { item.event.at } else { 0 };
        let (most_events, most_bytes) = (options.outbox_events, options.outbox_bytes);
        if mark.stored() {
            let place = self.cursor.get(mark.partition);
            if place.is_some_and(|place| place.epoch == mark.epoch && mark.offset <= place.offset) {
                return true;
            }
            let mut cursor = self.cursor.clone();
            cursor.set(mark.partition, mark.position());
            let bytes = if cursor.len() == 1 {
                item.frame.whole()
            } else {
                let mut id = Vec::with_capacity(64);
                tidegate_protocol::sse::push_id(&cursor, &mut id);
                // The id stands before the frame as an entry of its own: the frame's bytes stay shared.
                let id = Entry { bytes: id.into(), events: 0, at: 0, counted };
                if !self.outbox.push(id, most_events, most_bytes) {
                    return false;
                }
                item.frame.rest()
            };
            self.cursor = cursor;
            return self.outbox.push(Entry { bytes, events: 1, at, counted }, most_events, most_bytes);
        }
        self.outbox.push(Entry { bytes: item.frame.whole(), events: 1, at, counted }, most_events, most_bytes)
    }

    fn force(&mut self, bytes: Bytes) {
        let fits = self.outbox.push(Entry { bytes, events: 0, at: 0, counted: false }, 0, 0);
        debug_assert!(fits, "what is not counted always fits");
    }

    fn close(&mut self, reason: Leave, goodbye: Option<Vec<u8>>) -> Option<Waker> {
        if matches!(self.phase, Phase::Closed(..)) {
            return None;
        }
        match goodbye {
            Some(goodbye) => self.force(goodbye.into()),
            None => {
                self.evicted = self.outbox.events();
                self.outbox.clear();
            }
        }
        self.phase = Phase::Closed(reason, reason == Leave::SlowConsumer);
        self.waker.take()
    }

    /// Takes what waits, up to about `most` bytes, as one piece: one write for many events.
    fn take(&mut self, most: usize) -> Option<Chunk> {
        let first = self.outbox.pop()?;
        let mut chunk = Chunk { bytes: first.bytes, events: first.events, at: first.at };
        let Some(next) = self.outbox.next_len().filter(|next| chunk.bytes.len() + next <= most) else {
            return Some(chunk);
        };
        let mut joined = BytesMut::with_capacity((chunk.bytes.len() + next).max(1024).min(most));
        joined.extend_from_slice(&chunk.bytes);
        while self.outbox.next_len().is_some_and(|next| joined.len() + next <= most) {
            let Some(entry) = self.outbox.pop() else { break };
            joined.extend_from_slice(&entry.bytes);
            chunk.events += entry.events;
            if chunk.at == 0 {
                chunk.at = entry.at;
            }
        }
        chunk.bytes = joined.freeze();
        Some(chunk)
    }
}

fn count(items: &[Item]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// Writes the merged beginning of a stream.
pub(crate) struct Merge<'a> {
    state: &'a mut State,
}

impl Merge<'_> {
    /// Where the stream stands.
    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        &mut self.state.cursor
    }

    /// Where the stream stands, to read.
    pub(crate) fn place(&self) -> &Cursor {
        &self.state.cursor
    }

    /// Queues a block.
    pub(crate) fn block(&mut self, bytes: Vec<u8>) {
        self.state.force(bytes.into());
    }

    /// Queues an event unless it is a repeat.
    pub(crate) fn item(&mut self, item: &Item, options: &Options) {
        let fits = self.state.push_one(item, false, options);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Queues an event whatever its place, without an id: the client's cursor stays where it is.
    pub(crate) fn late(&mut self, item: &Item) {
        self.state.force(item.frame.rest());
    }

    /// Ends the stream behind what was queued.
    pub(crate) fn close(&mut self, reason: Leave, options: &Options) {
        let waker = self.state.close(reason, Some(blocks::closing(options.retry, reason)));
        self.state.waker = waker;
    }
}

/// Bytes for the socket.
#[derive(Debug)]
pub struct Chunk {
    /// Whole blocks, ready to be sent.
    pub bytes: Bytes,
    /// Events in them.
    pub events: u32,
    /// When the oldest live event in them was published (milliseconds since 1970); 0: none.
    pub at: u64,
}

/// A connection's share in the hub. Dropping it leaves every map.
pub struct Subscription {
    pub(crate) emitter: Arc<Emitter>,
    pub(crate) hub: Weak<Inner>,
    pub(crate) user: Option<(Arc<User>, usize)>,
    /// It was opened, so its end is counted.
    pub(crate) joined: bool,
}

impl Subscription {
    /// The next bytes to write; `None` when the stream has ended.
    ///
    /// After `None`, [`Subscription::cut`] tells whether the connection must be cut rather than ended in good order.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        /// Joined writes: as much as a socket's buffer usually takes.
        const MOST: usize = 64 << 10;
        self.emitter.poll(cx, MOST)
    }

    /// Whether the stream was cut: its client did not read.
    pub fn cut(&self) -> bool {
        matches!(self.emitter.state.lock().phase, Phase::Closed(_, true))
    }

    /// The connection's name, unique on this node.
    pub fn id(&self) -> u64 {
        self.emitter.id
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (reason, seats, dropped) = self.emitter.depart();
        if let Some(hub) = self.hub.upgrade() {
            hub.departed(seats, self.user.take());
            hub.count_end(self.joined.then_some(reason), dropped);
        }
    }
}
