//! A real nginx in front of a test's servers.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::Process;
use crate::wait::{DEADLINE, within};

/// What nginx writes at `notice` once a new configuration's first worker runs.
const WORKER_STARTED: &str = "start worker process ";

/// An `nginx` child with a configuration of its own. Dropping it ends it and its workers, whatever they are serving.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
    dir: TempDir,
}

impl Nginx {
    /// Starts nginx on a free port. `config` is what belongs inside `http { … }`; `@PORT@` in it is the port, `@DIR@` a
    /// directory of this nginx alone.
    pub async fn start(config: &str) -> Nginx {
        Nginx::start_on(crate::free_port(), config).await
    }

    /// Starts nginx on a port from [`free_port`](crate::free_port), as a load balancer before these gateways.
    pub async fn front(listen_port: u16, upstreams: &[SocketAddr]) -> Nginx {
        Nginx::start_on(listen_port, &front(upstreams)).await
    }

    /// Starts nginx with the repository's own configuration (`nginx/`): only addresses, temporary paths and the number of workers are this
    /// machine's. Its access log is in [`log`](Self::log), too.
    pub async fn repository(upstreams: &[SocketAddr]) -> Nginx {
        Nginx::repository_with(upstreams, str::to_owned).await
    }

    /// The same, each line changed by `edit`.
    pub async fn repository_with(upstreams: &[SocketAddr], edit: impl Fn(&str) -> String) -> Nginx {
        let (port, dir) = (crate::free_port(), directory());
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nginx");
        for folder in ["snippets", "local.d", "tls.d"] {
            fs::create_dir(dir.path().join(folder)).expect("a directory");
        }
        for file in
            ["nginx.conf", "cleartext.conf", "upstream.conf", "snippets/proxy.conf", "snippets/routes.conf"]
        {
            let text = fs::read_to_string(from.join(file)).expect("a file of nginx/");
            let text: String = own(&text, port, upstreams).lines().map(|line| edit(line) + "\n").collect();
            fs::write(dir.path().join(file), text).expect("write the configuration");
        }
        fs::write(dir.path().join("local.d/temporary.conf"), temporary(dir.path())).expect("write the paths");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).args(["-e", "stderr", "-c", "nginx.conf", "-g"]);
        command.arg(format!("daemon off; pid {}/pid;", dir.path().display()));
        Nginx::run(command, port, dir).await
    }

    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A URL behind this nginx; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base())
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes over a new configuration gracefully: old workers keep their streams, new connections see the new one.
    pub async fn reload(&self, config: &str) {
        write_config(self.dir.path(), self.port, config);
        let before = self.process.output().len();
        self.process.signal(Signal::SIGHUP);
        let outcome = within(DEADLINE, async || {
            let output = self.process.output();
            let news = output.get(before..)?;
            if news.contains("[emerg]") { Some(false) } else { news.contains(WORKER_STARTED).then_some(true) }
        });
        assert_eq!(outcome.await, Some(true), "nginx refuses the configuration\n{}", self.process.tail());
    }

    /// [`reload`](Self::reload) with another set of gateways.
    pub async fn reload_front(&self, upstreams: &[SocketAddr]) {
        self.reload(&front(upstreams)).await;
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    async fn start_on(port: u16, config: &str) -> Nginx {
        let dir = directory();
        write_config(dir.path(), port, config);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir.path()).args(["-e", "stderr", "-c", "nginx.conf"]);
        Nginx::run(command, port, dir).await
    }

    async fn run(command: Command, port: u16, dir: TempDir) -> Nginx {
        let process = Process::spawn(command, &dir.path().join("log"), "apt-get install nginx");
        let ready = within(DEADLINE, async || match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => Some(true),
            Err(_) => process.status().map(|_| false),
        });
        assert_eq!(ready.await, Some(true), "nginx does not listen on {port}\n{}", process.tail());
        Nginx { process, port, dir }
    }
}

impl Drop for Nginx {
    /// The master ends its workers, by force after a second, and reaps them.
    fn drop(&mut self) {
        self.process.dismiss();
    }
}

fn front(upstreams: &[SocketAddr]) -> String {
    let servers: Vec<_> =
        upstreams.iter().map(|a| format!("server {a} max_fails=1 fail_timeout=1s;")).collect();
    include_str!("front.conf").replace("@SERVERS@", &servers.join("\n    "))
}

fn directory() -> TempDir {
    let dir = tempfile::Builder::new().prefix("tidegate-nginx-").tempdir().expect("a directory");
    // Workers of a root nginx run as nobody and have to get at their temporary files.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o711)).expect("chmod");
    dir
}

/// A file of the repository with this machine's addresses in it.
fn own(text: &str, port: u16, upstreams: &[SocketAddr]) -> String {
    let line = |line: &str| {
        let gateway = line.trim_start().strip_prefix("server gateway-");
        if let Some((node, rest)) = gateway.and_then(|gateway| gateway.split_once(' ')) {
            // Each kind of line once, with every gateway in the place of the first.
            let all = upstreams.iter().filter(|_| node.starts_with("1:"));
            return all.map(|a| format!("    server {a} {rest}")).collect::<Vec<_>>().join("\n");
        }
        let changes = [
            ("listen 8080", format!("listen 127.0.0.1:{port}")),
            ("worker_processes auto", "worker_processes 1".into()),
            ("worker_rlimit_nofile 65536;", String::new()),
            ("worker_connections 32768", "worker_connections 4096".into()),
        ];
        changes.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn temporary(dir: &Path) -> String {
    let path = dir.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {path}/{kind};\n"))
        .concat()
}

fn write_config(dir: &Path, port: u16, config: &str) {
    let path = dir.display();
    let temporary = temporary(dir);
    let config = config.replace("@PORT@", &port.to_string()).replace("@DIR@", &path.to_string());
    let whole = format!(
        "daemon off;\npid {path}/pid;\nerror_log stderr notice;\nworker_processes 1;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n    access_log off;\n{temporary}\n{config}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), whole).expect("write the configuration");
}
