//! A real gateway process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tidegate_children::{Gateway as Child, Home, Signal};

use crate::wait::{up, within};

/// A `tidegate serve` child on its own two ports. Dropping it kills it; a panicking test prints the
/// end of its log.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    scheme: &'static str,
}

impl Gateway {
    /// Starts `bin serve` (pass `env!("CARGO_BIN_EXE_tidegate")`) with more arguments (`["--redis",
    /// url]`) and settings (`("TIDEGATE_STREAM__RETRY", "50ms")`), and returns once it is ready.
    /// Settings of the caller's own environment don't reach it.
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

    /// The gateway's binary beside a program of the same build. A run of the workspace's tests has
    /// built it; else it is built.
    pub fn binary_beside(program: &str) -> PathBuf {
        let binary = Path::new(program).with_file_name("tidegate");
        if !binary.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--package", "tidegate", "--locked"]);
            build.args(binary.parent().is_some_and(|dir| dir.ends_with("release")).then_some("--release"));
            assert!(build.status().unwrap().success(), "the gateway does not build");
        }
        binary
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self) {
        self.answers("/readyz").await;
    }

    /// `http://127.0.0.1:port`; `https` if it was told to speak TLS.
    pub fn base(&self) -> String {
        format!("{}://{}", self.scheme, self.addr())
    }

    /// A URL on the main listener; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// A URL on the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.child.admin())
    }

    /// The main listener's address.
    pub fn addr(&self) -> SocketAddr {
        self.child.address()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.process().pid()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.child.process().output()
    }

    /// SIGKILL, and waits for the end: a crash.
    pub async fn kill(&self) -> ExitStatus {
        self.child.process().kill().unwrap()
    }

    /// SIGTERM: the drain begins.
    pub fn terminate(&self) {
        self.child.process().signal(Signal::SIGTERM);
    }

    /// SIGHUP: the certificate is read again.
    pub fn hang_up(&self) {
        self.child.process().signal(Signal::SIGHUP);
    }

    /// SIGSTOP: sockets stay open, and nothing answers.
    pub fn pause(&self) {
        self.child.process().signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.child.process().signal(Signal::SIGCONT);
    }

    /// Waits until it has ended by itself; panics after a minute.
    pub async fn wait(&self) -> ExitStatus {
        let limit = Duration::from_secs(60);
        let ended = within(limit, async || self.child.process().ended()).await;
        ended.unwrap_or_else(|| panic!("the gateway did not end within {limit:?}"))
    }

    /// Starts it again on the same ports with the same settings, killing it first if it still runs.
    pub async fn restart(&mut self) {
        self.child.start_again().unwrap();
        self.ready().await;
    }

    fn launch(bin: &Path, args: &[&str], env: &[(&str, &str)]) -> Gateway {
        let home = Home::new("node").unwrap();
        let tls =
            args.contains(&"--dev-tls") || env.iter().any(|(name, _)| name.starts_with("TIDEGATE_TLS__"));
        let child = Child::start(&home, "gateway", bin, args, env).unwrap();
        Gateway { child, scheme: if tls { "https" } else { "http" } }
    }

    async fn answers(&self, path: &str) {
        let url = self.admin_url(path);
        up(self.child.process(), &format!("no 200 from the gateway's {path}"), async || {
            let answer = crate::http::try_send(Method::GET, &url, None, None).await;
            answer.is_ok_and(|answer| answer.status == StatusCode::OK)
        })
        .await;
    }
}
