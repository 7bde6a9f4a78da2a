//! WebSocket: a stream whose client may also speak.
//!
//! The hub's JSON objects go out as text frames, one each. What the client says is checked and answered one by one: while an answer is being
//! made nothing more is read, so a client that says more than it may waits, and nothing of it piles up here. An idle connection keeps no
//! buffer but the library's half kilobyte.

mod close;
mod codec;
#[path = "session.rs"]
mod connection;
mod frames;
mod handshake;
#[path = "../../../server/src/websocket.rs"]
mod message;
mod outgoing;
mod pace;

use tidegate_auth::Identity;
use tidegate_hub::Subscription;

use crate::app::App;
use crate::stream::Counted;

pub(crate) use close::Close;
#[cfg(feature = "fuzzing")]
pub(crate) use codec::hear;
pub(crate) use connection::run;
pub(crate) use handshake::{Handshake, Way, accept};
#[cfg(feature = "fuzzing")]
pub(crate) use message::problem;

/// A WebSocket that was opened, on its way to its task.
pub(crate) struct Session {
    pub(crate) app: App,
    /// Who it is that speaks.
    pub(crate) who: Identity,
    pub(crate) subscription: Subscription,
    /// Its place among the streams, while it lives.
    pub(crate) _counted: Counted,
}
