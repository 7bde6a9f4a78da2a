//! One receiving stream: its outbox, its phase, where it writes, and why it ended.

mod attachments;
mod batch;
mod frames;
mod holding;
mod outbox;
mod registry;
mod sink;
mod state;
mod taking;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use tidegate_protocol::{Cursor, Format};

pub(crate) use attachments::Detach;
pub(crate) use batch::InitialBatch;
pub(crate) use frames::SharedFrames;
pub(crate) use holding::{Hold, Release};
pub(crate) use registry::Subscribers;
pub use sink::{Flushed, Sink};
use state::{Phase, State};
pub use taking::{Batch, Chunk};

use crate::clock::Tick;
use crate::close_reason::CloseReason;
use crate::control_events::{self, ControlEvent};
use crate::item::Item;
use crate::join::{Join, Scope};
use crate::options::{Options, StreamOverrides};

/// A topic with its subscribers.
pub(crate) type TopicState = crate::topics::TopicState<Subscriber>;
/// A user with its subscribers.
pub(crate) type User = crate::users::User<Subscriber>;
type UserSlot = crate::users::UserSlot<Subscriber>;

/// One receiving stream as the hub sees it.
pub(crate) struct Subscriber {
    pub(crate) id: u64,
    /// What it carries of its user's.
    pub(crate) scope: Scope,
    state: Mutex<State>,
    /// When something was last queued: heartbeats go to the silent only.
    last_write_at: AtomicU32,
    pub(crate) deadlines: Deadlines,
    /// When the drain closes it.
    drain_at: AtomicU32,
    /// How it differs from the node's settings.
    pub(crate) overrides: Option<Arc<StreamOverrides>>,
}

/// When a stream ends by itself; [`Tick::MAX`]: never.
pub(crate) struct Deadlines {
    /// Its credential expires.
    pub(crate) expires_at: Tick,
    /// It has reached the age that a stream may have.
    pub(crate) max_age_at: Tick,
}

/// What became of events that were given to a subscriber.
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
    /// Nothing: a task is at it already.
    Nothing,
    /// [`Subscriber::flush`].
    Flush,
    /// The writer is asleep.
    Wake(Waker),
}

/// The end of a stream, which is counted once.
struct Departure {
    /// `None`: it was never opened.
    reason: Option<CloseReason>,
    /// Events that were thrown away with it.
    dropped: usize,
}

impl Subscriber {
    fn new(id: u64, now: Tick, deadlines: Deadlines, join: &Join) -> Self {
        Self {
            id,
            scope: join.scope,
            state: Mutex::new(State::new(join.format)),
            last_write_at: AtomicU32::new(now),
            deadlines,
            drain_at: AtomicU32::new(Tick::MAX),
            overrides: join.overrides.clone(),
        }
    }

    /// Gives it events of one topic, in order. `frames` is the same for every subscriber that gets
    /// them.
    pub(crate) fn give(&self, items: &[Item], frames: &SharedFrames, now: Tick, options: &Options) -> Given {
        let mut state = self.state.lock();
        let fits = match &mut state.phase {
            Phase::Closing(_) | Phase::Cut(_) => return Given::Nothing,
            Phase::Held(held) => {
                held.bytes += items.iter().map(Item::weight).sum::<usize>();
                held.items.extend_from_slice(items);
                // A catch-up takes milliseconds; what piles up meanwhile is bounded like what piles
                // up later.
                if held.items.len() <= items.len()
                    || (held.items.len() <= options.outbox_events && held.bytes <= 2 * options.outbox_bytes)
                {
                    return Given::Nothing;
                }
                false
            }
            Phase::Live => state.push(items, frames, options),
        };
        if !fits {
            return Given::Evicted(state.evict().map_or(Next::Nothing, Next::Wake));
        }
        self.last_write_at.store(now, Ordering::Relaxed);
        Given::Queued(state.outbox.bytes(), state.next())
    }

    /// Ends the stream: what is queued goes out, then the goodbye. Does nothing to one that has
    /// ended.
    fn close(&self, reason: CloseReason, options: &Options) {
        let mut state = self.state.lock();
        let goodbye = control_events::closing(state.format, reason.retry(options.retry), reason.as_str());
        let waker = state.close(reason, goodbye);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Queues a heartbeat, if the stream is live and nothing waits.
    pub(crate) fn heartbeat(&self, now: Tick, event: impl FnOnce(Format, &mut Cursor) -> Vec<u8>) {
        let state = self.state.lock();
        let silent = state.outbox.is_empty() && state.blocked_since.is_none();
        if matches!(state.phase, Phase::Live) && silent {
            self.send_control(state, now, ControlEvent::Heartbeat, event);
        }
    }

    fn send_control(
        &self,
        mut state: MutexGuard<'_, State>,
        now: Tick,
        event: ControlEvent,
        bytes: impl FnOnce(Format, &mut Cursor) -> Vec<u8>,
    ) {
        let format = state.format;
        let bytes = bytes(format, &mut state.cursor);
        state.push_control(event, bytes);
        self.last_write_at.store(now, Ordering::Relaxed);
        state::wake(state);
    }

    pub(crate) fn last_write_at(&self) -> Tick {
        self.last_write_at.load(Ordering::Relaxed)
    }

    pub(crate) fn drain_at(&self) -> Tick {
        self.drain_at.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drain_at(&self, at: Tick) {
        self.drain_at.store(at, Ordering::Relaxed);
    }

    /// Its user, while it is counted among the user's streams.
    pub(crate) fn user(&self) -> Option<Arc<User>> {
        self.state.lock().user.as_ref().map(|slot| Arc::clone(&slot.user))
    }

    /// It is open: its end will be counted.
    pub(crate) fn opened(&self) {
        self.state.lock().opened = true;
    }

    /// Ends it when the hub is gone before it.
    pub(crate) fn abandon(&self) {
        self.depart();
    }

    /// Marks it gone and returns how it ended, the first time.
    fn depart(&self) -> Option<Departure> {
        let mut state = self.state.lock();
        let reason = state.phase.close_reason().unwrap_or(CloseReason::Client);
        state.phase = Phase::Cut(reason);
        let dropped = state.outbox.events() + state.evicted;
        state.outbox.clear();
        state.waker = None;
        state.sink = None;
        let first = !std::mem::replace(&mut state.departed, true);
        first.then(|| Departure { reason: state.opened.then_some(reason), dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::attachments::Attachment;
    use super::*;

    /// What an idle stream costs here; docs/benchmarks.md has the other parts. What makes it larger
    /// should be worth that.
    #[test]
    fn an_idle_subscriber_is_small() {
        let (subscriber, attachment) = (size_of::<Subscriber>(), size_of::<Attachment>());
        assert!(subscriber <= 288, "{subscriber} bytes");
        assert_eq!(attachment, 24);
    }
}
