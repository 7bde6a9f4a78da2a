//! A `redis-server` child.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{Home, Process};

/// A `redis-server` on a port of its own that can be stopped and started again. Dropping it kills
/// it.
#[derive(Debug)]
pub struct RedisServer {
    home: Home,
    address: SocketAddr,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl RedisServer {
    /// Starts it and does not wait until it answers. `arguments`: a configuration file, and
    /// options.
    pub fn start(home: &Home, arguments: Vec<String>) -> Result<Self> {
        let address = crate::free_address()?;
        let mut server = Self { home: home.clone(), address, arguments, process: None };
        fs::create_dir(server.dir())?;
        server.start_again()?;
        Ok(server)
    }

    /// Where it listens, after every start.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it writes its data.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("redis")
    }

    /// None: it is stopped.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Kills it (SIGKILL: a crash) and waits for the end. The port stays reserved.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a [`stop`](Self::stop), with what its directory holds.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "redis-server is already running");
        let mut command = crate::server("redis-server");
        command.args(&self.arguments).arg("--port").arg(self.address.port().to_string());
        command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--dir"]).arg(self.dir());
        self.process = Some(self.home.start("redis", command, "apt-get install redis-server")?);
        Ok(())
    }

    /// Removes its data, for the next start.
    pub fn forget(&self) -> Result<()> {
        fs::remove_dir_all(self.dir())?;
        Ok(fs::create_dir(self.dir())?)
    }
}
