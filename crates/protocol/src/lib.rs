//! The words of the gateway: topics, patterns, events, cursors, SSE bytes and the broker envelope.
//!
//! No I/O, no clock and no async: everything here is a pure function of its arguments, so every rule of the wire
//! can be tested without a socket.

mod cursor;
mod data;
mod envelope;
mod event;
mod frame;
pub mod json;
mod pattern;
pub mod sse;
mod topic;

pub use cursor::{Cursor, CursorError, Epoch, MAX_CURSOR_BYTES, MAX_OFFSET, Offset, Position};
pub use data::{Data, DataError};
pub use envelope::{Envelope, EnvelopeError, Message};
pub use event::{Event, EventName, EventNameError, Mark};
pub use frame::{Format, Frame};
pub use pattern::{Pattern, PatternError};
pub use topic::{MAX_PARTITIONS, MAX_TOPIC_BYTES, Partition, Topic, TopicError};
