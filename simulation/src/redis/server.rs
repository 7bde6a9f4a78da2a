//! One Redis process: its keys, its scripts, and what it says about itself.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::commands::{Refusal, writes};
use super::keyspace::{Keyspace, text};
use super::lua::Scripts;
use super::replication::{Replication, replid};
use super::resp::{Bytes, Reply};

pub struct Server {
    pub db: Keyspace,
    /// Code by its hash.
    loaded: BTreeMap<String, Bytes>,
    /// Takes connections.
    pub up: bool,
    /// Nothing is answered before: a stopped process, or a slow command.
    pub paused_until: Instant,
    pub refuses: Option<Refusal>,
    /// Another one at every start and every promotion; a replica's is its primary's.
    pub replid: String,
    pub(super) replication: Replication,
    /// Entries that its last command has added to streams: key and last field.
    pub(super) added: Vec<(Bytes, Bytes)>,
}

/// What a command asks of others than its server.
pub trait Channels {
    /// Sends to all who have subscribed, and says how many there are.
    fn publish(&mut self, channel: &Bytes, payload: &Bytes) -> i64;
}

impl Server {
    pub fn new(db: Keyspace, replid: String) -> Self {
        Self {
            db,
            loaded: BTreeMap::new(),
            up: true,
            paused_until: Instant::now(),
            refuses: None,
            replid,
            replication: Replication::default(),
            added: Vec::new(),
        }
    }

    pub fn is_replica(&self) -> bool {
        self.replication.primary.is_some()
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.is_replica() { Some(Refusal::ReadOnly) } else { self.refuses }
    }

    /// What `HELLO` answers.
    pub(super) fn hello(&self, connection: u64) -> Reply {
        let role = if self.refusal() == Some(Refusal::ReadOnly) { "replica" } else { "master" };
        let text = |name, value| (Reply::text(name), Reply::text(value));
        let number = |name, value| (Reply::text(name), Reply::Int(value));
        Reply::Map(vec![
            text("server", "redis"),
            text("version", "7.0.15"),
            number("proto", 3),
            number("id", connection as i64),
            text("mode", "standalone"),
            text("role", role),
            (Reply::text("modules"), Reply::Array(Vec::new())),
        ])
    }

    pub fn forget_scripts(&mut self) {
        self.loaded.clear();
    }

    /// Runs a command that is about data or about the server; those about the connection are the
    /// connection's.
    pub(super) fn run(
        &mut self,
        args: &[Bytes],
        scripts: &mut Scripts,
        channels: &mut dyn Channels,
    ) -> Reply {
        let name = text(&args[0]).to_ascii_uppercase();
        match (name.as_str(), args.len()) {
            ("EVAL", 3..) => self.eval(&args[1], &args[2..], scripts, channels),
            ("EVALSHA", 3..) => match self.loaded.get(&text(&args[1]).to_ascii_lowercase()).cloned() {
                Some(code) => self.eval(&code, &args[2..], scripts, channels),
                None => Reply::error("NOSCRIPT No matching script. Please use EVAL."),
            },
            ("SCRIPT", 3) if args[1].eq_ignore_ascii_case(b"LOAD") => {
                let hash = redis::Script::new(text(&args[2])).get_hash().to_string();
                self.loaded.insert(hash.clone(), args[2].clone());
                Reply::text(&hash)
            }
            _ => self.data(args, channels, &mut Script::None),
        }
    }

    fn eval(
        &mut self,
        code: &[u8],
        args: &[Bytes],
        scripts: &mut Scripts,
        channels: &mut dyn Channels,
    ) -> Reply {
        let mut script = Script::Clean;
        scripts.eval(code, args, &mut |args| self.data(args, channels, &mut script))
    }

    /// What scripts may run, too.
    fn data(&mut self, args: &[Bytes], channels: &mut dyn Channels, script: &mut Script) -> Reply {
        let Some(first) = args.first() else {
            return Reply::error("ERR Please specify at least one argument for this redis lib call");
        };
        let name = text(first).to_ascii_uppercase();
        let reply = match name.as_str() {
            "PUBLISH" if args.len() == 3 => Reply::Int(channels.publish(&args[1], &args[2])),
            "INFO" => self.info(),
            _ => {
                // A script that has begun to write is not stopped by what is asked before a command.
                let refuses = self.refusal().filter(|_| *script != Script::Dirty);
                let reply = self.db.run(args, refuses);
                reply.unwrap_or_else(|| Reply::Error(format!("ERR unknown command '{}'", text(first))))
            }
        };
        let refused = matches!(reply, Reply::Error(_));
        if *script == Script::Clean && !refused && writes(&name) {
            *script = Script::Dirty;
        }
        if name == "XADD" && !refused {
            self.added.extend(args.last().map(|message| (args[1].clone(), message.clone())));
        }
        if self.replication.followed && !refused && (writes(&name) || name == "PUBLISH") {
            self.replication.done.push(args.to_vec());
        }
        reply
    }

    fn info(&self) -> Reply {
        let role = if self.refusal() == Some(Refusal::ReadOnly) { "slave" } else { "master" };
        let replid = &self.replid;
        Reply::text(&format!(
            "# Replication\r\nrole:{role}\r\nmaster_failover_state:no-failover\r\nmaster_replid:{replid}\r\nmaster_repl_offset:0\r\n"
        ))
    }

    /// Runs what the primary has done.
    pub(super) fn repeat(&mut self, done: &[Vec<Bytes>], channels: &mut dyn Channels) {
        for args in done {
            match text(&args[0]).to_ascii_uppercase().as_str() {
                "PUBLISH" => drop(channels.publish(&args[1], &args[2])),
                _ => drop(self.db.run(args, None)),
            }
            if self.replication.followed {
                self.replication.done.push(args.clone());
            }
        }
    }
}

/// Where a command comes from.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    None,
    Clean,
    /// It has run a command that writes, whether that changed anything or not.
    Dirty,
}

/// One server with nobody but its caller: what the differential test holds against a real one.
pub struct Solo {
    server: Server,
    scripts: Scripts,
}

struct Nobody;

impl Channels for Nobody {
    fn publish(&mut self, _: &Bytes, _: &Bytes) -> i64 {
        0
    }
}

impl Solo {
    pub fn new(db: Keyspace) -> Self {
        Self { server: Server::new(db, replid(1)), scripts: Scripts::new() }
    }

    /// What it refuses from now on.
    pub fn refuse(&mut self, refuses: Option<Refusal>) {
        self.server.refuses = refuses;
    }

    /// Another reign begins.
    pub fn begin_reign(&mut self, number: u64) {
        self.server.replid = replid(number);
    }

    /// The names of all keys, in order.
    pub fn names(&self) -> Vec<String> {
        self.server.db.names()
    }

    pub fn ask(&mut self, args: &[Bytes]) -> Reply {
        if args[0].eq_ignore_ascii_case(b"HELLO") {
            return self.server.hello(1);
        }
        self.server.run(args, &mut self.scripts, &mut Nobody)
    }
}
