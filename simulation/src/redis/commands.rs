//! The commands of the keyspace: those that the gateway's broker uses, and a few that its next
//! versions will.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::keyspace::{Keyspace, Value, number, text, wrong_type};
use super::resp::{Bytes, Reply};

/// Name, fewest arguments with the name, whether it writes, whether it is refused when memory is
/// full.
const COMMANDS: &[(&str, usize, bool, bool)] = &[
    ("GET", 2, false, false),
    ("GETDEL", 2, true, false),
    ("MGET", 2, false, false),
    ("SET", 3, true, true),
    ("MSET", 3, true, true),
    ("INCR", 2, true, true),
    ("EXISTS", 2, false, false),
    ("HDEL", 3, true, false),
    ("HEXISTS", 3, false, false),
    ("HGET", 3, false, false),
    ("HGETALL", 2, false, false),
    ("HINCRBY", 4, true, true),
    ("HMGET", 3, false, false),
    ("HSET", 4, true, true),
    ("PEXPIRE", 3, true, false),
    ("PERSIST", 2, true, false),
    ("PTTL", 2, false, false),
    ("DEL", 2, true, false),
    ("SADD", 3, true, true),
    ("SREM", 3, true, false),
    ("SMEMBERS", 2, false, false),
    ("SCARD", 2, false, false),
    ("SISMEMBER", 3, false, false),
    ("TIME", 1, false, false),
    ("XADD", 5, true, true),
    ("XDEL", 3, true, false),
    ("XRANGE", 4, false, false),
    ("XREVRANGE", 4, false, false),
];

/// What a server refuses, besides wrong arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// Memory is full: commands that need more of it.
    Oom,
    /// The server has become a replica: writes.
    ReadOnly,
    /// It can't write its file: writes.
    Misconf,
}

impl Refusal {
    fn words(self) -> &'static str {
        match self {
            Self::Oom => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Misconf => {
                "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk."
            }
        }
    }
}

/// Whether a replica refuses it, and a primary passes it on to its replicas.
pub(super) fn writes(name: &str) -> bool {
    COMMANDS.iter().any(|(known, _, writes, _)| *known == name && *writes)
}

impl Keyspace {
    /// Runs a command; `None`: it is not one of the keyspace's.
    pub fn run(&mut self, args: &[Bytes], refuses: Option<Refusal>) -> Option<Reply> {
        let name = text(&args[0]).to_ascii_uppercase();
        let (_, least, writes, needs_memory) = COMMANDS.iter().find(|(known, ..)| *known == name)?;
        if args.len() < *least {
            let lower = name.to_ascii_lowercase();
            return Some(Reply::Error(format!("ERR wrong number of arguments for '{lower}' command")));
        }
        let refused = refuses.filter(|why| if *why == Refusal::Oom { *needs_memory } else { *writes });
        if let Some(why) = refused {
            return Some(Reply::error(why.words()));
        }
        let reply = match name.as_str() {
            "XADD" => self.xadd(args),
            "XDEL" => self.xdel(args),
            "XRANGE" => self.xrange(args, false),
            "XREVRANGE" => self.xrange(args, true),
            "HGET" | "HMGET" | "HGETALL" | "HEXISTS" => self.hash(&name, args),
            "HSET" | "HINCRBY" | "HDEL" => self.change_hash(&name, args),
            "TIME" => Ok(time()),
            "SADD" | "SREM" | "SMEMBERS" | "SCARD" | "SISMEMBER" => self.set(&name, args),
            "PEXPIRE" | "PTTL" | "PERSIST" | "DEL" | "EXISTS" => self.any(&name, args),
            _ => self.string(&name, args),
        };
        Some(reply.unwrap_or_else(|error| error))
    }

