//! The way of a response that outlives its HTTP library.
//!
//! hyper keeps some 20 kB for a connection, and h3 keeps a request's state, for as long as a
//! response lasts. A stream, a poll that waits and a WebSocket need none of it once the response's
//! head has been sent. So the socket is taken out:
//!
//! ```text
//! request ──▶ route: finds the ConnectionInfo in the request's extensions
//!               │
//!               ▼
//!   respond::{stream, poll, websocket} ──▶ a body (or the head of a 101 answer)
//!               │
//!               │ asked for bytes: the head is on its way. Takeover::may_begin: the request has
//!               │ been read to its end, else the rest of its body would be read as a request
//!               ▼
//!   Takeover::leave(Owner) ──▶ the one slot
//!               │
//!               ▼
//!   the connection's driver, when all before it has been written (Takeover::take)
//!   or, for a WebSocket, when hyper is done (Takeover::take_upgraded)
//!               │
//!     HTTP/1    │    HTTP/3 (streams only: polls and bodies are written by the request's task)
//!       ┌───────┴────────┐
//!       ▼                ▼
//!   http1::Detached   http3::stream      each in a task a fraction of the size
//!    ├─ stream: the hub writes to the socket, the task waits for its end; then the socket is closed
//!    ├─ poll: writes one answer; then the socket goes back to hyper for the next request
//!    └─ WebSocket: websocket::run; then the socket is closed
//! ```
//!
//! HTTP/2 has no takeover: its streams share a socket. See `http2.rs` for how one of them is cut.

use std::sync::Arc;
use std::task::{self, Context};

use hyper::body::Incoming;
use parking_lot::Mutex;
use tidegate_hub::SubscriberHandle;

use crate::permit::StreamPermit;
use crate::poll::Poll;
use crate::socket::{Framing, SocketState};
use crate::unread::Arrival;
use crate::websocket::Session;

/// What a detached socket is for from then on.
pub(crate) enum Owner {
    /// An event stream: it has the socket to its end.
    Stream(OpenStream),
    /// A poll that waits: the socket is given back with its answer.
    Poll(Poll),
    /// A WebSocket.
    WebSocket(Box<Session>),
}

/// A stream that was opened, on its way to its task.
pub(crate) struct OpenStream {
    pub(crate) subscription: SubscriberHandle,
    pub(crate) permit: StreamPermit,
    pub(crate) framing: Framing,
}

/// Where a response leaves what is to own the socket, and the connection's driver finds it. One for
/// each HTTP/1 connection, and for each HTTP/3 request.
#[derive(Default)]
pub(crate) struct Takeover {
    slot: Mutex<Option<Owner>>,
    /// The body of the request that is being answered. None: the transport tells requests apart
    /// without it.
    arrival: Mutex<Option<Arc<Arrival<Incoming>>>>,
    socket: Arc<SocketState>,
}

impl Takeover {
    /// Of an HTTP/1 connection on this socket. (The default has no socket of its own.)
    pub(crate) fn of(socket: Arc<SocketState>) -> Self {
        Self { socket, ..Self::default() }
    }

    /// A request's head is there. `arrival`: how far its body has come.
    pub(crate) fn request_began(&self, arrival: Arc<Arrival<Incoming>>) {
        *self.arrival.lock() = Some(arrival);
    }

    /// Whether the request has been read to its end: only then may the socket be taken over. If
    /// not, the task is woken when it has.
    pub(crate) fn may_begin(&self, cx: &Context<'_>) -> bool {
        self.arrival.lock().as_ref().is_none_or(|arrival| arrival.poll_whole(cx))
    }

    /// Whether the request has been read to its end.
    pub(crate) fn request_is_whole(&self) -> bool {
        self.arrival.lock().as_ref().is_none_or(|arrival| arrival.is_whole())
    }

    /// Resolves when the client has closed its side, which most do only when they leave.
    pub(crate) fn poll_client_closed(&self, cx: &Context<'_>) -> task::Poll<()> {
        self.socket.poll_client_closed(cx)
    }

    /// Leaves the socket's next owner for the driver.
    pub(crate) fn leave(&self, owner: Owner) {
        *self.slot.lock() = Some(owner);
    }

    /// The stream or poll that was left, once everything before it has been written.
    pub(crate) fn take(&self) -> Option<Owner> {
        if !self.socket.all_written() {
            return None;
        }
        self.slot.lock().take_if(|owner| !matches!(owner, Owner::WebSocket(_)))
    }

    /// The WebSocket that was left, once hyper is done with the connection.
    pub(crate) fn take_upgraded(&self) -> Option<Owner> {
        let owner = self.slot.lock().take();
        owner.filter(|owner| matches!(owner, Owner::WebSocket(_)) && self.request_is_whole())
    }
}
