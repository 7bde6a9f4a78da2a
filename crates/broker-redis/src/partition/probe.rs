//! The node listens to itself: a message through all of the publish path to a topic of its own, in each partition.
//!
//! It tells "connected but deaf" from healthy and "takes connections" from "takes events", and it moves the places of quiet partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_broker::Metrics;
use tidegate_protocol::{Partition, Topic};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Subscription;
use crate::Options;
use crate::errors::words;
use crate::publish::{NotPublished, Publisher};

/// What probes leave in Redis goes after this: long enough for a node that comes back.
const KEEP: Duration = Duration::from_secs(60);

/// Sends a partition's probes and keeps what came of the last one.
pub(crate) struct Probe {
    publisher: Arc<Publisher>,
    subscription: Arc<Subscription>,
    metrics: Metrics,
    silent: Silent,
    topic: Topic,
    interval: Duration,
    patience: Duration,
    last: Mutex<Last>,
}

/// The partitions whose last probe has not come back: one gauge is about all of them.
pub(crate) type Silent = Arc<Mutex<BTreeSet<Partition>>>;

/// What came of the last probe.
struct Last {
    outcome: Outcome,
    /// Since when it has been so, as far as health is concerned.
    since: Instant,
}

/// What came of a probe.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Heard,
    /// Redis itself refuses events: so it does to every node.
    Refused(String),
    /// It did not go out, or was not heard: perhaps for this node only.
    Failed(String),
}

impl Outcome {
    fn is_heard(&self) -> bool {
        matches!(self, Self::Heard)
    }
}

impl Probe {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        subscription: Arc<Subscription>,
        metrics: Metrics,
        silent: Silent,
        options: &Options,
    ) -> Self {
        let last =
            Last { outcome: Outcome::Failed("no probe has come back yet".into()), since: Instant::now() };
        Self {
            topic: topic(&subscription, &options.node),
            publisher,
            subscription,
            metrics,
            silent,
            interval: options.probe_interval,
            patience: options.probe_timeout,
            last: Mutex::new(last),
        }
    }

    /// Whether the partition works, with words for people.
    pub(crate) fn outcome(&self) -> Outcome {
        let state = self.subscription.standing.state().borrow().clone();
        let last = self.last.lock();
        let failing = || format!("the probe has failed for {}: ", ago(last.since));
        match &last.outcome {
            _ if !state.live => {
                let why = state.why.map_or_else(|| "no connection to Redis yet".into(), words);
                Outcome::Failed(format!("not subscribed for {}: {why}", ago(state.since)))
            }
            Outcome::Heard => match self.publisher.slots().down() {
                Some(why) => Outcome::Failed(why),
                None => Outcome::Heard,
            },
            Outcome::Refused(why) => Outcome::Refused(failing() + why),
            Outcome::Failed(why) => Outcome::Failed(failing() + why),
        }
    }

    /// Probes without end: whenever the subscription comes (back), and then at each interval.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut state = self.subscription.standing.state();
        // Waits as long as Redis is away, as does the loop: nothing would hear the probe, and health tells why.
        if self.subscription.subscribe(vec![self.topic.clone()]).await.is_err() {
            return;
        }
        for round in 0.. {
            if !state.borrow().live {
                self.set_up(false);
            }
            let Ok(link) = state.wait_for(|state| state.live).await.map(|state| state.link) else { return };
            self.publisher.slots().wake();
            let started = Instant::now();
            let (outcome, deaf) = self.once(round, started + self.patience).await;
            if deaf {
                self.subscription.distrust(link, "a probe was published but not heard");
            }
            self.note(outcome, started);
            tokio::select! {
                () = sleep_until(started + self.interval) => {}
                _ = state.wait_for(|state| !state.live || state.link != link) => {}
            }
        }
    }

    /// What came of one probe, and whether it went out without being heard.
    async fn once(&self, round: usize, deadline: Instant) -> (Outcome, bool) {
        let nonce = rand::random::<u64>() | 1;
        let mut heard = self.subscription.heard();
        let keep = KEEP.max(3 * self.interval);
        // Another connection each time, so that every one of them is tried.
        let sent = self.publisher.probe(&self.topic, nonce, keep, round, deadline);
        match timeout_at(deadline, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(NotPublished { why, by_redis: true })) => return (Outcome::Refused(why), false),
            Ok(Err(NotPublished { why, .. })) => return (Outcome::Failed(why), false),
            Err(_) => {
                self.publisher.slots().distrust(round);
                return (Outcome::Failed(format!("Redis did not answer within {:?}", self.patience)), false);
            }
        }
        match timeout_at(deadline, heard.wait_for(|heard| *heard == nonce)).await {
            Ok(Ok(_)) => (Outcome::Heard, false),
            _ => (Outcome::Failed(format!("not heard within {:?}", self.patience)), true),
        }
    }

    fn set_up(&self, up: bool) {
        let (mut silent, partition) = (self.silent.lock(), self.subscription.partition);
        _ = if up { silent.remove(&partition) } else { silent.insert(partition) };
        self.metrics.probe_up.set(i64::from(silent.is_empty()));
    }

    fn note(&self, outcome: Outcome, started: Instant) {
        self.set_up(outcome.is_heard());
        if outcome.is_heard() {
            self.metrics.probe_seconds.observe(started.elapsed().as_secs_f64());
        }
        let mut last = self.last.lock();
        if last.outcome.is_heard() != outcome.is_heard() {
            let partition = self.subscription.partition;
            match &outcome {
                Outcome::Heard => tracing::info!(%partition, "the broker probe comes back"),
                Outcome::Refused(why) | Outcome::Failed(why) => {
                    tracing::warn!(%partition, why, "the broker probe fails");
                }
            }
            last.since = Instant::now();
        }
        last.outcome = outcome;
    }
}

/// A topic in the partition. Random, so that two nodes of one name do not hear each other.
fn topic(subscription: &Subscription, node: &str) -> Topic {
    let mine = rand::random::<u32>();
    let named = |n: u32| Topic::parse(&format!("$probe:{node}:{mine:08x}:{n}"));
    let mut topics = (0u32..).filter_map(|n| named(n).ok());
    let ours = topics.find(|topic| subscription.keys.partition(topic) == subscription.partition);
    ours.unwrap_or_else(|| unreachable!("one in a few is of any partition, and the node's name was checked"))
}

fn ago(since: Instant) -> String {
    format!("{} s", since.elapsed().as_secs())
}
