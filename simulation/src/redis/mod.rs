//! A model of Redis: the gateway's own scripts in a real Lua, over a small keyspace, behind links
//! with faults, in virtual time.

mod commands;
mod keyspace;
mod link;
mod lua;
mod record;
mod replication;
pub mod resp;
mod server;
mod site;
mod stream;

pub use commands::Refusal;
pub use keyspace::Keyspace;
pub use record::Stored;
pub use server::{Server, Solo};
pub use site::{Redis, State};
