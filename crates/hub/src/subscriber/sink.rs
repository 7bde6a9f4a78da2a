//! Writing past every task: straight from the dispatch loop to the socket.

use std::io;
use std::task::Context;

use bytes::Bytes;
use smallvec::SmallVec;

use super::state::{Phase, State, wake};
use super::{Emitter, Leave, Subscription};
use crate::Metrics;
use crate::wheel::Tick;

/// A way to a socket that never waits.
pub trait Sink: Send {
    /// Writes the parts as one piece. `Ok(false)`: the socket did not take all, and the sink keeps the rest, whatever was given.
    fn send(&mut self, parts: &[Bytes]) -> io::Result<bool>;

    /// Goes on with the rest. `Ok(true)`: nothing is left of it.
    fn resume(&mut self) -> io::Result<bool>;
}

/// What became of what waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// All of it is in the socket.
    All,
    /// The socket is full: flush again when it takes more.
    Blocked,
    /// All of it is in the socket, and the stream has ended in good order.
    Ended,
    /// The stream was cut: its client did not read, or is gone.
    Cut,
}

/// Bytes given to the socket at once: about what its buffer takes.
const MOST: usize = 64 << 10;

impl State {
    fn flush(&mut self, metrics: &Metrics, now: Tick) -> Flushed {
        self.due = false;
        loop {
            if let Phase::Closed(_, true) = self.phase {
                return Flushed::Cut;
            }
            let Some(sink) = &mut self.sink else { return Flushed::All };
            let sent = if self.blocked.is_some() {
                sink.resume()
            } else {
                let mut parts: SmallVec<[Bytes; 16]> = SmallVec::new();
                let mut bytes = 0;
                while parts.len() < parts.inline_size()
                    && self.outbox.next_len().is_some_and(|next| bytes == 0 || bytes + next <= MOST)
                {
                    let Some(entry) = self.outbox.pop() else { break };
                    metrics.sent(entry.events, entry.at);
                    bytes += entry.bytes.len();
                    parts.push(entry.bytes);
                }
                if parts.is_empty() {
                    return if matches!(self.phase, Phase::Closed(..)) {
                        Flushed::Ended
                    } else {
                        Flushed::All
                    };
                }
                sink.send(&parts)
            };
            match sent {
                Ok(true) => self.blocked = None,
                Ok(false) => {
                    self.blocked.get_or_insert(now);
                    return Flushed::Blocked;
                }
                Err(_) => self.cut(Leave::Client),
            }
        }
    }

    /// Ends the stream without a word; a stream that was ending in good order does so no longer.
    fn cut(&mut self, reason: Leave) {
        let reason = if let Phase::Closed(reason, _) = self.phase { reason } else { reason };
        self.phase = Phase::Closed(reason, true);
        self.evicted += self.outbox.events();
        self.outbox.clear();
    }
}

impl Emitter {
    /// Writes what waits. If its task has something to see to (a full socket, an end), the task is woken.
    pub(crate) fn flush(&self, metrics: &Metrics, now: Tick) {
        let mut state = self.state.lock();
        if state.flush(metrics, now) == Flushed::All {
            return;
        }
        wake(state);
    }

    /// Since when nothing is taken of what waits, as far as was noticed.
    pub(crate) fn stuck(&self, now: Tick) -> Option<Tick> {
        let mut state = self.state.lock();
        if state.sink.is_none() && (!state.outbox.is_empty() || matches!(state.phase, Phase::Closed(..))) {
            // A transport without a sink asks by itself, and does not say when it no longer can.
            state.blocked.get_or_insert(now);
        }
        state.blocked
    }

    /// Gives up on a client that takes nothing.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.lock();
        state.cut(Leave::WriteDeadline);
        wake(state);
    }
}

impl Subscription {
    /// From now on the hub writes to `sink` itself. Use [`Subscription::flush`] from here, no longer [`Subscription::poll_next`].
    pub fn attach(&mut self, sink: Box<dyn Sink>) {
        let mut state = self.emitter.state.lock();
        state.sink = Some(sink);
        state.blocked = None;
    }

    /// Writes what waits. The task of `cx` is woken when it should flush again, but not when the socket takes more after
    /// [`Flushed::Blocked`]: that is for the sink's owner to see.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> Flushed {
        let Some(hub) = self.hub.upgrade() else { return Flushed::Cut };
        let mut state = self.emitter.state.lock();
        let flushed = state.flush(&hub.metrics, hub.wheel.now());
        state.park(cx);
        flushed
    }
}
