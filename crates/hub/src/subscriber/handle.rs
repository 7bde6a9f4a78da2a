use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_protocol::{Cursor, Topic};

use super::state::Phase;
use super::{Change, Emitter, Leave};
use crate::Inner;
use crate::control_events::Word;

/// Bytes for the socket.
#[derive(Debug)]
pub struct Chunk {
    /// Whole blocks, ready to be sent.
    pub bytes: Bytes,
    /// Events in them.
    pub events: u32,
    /// When the oldest live event in them was published (milliseconds since 1970); 0: none.
    pub at: u64,
    /// What of the gateway's own it begins with.
    pub word: Option<Word>,
}

/// What a client gets that asks from time to time.
#[derive(Debug)]
pub struct Batch {
    /// In order, each as one message.
    pub events: Vec<Chunk>,
    /// Where to go on; `None`: where the client was before, for something was thrown away.
    pub cursor: Option<Cursor>,
    /// Events were lost, or may have been.
    pub reset: bool,
}

/// A connection's share in the hub. Dropping it leaves every map.
pub struct Subscription {
    pub(crate) emitter: Arc<Emitter>,
    pub(crate) hub: Weak<Inner>,
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

    /// Why the stream has ended, if it has.
    pub fn left(&self) -> Option<Leave> {
        match self.emitter.state.lock().phase {
            Phase::Closed(reason, _) => Some(reason),
            _ => None,
        }
    }

    /// Receives these as well, beginning with what comes. `tidegate:subscribed` says on the stream when it is so.
    pub fn subscribe(&self, topics: Vec<Topic>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.change(&self.emitter, Change::Asked(topics));
        }
    }

    /// Receives these no longer, memberships among them until they change; `tidegate:unsubscribed` follows on the stream.
    pub fn unsubscribe(&self, topics: Vec<Topic>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.change(&self.emitter, Change::Dropped(topics));
        }
    }

    /// How many topics its client asked for, the user's own among them: memberships don't count.
    pub fn topics(&self) -> usize {
        self.emitter.asked()
    }

    /// Everything that waits, for a client that asks from time to time. With `wait`, only when there is something: an event, a reset or
    /// the end.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, wait: bool) -> Poll<Batch> {
        let mut state = self.emitter.state.lock();
        let (mut events, mut reset) = (Vec::new(), false);
        while let Some(chunk) = state.take(0) {
            reset |= chunk.word == Some(Word::Reset);
            if chunk.events > 0 {
                events.push(chunk);
            }
        }
        let ended = matches!(state.phase, Phase::Closed(..));
        if wait && events.is_empty() && !reset && !ended {
            state.park(cx);
            return Poll::Pending;
        }
        // What was thrown away is not behind the client: it stays where it was.
        let cut = matches!(state.phase, Phase::Closed(_, true));
        let mut cursor = state.cursor.clone();
        if let (Phase::Live, Some(hub)) = (&state.phase, self.hub.upgrade())
            && let Some(moved) = hub.seen.refresh(&cursor)
        {
            cursor = moved.clone();
            state.cursor = moved;
        }
        Poll::Ready(Batch { events, cursor: (!cut).then_some(cursor), reset })
    }

    /// The connection's name, unique on this node.
    pub fn id(&self) -> u64 {
        self.emitter.id
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match self.hub.upgrade() {
            Some(hub) => hub.gone(&self.emitter),
            None => drop(self.emitter.depart()),
        }
    }
}
