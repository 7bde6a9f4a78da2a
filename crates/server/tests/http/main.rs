//! The HTTP side over real sockets, with the in-process broker. What needs several nodes is told in the binary's tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod admission;
mod application;
mod bad_input;
mod browser;
mod h2;
mod half_closed;
mod heads;
mod http3;
mod http3_wire;
mod node;
mod page;
mod polling;
mod publishing;
mod streams;
mod tls;
mod tls_wire;
mod unread;
mod users;
mod ws;
mod ws_bounds;
mod ws_slow;
