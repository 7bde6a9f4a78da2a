//! What a subscriber's lock guards.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use parking_lot::MutexGuard;
use tidegate_protocol::{Cursor, Format, Frame};

use super::attachments::Attachment;
use super::outbox::{Entry, Outbox};
use super::{Chunk, Next, SharedFrames, Sink, UserSlot};
use crate::change::Change;
use crate::clock::Tick;
use crate::close_reason::CloseReason;
use crate::control_events::ControlEvent;
use crate::item::Item;
use crate::options::Options;

pub(super) struct State {
    pub(super) format: Format,
    /// The position of what was queued last: what comes at or before it is a repeat.
    pub(super) cursor: Cursor,
    pub(super) outbox: Outbox,
    pub(super) waker: Option<Waker>,
    pub(super) phase: Phase,
    pub(super) attachments: Vec<Attachment>,
    /// Its slot among the user's streams, while it is counted there.
    pub(super) user: Option<UserSlot>,
    /// It was opened, so its end is counted.
    pub(super) opened: bool,
    /// Its end has been counted.
    pub(super) departed: bool,
    /// Events that were thrown away when it was cut.
    pub(super) evicted: usize,
    /// Where the hub writes by itself; without one, a task takes what is queued.
    pub(super) sink: Option<Box<dyn Sink>>,
    /// Since when nothing is taken of what waits: by the sink's socket, or by the transport.
    pub(super) blocked_since: Option<Tick>,
    /// A flush is on its way.
    pub(super) flush_due: bool,
}

pub(super) enum Phase {
    /// Live events wait here while a catch-up is under way; merged and queued at its end.
    Held(Box<Held>),
    /// Events go to the outbox.
    Live,
    /// What is queued still goes out, then the stream ends.
    Closing(CloseReason),
    /// The stream has ended without its goodbye.
    Cut(CloseReason),
}

impl Phase {
    /// Why the stream has ended, if it has.
    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::Held(_) | Self::Live => None,
            Self::Closing(reason) | Self::Cut(reason) => Some(*reason),
        }
    }
}

/// What came while a catch-up was under way.
#[derive(Default)]
pub(super) struct Held {
    pub(super) items: Vec<Item>,
    pub(super) bytes: usize,
    /// Changes to apply before going live.
    pub(super) changes: VecDeque<Change>,
    /// Events were lost meanwhile.
    pub(super) lost: bool,
    /// Another epoch has begun meanwhile, and none were.
    pub(super) moved: bool,
}

