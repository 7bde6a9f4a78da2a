//! What the chaos is about: Redis, gateways, nginx and two wires, as child processes on free ports.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use parking_lot::{Mutex, MutexGuard};

use super::nginx;
use crate::local::child::{Home, Process};
use crate::local::ports::Port;
use crate::local::{self, http};
use crate::proxy::Delay;
use crate::redis::Redis;

/// So long anything may take to come up: a busy machine needs seconds for what is done in milliseconds elsewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// What backends publish with.
pub(super) const API_KEY: &str = "chaos-publisher-0123456789";
/// What users' tokens are signed with.
pub(super) const SECRET: &str = "chaos-0123456789-0123456789-0123456789";

/// Short enough for a run of a minute; all else as shipped. The outbox is small, so that one who does not read overflows it.
const SETTINGS: &str = r#"
[auth]
mode = "keys"
[[auth.jwt.keys]]
alg = "HS256"
secret = "@SECRET@"
[[auth.api_keys]]
name = "publisher"
key = "@KEY@"
[redis]
probe_interval = "500ms"
probe_timeout = "1s"
response_timeout = "1s"
[history]
size = 10000
[stream]
retry = "300ms"
heartbeat = "1s"
outbox_events = 100
outbox_bytes = "256KiB"
[limits]
join_timeout = "3s"
header_timeout = "2s"
[drain]
delay = "300ms"
window = "@WINDOW@"
deadline = "@DEADLINE@"
"#;

pub(super) struct Cluster {
    // Children first, their directory last: fields are dropped in this order.
    front: Mutex<Process>,
    nodes: Vec<Node>,
    redis: Mutex<Option<Process>>,
    redis_port: Port,
    front_port: Port,
    /// Between some of the clients and nginx.
    pub(super) wire: Delay,
    /// Between the gateways and Redis.
    pub(super) redis_wire: Delay,
    binary: PathBuf,
    home: Home,
}

struct Node {
    name: String,
    port: Port,
    admin: Port,
    process: Mutex<Process>,
}

impl Cluster {
    pub(super) fn start(binary: &Path, nodes: usize, window: Duration) -> Result<Self> {
        let home = Home::new()?;
        let settings = SETTINGS
            .replace("@SECRET@", SECRET)
            .replace("@KEY@", API_KEY)
            .replace("@WINDOW@", &format!("{}ms", window.as_millis()))
            .replace("@DEADLINE@", &format!("{}ms", window.as_millis() + 10_000));
        fs::write(home.path.join("tidegate.toml"), settings)?;
        fs::create_dir(home.path.join("redis"))?;
        fs::write(home.path.join("redis.conf"), include_str!("../../../deploy/redis.conf"))?;
        let redis_port = Port::free()?;
        let redis = start_redis(&home, &redis_port)?;
        let redis_wire = Delay::start(redis_port.address(), Duration::ZERO)?;
        let mut started = Vec::new();
        for number in 1..=nodes {
            let (port, admin) = (Port::free()?, Port::free()?);
            let name = format!("gateway-{number}");
            let process = start_node(&home, binary, &name, &port, &admin, redis_wire.address)?;
            started.push(Node { name, port, admin, process: Mutex::new(process) });
        }
        for node in &started {
            node.ready()?;
        }
        let front_port = Port::free()?;
        let addresses: Vec<SocketAddr> = started.iter().map(|node| node.port.address()).collect();
        let command = nginx::prepare(&home.path.join("nginx"), front_port.number, &addresses)?;
        let mut front = home.start("nginx", command, "apt-get install nginx")?;
        front.ready(PATIENCE, || http::says_yes(front_port.address(), "/readyz"))?;
        let wire = Delay::start(front_port.address(), Duration::ZERO)?;
        Ok(Self {
            front: Mutex::new(front),
            nodes: started,
            redis: Mutex::new(Some(redis)),
            redis_port,
            front_port,
            wire,
            redis_wire,
            binary: binary.to_owned(),
            home,
        })
    }

    pub(super) fn front(&self) -> SocketAddr {
        self.front_port.address()
    }

