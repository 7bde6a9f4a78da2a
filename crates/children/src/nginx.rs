//! nginx as a child.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::gateway::says_yes;
use crate::{Home, Process};

/// The repository's own files.
const FILES: [(&str, &str); 5] = [
    ("nginx.conf", include_str!("../../../nginx/nginx.conf")),
    ("cleartext.conf", include_str!("../../../nginx/cleartext.conf")),
    ("upstream.conf", include_str!("../../../nginx/upstream.conf")),
    ("snippets/proxy.conf", include_str!("../../../nginx/snippets/proxy.conf")),
    ("snippets/routes.conf", include_str!("../../../nginx/snippets/routes.conf")),
];

/// Puts this machine's addresses, limits and temporary paths into them.
const LOCAL: &str = include_str!("../../../scripts/local-nginx.sh");

/// Its workers get a second from the master before they are ended by force.
const FAREWELL: Duration = Duration::from_secs(10);

/// An nginx with files of its own. Dropping it ends it and its workers, whatever they are serving.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    dir: PathBuf,
}

impl Nginx {
    /// Starts it with the repository's own configuration (`nginx/`) in front of these gateways.
    /// Each line of it is what `edit` returns for it.
    pub fn repository(
        home: &Home,
        address: SocketAddr,
        gateways: &[SocketAddr],
        edit: impl Fn(&str) -> String,
    ) -> Result<Self> {
        let dir = prepare(home, "nginx")?;
        write_repository(&dir, address, gateways, edit)?;
        run(home, "nginx", address, dir)
    }

    /// Starts it with a configuration that is no gateway's: a whole file. `@PORT@` in it is the
    /// address' port; `tmp/` is for temporary files.
    pub fn start(home: &Home, name: &str, address: SocketAddr, config: &str) -> Result<Self> {
        let dir = prepare(home, name)?;
        fs::write(dir.join("nginx.conf"), config.replace("@PORT@", &address.port().to_string()))?;
        run(home, name, address, dir)
    }

    /// Takes over another set of gateways. Old workers keep their streams for a while, new
    /// connections see the new set.
    pub fn reload_repository(&self, gateways: &[SocketAddr], edit: impl Fn(&str) -> String) -> Result<()> {
        write_repository(&self.dir, self.address, gateways, edit)?;
        self.process.signal(Signal::SIGHUP);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The master.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until a gateway's `/readyz` answers 200 through it.
    pub fn ready(&self, within: Duration) -> Result<()> {
        self.process.ready(within, || says_yes(self.address, "/readyz").is_ok_and(|yes| yes))
    }
}

impl Drop for Nginx {
    /// The master ends its workers and reaps them.
    fn drop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(FAREWELL);
    }
}

/// The workers of a root nginx run as another user and have to get at their temporary files.
fn prepare(home: &Home, name: &str) -> Result<PathBuf> {
    let dir = home.path().join(name);
    fs::create_dir_all(dir.join("tmp"))?;
    for folder in [home.path(), &dir, &dir.join("tmp")] {
        fs::set_permissions(folder, Permissions::from_mode(0o711))?;
    }
    Ok(dir)
}

fn write_repository(
    dir: &Path,
    address: SocketAddr,
    gateways: &[SocketAddr],
    edit: impl Fn(&str) -> String,
) -> Result<()> {
    fs::create_dir_all(dir.join("snippets"))?;
    for (name, text) in FILES {
        fs::write(dir.join(name), text)?;
    }
    let mut local = Command::new("sh");
    local.args(["-c", LOCAL, "local-nginx.sh"]).arg(dir).arg(address.to_string());
    let output = local.args(gateways.iter().map(ToString::to_string)).output().context("can't start sh")?;
    ensure!(output.status.success(), "nginx' files: {}", String::from_utf8_lossy(&output.stderr));
    for (name, _) in FILES {
        let text = fs::read_to_string(dir.join(name))?;
        fs::write(dir.join(name), text.lines().map(|line| edit(line) + "\n").collect::<String>())?;
    }
    Ok(())
}

fn run(home: &Home, name: &str, address: SocketAddr, dir: PathBuf) -> Result<Nginx> {
    let mut command = crate::server("nginx");
    command.arg("-p").arg(&dir).args([
        "-e",
        "stderr",
        "-c",
        "nginx.conf",
        "-g",
        "daemon off; pid nginx.pid;",
    ]);
    let process = home.start(name, command, "apt-get install nginx")?;
    Ok(Nginx { process, address, dir })
}
