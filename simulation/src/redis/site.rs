//! Where Redis runs: its servers, of which one is found at the address, and everybody's connections
//! to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_broker_redis::Dialer;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::keyspace::{Keyspace, text};
use super::link::{Way, Written};
use super::lua::Scripts;
use super::record::Record;
use super::replication::replid;
use super::resp::{Bytes, Reply};
use super::server::{Channels, Server};
use crate::chance::Chance;
use crate::trace::Trace;

/// A handle.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    scripts: Mutex<Scripts>,
    trace: Trace,
}

pub struct State {
    pub servers: Vec<Server>,
    /// The server that new connections reach.
    pub current: usize,
    pub network: Network,
    conns: BTreeMap<u64, Conn>,
    next: u64,
    /// How many reigns there have been.
    pub reigns: u64,
    pub record: Record,
    pub partitions: u8,
    pub chance: Chance,
    pub commands: u64,
    /// The most bytes of answers that one pipeline's read took, and what asked for it.
    pub largest: (usize, String),
    pub(super) trace: Trace,
}

/// What the links are like.
pub struct Network {
    /// One way, in microseconds: shortest and longest.
    pub latency: (u64, u64),
    /// Bytes a millisecond from Redis to each node.
    pub bandwidth: u64,
    /// When each node's link has brought what it has taken.
    pub(super) busy_until: BTreeMap<usize, Instant>,
    /// Nodes that get no connection.
    pub isolated: BTreeSet<usize>,
    /// Nodes whose new connections reach another server than the primary.
    pub stale: BTreeMap<usize, usize>,
    /// Bytes that may wait for a subscriber before Redis cuts it off.
    pub output_limit: usize,
}

pub(super) struct Conn {
    pub(super) node: usize,
    pub(super) server: usize,
    pub(super) out: mpsc::UnboundedSender<Written>,
    waiting: usize,
    last_out: Instant,
    pub(super) stalled_until: Instant,
    subscribed: BTreeSet<Bytes>,
    pub(super) tasks: Vec<AbortHandle>,
}

impl Redis {
    pub fn new(mut chance: Chance, trace: Trace) -> Self {
        // Small nodes, so that histories of a few events are trimmed, too.
        let db = Keyspace::new(*chance.pick(&[1, 10, 100]));
        let network = Network {
            latency: (50, 500),
            bandwidth: u64::MAX,
            busy_until: BTreeMap::new(),
            isolated: BTreeSet::new(),
            stale: BTreeMap::new(),
            output_limit: usize::MAX,
        };
        let state = State {
            servers: vec![Server::new(db, replid(1))],
            current: 0,
            network,
            conns: BTreeMap::new(),
            next: 0,
            reigns: 1,
            record: Record::default(),
            partitions: 1,
            chance,
            commands: 0,
            largest: (0, String::new()),
            trace: trace.clone(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), scripts: Mutex::new(Scripts::new()), trace }))
    }

    pub fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.0.state.lock()
    }

    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// How the node of that number gets here.
    pub fn dialer(&self, node: usize) -> Arc<dyn Dialer> {
        Arc::new(Way { redis: self.clone(), node })
    }

    /// Runs a client's command, as one step.
    pub(super) fn execute(&self, id: u64, args: &[Bytes]) {
        let (mut scripts, mut state) = (self.0.scripts.lock(), self.0.state.lock());
        state.commands += 1;
        self.0.trace.mix(args);
        let Some(conn) = state.conns.get(&id) else { return };
        let (node, server) = (conn.node, conn.server);
        self.0.trace.note(|| format!("node {node} conn {id}: {}", shown(args)));
        state.catch_up(server, Some(Instant::now()));
        let reply = match state.about_connection(id, args) {
            Some(reply) => reply,
            None => {
                let reply = state.about_data(server, args, &mut scripts);
                state.record(server);
                self.pass_on(&mut state, server);
                reply
            }
        };
        if reply.len() > state.largest.0 {
            state.largest = (reply.len(), shown(args));
        }
        state.send(id, reply);
    }
}

impl State {
    /// The server that new connections reach.
    pub fn primary(&mut self) -> &mut Server {
        &mut self.servers[self.current]
    }

    /// A server with these data is found at the address from now on. The connections to others stay
    /// as they are.
    pub fn promote(&mut self, db: Keyspace) -> usize {
        let number = self.servers.len();
        self.servers.push(Server::new(db, String::new()));
        self.promote_server(number);
        number
    }

    /// Begins a process anew with these data: all connections to it end.
    pub fn restart(&mut self, server: usize, db: Keyspace) {
        self.cut_server(server);
        let followed = self.servers[server].replication.followed;
        self.servers[server] = Server::new(db, String::new());
        self.servers[server].replication.followed = followed;
        self.servers[server].up = false;
        self.new_reign(server);
        self.compare();
        self.load_again(server);
    }

    /// Cuts connections, of one node or of all.
    pub fn cut(&mut self, node: Option<usize>, percent: u64) {
        for id in self.of_node(node) {
            if self.chance.percent(percent) {
                self.kill(id);
            }
        }
    }

    pub fn cut_server(&mut self, server: usize) {
        let to_it = self.conns.iter().filter(|(_, conn)| conn.server == server).map(|(id, _)| *id);
        to_it.collect::<Vec<_>>().into_iter().for_each(|id| self.kill(id));
    }

