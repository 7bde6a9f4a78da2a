//! Everything between a client's socket and a route.
//!
//! It accepts connections, speaks TLS, HTTP/1.1, HTTP/2, HTTP/3 and WebSocket, and writes what the
//! hub has for each client. It knows the hub's subscriber handle and no route: requests go to
//! whatever `tower::Service` it is given, and what a WebSocket's client says goes to
//! [`websocket::Messages`]. How a response leaves its HTTP library is drawn in `takeover.rs`.
//!
//! A library takes a listener and a shutdown: it binds nothing, reads no environment and catches
//! no signal.

mod accept;
mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod http2;
mod http3;
mod listener;
mod metrics;
mod options;
mod permit;
mod poll;
mod request;
pub mod respond;
mod socket;
mod takeover;
pub mod tls;
mod unread;
pub mod websocket;

pub use accept::serve;
pub use http3::Http3;
pub use listener::{Listener, Shutdown};
pub use metrics::Metrics;
pub use options::Options;
pub use permit::{Connections, StreamPermit};
pub use poll::Poll;
pub use request::{Body, BoxError, ConnectionInfo, Request, Unreadable};
