//! The subscription: which topics this node wants, and one supervised connection that brings their messages in order.

mod changes;
mod entry;
mod link;
mod probe;
mod repair;
mod sequencer;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tidegate_broker::{Error, Feed};
use tidegate_protocol::{Cursor, Envelope, Topic};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::keys::Keys;
pub(crate) use link::Supervisor;
pub(crate) use probe::Probe;
use sequencer::{Outcome, Sequencer};

/// Foreign bytes on our channels are logged this often at most.
const FOREIGN_EVERY: Duration = Duration::from_secs(10);

/// Shared by the callers, the connection's read task and the supervisor.
pub(crate) struct Subscription {
    keys: Keys,
    sequencer: Mutex<Sequencer>,
    /// The supervisor has something to do: a change of what is wanted, or a repair.
    work: Notify,
    /// The last connection that must go, and why.
    broken: watch::Sender<(u64, String)>,
    state: watch::Sender<State>,
    foreign: Foreign,
}

/// Whether messages come in.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) live: bool,
    /// Which connection is live, or was last.
    pub(crate) link: u64,
    /// When that began.
    pub(crate) since: Instant,
    /// What is wrong; empty while live.
    pub(crate) why: String,
}

#[derive(Default)]
struct Foreign {
    count: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Subscription {
    /// `held_limit`: bytes of messages that may wait for a repair.
    pub(crate) fn new(keys: Keys, feed: Feed, held_limit: usize) -> Arc<Self> {
        let sequencer = Mutex::new(Sequencer::new(feed, keys.count(), held_limit));
        let why = "no connection to Redis yet".into();
        Arc::new(Self {
            keys,
            sequencer,
            work: Notify::new(),
            broken: watch::Sender::new((0, String::new())),
            state: watch::Sender::new(State { live: false, link: 0, since: Instant::now(), why }),
            foreign: Foreign::default(),
        })
    }

    pub(crate) async fn subscribe(&self, topics: Vec<Topic>) -> Result<Cursor, Error> {
        let named =
            |topic: Topic| (self.keys.channel(&topic).into(), topic.clone(), self.keys.partition(&topic));
        let topics = topics.into_iter().map(named).collect();
        let waiting = match self.sequencer.lock().subscribe(topics) {
            Ok(cursor) => return Ok(cursor),
            Err(waiting) => waiting,
        };
        self.work.notify_one();
        waiting.await.map_err(|_| Error::Unavailable("the broker is shut down".into()))
    }

    pub(crate) fn unsubscribe(&self, topics: &[Topic]) {
        self.sequencer.lock().unsubscribe(topics.iter().map(|topic| self.keys.channel(topic).into()));
        self.work.notify_one();
    }

    /// The last probe heard, for each partition.
    pub(crate) fn heard(&self) -> watch::Receiver<Vec<u64>> {
        self.sequencer.lock().heard.subscribe()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Ends connection number `link`, if it is still the one: it does not bring what it should. It is not live any more when this returns.
    pub(crate) fn distrust(&self, link: u64, why: &str) {
        let mut sequencer = self.sequencer.lock();
        if sequencer.link == link {
            sequencer.away();
            self.set_state(None, why);
            self.broken(link, why);
        }
    }

    /// No more deliveries, and whoever waits for a subscription is told.
    pub(crate) fn close(&self) {
        let mut sequencer = self.sequencer.lock();
        sequencer.close();
        drop(sequencer);
        self.set_state(None, "the broker is shut down");
    }

    /// Runs in the read task of connection number `link`.
    fn received(&self, link: u64, info: PushInfo) {
        match info.kind {
            PushKind::Message => {}
            PushKind::Disconnection => return self.broken(link, "Redis has closed the connection"),
            _ => return,
        }
        let mut parts = info.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (parts.next(), parts.next())
        else {
            return;
        };
        let (Ok(channel), bytes) = (std::str::from_utf8(&channel), payload.len()) else { return };
        let Ok(envelope) = Envelope::parse(&Bytes::from(payload)) else { return self.foreign.note(channel) };
        let outcome = {
            let mut sequencer = self.sequencer.lock();
            if sequencer.link != link {
                return;
            }
            let outcome = sequencer.receive(channel, envelope, bytes);
            if let Outcome::Drop(_) = outcome {
                sequencer.away();
            }
            outcome
        };
        match outcome {
            Outcome::Fine => {}
            Outcome::Repair(why) => {
                tracing::warn!(why, "deliveries are being repaired");
                self.work.notify_one();
            }
            Outcome::Drop(why) => self.broken(link, why),
        }
    }

    fn broken(&self, link: u64, why: &str) {
        self.broken.send_if_modified(|broken| {
            let newer = broken.0 < link;
            if newer {
                *broken = (link, why.into());
            }
            newer
        });
    }

    /// `live`: the connection that is, if one is.
    fn set_state(&self, live: Option<u64>, why: &str) {
        self.state.send_modify(|state| {
            if state.live != live.is_some() {
                state.since = Instant::now();
            }
            state.live = live.is_some();
            state.link = live.unwrap_or(state.link);
            state.why = why.into();
        });
    }
}

impl Foreign {
    fn note(&self, channel: &str) {
        let count = 1 + self.count.fetch_add(1, Ordering::Relaxed);
        let mut logged = self.logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= FOREIGN_EVERY) {
            *logged = Some(Instant::now());
            tracing::warn!(
                channel,
                count,
                "a message was ignored: no gateway of this version has written it"
            );
        }
    }
}
