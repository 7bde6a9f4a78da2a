//! The gateway's own scripts in the model and in a real redis-server: the same answers, and the same
//! is left behind.

mod real;

use std::path::Path;

use real::{NODE, Real, comparable};
use tidegate_simulation::Chance;
use tidegate_simulation::redis::resp::{Bytes, Reply};
use tidegate_simulation::redis::{Keyspace, Solo};

/// A time to live that differs by less than `comparable` forgives.
const TTL: &str = "1000000";

/// The place, epoch and counter as the version before keeps them, and a topic's record and stream.
const KEYS: [&str; 5] = ["P", "E", "O", "t:x", "s:x"];

/// Every script, as the gateway sends it.
struct Scripts {
    enter: String,
    others: Vec<(&'static str, String)>,
}

impl Scripts {
    fn read() -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/broker-redis/src/scripts");
        let code = |name: &str| {
            std::fs::read_to_string(scripts.join(format!("{name}.lua"))).expect("a script of the gateway")
        };
        let behind = |name| (name, code("prelude") + &code(name));
        let others = ["publish", "control", "head", "read", "window"].map(behind).into();
        Self { enter: code("enter"), others }
    }

    /// A call of one that begins with the check of the epoch.
    fn call(&self, name: &str, known: &[String; 2], keys: &[&str], rest: &[String]) -> Vec<String> {
        let code = &self.others.iter().find(|(of, _)| *of == name).expect("a script").1;
        let mut all = vec!["EVAL".into(), code.clone(), (3 + keys.len()).to_string()];
        all.extend(KEYS[..3].iter().chain(keys).map(ToString::to_string));
        all.extend(known.iter().chain(rest).cloned());
        all
    }
}

/// The model and a real server, which are asked the same.
struct Both {
    real: Real,
    model: Solo,
    /// The names of reigns, theirs and ours.
    reigns: Vec<(String, String)>,
}

impl Both {
    fn begin(real: Real) -> Self {
        let mut both = Self { real, model: Solo::new(Keyspace::new(NODE)), reigns: Vec::new() };
        both.real.ask(&bytes(&words(["FLUSHALL"])));
        both.note_reign();
        both
    }

    fn ask(&mut self, command: &[String]) -> (Reply, Reply) {
        let command = bytes(command);
        let (theirs, ours) = (comparable(self.real.ask(&command)), comparable(self.model.ask(&command)));
        (sorted(self.translated(theirs)), sorted(ours))
    }

    /// What both say.
    fn agree(&mut self, command: &[String], when: &str) -> Reply {
        let (theirs, ours) = self.ask(command);
        assert_eq!(ours, theirs, "{when}: {:?}", &command[command.len().min(2)..]);
        ours
    }

    /// What a promotion does.
    fn another_reign(&mut self) {
        for last in ["127.0.0.1 1", "NO ONE"] {
            let command = words(["REPLICAOF"].into_iter().chain(last.split(' ')));
            assert_eq!(self.real.ask(&bytes(&command)), Reply::OK);
        }
        self.model.begin_reign(1 + self.reigns.len() as u64);
        self.note_reign();
    }

    fn note_reign(&mut self) {
        let code = "return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')";
        let question = bytes(&words(["EVAL", code, "0"]));
        self.reigns.push((text(self.real.ask(&question)), text(self.model.ask(&question))));
    }

    /// With our names of reigns instead of theirs.
    fn translated(&self, reply: Reply) -> Reply {
        let all = |items: Vec<Reply>| items.into_iter().map(|item| self.translated(item)).collect();
        match reply {
            Reply::Bulk(bytes) => {
                let mut words = String::from_utf8(bytes).expect("text");
                for (theirs, ours) in &self.reigns {
                    words = words.replace(theirs, ours);
                }
                Reply::text(&words)
            }
            Reply::Array(items) => Reply::Array(all(items)),
            Reply::Map(pairs) => {
                Reply::Map(pairs.into_iter().map(|(key, value)| (key, self.translated(value))).collect())
            }
            other => other,
        }
    }

