//! Taking what waits, by a transport that asks for it.

use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_protocol::Cursor;

use super::Subscriber;
use super::state::Phase;
use crate::close_reason::CloseReason;
use crate::control_events::ControlEvent;

/// Bytes for the socket.
#[derive(Debug)]
pub struct Chunk {
    /// Whole blocks, ready to be sent.
    pub bytes: Bytes,
    /// Events in them.
    pub events: u32,
    /// When the oldest live event in them was published (milliseconds since 1970); 0: none.
    pub at: u64,
    /// The control event that it begins with, if it is one.
    pub control: Option<ControlEvent>,
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

impl Subscriber {
    /// The next bytes, up to about `limit`; `None` when the stream has ended.
    pub(crate) fn poll_next(&self, cx: &Context<'_>, limit: usize) -> Poll<Option<Chunk>> {
        let mut state = self.state.lock();
        if let Some(chunk) = state.take(limit) {
            return Poll::Ready(Some(chunk));
        }
        if state.phase.close_reason().is_some() {
            return Poll::Ready(None);
        }
        state.park(cx);
        Poll::Pending
    }

    /// Everything that waits. With `wait`, only when there is something: an event, a reset or the
    /// end. `refresh` returns the cursor of a live stream moved on, if it can be.
    pub(crate) fn poll_batch(
        &self,
        cx: &Context<'_>,
        wait: bool,
        refresh: impl FnOnce(&Cursor) -> Option<Cursor>,
    ) -> Poll<Batch> {
        let mut state = self.state.lock();
        let (mut events, mut reset) = (Vec::new(), false);
        while let Some(chunk) = state.take(0) {
            reset |= chunk.control == Some(ControlEvent::Reset);
            if chunk.events > 0 {
                events.push(chunk);
            }
        }
        let ended = state.phase.close_reason().is_some();
        if wait && events.is_empty() && !reset && !ended {
            state.park(cx);
            return Poll::Pending;
        }
        if matches!(state.phase, Phase::Live)
            && let Some(moved) = refresh(&state.cursor)
        {
            state.cursor = moved;
        }
        // What was thrown away is not behind the client: it stays where it was.
        let cut = matches!(state.phase, Phase::Cut(_));
        let cursor = (!cut).then(|| state.cursor.clone());
        Poll::Ready(Batch { events, cursor, reset })
    }

    /// Ready when the stream was cut.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Cut(_)) {
            return Poll::Ready(());
        }
        state.park(cx);
        Poll::Pending
    }

    /// Whether the stream was cut.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Cut(_))
    }

    /// Why the stream has ended, if it has.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.state.lock().phase.close_reason()
    }
}
