mod attachments;
mod handle;
mod holding;
mod outbox;
mod registry;
mod sink;
mod state;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tidegate_protocol::{Cursor, Format};

pub(crate) use crate::close_reason::Leave;
pub(crate) use attachments::Seat;
pub use handle::{Batch, Chunk, Subscription};
pub(crate) use holding::{Change, Release};
pub use sink::{Flushed, Sink};
pub(crate) use state::{Joined, Merge};
use state::{Phase, State};
pub use watch::Watch;

use crate::control_events::Word;
use crate::item::Item;
use crate::users::User;
use crate::wheel::Tick;
use crate::{Manner, Options, Scope, control_events};
use outbox::Outbox;

/// One connection as the hub sees it.
pub(crate) struct Emitter {
    pub(crate) id: u64,
    /// What it carries of its user's.
    pub(crate) scope: Scope,
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
        scope: Scope,
        now: Tick,
        expires: Tick,
        oldest: Tick,
        manner: Option<Arc<Manner>>,
    ) -> Self {
        Self {
            id,
            scope,
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
        let goodbye = (!cut).then(|| control_events::closing(state.format, options.retry, reason.as_str()));
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
