//! What must not work: who may call which route, what breaks out of a line, a header, a key or a request, what grows without a bound, what
//! is written where it can be read. Against the gateway as a process, and the repository's nginx in front of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod applications;
mod bombs;
mod browsers;
mod http2;
mod injection;
mod late;
mod listeners;
mod raw;
mod routes;
mod secrets;
mod slow;
mod smuggling;
mod tokens;
mod world;
