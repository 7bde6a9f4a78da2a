//! The model against a real redis-server: the same random commands and scripts get the same
//! answers.

mod real;

use real::{NODE, Real, args, comparable};
use tidegate_simulation::Chance;
use tidegate_simulation::redis::resp::{Bytes, Reply};
use tidegate_simulation::redis::{Keyspace, Refusal, Solo};

/// Small, so that commands meet each other's keys, also those of another kind.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

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
        "GETDEL",
        "MGET",
        "SET",
        "MSET",
        "INCR",
        "EXISTS",
        "HGET",
        "HMGET",
        "HGETALL",
        "HEXISTS",
        "HSET",
        "HINCRBY",
        "HDEL",
        "PEXPIRE",
        "PERSIST",
        "PTTL",
        "PUBLISH",
        "DEL",
        "SADD",
        "SREM",
        "SMEMBERS",
        "SCARD",
        "SISMEMBER",
        "XADD",
        "XADD",
        "XADD",
        "XDEL",
        "XRANGE",
        "XREVRANGE",
        "NONSENSE",
    ]);
    let mut all = vec![name.to_string(), key(chance)];
    match name {
        "MGET" | "EXISTS" | "DEL" => all.push(key(chance)),
        "SET" => {
            all.push(word(chance));
            if chance.percent(40) {
                all.push("NX".into());
            }
            if chance.percent(40) {
                all.extend(["PX".into(), (chance.range(0, 1) * 1_000_000).to_string()]);
            }
            if chance.percent(10) {
                all.push("nx".into());
            }
        }
        "HINCRBY" => {
            all.extend([word(chance), chance.pick(&["1", "-7", "much", "9007199254740993"]).to_string()]);
        }
        "HDEL" => all.extend([word(chance), word(chance)]),
        "XDEL" => all.extend([id(chance), id(chance)]),
        "HEXISTS" | "PUBLISH" | "HGET" | "SADD" | "SREM" | "SISMEMBER" => all.push(word(chance)),
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

/// As a script runs it, where nil, sets, maps and errors look different.
const IN_SCRIPTS: [&str; 8] = [
    "return redis.call(unpack(ARGV))",
    "local r = redis.pcall(unpack(ARGV)) if type(r) == 'table' and r.err then return 'err' end return {1, r, 2.7}",
    "local r = redis.call(unpack(ARGV)) return {type(r), r and 1 or 0, tostring(r and 1), {ok = 'fine'}}",
    "return redis.pcall(unpack(ARGV))",
    // What fails within Lua's own pcall is words, in version 7: not a table.
    "local ok, e = pcall(redis.call, unpack(ARGV)) return {tostring(ok), type(e), ok and 1 or string.match(e, '^%S+')}",
    "local ok, e = pcall(function() return redis.call(unpack(ARGV)) end) if ok then return 1 end return redis.error_reply(e)",
    "local ok, e = pcall(function() return redis.call(unpack(ARGV)) end) if not ok then error(e) end return 1",
    // A command that writes comes first: Redis refuses nothing for want of memory from then on.
    "redis.call('PERSIST', 'a') return redis.call(unpack(ARGV))",
];

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
            if chance.percent(30) {
                let code = chance.pick(&IN_SCRIPTS);
                words.splice(0..0, ["EVAL".to_string(), code.to_string(), "0".to_string()]);
            }
            let command: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            let (theirs, ours) = (comparable(real.ask(&command)), comparable(model.ask(&command)));
            done.push(words);
            // The order in a script's answer from a set or a hash is not ours to say.
            let some_order = ["SMEMBERS", "HGETALL"];
            let unordered =
                done.last().is_some_and(|words| words.iter().any(|word| some_order.contains(&word.as_str())));
            if unordered && theirs.encoded().len() == ours.encoded().len() {
                continue;
            }
            assert_eq!(ours, theirs, "seed {seed}, after {:#?}", &done[done.len().saturating_sub(12)..]);
        }
    }
}

