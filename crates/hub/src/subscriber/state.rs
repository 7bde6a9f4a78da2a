//! What an emitter's lock guards.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::MutexGuard;
use tidegate_protocol::{Cursor, Format, Frame};

use super::outbox::{Entry, Outbox};
use super::{Change, Chunk, Leave, Next, Seat, Sink};
use crate::control_events::Word;
use crate::item::Item;
use crate::users::User;
use crate::wheel::Tick;
use crate::{Options, control_events};

pub(super) struct State {
    pub(super) format: Format,
    /// The place of what was queued last: what comes at or before it is a repeat.
    pub(super) cursor: Cursor,
    pub(super) outbox: Outbox,
    pub(super) waker: Option<Waker>,
    pub(super) phase: Phase,
    pub(super) seats: Vec<Seat>,
    /// The user's count that it is part of.
    pub(super) user: Option<(Arc<User>, usize)>,
    /// It was opened, so its end is counted.
    pub(super) joined: bool,
    /// Its end has been counted.
    pub(super) gone: bool,
    /// Events that were thrown away when it was cut.
    pub(super) evicted: usize,
    /// Where the hub writes by itself; without one, a task takes what is queued.
    pub(super) sink: Option<Box<dyn Sink>>,
    /// Since when nothing is taken of what waits: by the sink's socket, or by the transport.
    pub(super) blocked: Option<Tick>,
    /// Somebody is going to flush it.
    pub(super) due: bool,
}

pub(super) enum Phase {
    /// Live events wait here while history is read; merged and queued at the end.
    Held(Box<Held>),
    /// Events go to the outbox.
    Live,
    /// What is queued still goes out, then the stream ends. With `true` it is cut.
    Closed(Leave, bool),
}

/// What came while a join or a change of topics was under way.
#[derive(Default)]
pub(super) struct Held {
    pub(super) items: Vec<Item>,
    pub(super) bytes: usize,
    /// Changes to apply before going live.
    pub(super) changes: VecDeque<Change>,
    /// A reset came in between.
    pub(super) reset: bool,
}

impl State {
    pub(super) fn push(&mut self, items: &[Item], joined: &Joined, options: &Options) -> bool {
        let Some(first) = items.first() else { return true };
        let last = &items[items.len() - 1].event.mark;
        let mark = &first.event.mark;
        let place = self.cursor.get(mark.partition);
        let new = place.is_some_and(|place| place.epoch == mark.epoch && mark.offset > place.offset);
        // The common case: one partition, nothing of it a repeat. All connections share one buffer. JSON objects stay apart, each a message.
        if self.format == Format::Sse
            && new
            && self.cursor.len() == 1
            && items.iter().all(|item| item.event.mark.stored())
        {
            let bytes = joined.get(items);
            let entry = Entry { bytes, events: count(items), at: first.event.at, counted: true, word: None };
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
            // Of another epoch: from before a reset that is still on its way here. A new epoch's reset comes before its events.
            if place.is_some_and(|place| place.epoch != mark.epoch || mark.offset <= place.offset) {
                return true;
            }
            let mut cursor = self.cursor.clone();
            cursor.set(mark.partition, mark.position());
            let frame = item.frame(self.format);
            let bytes = match self.format {
                _ if cursor.len() == 1 => frame.whole(),
                Format::Sse => {
                    // The id stands before the frame as an entry of its own: the frame's bytes stay shared.
                    let id =
                        Entry { bytes: self.id(Some(&cursor)).into(), events: 0, at: 0, counted, word: None };
                    if !self.outbox.push(id, most_events, most_bytes) {
                        return false;
                    }
                    frame.rest()
                }
                Format::Json => self.with_id(Some(&cursor), frame),
            };
            self.cursor = cursor;
            return self.outbox.push(
                Entry { bytes, events: 1, at, counted, word: None },
                most_events,
                most_bytes,
            );
        }
        let bytes = item.frame(self.format).whole();
        self.outbox.push(Entry { bytes, events: 1, at, counted, word: None }, most_events, most_bytes)
    }

    fn id(&self, id: Option<&Cursor>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.format.id(id, &mut out);
        out
    }

