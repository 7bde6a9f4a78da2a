//! A gateway as a child.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::{Home, Process};

/// So long a gateway may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// `tidegate serve` on two ports of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    home: Home,
    name: String,
    binary: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    address: SocketAddr,
    admin: SocketAddr,
    process: Process,
}

impl Gateway {
    /// Starts `binary serve` and does not wait until it is ready. `arguments` are more of the
    /// command line, `settings` environment variables. Settings in the caller's own environment
    /// don't reach it.
    pub fn start(
        home: &Home,
        name: &str,
        binary: &Path,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let (address, admin) = (crate::free_address()?, crate::free_address()?);
        let mut all: Vec<String> =
            ["serve", "--listen", &address.to_string(), "--admin-listen", &admin.to_string()]
                .map(ToOwned::to_owned)
                .into();
        all.extend(arguments.iter().map(ToString::to_string));
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Ok(Self {
            process: start(home, name, binary, &all, &settings)?,
            home: home.clone(),
            name: name.to_owned(),
            binary: binary.to_owned(),
            arguments: all,
            settings,
            address,
            admin,
        })
    }

    /// Starts it again with the same settings on the same ports. Kills it first if it still runs.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process = start(&self.home, &self.name, &self.binary, &self.arguments, &self.settings)?;
        Ok(())
    }

    /// The main listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its name: of its log, too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The child.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until `/readyz` answers 200.
    pub fn ready(&self, within: Duration) -> Result<()> {
        self.process.ready(within, || says_yes(self.admin, "/readyz").is_ok_and(|yes| yes))
    }
}

fn start(
    home: &Home,
    name: &str,
    binary: &Path,
    arguments: &[String],
    settings: &[(String, String)],
) -> Result<Process> {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(settings.iter().cloned()).current_dir(home.path());
    home.start(name, command, "build it first: cargo build -p tidegate")
}

/// Whether the answer to a GET is a 200.
pub(crate) fn says_yes(to: SocketAddr, path: &str) -> Result<bool> {
    let mut socket = TcpStream::connect_timeout(&to, PROBE_TIMEOUT)?;
    socket.set_read_timeout(Some(PROBE_TIMEOUT))?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    socket.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}