impl State {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            cursor: Cursor::default(),
            outbox: Outbox::default(),
            waker: None,
            phase: Phase::Held(Box::default()),
            attachments: Vec::new(),
            user: None,
            opened: false,
            departed: false,
            evicted: 0,
            sink: None,
            blocked_since: None,
            flush_due: false,
        }
    }

    /// Queues live events of one topic. False: the outbox is full.
    pub(super) fn push(&mut self, items: &[Item], frames: &SharedFrames, options: &Options) -> bool {
        let Some(first) = items.first() else { return true };
        let last = &items[items.len() - 1].event.mark;
        let mark = &first.event.mark;
        let at = self.cursor.get(mark.partition);
        let new = at.is_some_and(|at| at.epoch == mark.epoch && mark.offset > at.offset);
        // The common case: one partition, nothing of it a repeat. All subscribers share one buffer.
        // JSON objects stay apart, each a message.
        if self.format == Format::Sse
            && new
            && self.cursor.len() == 1
            && items.iter().all(|item| item.event.mark.stored())
        {
            let (bytes, events) = (frames.of(items), count(items));
            let entry = Entry { bytes, events, at: first.event.at, counted: true, control: None };
            if !self.outbox.push(entry, options.outbox_events, options.outbox_bytes) {
                return false;
            }
            self.cursor.set(last.partition, last.position());
            return true;
        }
        items.iter().all(|item| self.push_item(item, true, options))
    }

    /// Queues an event unless it is a repeat. False: it is `counted`, and the outbox is full.
    pub(super) fn push_item(&mut self, item: &Item, counted: bool, options: &Options) -> bool {
        let mark = &item.event.mark;
        let at = if counted { item.event.at } else { 0 };
        let (max_events, max_bytes) = (options.outbox_events, options.outbox_bytes);
        if !mark.stored() {
            let bytes = item.frame(self.format).whole();
            let entry = Entry { bytes, events: 1, at, counted, control: None };
            return self.outbox.push(entry, max_events, max_bytes);
        }
        let stands = self.cursor.get(mark.partition);
        // Of another epoch: from before a reset that is still on its way here. A new epoch's reset
        // comes before its events.
        if stands.is_some_and(|stands| stands.epoch != mark.epoch || mark.offset <= stands.offset) {
            return true;
        }
        let mut cursor = self.cursor.clone();
        cursor.set(mark.partition, mark.position());
        let frame = item.frame(self.format);
        let bytes = match self.format {
            _ if cursor.len() == 1 => frame.whole(),
            Format::Sse => {
                // The id stands before the frame as an entry of its own: the frame's bytes stay
                // shared.
                let bytes = self.id(Some(&cursor)).into();
                let id = Entry { bytes, events: 0, at: 0, counted, control: None };
                if !self.outbox.push(id, max_events, max_bytes) {
                    return false;
                }
                frame.rest()
            }
            Format::Json => self.with_id(Some(&cursor), frame),
        };
        self.cursor = cursor;
        self.outbox.push(Entry { bytes, events: 1, at, counted, control: None }, max_events, max_bytes)
    }

    fn id(&self, id: Option<&Cursor>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        self.format.id(id, &mut out);
        out
    }

    pub(super) fn with_id(&self, id: Option<&Cursor>, frame: &Frame) -> Bytes {
        let mut whole = self.id(id);
        whole.extend_from_slice(&frame.rest());
        whole.into()
    }

    pub(super) fn push_control(&mut self, event: ControlEvent, bytes: Vec<u8>) {
        let entry = Entry { bytes: bytes.into(), events: 0, at: 0, counted: false, control: Some(event) };
        let fits = self.outbox.push(entry, 0, 0);
        debug_assert!(fits, "what is not counted always fits");
    }

    /// Ends the stream behind what is queued. Does nothing to one that has ended.
    pub(super) fn close(&mut self, reason: CloseReason, goodbye: Vec<u8>) -> Option<Waker> {
        if self.phase.close_reason().is_some() {
            return None;
        }
        self.push_control(ControlEvent::Closing, goodbye);
        self.phase = Phase::Closing(reason);
        self.waker.take()
    }

    /// Ends the stream at once, for its outbox is full. Does nothing to one that has ended.
    pub(super) fn evict(&mut self) -> Option<Waker> {
        let held = match &self.phase {
            Phase::Held(held) => held.items.len(),
            Phase::Live => 0,
            Phase::Closing(_) | Phase::Cut(_) => return None,
        };
        self.evicted = self.outbox.events() + held;
        self.outbox.clear();
        self.phase = Phase::Cut(CloseReason::SlowConsumer);
        self.waker.take()
    }

    /// Ends the stream without its goodbye. One that was closing keeps its reason.
    pub(super) fn cut(&mut self, reason: CloseReason) {
        self.phase = Phase::Cut(self.phase.close_reason().unwrap_or(reason));
        self.evicted += self.outbox.events();
        self.outbox.clear();
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
                let due = std::mem::replace(&mut self.flush_due, true);
                if due || self.blocked_since.is_some() { Next::Nothing } else { Next::Flush }
            }
            (None, Some(waker)) => Next::Wake(waker),
            (None, None) => Next::Nothing,
        }
    }

    /// Takes what waits, up to about `limit` bytes, as one piece: one write for many events.
    pub(super) fn take(&mut self, limit: usize) -> Option<Chunk> {
        let first = self.outbox.pop()?;
        self.blocked_since = None;
        let mut chunk =
            Chunk { bytes: first.bytes, events: first.events, at: first.at, control: first.control };
        if self.format == Format::Json {
            return Some(chunk);
        }
        let Some(next) = self.outbox.next_len().filter(|next| chunk.bytes.len() + next <= limit) else {
            return Some(chunk);
        };
        let mut joined = BytesMut::with_capacity((chunk.bytes.len() + next).max(1024).min(limit));
        joined.extend_from_slice(&chunk.bytes);
        while self.outbox.next_len().is_some_and(|next| joined.len() + next <= limit) {
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

fn count(items: &[Item]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}
