//! Writing past every task: straight from the dispatch loop to the socket.

use std::io;
use std::task::Context;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Subscriber;
use super::state::{Phase, State, wake};
use crate::clock::Tick;
use crate::close_reason::CloseReason;
use crate::metrics::Metrics;

/// A way to a socket that never waits.
pub trait Sink: Send {
    /// Writes the parts as one piece. `Ok(false)`: the socket did not take all, and the sink keeps
    /// the rest, whatever was given.
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
const WRITE_BYTES: usize = 64 << 10;

impl State {
    fn flush(&mut self, metrics: &Metrics, now: Tick) -> Flushed {
        self.flush_due = false;
        loop {
            if let Phase::Cut(_) = self.phase {
                return Flushed::Cut;
            }
            let Some(sink) = &mut self.sink else { return Flushed::All };
            let sent = if self.blocked_since.is_some() {
                sink.resume()
            } else {
                let mut parts: SmallVec<[Bytes; 16]> = SmallVec::new();
                let mut bytes = 0;
                while parts.len() < parts.inline_size()
                    && self.outbox.next_len().is_some_and(|next| bytes == 0 || bytes + next <= WRITE_BYTES)
                {
                    let Some(entry) = self.outbox.pop() else { break };
                    metrics.sent(entry.events, entry.at);
                    bytes += entry.bytes.len();
                    parts.push(entry.bytes);
                }
                if parts.is_empty() {
                    let closing = matches!(self.phase, Phase::Closing(_));
                    return if closing { Flushed::Ended } else { Flushed::All };
                }
                sink.send(&parts)
            };
            match sent {
                Ok(true) => self.blocked_since = None,
                Ok(false) => {
                    self.blocked_since.get_or_insert(now);
                    return Flushed::Blocked;
                }
                // The kernel counts the write deadline as well, and may be first.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.cut(CloseReason::WriteDeadline);
                }
                Err(_) => self.cut(CloseReason::Client),
            }
        }
    }
}

impl Subscriber {
    /// From now on the hub writes to `sink` itself.
    pub(crate) fn attach_sink(&self, sink: Box<dyn Sink>) {
        let mut state = self.state.lock();
        state.sink = Some(sink);
        state.blocked_since = None;
    }

    /// Writes what waits. If its task has something to see to (a full socket, an end), the task is
    /// woken.
    pub(crate) fn flush(&self, metrics: &Metrics, now: Tick) {
        let mut state = self.state.lock();
        if state.flush(metrics, now) == Flushed::All {
            return;
        }
        wake(state);
    }

    /// Writes what waits, for the stream's task, which is the one to wake from here on.
    pub(crate) fn poll_flush(&self, cx: &Context<'_>, metrics: &Metrics, now: Tick) -> Flushed {
        let mut state = self.state.lock();
        let flushed = state.flush(metrics, now);
        state.park(cx);
        flushed
    }

    /// Since when nothing is taken of what waits, as far as was noticed.
    pub(crate) fn blocked_since(&self, now: Tick) -> Option<Tick> {
        let mut state = self.state.lock();
        if state.sink.is_none() && (!state.outbox.is_empty() || state.phase.close_reason().is_some()) {
            // A transport without a sink asks by itself, and does not say when it no longer can.
            state.blocked_since.get_or_insert(now);
        }
        state.blocked_since
    }

    /// Gives up on a client that takes nothing.
    pub(crate) fn give_up(&self) {
        let mut state = self.state.lock();
        state.cut(CloseReason::WriteDeadline);
        wake(state);
    }
}
