//! The promises of a cluster, told with real processes: redis-server, gateways, nginx, and clients that reconnect by themselves. What every
//! way to receive has to keep is told in `transports`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chat;
mod cluster;
mod failover;
mod fan_out;
mod redis_faults;
mod refusals;
mod rolling;
mod seats;
mod upgrade;
mod users;
mod websocket;