    /// On some connections nothing passes for a while.
    pub fn stall(&mut self, node: Option<usize>, percent: u64, time: Duration) {
        let until = Instant::now() + time;
        for id in self.of_node(node) {
            if self.chance.percent(percent)
                && let Some(conn) = self.conns.get_mut(&id)
            {
                conn.stalled_until = conn.stalled_until.max(until);
            }
        }
    }

    fn of_node(&self, node: Option<usize>) -> Vec<u64> {
        let matches = |conn: &Conn| node.is_none_or(|node| conn.node == node);
        self.conns.iter().filter(|(_, conn)| matches(conn)).map(|(id, _)| *id).collect()
    }

    pub(super) fn kill(&mut self, id: u64) {
        if let Some(conn) = self.conns.remove(&id) {
            conn.tasks.iter().for_each(AbortHandle::abort);
        }
    }

    pub(super) fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    /// A new connection of a node, if its server takes any.
    pub(super) fn open(&mut self, node: usize, out: mpsc::UnboundedSender<Written>) -> Option<u64> {
        let server = *self.network.stale.get(&node).unwrap_or(&self.current);
        if !self.servers[server].up || self.network.isolated.contains(&node) {
            return None;
        }
        self.next += 1;
        let (id, now) = (self.next, Instant::now());
        let conn = Conn {
            node,
            server,
            out,
            waiting: 0,
            last_out: now,
            stalled_until: now,
            subscribed: BTreeSet::new(),
            tasks: Vec::new(),
        };
        self.conns.insert(id, conn);
        self.trace.note(|| format!("node {node}: connection {id} to server {server}"));
        Some(id)
    }

    pub(super) fn delay(&mut self) -> Duration {
        let (low, high) = self.network.latency;
        Duration::from_micros(self.chance.skewed(low, high))
    }

    fn send(&mut self, id: u64, bytes: Bytes) {
        let (delay, limit) = (self.delay(), self.network.output_limit);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.waiting += bytes.len();
        if conn.waiting > limit && !conn.subscribed.is_empty() {
            let (node, waiting) = (conn.node, conn.waiting);
            self.trace.note(|| format!("node {node} conn {id}: cut off, {waiting} bytes wait for it"));
            return self.kill(id);
        }
        let at = (Instant::now() + delay).max(conn.last_out).max(conn.stalled_until);
        conn.last_out = at;
        let _ = conn.out.send(Written { at, bytes });
    }

    /// These bytes have left for the node.
    pub(super) fn sent(&mut self, id: u64, bytes: usize) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.waiting -= bytes;
        }
    }

    /// When the node's link has brought that much more.
    pub(super) fn carried(&mut self, id: u64, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(conn) = self.conns.get(&id) else { return now };
        let micros = (bytes as u64).saturating_mul(1000) / self.network.bandwidth;
        let busy = self.network.busy_until.entry(conn.node).or_insert(now);
        *busy = (*busy).max(now) + Duration::from_micros(micros);
        *busy
    }

    fn about_connection(&mut self, id: u64, args: &[Bytes]) -> Option<Bytes> {
        let name = text(&args[0]).to_ascii_uppercase();
        let conn = self.conns.get_mut(&id)?;
        Some(match name.as_str() {
            "HELLO" => self.servers[conn.server].hello(id).encoded(),
            "CLIENT" | "SELECT" | "UNWATCH" => Reply::OK.encoded(),
            "PING" => {
                args.get(1).map_or(Reply::Simple("PONG".into()), |word| Reply::Bulk(word.clone())).encoded()
            }
            "SUBSCRIBE" | "UNSUBSCRIBE" => {
                let mut out = Vec::new();
                for channel in &args[1..] {
                    match name.as_str() {
                        "SUBSCRIBE" => conn.subscribed.insert(channel.clone()),
                        _ => conn.subscribed.remove(channel),
                    };
                    let count = Reply::Int(conn.subscribed.len() as i64);
                    let word = Reply::text(&name.to_ascii_lowercase());
                    Reply::Push(vec![word, Reply::Bulk(channel.clone()), count]).encode(&mut out);
                }
                out
            }
            _ => return None,
        })
    }

    fn about_data(&mut self, server: usize, args: &[Bytes], scripts: &mut Scripts) -> Bytes {
        let mut running = self.take(server);
        let reply = running.run(args, scripts, &mut Subscribers { state: self, server });
        self.servers[server] = running;
        reply.encoded()
    }
}

/// The subscribers of one server.
pub(super) struct Subscribers<'a> {
    pub(super) state: &'a mut State,
    pub(super) server: usize,
}

impl Channels for Subscribers<'_> {
    fn publish(&mut self, channel: &Bytes, payload: &Bytes) -> i64 {
        let hears = |conn: &Conn| conn.server == self.server && conn.subscribed.contains(channel);
        let ids: Vec<u64> = self.state.conns.iter().filter(|(_, c)| hears(c)).map(|(id, _)| *id).collect();
        let parts = [b"message".to_vec(), channel.clone(), payload.clone()].map(Reply::Bulk);
        let message = Reply::Push(parts.into()).encoded();
        ids.iter().for_each(|id| self.state.send(*id, message.clone()));
        ids.len() as i64
    }
}

/// A command as one short line. A script's text is shown by its first line.
fn shown(args: &[Bytes]) -> String {
    let part = |arg: &Bytes| -> String {
        String::from_utf8_lossy(arg).lines().next().unwrap_or_default().chars().take(60).collect()
    };
    args.iter().map(part).collect::<Vec<_>>().join(" ")
}
