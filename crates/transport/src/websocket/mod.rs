//! WebSocket: a stream whose client may also speak.
//!
//! The hub's JSON objects go out as text frames, one each. What the client says is answered one
//! message after the other by the route's [`Messages`]: while an answer is being made nothing more
//! is read, so a client that says more than it may waits, and nothing of it piles up here. An idle
//! connection keeps no buffer but the library's half kilobyte.

mod close;
mod codec;
mod frames;
mod goodbye;
mod handshake;
mod messages;
mod outgoing;
mod pace;
mod session;

pub(crate) use close::Close;
#[cfg(feature = "fuzzing")]
pub(crate) use codec::hear;
pub(crate) use handshake::Way;
pub use handshake::{Handshake, Refusal, SUBPROTOCOL};
pub use messages::{Messages, Reply};
pub use session::Session;
pub(crate) use session::run;
