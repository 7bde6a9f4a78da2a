//! The test kit against real processes and a server small enough to be believed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod browser;
mod processes;
mod proxies;
mod scripted;
mod streams;
