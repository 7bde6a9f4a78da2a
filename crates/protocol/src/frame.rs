use bytes::Bytes;

use crate::{Cursor, Event, EventName, json, sse};

/// How events look on the way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Blocks of a Server-Sent Events stream: see [`sse`].
    Sse,
    /// One JSON object an event: see [`json`].
    Json,
}

/// An encoded event, and where the part with its id ends.
///
/// A connection whose cursor has one partition sends [`Frame::whole`]; one with several sends an id of its own
/// ([`Format::id`]) before [`Frame::rest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    id: usize,
}

impl Format {
    /// Encodes an event with the id that it has where only its partition counts; without one if it was not stored.
    pub fn frame(self, event: &Event) -> Frame {
        let mark = &event.mark;
        let id = mark.stored().then(|| Cursor::single(mark.partition, mark.position()));
        let name = event.name.as_ref().map(EventName::as_str);
        match self {
            Self::Sse => sse::frame(id.as_ref(), name, Some(event.data.as_bytes())),
            Self::Json => json::frame(id.as_ref(), event),
        }
    }

    /// What stands before [`Frame::rest`] to make it a whole event again.
    pub fn id(self, id: Option<&Cursor>, out: &mut Vec<u8>) {
        match (self, id) {
            (Self::Sse, Some(id)) => sse::push_id(id, out),
            (Self::Sse, None) => {}
            (Self::Json, id) => json::push_id(id, out),
        }
    }
}

impl Frame {
    pub(crate) fn new(bytes: Vec<u8>, id: usize) -> Self {
        Self { bytes: bytes.into(), id }
    }

    /// The event with its id.
    pub fn whole(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The same, to read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes with the id.
    #[allow(clippy::len_without_is_empty, reason = "an event is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The event without its id: shares the same memory.
    pub fn rest(&self) -> Bytes {
        self.bytes.slice(self.id..)
    }
}
