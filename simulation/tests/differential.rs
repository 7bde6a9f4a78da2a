//! The model against a real redis-server: the same random commands and scripts get the same
//! answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidegate_simulation::Chance;
use tidegate_simulation::redis::resp::{self, Bytes, Reply};
use tidegate_simulation::redis::{Keyspace, Solo};

/// Entries in one node of a stream, on both sides.
const NODE: usize = 3;

/// Small, so that commands meet each other's keys, also those of another kind.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A redis-server that ends with the test.
struct Real {
    server: Child,
    link: UnixStream,
    buffer: Bytes,
}

impl Real {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("redis.sock");
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--save", "", "--stream-node-max-bytes", "0"]);
        server.args(["--stream-node-max-entries", &NODE.to_string()]).arg("--unixsocket").arg(&socket);
        server.arg("--dir").arg(folder).stdout(Stdio::null());
        let mut server = server.spawn().expect("redis-server is installed: scripts/setup.sh");
        let link = loop {
            if let Ok(link) = UnixStream::connect(&socket) {
                break link;
            }
            assert!(server.try_wait().expect("its state").is_none(), "redis-server has ended");
            std::thread::yield_now();
        };
        let mut real = Self { server, link, buffer: Vec::new() };
        real.ask(&args(&["HELLO", "3"]));
        real
    }

    fn ask(&mut self, command: &[Bytes]) -> Reply {
        self.link.write_all(&resp::command(command)).expect("written");
        let mut piece = [0; 16 << 10];
        loop {
            if let Some(reply) = Reply::parse(&mut self.buffer) {
                return reply;
            }
            let count = self.link.read(&mut piece).expect("read");
            assert!(count > 0, "redis-server has closed the connection");
            self.buffer.extend_from_slice(&piece[..count]);
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn args(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A command with arguments that fit, mostly.
fn command(chance: &mut Chance) -> Vec<String> {
    let key = |chance: &mut Chance| (*chance.pick(&KEYS)).to_string();
    let word = |chance: &mut Chance| (*chance.pick(&["x", "y", "7", "", "-1", "1e3", "ünï"])).to_string();
    let number = |chance: &mut Chance| chance.range(0, 12).to_string();
    let id = |chance: &mut Chance| match chance.range(0, 6) {
        0 => "-".into(),
        1 => "+".into(),
        2 => format!("({}", chance.range(0, 30)),
        3 => format!("{}-1", chance.range(0, 30)),
        4 => "nonsense".into(),
        _ => chance.range(0, 30).to_string(),
    };
    let name = *chance.pick(&[
        "GET",
        "MGET",
        "SET",
        "MSET",
        "INCR",
        "EXISTS",
        "HGET",
        "HMGET",
        "HSET",
        "PEXPIRE",
        "PERSIST",
        "DEL",
        "SADD",
        "SREM",
        "SMEMBERS",
        "SCARD",
        "SISMEMBER",
        "XADD",
        "XADD",
        "XADD",
        "XRANGE",
        "XREVRANGE",
        "NONSENSE",
    ]);
    let mut all = vec![name.to_string(), key(chance)];
    match name {
        "MGET" | "EXISTS" | "DEL" => all.push(key(chance)),
        "SET" if chance.percent(50) => {
            all.extend([word(chance), "PX".into(), (chance.range(0, 1) * 1_000_000).to_string()]);
        }
        "SET" | "HGET" | "SADD" | "SREM" | "SISMEMBER" => all.push(word(chance)),
        "MSET" => all.extend([word(chance), key(chance), word(chance)]),
        "HMGET" => all.extend([word(chance), word(chance)]),
        "HSET" => all.extend([word(chance), word(chance)]),
        "PEXPIRE" => all.push(chance.pick(&["1000000", "0", "-5", "soon"]).to_string()),
        "XADD" => {
            let offset = chance.range(0, 60);
            all.extend(["MAXLEN".into(), "~".into(), number(chance), format!("{offset}-0")]);
            all.extend(["m".into(), word(chance)]);
        }
        "XRANGE" | "XREVRANGE" => {
            all.extend([id(chance), id(chance)]);
            if chance.percent(50) {
                all.extend(["COUNT".into(), number(chance)]);
            }
        }
        _ => {}
    }
    // Now and then an argument too few.
    if chance.percent(3) {
        all.pop();
    }
    all
}

/// What may differ: the order of a set's members, and the words of an error behind its code.
fn comparable(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(comparable).collect();
    match reply {
        Reply::Error(words) => Reply::Error(words.split(' ').next().unwrap_or_default().into()),
        Reply::Set(items) => {
            let mut items: Vec<Reply> = all(items);
            items.sort_by_key(Reply::encoded);
            Reply::Set(items)
        }
        Reply::Array(items) => Reply::Array(all(items)),
        other => other,
    }
}

#[test]
fn random_commands_get_the_answers_of_a_real_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut real = Real::start(folder.path());
    for seed in 0..40 {
        real.ask(&args(&["FLUSHALL"]));
        let (mut model, mut chance) = (Solo::new(Keyspace::new(NODE)), Chance::of(seed, "differential", 0));
        let mut done = Vec::new();
        for _ in 0..300 {
            let mut words = command(&mut chance);
            // As a script runs it, where nil, sets and errors look different.
            if chance.percent(30) {
                let code = chance.pick(&[
                    "return redis.call(unpack(ARGV))",
                    "local r = redis.pcall(unpack(ARGV)) if type(r) == 'table' and r.err then return 'err' end return {1, r, 2.7}",
                    "local r = redis.call(unpack(ARGV)) return {type(r), r and 1 or 0, tostring(r and 1), {ok = 'fine'}}",
                ]);
                words.splice(0..0, ["EVAL".to_string(), code.to_string(), "0".to_string()]);
            }
            let command: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            let (theirs, ours) = (comparable(real.ask(&command)), comparable(model.ask(&command)));
            done.push(words);
            // The order in a script's answer from a set is not ours to say.
            let unordered = done.last().is_some_and(|words| words.iter().any(|word| word == "SMEMBERS"));
            if unordered && theirs.encoded().len() == ours.encoded().len() {
                continue;
            }
            assert_eq!(ours, theirs, "seed {seed}, after {:#?}", &done[done.len().saturating_sub(12)..]);
        }
    }
}

/// The gateway's own scripts, with arguments as the gateway gives them: answers and what is left
/// behind.
#[test]
fn the_gateways_scripts_get_the_answers_of_a_real_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut real = Real::start(folder.path());
    let script = |name: &str| {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/broker-redis/src/scripts");
        std::fs::read_to_string(scripts.join(name)).expect("a script")
    };
    let [publish, head, read, renew, control, window] =
        ["publish.lua", "head.lua", "read.lua", "renew.lua", "control.lua", "window.lua"].map(script);
    for seed in 0..20 {
        real.ask(&args(&["FLUSHALL"]));
        let (mut model, mut chance) = (Solo::new(Keyspace::new(NODE)), Chance::of(seed, "scripts", 0));
        // Ahead of both clocks, which are not the same: what follows is one more each time.
        let counted = args(&["SET", "d", "4000000000000000"]);
        assert_eq!(model.ask(&counted), real.ask(&counted));
        for step in 0..200 {
            let topic = *chance.pick(&["x", "y"]);
            let (record, stream, channel) =
                (format!("t:{topic}"), format!("s:{topic}"), format!("c:{topic}"));
            let new = format!("epoch{step}");
            let keep = chance.pick(&["0", "2", "5", "100"]).to_string();
            let from = format!("{}-1", chance.range(0, 20));
            let upto = chance.range(0, 60).to_string();
            let room = chance.pick(&["0", "30", "90", "100000"]).to_string();
            let message = format!("s {step}\n{}", "z".repeat(chance.index(40)));
            let idempotency = format!("k:{}", chance.index(8));
            let current = match real.ask(&args(&["GET", "E"])) {
                Reply::Bulk(epoch) => String::from_utf8_lossy(&epoch).into_owned(),
                _ => "none".into(),
            };
            let ttl = "3600000";
            let words: Vec<&str> = match chance.range(0, 19) {
                0..7 => vec![
                    "EVAL", &publish, "4", "E", "O", &record, &stream, &new, &message, &keep, ttl, ttl, ttl,
                    &channel,
                ],
                7..10 => vec![
                    "EVAL",
                    &publish,
                    "5",
                    "E",
                    "O",
                    &record,
                    &stream,
                    &idempotency,
                    &new,
                    &message,
                    &keep,
                    ttl,
                    ttl,
                    ttl,
                    &channel,
                ],
                10 => vec!["EVAL", &head, "2", "E", "O", &new],
                11..13 => {
                    vec!["EVAL", &read, "4", "E", "O", &record, &stream, &new, "up", &from, "+", &keep, &room]
                }
                13 => {
                    vec!["EVAL", &read, "4", "E", "O", &record, &stream, &new, "down", "+", "-", &keep, &room]
                }
                14 => vec!["EVAL", &renew, "2", "E", "O", &new, &current],
                15 => vec!["EVAL", &control, "3", "E", "O", &stream, &new, "f", &channel, "DEL", ""],
                16 => vec!["EVAL", &control, "3", "E", "O", "m", &new, "+", &channel, "SADD", topic, "1"],
                17 => vec!["EVAL", &control, "3", "E", "O", "d", &new, "x", &channel, "COUNT", ttl],
                18 => vec!["EVAL", &window, "4", "E", "O", "s:x", "s:y", &new, &current, "3", &upto, &room],
                _ => vec!["DEL", *chance.pick(&["E", "O", "t:x", "s:y"])],
            };
            let command = args(&words);
            let (theirs, ours) = (comparable(real.ask(&command)), comparable(model.ask(&command)));
            assert_eq!(ours, theirs, "seed {seed}, step {step}: {:?}", &words[words.len().min(3)..]);
        }
    }
}
