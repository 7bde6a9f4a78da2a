//! One partition: which of its topics this node wants, where the partition stands, and one supervised
//! connection that brings the messages in order.

mod changes;
mod entry;
mod eviction;
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
use tidegate_protocol::{Envelope, Partition, Position, Topic};
use tokio::sync::watch;

use crate::backoff::Seldom;
use crate::keys::Keys;
use crate::place::Place;
use crate::standing::Standing;
pub(crate) use eviction::Eviction;
pub(crate) use link::Link;
pub(crate) use probe::{Outcome as Probed, Probe, Silent};
use sequencer::{Outcome, Sequencer};

/// Foreign bytes on our channels are logged this often at most.
const FOREIGN_EVERY: Duration = Duration::from_secs(10);

/// Shared by the callers, the connection's read task and the link.
pub(crate) struct Subscription {
    pub(crate) keys: Keys,
    pub(crate) partition: Partition,
    sequencer: Mutex<Sequencer>,
    standing: Arc<Standing>,
    /// The last connection that must go, and why.
    broken: watch::Sender<(u64, String)>,
    pub(crate) eviction: Mutex<Eviction>,
    foreign: Foreign,
}

struct Foreign {
    count: AtomicU64,
    logged: Mutex<Seldom>,
}

impl Subscription {
    /// `held_limit`: bytes of messages that may wait for a repair.
    pub(crate) fn new(keys: Keys, standing: Arc<Standing>, feed: Feed, held_limit: usize) -> Arc<Self> {
        let partition = standing.partition;
        let sequencer = Sequencer::new(feed, partition, standing.evidence(), held_limit);
        Arc::new(Self {
            keys,
            partition,
            sequencer: Mutex::new(sequencer),
            standing,
            broken: watch::Sender::new((0, String::new())),
            eviction: Mutex::default(),
            foreign: Foreign { count: AtomicU64::new(0), logged: Mutex::new(Seldom::new(FOREIGN_EVERY)) },
        })
    }

    /// Resolves, with the place from which on nothing is missed, when `topics` are confirmed.
    pub(crate) async fn subscribe(&self, topics: Vec<Topic>) -> Result<Position, Error> {
        let named = |topic: Topic| (self.keys.channel(&topic).into(), topic);
        let topics = topics.into_iter().map(named).collect();
        let waiting = match self.sequencer.lock().subscribe(topics) {
            Ok(position) => return Ok(position),
            Err(waiting) => waiting,
        };
        self.standing.work.notify_one();
        waiting.await.map_err(|_| Error::Unavailable("the broker is shut down".into()))
    }

    pub(crate) fn unsubscribe(&self, topics: &[Topic]) {
        self.sequencer.lock().unsubscribe(topics.iter().map(|topic| self.keys.channel(topic).into()));
        self.standing.work.notify_one();
    }

    /// The last probe heard.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.sequencer.lock().heard.subscribe()
    }

    /// The node has entered.
    fn set_entered(&self, place: &Place) {
        // First where it stands, for those who use it; told only when deliveries are in that epoch.
        let count = self.standing.set_entered(place);
        self.sequencer.lock().entered(place);
        self.standing.tell(count);
    }

    /// Ends connection number `link`, if it is still the one: it does not bring what it should. It is not live any more when this returns.
    pub(crate) fn distrust(&self, link: u64, why: &str) {
        let mut sequencer = self.sequencer.lock();
        if sequencer.link == link {
            sequencer.away();
            self.standing.set_state(Err(Error::Unavailable(why.into())));
            self.broken(link, why);
        }
    }

    /// No more deliveries, and whoever waits for a subscription is told.
    pub(crate) fn close(&self) {
        let mut sequencer = self.sequencer.lock();
        sequencer.close();
        drop(sequencer);
        self.standing.set_state(Err(Error::Unavailable("the broker is shut down".into())));
    }

    /// Runs in the read task of connection number `link`.
    fn received(&self, link: u64, info: PushInfo) {
        match info.kind {
            PushKind::Message => {}
            PushKind::Disconnection => return self.broken(link, "Redis has closed the connection"),
            PushKind::Unsubscribe | PushKind::SUnsubscribe => return self.left(link, &info.data),
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
                tracing::warn!(partition = %self.partition, why, "deliveries are being repaired");
                self.standing.work.notify_one();
            }
            Outcome::Drop(why) => self.broken(link, why),
        }
    }

    /// Redis ended a channel. Unless it was asked to, the library takes the word for the answer to
    /// the oldest command, and every answer after it for the next one's: nothing of them may count.
    fn left(&self, link: u64, data: &[Value]) {
        let channel = match data.first() {
            Some(Value::BulkString(channel)) => std::str::from_utf8(channel).unwrap_or_default(),
            _ => "",
        };
        let mut sequencer = self.sequencer.lock();
        if sequencer.link == link && !sequencer.has_left(channel) {
            sequencer.away();
            drop(sequencer);
            self.broken(link, "Redis has ended a channel that this node wants");
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
}

impl Foreign {
    fn note(&self, channel: &str) {
        let count = 1 + self.count.fetch_add(1, Ordering::Relaxed);
        if self.logged.lock().is_due() {
            tracing::warn!(
                channel,
                count,
                "a message was ignored: no gateway of this version has written it"
            );
        }
    }
}
