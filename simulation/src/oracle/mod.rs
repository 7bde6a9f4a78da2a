//! What must be true, whatever happened: judged on what was acknowledged, and on what nodes and
//! clients got.

mod clients;
mod log;
mod names;
mod tap;
mod users;

use std::collections::BTreeMap;

use tidegate_broker::Broker as _;

use crate::world::World;

pub use log::Counts;
pub(crate) use log::{Act, Deed, Got, Log, Sent};
pub(crate) use tap::Tap;

/// How many epochs each partition has had.
pub(crate) type Epochs = BTreeMap<u8, usize>;

/// Bytes that one question to Redis may be answered with, besides a single large event. It is what
/// the largest page of history and its frame take.
const LARGEST_ANSWER: usize = (1 << 20) + (64 << 10);

/// Epochs of a partition that may begin while everything is mended, for each node and besides.
const LATE_EPOCHS: usize = 3;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which, in capitals: a shrunk plan must fail in the same way.
    pub kind: String,
    pub words: String,
}

impl Failure {
    pub(crate) fn new(kind: &str, words: impl Into<String>) -> Self {
        Self { kind: kind.into(), words: words.into() }
    }

    /// Seen only after the last events.
    pub(crate) fn later(self) -> Self {
        Self { words: format!("after the last events: {}", self.words), ..self }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.words)
    }
}

/// All promises about what has happened so far.
pub(crate) fn judge(world: &World) -> Vec<Failure> {
    let log = world.log.lock();
    let mut failures = Vec::new();
    let kept = names::kept(world);
    let known = |number: usize| kept.contains(&number) || clients::known(world, &log.sent[number], number);
    // Not under the lock: what is known is asked of all lives.
    let lives = world.lives.lock().clone();
    for life in &lives {
        failures.extend(life.tap.judge(&log, &kept, &known, &|at| world.seconds(at)));
    }
    for client in 0..world.plan.clients {
        failures.extend(clients::judge(world, &log, client));
    }
    for user in 0..world.plan.users {
        failures.extend(users::judge(world, &log, user));
    }
    failures.extend(names::judge(world, &log));
    let (bytes, command) = world.redis.state().largest.clone();
    if bytes > LARGEST_ANSWER {
        failures.push(Failure::new("MEMORY", format!("{bytes} bytes were the answer to: {command}")));
    }
    failures
}

/// Epochs end, too: what nodes have to tell is told, and then no more begin. `mended`: how many each
/// partition had when everything was mended; `healed`: half a minute later.
pub(crate) fn quiet(world: &World, mended: &Epochs, healed: &Epochs) -> Vec<Failure> {
    let state = world.redis.state();
    let now = state.epochs_begun();
    let mut failures = Vec::new();
    let mut loud = |words: String| failures.push(Failure::new("NOT QUIET", words));
    for (partition, count) in &now {
        let before = |epochs: &Epochs| *epochs.get(partition).unwrap_or(&0);
        if *count > before(healed) {
            loud(format!(
                "partition {partition} began {} epochs half a minute later",
                count - before(healed)
            ));
        }
        let late = before(healed).saturating_sub(before(mended));
        if late > LATE_EPOCHS * (world.plan.nodes + 1) {
            loud(format!("partition {partition} began {late} epochs after everything was mended"));
        }
        // A loss ends an epoch with its reign. What only one node has seen comes later, in each reign
        // but the first, and once more what was under way then.
        let (reigns, nodes) = (state.reigns as usize, world.plan.nodes);
        let later = if world.plan.keeps_all() { 0 } else { 2 * nodes * (reigns - 1) };
        let counts = world.plan.keeps_all() || world.plan.keeps_places();
        if counts && *count > reigns + later {
            loud(format!("partition {partition} had {count} epochs in {reigns} reigns"));
        }
    }
    failures
}

/// Nodes are told of a loss only where there is one: a number was lost, or a partition's place. Where
/// only an epoch was, a node that had continued into it goes back to the one before.
pub(crate) fn told(world: &World) -> Vec<Failure> {
    let mut failures = Vec::new();
    let (lost, forgotten) = {
        let record = &world.redis.state().record;
        (record.lost, record.forgotten)
    };
    if lost || !world.plan.keeps_places() {
        return failures;
    }
    for life in world.lives.lock().iter() {
        for reset in life.tap.resets().into_iter().filter(|reset| !forgotten || reset.continued) {
            let (node, at) = (life.number, world.seconds(reset.at));
            let (partition, reason) = (reset.partition, reset.reason);
            let words =
                format!("node {node}, partition {partition}: {reason:?} at {at:.3}, and nothing is lost");
            failures.push(Failure::new("WRONG RESET", words));
        }
    }
    failures
}

/// Every node publishes and hears. On a slow link a probe may be late now and then, but the
/// subscription must be there.
pub(crate) fn ready(world: &World, slow: bool) -> Vec<Failure> {
    let mut failures = Vec::new();
    for number in 0..world.plan.nodes {
        let Some(node) = world.node(number) else { continue };
        let health = node.broker.health();
        if !health.ready && (!slow || health.detail.starts_with("not subscribed")) {
            failures.push(Failure::new("NOT LIVE", format!("node {number}: {}", health.detail)));
        }
        if !slow && !health.degraded.is_empty() {
            failures.push(Failure::new("NOT LIVE", format!("node {number}: {:?}", health.degraded)));
        }
    }
    failures
}

/// Every client is on a stream, once they stay.
pub(crate) fn listening(world: &World) -> Vec<Failure> {
    let mut failures = Vec::new();
    let log = world.log.lock();
    for client in (0..world.plan.clients).filter(|client| !log.listening(*client)) {
        failures.push(Failure::new("NOT LIVE", format!("client {client} is on no stream")));
    }
    failures
}
