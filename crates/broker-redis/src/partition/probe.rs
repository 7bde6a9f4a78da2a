//! The node listens to itself: a message through the publish path to a topic of its own, for each partition.
//!
//! It tells "connected but deaf" from healthy, and it moves the places of quiet partitions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tidegate_broker::{Health, Metrics};
use tidegate_protocol::{Message, Partition, Topic};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Subscription;
use crate::connect::words;
use crate::keys::Keys;
use crate::publish::Publisher;

/// Sends probes and keeps what came of the last one.
pub(crate) struct Probe {
    publisher: Arc<Publisher>,
    subscription: Arc<Subscription>,
    metrics: Metrics,
    topics: Vec<(Partition, Topic)>,
    interval: Duration,
    patience: Duration,
    last: Mutex<Last>,
}

/// What came of the last probe.
struct Last {
    /// Why it failed; `None`: it was heard.
    failed: Option<String>,
    /// Since when it has been so.
    since: Instant,
}

/// What can go wrong with a probe.
enum Failed {
    NotPublished(String),
    NotHeard,
}

impl Probe {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        subscription: Arc<Subscription>,
        metrics: Metrics,
        keys: &Keys,
        options: &crate::Options,
    ) -> Self {
        let last = Last { failed: Some("no probe has come back yet".into()), since: Instant::now() };
        Self {
            publisher,
            subscription,
            metrics,
            topics: topics(keys, &options.node),
            interval: options.probe_interval,
            patience: options.probe_timeout,
            last: Mutex::new(last),
        }
    }

    /// Whether the last probe came back and messages come in, in words for people.
    pub(crate) fn health(&self) -> Health {
        let state = self.subscription.state().borrow().clone();
        let last = self.last.lock();
        let detail = match &last.failed {
            _ if !state.live => format!("not subscribed for {}: {}", ago(state.since), state.why),
            Some(why) => format!("the probe has failed for {}: {why}", ago(last.since)),
            None => match self.publisher.down() {
                Some(why) => why,
                None => return Health { ready: true, detail: "publishing and receiving work".into() },
            },
        };
        Health { ready: false, detail }
    }

    /// Probes for ever: whenever the subscription comes (back), and then at each interval.
    pub(crate) async fn run(self: Arc<Self>) {
        let topics = self.topics.iter().map(|(_, topic)| topic.clone()).collect();
        let mut state = self.subscription.state();
        // Waits as long as Redis is away, as does the loop: nothing would hear the probe, and health tells why.
        if self.subscription.subscribe(topics).await.is_err() {
            return;
        }
        for round in 0.. {
            if !state.borrow().live {
                self.metrics.probe_up.set(0);
            }
            let Ok(link) = state.wait_for(|state| state.live).await.map(|state| state.link) else { return };
            self.publisher.wake();
            let started = Instant::now();
            let outcome = self.once(round, started + self.patience).await;
            if let Err(Failed::NotHeard) = outcome {
                self.subscription.distrust(link, "a probe was published but not heard");
            }
            self.note(outcome, started);
            tokio::select! {
                () = sleep_until(started + self.interval) => {}
                _ = state.wait_for(|state| !state.live || state.link != link) => {}
            }
        }
    }

    async fn once(&self, round: usize, deadline: Instant) -> Result<(), Failed> {
        let nonce = rand::random::<u64>() | 1;
        let mut heard = self.subscription.heard();
        let message = Message::Probe { nonce };
        // Another connection each time, so that every one of them is tried.
        let sent = self.topics.iter().map(|(_, topic)| self.publisher.send(topic, &message, round));
        match timeout_at(deadline, try_join_all(sent)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Failed::NotPublished(words(error))),
            Err(_) => {
                self.publisher.distrust(round);
                let why = format!("Redis did not answer within {:?}", self.patience);
                return Err(Failed::NotPublished(why));
            }
        }
        let all =
            |heard: &Vec<u64>| self.topics.iter().all(|(partition, _)| heard[partition.index()] == nonce);
        match timeout_at(deadline, heard.wait_for(all)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failed::NotHeard),
        }
    }

    fn note(&self, outcome: Result<(), Failed>, started: Instant) {
        self.metrics.probe_up.set(i64::from(outcome.is_ok()));
        if outcome.is_ok() {
            self.metrics.probe_seconds.observe(started.elapsed().as_secs_f64());
        }
        let failed = outcome.err().map(|failed| match failed {
            Failed::NotPublished(why) => why,
            Failed::NotHeard => format!("not heard within {:?}", self.patience),
        });
        let mut last = self.last.lock();
        if last.failed.is_some() != failed.is_some() {
            match &failed {
                Some(why) => tracing::warn!(why, "the broker probe fails"),
                None => tracing::info!("the broker probe comes back"),
            }
            last.since = Instant::now();
        }
        last.failed = failed;
    }
}

/// One topic in each partition. Random, so that two nodes of one name do not hear each other.
fn topics(keys: &Keys, node: &str) -> Vec<(Partition, Topic)> {
    let mine = rand::random::<u32>();
    let found = |partition| {
        let mut topics = (0u32..).filter_map(|n| Topic::parse(&format!("$probe:{node}:{mine:08x}:{n}")).ok());
        let topic = topics.find(|topic| keys.partition(topic) == partition)?;
        Some((partition, topic))
    };
    keys.partitions().filter_map(found).collect()
}

fn ago(since: Instant) -> String {
    format!("{} s", since.elapsed().as_secs())
}