    pub(super) fn gateways(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.port.address()).collect()
    }

    pub(super) fn signal_node(&self, node: usize, signal: Signal) {
        self.nodes[node].process.lock().signal(signal);
    }

    pub(super) fn kill_node(&self, node: usize) {
        self.nodes[node].process.lock().kill();
    }

    /// After its end; returns once it is ready.
    pub(super) fn start_node(&self, node: usize) -> Result<()> {
        let Node { name, port, admin, process } = &self.nodes[node];
        let new = start_node(&self.home, &self.binary, name, port, admin, self.redis_wire.address)?;
        *process.lock() = new;
        self.nodes[node].ready()
    }

    /// SIGTERM, and waits until it has gone by itself, with a good word.
    pub(super) fn drain_node(&self, node: usize) -> Result<()> {
        let mut process = self.nodes[node].process.lock();
        process.signal(Signal::SIGTERM);
        let status = process.wait(PATIENCE).context("a gateway does not end after SIGTERM")?;
        ensure!(status.success(), "a gateway ended its drain with {status}");
        Ok(())
    }

    pub(super) fn all_ready(&self) -> Result<()> {
        self.nodes.iter().try_for_each(Node::ready)
    }

    pub(super) fn signal_redis(&self, signal: Signal) {
        if let Some(redis) = &mut *self.redis.lock() {
            redis.signal(signal);
        }
    }

    pub(super) fn kill_redis(&self) {
        self.redis.lock().take();
    }

    /// After its end, with what it has on disk, or without.
    pub(super) fn start_redis(&self, data: bool) -> Result<()> {
        let mut redis: MutexGuard<'_, _> = self.redis.lock();
        let dir = self.home.path.join("redis");
        if !data {
            fs::remove_dir_all(&dir)?;
            fs::create_dir(&dir)?;
        }
        *redis = Some(start_redis(&self.home, &self.redis_port)?);
        Ok(())
    }

    pub(super) fn ask_redis(&self, words: &[&str]) -> Result<String> {
        Redis::connect(&format!("redis://{}", self.redis_port.address()))?.ask(words)
    }

    pub(super) fn reload_front(&self) {
        self.front.lock().signal(Signal::SIGHUP);
    }

    /// All gateways are told to end, and have to do it well.
    pub(super) fn farewell(&self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|node| self.drain_node(node))
    }

    /// Leaves all logs where they are, and says where.
    pub(super) fn keep(&self) {
        self.home.keep();
        println!("Everybody's logs: {}", self.home.path.display());
    }

    /// Lines of the gateways' logs that should not be there.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let log = fs::read(self.home.path.join(format!("{}.log", node.name))).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            // That Redis has lost its data is what was done to it.
            let bad = |line: &&str| {
                line.contains("panicked at")
                    || line.contains(" ERROR ") && !line.contains("another epoch has begun")
            };
            found.extend(log.lines().filter(bad).map(|line| format!("{}: {line}", node.name)));
        }
        found
    }
}

impl Node {
    fn ready(&self) -> Result<()> {
        self.process.lock().ready(PATIENCE, || http::says_yes(self.admin.address(), "/readyz"))
    }
}

fn start_redis(home: &Home, port: &Port) -> Result<Process> {
    let mut command = local::server("redis-server");
    command.arg(home.path.join("redis.conf")).args(["--port", &port.number.to_string()]);
    command.args(["--bind", "127.0.0.1", "--daemonize", "no", "--dir"]).arg(home.path.join("redis"));
    // What was answered with 200 is on the disk: the promise that is checked here.
    command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    let mut process = home.start("redis", command, "apt-get install redis-server")?;
    let url = format!("redis://{}", port.address());
    process.ready(PATIENCE, || Redis::connect(&url).and_then(|mut redis| redis.ask(&["PING"])).is_ok())?;
    Ok(process)
}

fn start_node(
    home: &Home,
    binary: &Path,
    name: &str,
    port: &Port,
    admin: &Port,
    redis: SocketAddr,
) -> Result<Process> {
    let mut command = local::serve(binary);
    command.arg("--config").arg(home.path.join("tidegate.toml"));
    command.args(["--listen", &port.address().to_string()]);
    command.args(["--admin-listen", &admin.address().to_string()]);
    command.args(["--redis", &format!("redis://{redis}")]).env("TIDEGATE_NODE", name);
    home.start(name, command, "build it first: cargo build -p tidegate")
}
