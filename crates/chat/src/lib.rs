//! Chat on the gateway: rooms, messages, who has read what, and the notifications about it.
//!
//! A message is an event of its room's topic, `$chat:ROOM`: the broker stores and sends it, and a room's stream is an ordinary stream of the
//! gateway that resumes like any other. What a topic does not hold (who takes part, which message is where, who has read how far) is
//! the [`store::Store`]'s. The store is the truth about who takes part; the broker's memberships follow it.

mod model;
mod options;
pub mod store;

pub use model::{Message, MessageType, Room, UserProfile, View};
pub use options::{Bounds, Options};