    /// Every key with what is in it, and whether it ends.
    fn compare(&mut self, when: &str) {
        let mut names = match self.real.ask(&bytes(&words(["KEYS", "*"]))) {
            Reply::Array(names) => names.into_iter().map(text).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        names.sort();
        assert_eq!(self.model.names(), names, "{when}");
        for name in &names {
            self.agree(&words(["PTTL", name]), when);
            // Three of them are refused by both.
            for question in [&["GET"][..], &["HGETALL"], &["SMEMBERS"], &["XRANGE", "-", "+"]] {
                let mut command = words([question[0], name]);
                command.extend(words(question[1..].iter().copied()));
                self.agree(&command, when);
            }
        }
    }
}

/// One seed's calls.
struct Calls<'a> {
    scripts: &'a Scripts,
    chance: Chance,
    /// Names that epochs have had, and some that none had.
    epochs: Vec<String>,
}

impl Calls<'_> {
    /// Where the partition stands, if it does.
    fn place(both: &mut Both) -> (Option<String>, u64) {
        let field = |reply| match reply {
            Reply::Bulk(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        let epoch = field(both.real.ask(&bytes(&words(["HGET", "P", "epoch"]))));
        let counter = field(both.real.ask(&bytes(&words(["HGET", "P", "counter"]))));
        (epoch, counter.and_then(|counter| counter.parse().ok()).unwrap_or_default())
    }

    fn some_epoch(&mut self) -> String {
        let last = self.epochs.len().saturating_sub(6);
        self.chance.pick(&self.epochs[last..]).clone()
    }

    fn enter(&mut self, step: usize, counter: u64) -> Vec<String> {
        let (new, life) = (format!("epoch{step}"), format!("life{step}"));
        let mut all = vec!["EVAL".into(), self.scripts.enter.clone(), "3".into()];
        all.extend(words(["P", "E", "O", &new, &life]));
        all.push(if self.chance.percent(97) { "2" } else { "3" }.into());
        all.push(if self.chance.percent(50) { "1" } else { "0" }.into());
        all.push(if self.chance.percent(50) { String::new() } else { self.some_epoch() });
        for _ in 0..self.chance.range(0, 4) {
            // Around the counter, on both sides.
            let offset = (counter + self.chance.range(0, 3)).saturating_sub(self.chance.range(0, 12));
            all.extend([self.some_epoch(), offset.to_string()]);
        }
        self.epochs.extend([new, format!("other{step}")]);
        all
    }

    fn publish(&mut self, step: usize, known: &[String; 2]) -> Vec<String> {
        let topic = *self.chance.pick(&["x", "y"]);
        let size = *self.chance.pick(&["0", "2", "5", "100", "100", "probe"]);
        let message = format!("s {step}\n{}", "z".repeat(self.chance.index(40)));
        let (record, stream, channel) = (format!("t:{topic}"), format!("s:{topic}"), format!("c:{topic}"));
        let mut rest = words([&message, size, TTL, TTL, TTL, &channel]);
        let (once, version) = (format!("k:{}", self.chance.index(8)), format!("v:{topic}"));
        let mut keys = vec![record.as_str(), &stream];
        match self.chance.range(0, 9) {
            0..3 => keys.push(&once),
            3..5 => {
                keys.push(&version);
                rest.push(self.chance.range(0, 60).to_string());
            }
            _ => {}
        }
        self.scripts.call("publish", known, &keys, &rest)
    }

    fn control(&mut self, known: &[String; 2]) -> Vec<String> {
        let topic = *self.chance.pick(&["x", "y"]);
        let (key, rest): (&str, &[&str]) = match self.chance.range(0, 3) {
            0 => ("s:x", &["DEL", ""]),
            1 => ("m", &["SADD", topic, "1"]),
            2 => ("m", &["SREM", topic]),
            _ => ("d", &["COUNT", TTL]),
        };
        let rest = words(["+ x", "c:u"].into_iter().chain(rest.iter().copied()));
        self.scripts.call("control", known, &[key], &rest)
    }

    fn read(&mut self, known: &[String; 2], counter: u64) -> Vec<String> {
        let limit = self.chance.pick(&["1", "3", "100"]).to_string();
        let room = self.chance.pick(&["0", "60", "150", "100000"]).to_string();
        let around = |chance: &mut Chance| counter.saturating_sub(chance.range(0, 25));
        let upto = self.chance.percent(60).then(|| around(&mut self.chance));
        if self.chance.percent(50) {
            let first = upto.map_or("+".into(), |at| format!("({at}-0"));
            return self.scripts.call("read", known, &KEYS[3..], &[first, limit, room]);
        }
        let upto = upto.map_or("+".into(), |at| at.to_string());
        let from = [around(&mut self.chance), around(&mut self.chance)].map(|at| at.to_string());
        let keys = ["t:x", "s:x", "t:y", "s:y"];
        let [first, second] = from;
        self.scripts.call("window", known, &keys, &[limit, room, upto, first, second])
    }

    /// What others do to the same keys: a gateway of the version before, and evictions.
    fn meddle(&mut self, counter: u64) -> Vec<String> {
        match self.chance.range(0, 9) {
            0..4 => words(["INCR", "O"]),
            4 => words(["SET", "O", &(counter + 3).to_string()]),
            5 => words(["SET", "E", &self.some_epoch()]),
            // A place from a primary that came later, where an earlier one is back.
            7 => words(["HSET", "P", "reign", "later"]),
            6 => words(["SET", *self.chance.pick(&["P", "t:x", "s:y"]), "of a wrong type"]),
            _ => words(["DEL", *self.chance.pick(&["P", "E", "O", "t:x", "s:y"])]),
        }
    }

    /// Any of these. Mostly with the epoch that is the current one.
    fn next(&mut self, step: usize, both: &mut Both) -> Vec<String> {
        let (current, counter) = Self::place(both);
        let right = self.chance.percent(90);
        let epoch = current.filter(|_| right).unwrap_or_else(|| self.some_epoch());
        let check = self.chance.pick(&["0", "1"]).to_string();
        let known = [epoch, check];
        match self.chance.range(0, 99) {
            0..17 => self.enter(step, counter),
            17..60 => self.publish(step, &known),
            60..70 => self.control(&known),
            70..75 => self.scripts.call("head", &known, &[], &[]),
            75..93 => self.read(&known, counter),
            _ => self.meddle(counter),
        }
    }
}

#[test]
fn the_gateways_scripts_get_the_answers_of_a_real_redis() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scripts, mut server) = (Scripts::read(), Some(Real::start(folder.path())));
    let mut met = std::collections::BTreeMap::<String, usize>::new();
    for seed in 0..25 {
        let mut both = Both::begin(server.take().expect("the server"));
        let chance = Chance::of(seed, "scripts", 0);
        let mut calls = Calls { scripts: &scripts, chance, epochs: vec!["before".into()] };
        // Ahead of both clocks, which are not the same: what follows is one more each time.
        both.agree(&words(["SET", "d", "4000000000000000"]), "at first");
        for step in 0..250 {
            if calls.chance.percent(4) {
                both.another_reign();
            }
            let command = calls.next(step, &mut both);
            let answer = both.agree(&command, &format!("seed {seed}, step {step}"));
            *met.entry(word(&answer)).or_default() += 1;
        }
        both.compare(&format!("after seed {seed}"));
        server = Some(both.real);
    }
    // Chance has led everywhere.
    for word in ["epoch", "unknown", "refused", "partitions", "clean", "lossy", "new", "repeat"] {
        assert!(met.get(word).is_some_and(|times| *times > 4), "{word}: {met:?}");
    }
}

/// What kind of an answer it is.
fn word(answer: &Reply) -> String {
    let Reply::Array(parts) = answer else { return "another".into() };
    let last = match parts.last() {
        Some(Reply::Bulk(last)) => String::from_utf8_lossy(last).into_owned(),
        _ => String::new(),
    };
    match parts.as_slice() {
        [word] => text(word.clone()),
        [word, _] if *word == Reply::text("partitions") => "partitions".into(),
        [_, _, _, _] if last == "1" => "repeat".into(),
        [_, _, _, _, _, _, _] if !last.is_empty() => last,
        _ => "another".into(),
    }
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

fn bytes(words: &[String]) -> Vec<Bytes> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes).expect("text"),
        other => panic!("{other:?}"),
    }
}

/// A hash has its fields in any order.
fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Map(mut pairs) => {
            pairs.sort_by_key(|(name, _)| name.encoded());
            Reply::Map(pairs)
        }
        other => other,
    }
}
