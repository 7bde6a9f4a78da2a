//! Each scenario, short and small, against real servers: what it counts is what happened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod run;
mod scenarios;