    fn string(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, Reply> {
        Ok(match name {
            "GET" | "GETDEL" => {
                let text = match self.value(&args[1]) {
                    None => return Ok(Reply::Nil),
                    Some(Value::Text(text)) => text.clone(),
                    Some(_) => return Err(wrong_type()),
                };
                if name == "GETDEL" {
                    self.remove(&args[1]);
                }
                Reply::Bulk(text)
            }
            "MGET" => {
                let get = |key: &Bytes| match self.value(key) {
                    Some(Value::Text(text)) => Reply::Bulk(text.clone()),
                    _ => Reply::Nil,
                };
                Reply::Array(args[1..].iter().map(get).collect())
            }
            "SET" => {
                let (mut expires, mut unless_there) = (None, false);
                let mut options = args[3..].iter();
                while let Some(option) = options.next() {
                    match (text(option).to_ascii_uppercase().as_str(), expires, unless_there) {
                        ("PX", None, _) => {
                            expires = Some(options.next().ok_or_else(syntax)?);
                        }
                        ("NX", _, _) => unless_there = true,
                        _ => return Err(syntax()),
                    }
                }
                let expires = expires.map(|time| number(time)).transpose()?;
                if expires.is_some_and(|time| time <= 0) {
                    return Err(Reply::error("ERR invalid expire time in 'set' command"));
                }
                if unless_there && self.get(&args[1]).is_some() {
                    return Ok(Reply::Nil);
                }
                self.put(&args[1], Value::Text(args[2].clone()), expires.map(end));
                Reply::OK
            }
            "MSET" => {
                if args.len().is_multiple_of(2) {
                    return Err(Reply::error("ERR wrong number of arguments for 'mset' command"));
                }
                for pair in args[1..].chunks(2) {
                    self.put(&pair[0], Value::Text(pair[1].clone()), None);
                }
                Reply::OK
            }
            _ => match self.entry(&args[1], Value::Text(b"0".to_vec())) {
                Value::Text(text) => {
                    let next = number(text)? + 1;
                    *text = next.to_string().into_bytes();
                    Reply::Int(next)
                }
                _ => return Err(wrong_type()),
            },
        })
    }

    fn hash(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, Reply> {
        let empty = BTreeMap::new();
        let hash = match self.value(&args[1]) {
            None => &empty,
            Some(Value::Hash(hash)) => hash,
            Some(_) => return Err(wrong_type()),
        };
        let bulk = |bytes: &Bytes| Reply::Bulk(bytes.clone());
        let field = |name: &Bytes| hash.get(name).map_or(Reply::Nil, bulk);
        Ok(match name {
            "HGET" => field(&args[2]),
            "HEXISTS" => Reply::Int(hash.contains_key(&args[2]).into()),
            "HGETALL" => Reply::Map(hash.iter().map(|(name, value)| (bulk(name), bulk(value))).collect()),
            _ => Reply::Array(args[2..].iter().map(field).collect()),
        })
    }

    fn change_hash(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, Reply> {
        if name == "HSET" && !args.len().is_multiple_of(2) {
            return Err(Reply::error("ERR wrong number of arguments for 'hset' command"));
        }
        if name == "HDEL" && self.get(&args[1]).is_none() {
            return Ok(Reply::Int(0));
        }
        let more = if name == "HINCRBY" { number(&args[3])? } else { 0 };
        let Value::Hash(hash) = self.entry(&args[1], Value::Hash(BTreeMap::new())) else {
            return Err(wrong_type());
        };
        let changed = match name {
            "HSET" => {
                let added = |pair: &&[Bytes]| hash.insert(pair[0].clone(), pair[1].clone()).is_none();
                args[2..].chunks(2).filter(added).count() as i64
            }
            "HDEL" => args[2..].iter().filter(|field| hash.remove(*field).is_some()).count() as i64,
            _ => {
                let value = hash.entry(args[2].clone()).or_insert_with(|| b"0".to_vec());
                let before = number(value).map_err(|_| Reply::error("ERR hash value is not an integer"))?;
                let next = before.checked_add(more);
                let next = next.ok_or_else(|| Reply::error("ERR increment would overflow"))?;
                *value = next.to_string().into_bytes();
                next
            }
        };
        // Redis keeps no empty hashes.
        if hash.is_empty() {
            self.remove(&args[1]);
        }
        Ok(Reply::Int(changed))
    }

    fn set(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, Reply> {
        if !matches!(name, "SADD" | "SREM") {
            let empty = BTreeSet::new();
            let set = match self.value(&args[1]) {
                None => &empty,
                Some(Value::Set(set)) => set,
                Some(_) => return Err(wrong_type()),
            };
            return Ok(match name {
                "SCARD" => Reply::Int(set.len() as i64),
                "SISMEMBER" => Reply::Int(set.contains(&args[2]).into()),
                _ => Reply::Set(set.iter().cloned().map(Reply::Bulk).collect()),
            });
        }
        if name == "SREM" && self.get(&args[1]).is_none() {
            return Ok(Reply::Int(0));
        }
        let Value::Set(set) = self.entry(&args[1], Value::Set(BTreeSet::new())) else {
            return Err(wrong_type());
        };
        let changed =
            |item: &&Bytes| if name == "SADD" { set.insert((*item).clone()) } else { set.remove(*item) };
        let count = args[2..].iter().filter(changed).count();
        // Redis keeps no empty sets.
        if set.is_empty() {
            self.remove(&args[1]);
        }
        Ok(Reply::Int(count as i64))
    }

    fn any(&mut self, name: &str, args: &[Bytes]) -> Result<Reply, Reply> {
        Ok(Reply::Int(match name {
            "DEL" => args[1..].iter().filter(|key| self.remove(key)).count() as i64,
            "EXISTS" => args[1..].iter().filter(|key| self.get(key).is_some()).count() as i64,
            "PTTL" => match self.get(&args[1]).map(|kept| kept.expires) {
                None => -2,
                Some(None) => -1,
                Some(Some(at)) => (at - Instant::now()).as_millis() as i64,
            },
            "PERSIST" => {
                let ended = self.get(&args[1]).and_then(|kept| kept.expires.take());
                i64::from(ended.is_some())
            }
            _ => {
                let time = number(&args[2])?;
                let Some(kept) = self.get(&args[1]) else { return Ok(Reply::Int(0)) };
                kept.expires = Some(end(time));
                if time <= 0 {
                    self.remove(&args[1]);
                }
                1
            }
        }))
    }
}

fn syntax() -> Reply {
    Reply::error("ERR syntax error")
}

fn end(millis: i64) -> Instant {
    // What lives for a century never ends here.
    Instant::now() + Duration::from_millis(u64::try_from(millis).unwrap_or(0).min(100 * 365 * 86_400_000))
}

/// Seconds and microseconds of a clock that all servers of a run share.
fn time() -> Reply {
    // Some day in 2026: scripts may expect a clock that was set.
    const START: Duration = Duration::from_secs(1_790_000_000);
    thread_local! {
        static BEGUN: Instant = Instant::now();
    }
    let now = START + BEGUN.with(Instant::elapsed);
    let part = |part: String| Reply::Bulk(part.into_bytes());
    Reply::Array(vec![part(now.as_secs().to_string()), part(now.subsec_micros().to_string())])
}