    fn with_id(&self, id: Option<&Cursor>, frame: &Frame) -> Bytes {
        let mut whole = self.id(id);
        whole.extend_from_slice(&frame.rest());
        whole.into()
    }

    pub(super) fn say(&mut self, word: Word, bytes: Vec<u8>) {
        let bytes = bytes.into();
        let fits =
            self.outbox.push(Entry { bytes, events: 0, at: 0, counted: false, word: Some(word) }, 0, 0);
        debug_assert!(fits, "what is not counted always fits");
    }

    pub(super) fn close(&mut self, reason: Leave, goodbye: Option<Vec<u8>>) -> Option<Waker> {
        if matches!(self.phase, Phase::Closed(..)) {
            return None;
        }
        match goodbye {
            Some(goodbye) => self.say(Word::Closing, goodbye),
            None => {
                let held = if let Phase::Held(held) = &self.phase { held.items.len() } else { 0 };
                self.evicted = self.outbox.events() + held;
                self.outbox.clear();
            }
        }
        self.phase = Phase::Closed(reason, reason == Leave::SlowConsumer);
        self.waker.take()
    }

    /// The task of `cx` is the one to wake from here on.
    pub(super) fn park(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    /// What follows after something was queued.
    pub(super) fn next(&mut self) -> Next {
        match (&self.sink, self.waker.take()) {
            // A full socket's task waits for it to take more, and flushes then.
            (Some(_), waker) => {
                self.waker = waker;
                let due = std::mem::replace(&mut self.due, true);
                if due || self.blocked.is_some() { Next::Nothing } else { Next::Flush }
            }
            (None, Some(waker)) => Next::Wake(waker),
            (None, None) => Next::Nothing,
        }
    }

    /// Takes what waits, up to about `most` bytes, as one piece: one write for many events.
    pub(super) fn take(&mut self, most: usize) -> Option<Chunk> {
        let first = self.outbox.pop()?;
        self.blocked = None;
        let mut chunk = Chunk { bytes: first.bytes, events: first.events, at: first.at, word: first.word };
        if self.format == Format::Json {
            return Some(chunk);
        }
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

/// Wakes the writer, with the lock let go: it takes it first thing.
pub(super) fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The whole frames of some events in one buffer, made when the first connection needs it.
#[derive(Default)]
pub(crate) struct Joined(OnceCell<Bytes>);

impl Joined {
    fn get(&self, items: &[Item]) -> Bytes {
        let join = || match items {
            [one] => one.frame(Format::Sse).whole(),
            many => {
                let frames = || many.iter().map(|item| item.frame(Format::Sse).as_bytes());
                let mut joined = BytesMut::with_capacity(frames().map(<[u8]>::len).sum());
                frames().for_each(|frame| joined.extend_from_slice(frame));
                joined.freeze()
            }
        };
        self.0.get_or_init(join).clone()
    }
}

fn count(items: &[Item]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

/// Writes the merged beginning of a stream.
pub(crate) struct Merge<'a> {
    pub(super) state: &'a mut State,
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

    /// How the stream's events look.
    pub(crate) fn format(&self) -> Format {
        self.state.format
    }

    /// Queues something of the gateway's own.
    pub(crate) fn say(&mut self, word: Word, bytes: Vec<u8>) {
        self.state.say(word, bytes);
    }

    /// Queues an event unless it is a repeat.
    pub(crate) fn item(&mut self, item: &Item, options: &Options) {
        let fits = self.state.push_one(item, false, options);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Queues an event whatever its place, without an id: the client's cursor stays where it is.
    pub(crate) fn late(&mut self, item: &Item) {
        let frame = item.frame(self.state.format);
        let bytes = match self.state.format {
            Format::Sse => frame.rest(),
            Format::Json => self.state.with_id(None, frame),
        };
        let late = Entry { bytes, events: 1, at: 0, counted: false, word: None };
        let fits = self.state.outbox.push(late, 0, 0);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Ends the stream behind what was queued.
    pub(crate) fn close(&mut self, reason: Leave, options: &Options) {
        let waker = self
            .state
            .close(reason, Some(control_events::closing(self.state.format, options.retry, reason.as_str())));
        self.state.waker = waker;
    }
}
