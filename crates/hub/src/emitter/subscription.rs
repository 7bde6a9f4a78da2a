use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;

use super::Emitter;
use super::state::Phase;
use crate::Inner;

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
        match self.hub.upgrade() {
            Some(hub) => hub.gone(&self.emitter),
            None => drop(self.emitter.depart()),
        }
    }
}