/// What scripts make of errors, numbers and what the server says of itself.
#[test]
fn scripts_see_errors_and_numbers_as_in_a_real_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut real, mut model) = (Real::start(folder.path()), Solo::new(Keyspace::new(NODE)));
    let words = args(&["SET", "s", "words"]);
    assert_eq!(model.ask(&words), real.ask(&words));
    for code in [
        "return redis.error_reply('MY words')",
        "return redis.error_reply('-MY words')",
        "return redis.error_reply('words')",
        "return redis.error_reply('two\\r\\nlines').err",
        "return redis.error_reply(1).err",
        "return {1, redis.error_reply('MY words'), {err = 'x'}, 2}",
        "return {err = 'MY words'}",
        "error(redis.error_reply('MY words'))",
        "error({err = 'MY words'})",
        "error('MY words')",
        "local ok, e = pcall(error, {'no err'}) return {type(e), e}",
        "local ok, e = pcall(error, {err = 'MY words'}) return e",
        "local ok, e = pcall(redis.call, 'HGET', 's', 'f') return e",
        "local ok, e = pcall(redis.call, 'HGET', 's', 'f') return redis.error_reply(e)",
        "return {xpcall(function() redis.call('HGET', 's', 'f') end, function(e) return type(e) end)}",
        "local ok, a, b = pcall(function() return 1, 2 end) return {tostring(ok), a, b}",
        "local ok, e = pcall(function() error('mine') end) return e",
        "return redis.pcall('HGET', 's', 'f')",
        "return redis.pcall('HGET', 's', 'f').err",
        "return redis.pcall('GET', {})",
        "return redis.pcall()",
        "return redis.call('NONSENSE')",
        "return redis.status_reply('fine')",
        "return redis.status_reply('fine').ok",
        "return {type(redis.call('SET', 'n', '1', 'NX')), type(redis.call('SET', 'n', '1', 'NX'))}",
        "return type(redis.call('GETDEL', 'none'))",
        "return {redis.call('HSET', 'h', 'f', 'v'), redis.call('HGETALL', 'h'), redis.call('HGETALL', 'none')}",
        "redis.call('SET', 'n', 2^53) return redis.call('GET', 'n')",
        "redis.call('SET', 'n', 1e15) return redis.call('GET', 'n')",
        "redis.call('SET', 'n', 1e17) return redis.call('GET', 'n')",
        "redis.call('SET', 'n', 0.1) return redis.call('GET', 'n')",
        "return tostring(redis.call('HINCRBY', 'h', 'n', '9007199254740992'))",
        "return string.match(redis.call('INFO', 'replication'), 'role:(%w+)')",
        "return #string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')",
        "return #string.match(redis.call('INFO', 'replication'), 'master_replid:([^\\r\\n]+)')",
        "this is no Lua",
    ] {
        let command = args(&["EVAL", code, "0"]);
        assert_eq!(whole(model.ask(&command)), whole(real.ask(&command)), "{code}");
    }
}

/// An answer with the words of its errors, without what Redis adds about the script.
fn whole(reply: Reply) -> Reply {
    match reply {
        Reply::Error(words) if words.contains("compiling") || words.contains("near") => Reply::error("ERR"),
        Reply::Error(words) if words.contains("nknown") => Reply::error("ERR unknown"),
        Reply::Error(words) => Reply::error(words.split(" script: ").next().unwrap_or_default()),
        Reply::Array(items) => Reply::Array(items.into_iter().map(whole).collect()),
        other => other,
    }
}

