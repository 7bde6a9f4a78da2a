//! A request on its way to its route, and what the route may know of its connection.

mod routes;
mod unreadable;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::takeover::Takeover;

pub use routes::{Body, BoxError, Request};
pub(crate) use routes::{Response, Routes, body};
pub use unreadable::Unreadable;
pub(crate) use unreadable::{answer, mark};

/// What a route may know of the connection that its request came on: in the request's extensions.
#[derive(Clone)]
pub struct ConnectionInfo {
    /// The address at the other end: a client's, or that of a proxy before it.
    pub peer: IpAddr,
    /// The node is beyond its limit of connections: requests on this one
    /// are answered with that, and it is closed.
    pub overloaded: bool,
    /// How a response takes the socket over: on HTTP/1 and HTTP/3.
    pub(crate) takeover: Option<Arc<Takeover>>,
}

impl ConnectionInfo {
    /// Of a connection whose socket no response can take over.
    pub fn new(peer: IpAddr, overloaded: bool) -> Self {
        Self { peer, overloaded, takeover: None }
    }

    /// Of one whose responses can.
    pub(crate) fn with_takeover(self, takeover: &Arc<Takeover>) -> Self {
        Self { takeover: Some(Arc::clone(takeover)), ..self }
    }

    /// Whether a response may have the whole connection, or its QUIC stream, to itself.
    pub fn can_be_taken_over(&self) -> bool {
        self.takeover.is_some()
    }

    /// Resolves when the client has closed its side, which most do only when they leave. Only
    /// HTTP/1 has to ask: elsewhere the library drops the response.
    pub fn poll_client_closed(&self, cx: &Context<'_>) -> Poll<()> {
        self.takeover.as_ref().map_or(Poll::Pending, |takeover| takeover.poll_client_closed(cx))
    }
}
