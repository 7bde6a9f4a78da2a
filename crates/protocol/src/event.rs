use std::fmt;
use std::sync::Arc;

use crate::cursor::{Epoch, Offset, Position};
use crate::data::Data;
use crate::topic::{Partition, Topic};

/// One event as a node sees it, live or read from history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it was published.
    pub topic: Topic,
    /// Its SSE event name; `None` is the browser's `message`.
    pub name: Option<EventName>,
    /// Its payload.
    pub data: Data,
    /// When the publishing node took it: milliseconds since 1970, by that node's clock.
    pub at: u64,
    /// Its place in the partition.
    pub mark: Mark,
}

/// Where an event stands in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The partition of its topic.
    pub partition: Partition,
    /// The life of the partition's counter.
    pub epoch: Epoch,
    /// The event's own number. Of an event that was not stored: the counter's value when it was sent.
    pub offset: Offset,
    /// The offset of the topic's previous event, 0 for the first. `None`: not stored, so it has no id and is never replayed.
    pub prev: Option<Offset>,
}

impl Mark {
    /// The place just after the event.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }

    /// Whether the event is in history and carries an id.
    pub fn stored(&self) -> bool {
        self.prev.is_some()
    }
}

/// A validated SSE event name: 1–128 bytes without control characters, not starting with `tidegate:`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventName(Arc<str>);

impl EventName {
    /// Parses a name given by a publisher; the error says which rule was broken.
    pub fn parse(text: &str) -> Result<Self, EventNameError> {
        if text.is_empty() || text.len() > 128 {
            return Err(EventNameError::Length(text.len()));
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(EventNameError::Forbidden(c));
        }
        if text.starts_with("tidegate:") {
            return Err(EventNameError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Why a text is no event name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventNameError {
    /// Empty, or too long.
    #[error("an event name has 1 to 128 bytes, this one has {0}")]
    Length(usize),
    /// A control character: a line end would let a publisher write SSE fields of its own.
    #[error("an event name must not contain control characters, this one has {0:?}")]
    Forbidden(char),
    /// The gateway's own names.
    #[error("event names starting with `tidegate:` are the gateway's own")]
    Reserved,
}
