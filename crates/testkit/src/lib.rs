//! For tests only: the world around a gateway, over real sockets and real processes.
//!
//! - [`RedisServer`], with replicas if need be, [`Nginx`], [`Gateway`]: child processes that a test
//!   starts, pauses, kills and restarts. They are those of [`tidegate_children`], with waits that
//!   leave the test's runtime free.
//! - [`Sse`]: one stream, read as slowly as a test likes. [`EventSource`]: a browser that
//!   reconnects for ever.
//! - [`Chromium`]: a real browser.
//! - [`H3`]: an HTTP/3 connection, for [`Sse`] too. [`WebSocket`]: the same words over another
//!   transport.
//! - [`TcpProxy`]: a wire that can be cut, frozen and slowed. [`http`]: plain requests.
//!   [`Publisher`]: numbered events, one after the other.
//!
//! Everything here panics when the world is not as asked: in a test that is the useful error, and
//! it names what was seen until then. Every wait has a deadline. Children die with their owner, and
//! also when the test process itself is killed, so a static may hold one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an expectation that fails is a test that fails")]

mod chromium;
mod event_source;
mod gateway;
mod h3;
pub mod http;
mod nginx;
mod publisher;
mod redis_server;
mod replication;
pub mod sse;
mod tcp_proxy;
mod tls;
mod wait;
pub mod ws;

pub use chromium::{Chromium, Page};
pub use event_source::{Connection, EventSource};
pub use gateway::Gateway;
pub use h3::{H3, Response};
pub use nginx::Nginx;
pub use publisher::Publisher;
pub use redis_server::{Options as RedisOptions, RedisServer};
pub use sse::{Block, End, Event, Sse};
pub use tcp_proxy::TcpProxy;
pub use wait::{DEADLINE, eventually};
pub use ws::WebSocket;

/// A free TCP port on 127.0.0.1, never given out twice: [`tidegate_children::free_address`].
pub fn free_port() -> u16 {
    tidegate_children::free_address().unwrap().port()
}
