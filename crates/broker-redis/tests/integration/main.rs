//! The Redis broker against a real Redis: the contract of all brokers, and everything that Redis does to those who trust it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod contract;
mod desync;
mod entering;
mod epochs;
mod eviction;
mod failover;
mod order;
mod outages;
mod pool;
mod primaries;
mod refusals;
mod rights;
mod settings;
mod slow;
mod tls;
