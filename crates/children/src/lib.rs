//! Real servers as child processes on this machine, for the tests (through `testkit`) and for the
//! load tester.
//!
//! - [`Home`]: a temporary directory, and the end of everything that was started in it.
//! - [`Process`]: one child. [`RedisServer`], [`Gateway`], [`Nginx`]: those that are needed
//!   everywhere.
//! - [`free_address`]: where they listen.
//!
//! Nothing here waits for a server unless it says so: a test's runtime may have to work before one
//! is ready. Errors name the program, and hold the end of its log.

mod gateway;
mod home;
mod nginx;
mod ports;
mod process;
mod redis_server;

pub use gateway::Gateway;
pub use home::Home;
pub use nginx::Nginx;
pub use nix::sys::signal::Signal;
pub use ports::free_address;
pub use process::Process;
pub use redis_server::RedisServer;

use std::ffi::OsStr;
use std::process::Command;

/// A program that Debian puts where not every user's PATH is.
pub fn server(program: &str) -> Command {
    let mut command = Command::new(program);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", [path, "/usr/sbin:/usr/local/sbin".into()].join(OsStr::new(":")));
    }
    command
}