/// A replica, and a server whose memory is full.
#[test]
fn what_a_real_redis_refuses_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut real = Real::start(folder.path());
    let off: [&[&str]; 2] = [&["REPLICAOF", "NO", "ONE"], &["CONFIG", "SET", "maxmemory", "0"]];
    let on: [(Refusal, &[&str]); 2] = [
        (Refusal::ReadOnly, &["REPLICAOF", "127.0.0.1", "1"]),
        (Refusal::Oom, &["CONFIG", "SET", "maxmemory", "1"]),
    ];
    for seed in 0..20 {
        real.ask(&args(&["FLUSHALL"]));
        let (mut model, mut chance) = (Solo::new(Keyspace::new(NODE)), Chance::of(seed, "refusals", 0));
        for step in 0..200 {
            let refusing = chance.percent(50).then(|| chance.pick(&on));
            if let Some((why, command)) = refusing {
                model.refuse(Some(*why));
                assert_eq!(real.ask(&args(command)), Reply::OK);
            }
            let mut words = command(&mut chance);
            if chance.percent(50) {
                words.splice(
                    0..0,
                    ["EVAL".to_string(), chance.pick(&IN_SCRIPTS).to_string(), "0".to_string()],
                );
            }
            if chance.percent(10) {
                words = vec!["HELLO".into()];
            }
            let command: Vec<Bytes> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            let (theirs, ours) = (comparable(real.ask(&command)), comparable(model.ask(&command)));
            let unordered = words.iter().any(|word| word == "SMEMBERS" || word == "HGETALL");
            let same = ours == theirs
                || words[0] == "HELLO" && role(&ours) == role(&theirs) && role(&ours).is_some()
                || unordered && ours.encoded().len() == theirs.encoded().len();
            assert!(same, "seed {seed}, step {step}, {refusing:?}: {words:?}\n{ours:?}\n{theirs:?}");
            model.refuse(None);
            off.iter().for_each(|command| assert_eq!(real.ask(&args(command)), Reply::OK));
        }
    }
}

fn role(hello: &Reply) -> Option<&Reply> {
    let Reply::Map(pairs) = hello else { return None };
    pairs.iter().find(|(name, _)| *name == Reply::text("role")).map(|(_, role)| role)
}

/// The same as `a_replica_hears_its_primary_and_keeps_its_connections` of src/redis/replication.rs.
#[test]
fn a_real_replica_does_what_the_model_says() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let mut primary = Real::at(folder.path(), port);
    let mut before = Real::start(other.path());
    let replid =
        args(&["EVAL", "return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')", "0"]);
    let own = before.ask(&replid);
    before.ask(&args(&["REPLICAOF", "127.0.0.1", &port.to_string()]));
    let linked =
        args(&["EVAL", "return string.match(redis.call('INFO', 'replication'), 'link_status:up')", "0"]);
    while before.ask(&linked) == Reply::Nil {
        std::thread::yield_now();
    }
    let mut subscriber = Real::beside(other.path());
    subscriber.ask(&args(&["SUBSCRIBE", "c"]));
    let message = |words| Reply::Push(["message", "c", words].map(Reply::text).into());

    let script = "redis.call('SET', 'k', '1') return redis.call('PUBLISH', 'c', 'from a script')";
    assert_eq!(primary.ask(&args(&["EVAL", script, "0"])), Reply::Int(0));
    assert_eq!(primary.ask(&args(&["PUBLISH", "c", "alone"])), Reply::Int(0));
    assert_eq!(subscriber.hear(), message("from a script"));
    assert_eq!(subscriber.hear(), message("alone"));
    assert_eq!(before.ask(&args(&["GET", "k"])), Reply::text("1"));
    assert_eq!(before.ask(&args(&["PUBLISH", "c", "here only"])), Reply::Int(1));
    assert_eq!(subscriber.hear(), message("here only"));
    let refused = before.ask(&args(&["EVAL", "return redis.call('PERSIST', 'k')", "0"]));
    assert!(matches!(refused, Reply::Error(words) if words.starts_with("READONLY")));
    let theirs = before.ask(&replid);
    assert_eq!(theirs, primary.ask(&replid));
    assert_eq!(before.ask(&args(&["REPLICAOF", "NO", "ONE"])), Reply::OK);
    assert_eq!(before.ask(&args(&["SET", "k", "2"])), Reply::OK);
    let again = before.ask(&replid);
    assert!(again != own && again != theirs);
}
