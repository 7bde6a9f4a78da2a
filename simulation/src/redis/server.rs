//! One Redis process: its keys, its scripts, and what it says about itself.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::commands::Refusal;
use super::keyspace::{Keyspace, text};
use super::lua::Scripts;
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
    /// Another one at every start and every promotion.
    pub replid: String,
}

/// What a command asks of others than its server.
pub trait Channels {
    /// Sends to all who have subscribed, and says how many there are.
    fn publish(&mut self, channel: &Bytes, payload: &Bytes) -> i64;
}

impl Server {
    pub fn new(db: Keyspace, replid: String) -> Self {
        let paused_until = Instant::now();
        Self { db, loaded: BTreeMap::new(), up: true, paused_until, refuses: None, replid }
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
            _ => self.data(args, channels),
        }
    }

    fn eval(
        &mut self,
        code: &[u8],
        args: &[Bytes],
        scripts: &mut Scripts,
        channels: &mut dyn Channels,
    ) -> Reply {
        scripts.eval(code, args, &mut |args| self.data(args, channels))
    }

    /// What scripts may run, too.
    fn data(&mut self, args: &[Bytes], channels: &mut dyn Channels) -> Reply {
        let Some(first) = args.first() else { return Reply::error("ERR no command") };
        match text(first).to_ascii_uppercase().as_str() {
            "PUBLISH" if args.len() == 3 => return Reply::Int(channels.publish(&args[1], &args[2])),
            "INFO" => {
                let role = if self.refuses == Some(Refusal::ReadOnly) { "slave" } else { "master" };
                let replid = &self.replid;
                return Reply::text(&format!("# Replication\r\nrole:{role}\r\nmaster_replid:{replid}\r\n"));
            }
            _ => {}
        }
        self.db.run(args, self.refuses).unwrap_or_else(|| {
            Reply::Error(format!("ERR unknown command '{}', with args beginning with: ", text(first)))
        })
    }
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
        Self { server: Server::new(db, "reign-0".into()), scripts: Scripts::new() }
    }

    pub fn ask(&mut self, args: &[Bytes]) -> Reply {
        self.server.run(args, &mut self.scripts, &mut Nobody)
    }
}
