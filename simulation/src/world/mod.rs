//! Nodes, publishers, clients and faults over a model of Redis: one simulation from its beginning
//! to its verdict.

mod client;
mod faults;
mod fickle;
mod meddler;
mod node;
mod publisher;

pub(crate) use client::number;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_protocol::Topic;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::oracle::{self, Failure, Log};
use crate::plan::Plan;
use crate::redis::Redis;
use crate::trace::Trace;
use node::Node;

/// From the end of all faults until everything must work again: the longest backoff, time-outs and
/// probes fit several times.
const HEALING: Duration = Duration::from_secs(30);

/// For how long publishers go on over links that stay slow. What a node has missed is carried in
/// the meantime.
const SLOWLY: Duration = Duration::from_secs(30);

/// From the last event to the end.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) redis: Redis,
    pub(crate) topics: Vec<Topic>,
    pub(crate) log: Mutex<Log>,
    /// By their number; `None` while a node's process is away.
    nodes: Mutex<Vec<Option<Arc<Node>>>>,
    /// Every life of every node.
    pub(crate) lives: Mutex<Vec<Arc<Node>>>,
    phase: watch::Sender<Phase>,
    /// Since when there are no more faults.
    quiet_since: Mutex<Option<Instant>>,
    trace: Trace,
}

/// What the world is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Faulty,
    /// No more faults, no more changes: everything must come to rest.
    Quiet,
}

/// What came of a simulation.
pub struct Outcome {
    pub failures: Vec<Failure>,
    /// The same for two runs of a plan.
    pub hash: u64,
    pub virtual_time: Duration,
    pub counts: oracle::Counts,
    pub trace: Vec<String>,
}

/// Runs a plan on the current runtime, which must be paused and seeded.
pub(crate) async fn run(plan: Plan, traced: bool) -> Outcome {
    let trace = Trace::new(traced);
    let begun = Instant::now();
    let world = World::new(plan, trace.clone());
    let mut work = JoinSet::new();
    world.begin(&mut work);
    let mut failures = world.faults().await;
    world.rest(&mut failures).await;
    work.abort_all();
    let counts = world.log.lock().counts(world.redis.state().commands);
    for node in world.lives.lock().iter() {
        node.stop();
    }
    Outcome { failures, hash: trace.hash(), virtual_time: begun.elapsed(), counts, trace: trace.lines() }
}

impl World {
    fn new(plan: Plan, trace: Trace) -> Arc<Self> {
        let redis = Redis::new(Chance::of(plan.seed, "redis", 0), trace.clone());
        let topic = |number| {
            let namespace = if number < plan.unstored { "unstored" } else { "room" };
            Topic::parse(&format!("{namespace}:{number}")).expect("valid")
        };
        let topics = (0..plan.topics).map(topic).collect();
        redis.state().partitions = plan.partitions;
        {
            let network = &mut redis.state().network;
            let unless_zero = |number: u64| if number == 0 { u64::MAX } else { number };
            network.latency = plan.latency;
            network.bandwidth = unless_zero(plan.bandwidth);
            network.output_limit = if plan.output_limit == 0 { usize::MAX } else { plan.output_limit };
        }
        let world = Arc::new(Self {
            redis,
            topics,
            log: Mutex::default(),
            nodes: Mutex::new(vec![None; plan.nodes]),
            lives: Mutex::default(),
            phase: watch::Sender::new(Phase::Faulty),
            quiet_since: Mutex::default(),
            trace,
            plan,
        });
        (0..world.plan.nodes).for_each(|number| world.start(number));
        world
    }

    /// Starts everything that lives in it.
    fn begin(self: &Arc<Self>, work: &mut JoinSet<()>) {
        let (plan, chance) = (&self.plan, |purpose, number| Chance::of(self.plan.seed, purpose, number));
        for number in 0..plan.publishers {
            work.spawn(Arc::clone(self).publisher(chance("publisher", number), number));
        }
        for number in 0..plan.clients {
            work.spawn(Arc::clone(self).client(chance("client", number), number));
        }
        for number in 0..plan.users {
            work.spawn(Arc::clone(self).meddler(chance("meddler", number), number));
        }
        if plan.direct {
            for number in 0..plan.nodes * plan.topics {
                let (node, topic) = (number / plan.topics, number % plan.topics);
                work.spawn(Arc::clone(self).fickle(chance("fickle", number), node, topic));
            }
        }
    }

    /// After the faults: what is promised holds, and everything works again.
    async fn rest(self: &Arc<Self>, failures: &mut Vec<Failure>) {
        *self.quiet_since.lock() = Some(Instant::now());
        self.phase.send_replace(Phase::Quiet);
        let mended = self.redis.state().epochs_begun();
        if self.plan.family.is_about_reigns() {
            // What a node knows and has not told yet, its next connection tells.
            for _ in 0..2 {
                sleep(HEALING / 5).await;
                self.redis.state().cut(None, 70);
            }
            sleep(HEALING * 3 / 5).await;
        } else {
            sleep(HEALING).await;
        }
        let healed = self.redis.state().epochs_begun();
        failures.extend(oracle::ready(self, false));
        failures.extend(oracle::listening(self));
        failures.extend(oracle::judge(self));
        // What a node has not noticed by itself, a next event would show.
        for number in 0..self.topics.len() {
            failures.extend(self.last_word(number).await);
        }
        sleep(LAST_WORDS).await;
        failures.extend(oracle::quiet(self, &mended, &healed));
        failures.extend(oracle::told(self));
        if failures.is_empty() {
            failures.extend(oracle::judge(self).into_iter().map(Failure::later));
        }
    }

    pub(crate) fn note(&self, words: impl FnOnce() -> String) {
        self.trace.note(words);
    }

    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        self.trace.seconds(at)
    }

    pub(crate) fn node(&self, number: usize) -> Option<Arc<Node>> {
        let nodes = self.nodes.lock();
        nodes[number % nodes.len()].clone()
    }

    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        *self.quiet_since.lock()
    }

    /// Waits until the faults are over.
    async fn quiet(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Quiet).await;
    }

    fn is_quiet(&self) -> bool {
        *self.phase.borrow() == Phase::Quiet
    }

    /// Waits, but not beyond the end of the faults. False: they are over.
    async fn pause(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.quiet()).await.is_err()
    }
}
