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
use parking_lot::{Mutex, RwLock};
use redis::{PushInfo, PushKind, Value};
use tidegate_broker::{Error, Feed};
use tidegate_protocol::{Envelope, Partition, Position, Topic};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::errors::words;
use crate::keys::Keys;
use crate::place::{Evidence, Place};
pub(crate) use eviction::Eviction;
pub(crate) use link::Link;
pub(crate) use probe::{Outcome as Probed, Probe};
use sequencer::{Outcome, Sequencer};

/// Foreign bytes on our channels are logged this often at most.
const FOREIGN_EVERY: Duration = Duration::from_secs(10);

/// Shared by the callers, the connection's read task and the link.
pub(crate) struct Subscription {
    pub(crate) keys: Keys,
    pub(crate) partition: Partition,
    sequencer: Mutex<Sequencer>,
    evidence: Arc<Mutex<Evidence>>,
    entered: RwLock<Option<Entered>>,
    /// The link has something to do: a change of what is wanted, a repair, or a doubt.
    work: Notify,
    /// The entry in which a connection met another epoch.
    doubted: AtomicU64,
    /// The last connection that must go, and why.
    broken: watch::Sender<(u64, String)>,
    state: watch::Sender<State>,
    pub(crate) eviction: Mutex<Eviction>,
    foreign: Foreign,
}

/// Where the node has entered the partition.
#[derive(Clone)]
pub(crate) struct Entered {
    pub(crate) place: Arc<Place>,
    /// The how manieth entry this was.
    pub(crate) count: u64,
}

/// Whether messages come in.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) live: bool,
    /// Which connection is live, or was last.
    pub(crate) link: u64,
    /// Entries so far.
    entries: u64,
    /// When that began.
    pub(crate) since: Instant,
    /// What is wrong, unless it is live, or connects for the first time.
    pub(crate) why: Option<Error>,
}

#[derive(Default)]
struct Foreign {
    count: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Subscription {
    /// `held_limit`: bytes of messages that may wait for a repair.
    pub(crate) fn new(keys: Keys, partition: Partition, feed: Feed, held_limit: usize) -> Arc<Self> {
        let evidence: Arc<Mutex<Evidence>> = Arc::default();
        let sequencer = Sequencer::new(feed, partition, Arc::clone(&evidence), held_limit);
        let state = State { live: false, link: 0, entries: 0, since: Instant::now(), why: None };
        Arc::new(Self {
            keys,
            partition,
            sequencer: Mutex::new(sequencer),
            evidence,
            entered: RwLock::default(),
            work: Notify::new(),
            doubted: AtomicU64::new(0),
            broken: watch::Sender::new((0, String::new())),
            state: watch::Sender::new(state),
            eviction: Mutex::default(),
            foreign: Foreign::default(),
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
        self.work.notify_one();
        waiting.await.map_err(|_| Error::Unavailable("the broker is shut down".into()))
    }

    pub(crate) fn unsubscribe(&self, topics: &[Topic]) {
        self.sequencer.lock().unsubscribe(topics.iter().map(|topic| self.keys.channel(topic).into()));
        self.work.notify_one();
    }

    /// The last probe heard.
    pub(crate) fn heard(&self) -> watch::Receiver<u64> {
        self.sequencer.lock().heard.subscribe()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Where the node has entered, once it has: waits until `deadline`.
    pub(crate) async fn entered(&self, deadline: Instant) -> Result<Entered, Error> {
        self.entered_after(0, deadline).await
    }

    /// A connection met another epoch than that of `entered`: the node must enter again. Waits for
    /// that until `deadline`.
    pub(crate) async fn enter_again(&self, entered: &Entered, deadline: Instant) -> Result<Entered, Error> {
        self.doubt(entered);
        self.entered_after(entered.count, deadline).await
    }

    /// What `entered` says may be over.
    pub(crate) fn doubt(&self, entered: &Entered) {
        self.doubted.fetch_max(entered.count, Ordering::Relaxed);
        self.work.notify_one();
    }

    async fn entered_after(&self, count: u64, deadline: Instant) -> Result<Entered, Error> {
        // Nearly always: no timer, and no place among those who wait.
        if let Some(entered) = self.entered.read().as_ref().filter(|entered| entered.count > count) {
            return Ok(entered.clone());
        }
        let mut state = self.state.subscribe();
        // Only a first attempt is worth waiting for: Redis may be away for hours.
        let settled = |state: &State| state.entries > count || (state.entries == 0 && state.why.is_some());
        let again = timeout_at(deadline, state.wait_for(settled)).await.is_ok();
        let entered = self.entered.read().clone();
        // Whatever the link met: nothing of the caller's was sent.
        entered.filter(|_| again).ok_or_else(|| match self.state.borrow().why.clone() {
            None if count == 0 => Error::Unavailable("no connection to Redis yet".into()),
            None => Error::Unavailable("another primary is taking over".into()),
            Some(refused @ Error::Refused(_)) => refused,
            Some(other) => Error::Unavailable(words(other)),
        })
    }

    /// `error`, or what Redis itself has said to the link: that is why there is no connection.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &self.state.borrow().why {
            Some(refused @ Error::Refused(_)) => refused.clone(),
            _ => error,
        }
    }

    /// Whether an event that a publisher got a receipt for is kept: it is not if it was stored by a
    /// primary that has been replaced. `repeat`: it was published before.
    pub(crate) fn is_kept(&self, name: Position, repeat: bool) -> bool {
        let Some(entered) = self.entered.read().clone() else { return false };
        let kept = entered.place.has(name);
        // Another's receipt from an epoch that is forgotten is no news; a late one of a replaced
        // primary would tell everybody of the loss again.
        if kept == Some(true) || (repeat && kept.is_some()) {
            self.evidence.lock().note(name);
        }
        if repeat && kept == Some(false) {
            self.doubt(&entered);
        }
        kept.unwrap_or(repeat)
    }

    /// The node has entered.
    fn set_entered(&self, place: &Place) {
        let count = {
            let mut entered = self.entered.write();
            let count = 1 + entered.as_ref().map_or(0, |entered| entered.count);
            *entered = Some(Entered { place: Arc::new(place.clone()), count });
            count
        };
        self.sequencer.lock().entered(place);
        self.state.send_modify(|state| state.entries = count);
    }

    /// Whether the current entry was doubted since the last call.
    fn take_doubt(&self) -> bool {
        let doubted = self.doubted.swap(0, Ordering::Relaxed);
        doubted > 0 && self.entered.read().as_ref().is_some_and(|entered| entered.count <= doubted)
    }

    /// Ends connection number `link`, if it is still the one: it does not bring what it should. It is not live any more when this returns.
    pub(crate) fn distrust(&self, link: u64, why: &str) {
        let mut sequencer = self.sequencer.lock();
        if sequencer.link == link {
            sequencer.away();
            self.set_state(Err(Error::Unavailable(why.into())));
            self.broken(link, why);
        }
    }

    /// No more deliveries, and whoever waits for a subscription is told.
    pub(crate) fn close(&self) {
        let mut sequencer = self.sequencer.lock();
        sequencer.close();
        drop(sequencer);
        self.set_state(Err(Error::Unavailable("the broker is shut down".into())));
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
                self.work.notify_one();
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

    /// `live`: the connection that is, or why none is.
    fn set_state(&self, live: Result<u64, Error>) {
        self.state.send_modify(|state| {
            if state.live != live.is_ok() {
                state.since = Instant::now();
            }
            state.live = live.is_ok();
            state.link = *live.as_ref().unwrap_or(&state.link);
            state.why = live.err();
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
