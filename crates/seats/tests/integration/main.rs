//! The seats' promises: of each store, of the routes, and of several nodes on one Redis.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
mod house;
mod node;
mod routes;
mod stalled;
