//! The chat over HTTP, on two nodes with one Redis: Alice is on one, Bob on the other.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod alone;
mod bad_input;
mod keys;
mod mending;
mod messages;
mod notices;
mod openapi;
mod people;
mod polling;
mod races;
mod rooms;
mod streams;
mod world;
