//! A real gateway process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::{DEADLINE, within};

/// A `tidegate serve` child on its own two ports. Dropping it kills it; a panicking test prints the end of its log.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    bin: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    port: u16,
    admin_port: u16,
    dir: TempDir,
}

impl Gateway {
    /// Starts `bin serve` (pass `env!("CARGO_BIN_EXE_tidegate")`) with more arguments (`["--redis", url]`) and settings
    /// (`("TIDEGATE_STREAM__RETRY", "50ms")`), and returns once it is ready. Settings of the caller's own environment
    /// don't reach it.
    pub async fn spawn(bin: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Gateway {
        let gateway = Gateway::launch(bin.as_ref(), args, env);
        gateway.ready().await;
        gateway
    }

    /// The same, but returns as soon as it lives: for a gateway that cannot be ready yet.
    pub async fn spawn_unready(bin: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Gateway {
        let gateway = Gateway::launch(bin.as_ref(), args, env);
        gateway.answers("/healthz").await;
        gateway
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self) {
        self.answers("/readyz").await;
    }

    /// `http://127.0.0.1:port`; `https` if it was told to speak TLS.
    pub fn base(&self) -> String {
        let tls = self.args.iter().any(|arg| arg == "--dev-tls")
            || self.env.iter().any(|(name, _)| name.starts_with("TIDEGATE_TLS__"));
        format!("{}://{}", if tls { "https" } else { "http" }, self.addr())
    }

    /// A URL on the main listener; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// A URL on the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    /// The main listener's address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// SIGKILL, and waits for the end: a crash.
    pub async fn kill(&self) -> ExitStatus {
        self.process.kill().await
    }

    /// SIGTERM: the drain begins.
    pub fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// SIGHUP: the certificate is read again.
    pub fn hang_up(&self) {
        self.process.signal(Signal::SIGHUP);
    }

    /// SIGSTOP: sockets stay open, and nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Waits until it has ended by itself; panics after a minute.
    pub async fn wait(&self) -> ExitStatus {
        let limit = Duration::from_secs(60);
        let ended = tokio::time::timeout(limit, self.process.wait()).await;
        ended.unwrap_or_else(|_| panic!("the gateway did not end within {limit:?}"))
    }

    /// Starts it again on the same ports with the same settings, killing it first if it still runs.
    pub async fn restart(&mut self) {
        self.process.kill().await;
        self.process = launch(&self.bin, &self.args, &self.env, &self.dir);
        self.ready().await;
    }

    fn launch(bin: &Path, args: &[&str], env: &[(&str, &str)]) -> Gateway {
        let (port, admin_port) = (crate::free_port(), crate::free_port());
        let dir = tempfile::Builder::new().prefix("tidegate-node-").tempdir().expect("a directory");
        let mut all = vec!["serve".to_owned()];
        all.extend(["--listen".into(), format!("127.0.0.1:{port}")]);
        all.extend(["--admin-listen".into(), format!("127.0.0.1:{admin_port}")]);
        all.extend(args.iter().map(ToString::to_string));
        let env: Vec<_> = env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let process = launch(bin, &all, &env, &dir);
        Gateway { process, bin: bin.into(), args: all, env, port, admin_port, dir }
    }

    async fn answers(&self, path: &str) {
        let url = self.admin_url(path);
        let answer =
            within(DEADLINE, async || match crate::http::try_send(Method::GET, &url, None, None).await {
                Ok(answer) if answer.status == StatusCode::OK => Some(true),
                _ => self.process.status().map(|_| false),
            });
        let answer = answer.await;
        assert_eq!(answer, Some(true), "no 200 from the gateway's {path}\n{}", self.process.tail());
    }
}

fn launch(bin: &Path, args: &[String], env: &[(String, String)], dir: &TempDir) -> Process {
    let mut command = Command::new(bin);
    command.args(args).current_dir(dir.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.envs(env.iter().cloned());
    Process::spawn(command, &dir.path().join("log"), "build it first")
}
