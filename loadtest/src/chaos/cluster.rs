//! What the chaos is about: Redis, gateways, nginx and two wires, as child processes on free ports.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use tidegate_children::{Gateway, Home, Nginx, RedisServer, Signal, free_address};

use crate::local::{self, PATIENCE};
use crate::proxy::Delay;
use crate::redis::Redis;

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
    front: Nginx,
    nodes: Vec<Mutex<Gateway>>,
    gateways: Vec<SocketAddr>,
    redis: Mutex<RedisServer>,
    /// Between some of the clients and nginx.
    pub(super) wire: Delay,
    /// Between the gateways and Redis.
    pub(super) redis_wire: Delay,
    home: Home,
}

impl Cluster {
    pub(super) fn start(binary: &Path, nodes: usize, window: Duration) -> Result<Self> {
        let home = Home::new("loadtest")?;
        let settings = SETTINGS
            .replace("@SECRET@", SECRET)
            .replace("@KEY@", API_KEY)
            .replace("@WINDOW@", &format!("{}ms", window.as_millis()))
            .replace("@DEADLINE@", &format!("{}ms", window.as_millis() + 10_000));
        fs::write(home.path().join("tidegate.toml"), settings)?;
        // What was answered with 200 is on the disk: the promise that is checked here.
        let redis = local::redis(&home, &["--appendonly", "yes", "--appendfsync", "always"])?;
        let redis_wire = Delay::start(redis.address(), Duration::ZERO)?;
        let mut started = Vec::new();
        for number in 1..=nodes {
            let name = format!("gateway-{number}");
            // The file is in the directory in which it runs.
            let arguments =
                ["--config", "tidegate.toml", "--redis", &format!("redis://{}", redis_wire.address)];
            started.push(Gateway::start(&home, &name, binary, &arguments, &[("TIDEGATE_NODE", &name)])?);
        }
        started.iter().try_for_each(|node| node.ready(PATIENCE))?;
        let gateways: Vec<SocketAddr> = started.iter().map(Gateway::address).collect();
        let front = Nginx::repository(&home, free_address()?, &gateways, for_chaos)?;
        front.ready(PATIENCE)?;
        Ok(Self {
            wire: Delay::start(front.address(), Duration::ZERO)?,
            front,
            nodes: started.into_iter().map(Mutex::new).collect(),
            gateways,
            redis: Mutex::new(redis),
            redis_wire,
            home,
        })
    }

    pub(super) fn front(&self) -> SocketAddr {
        self.front.address()
    }

    pub(super) fn gateways(&self) -> &[SocketAddr] {
        &self.gateways
    }

    pub(super) fn signal_node(&self, node: usize, signal: Signal) {
        self.nodes[node].lock().process().signal(signal);
    }

    pub(super) fn kill_node(&self, node: usize) -> Result<()> {
        self.nodes[node].lock().process().kill()?;
        Ok(())
    }

    /// After its end; returns once it is ready.
    pub(super) fn start_node(&self, node: usize) -> Result<()> {
        let mut node = self.nodes[node].lock();
        node.start_again()?;
        node.ready(PATIENCE)
    }

    /// SIGTERM, and waits until it has gone by itself, with a good word.
    pub(super) fn drain_node(&self, node: usize) -> Result<()> {
        let node = self.nodes[node].lock();
        node.process().signal(Signal::SIGTERM);
        let status = node.process().wait(PATIENCE).context("a gateway does not end after SIGTERM")?;
        ensure!(status.success(), "a gateway ended its drain with {status}");
        Ok(())
    }

    pub(super) fn all_ready(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.lock().ready(PATIENCE))
    }

    pub(super) fn signal_redis(&self, signal: Signal) {
        if let Some(redis) = self.redis.lock().process() {
            redis.signal(signal);
        }
    }

    pub(super) fn kill_redis(&self) {
        self.redis.lock().stop();
    }

    /// After its end, with what it has on disk, or without.
    pub(super) fn start_redis(&self, data: bool) -> Result<()> {
        let mut redis = self.redis.lock();
        if !data {
            redis.forget()?;
        }
        redis.start_again()?;
        local::redis_answers(&redis)
    }

    pub(super) fn ask_redis(&self, words: &[&str]) -> Result<String> {
        let url = local::redis_url(&self.redis.lock());
        Redis::connect(&url)?.ask(words)
    }

    pub(super) fn reload_front(&self) {
        self.front.process().signal(Signal::SIGHUP);
    }

    /// All gateways are told to end, and have to do it well.
    pub(super) fn farewell(&self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|node| self.drain_node(node))
    }

    /// Leaves all logs where they are, and says where.
    pub(super) fn keep(&self) {
        self.home.keep();
        println!("Everybody's logs: {}", self.home.path().display());
    }

    /// Lines of the gateways' logs that should not be there.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let node = node.lock();
            let log = node.process().output();
            // That Redis has lost its data is what was done to it.
            let bad = |line: &&str| {
                line.contains("panicked at")
                    || line.contains(" ERROR ") && !line.contains("Redis has lost events")
            };
            found.extend(log.lines().filter(bad).map(|line| format!("{}: {line}", node.name())));
        }
        found
    }
}

/// A line of nginx' files for a run of a minute.
fn for_chaos(line: &str) -> String {
    match line.split_whitespace().next() {
        // A reload ends its old workers' streams within the run.
        Some("worker_shutdown_timeout") => "worker_shutdown_timeout 1s;".to_owned(),
        // Tokens that it might name are worth nothing here.
        Some("error_log") => "error_log stderr error;".to_owned(),
        _ => line.to_owned(),
    }
}
