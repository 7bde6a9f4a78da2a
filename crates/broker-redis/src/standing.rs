//! Where the node stands in a partition: what publishers and readers ask before they use it, and what
//! they tell the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tidegate_broker::Error;
use tidegate_protocol::{Partition, Position};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::errors::words;
use crate::place::{Evidence, Place};

/// Shared by the link, which writes it, and those who use the partition.
pub(crate) struct Standing {
    pub(crate) partition: Partition,
    evidence: Arc<Mutex<Evidence>>,
    entered: RwLock<Option<Entered>>,
    /// The link has something to do: a change of what is wanted, a repair, or a doubt.
    pub(crate) work: Notify,
    /// The entry in which a connection met another epoch.
    doubted: AtomicU64,
    state: watch::Sender<State>,
    misfit: Misfit,
}

/// Why this node may enter no partition, and which of them has said so: the deployment has another
/// number of partitions. Shared by all: those that only this node knows would take events that no
/// other one hears.
pub(crate) type Misfit = Arc<RwLock<Option<(Partition, String)>>>;

/// Where the node has entered the partition.
#[derive(Clone)]
pub(crate) struct Entered {
    pub(crate) place: Arc<Place>,
    /// The number of this entry: the first one is 1.
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

impl Standing {
    pub(crate) fn new(partition: Partition, misfit: Misfit) -> Arc<Self> {
        let state = State { live: false, link: 0, entries: 0, since: Instant::now(), why: None };
        Arc::new(Self {
            partition,
            evidence: Arc::default(),
            entered: RwLock::default(),
            work: Notify::new(),
            doubted: AtomicU64::new(0),
            state: watch::Sender::new(state),
            misfit,
        })
    }

    /// What the node has seen of the partition.
    pub(crate) fn evidence(&self) -> Arc<Mutex<Evidence>> {
        Arc::clone(&self.evidence)
    }

    /// Where the node has entered last.
    pub(crate) fn place(&self) -> Option<Arc<Place>> {
        self.entered.read().as_ref().map(|entered| Arc::clone(&entered.place))
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
        if let Some((_, why)) = &*self.misfit.read() {
            return Err(Error::Unavailable(why.clone()));
        }
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

    /// Takes the name that a primary has given as evidence. An error if that primary has been
    /// replaced: what it took may be lost.
    pub(crate) fn keep(&self, name: Position, repeat: bool) -> Result<(), Error> {
        let lost = || Error::Unknown("the primary that took it has been replaced".into());
        self.is_kept(name, repeat).then_some(()).ok_or_else(lost)
    }

    /// Whether an event that a publisher got a receipt for is kept: it is not if it was stored by a
    /// primary that has been replaced. `repeat`: it was published before.
    fn is_kept(&self, name: Position, repeat: bool) -> bool {
        // Judged and noted under one lock: else the node could enter in between, without this.
        let mut evidence = self.evidence.lock();
        let Some(place) = evidence.place() else { return false };
        let kept = place.has(name);
        // Another's receipt from an epoch that is forgotten is no news; a late one of a replaced
        // primary would tell everybody of the loss again.
        if kept == Some(true) || (repeat && kept.is_some()) {
            evidence.note(name);
        }
        drop(evidence);
        if repeat && kept == Some(false) {
            self.entered.read().iter().for_each(|entered| self.doubt(entered));
        }
        kept.unwrap_or(repeat)
    }

    /// Whether a read that found the partition at `head` is of the epoch that the node has entered.
    /// Streams go on from there: that it stood so far is evidence, as an event is.
    pub(crate) fn has_read(&self, head: Position) -> bool {
        let mut evidence = self.evidence.lock();
        let Some(place) = evidence.place().filter(|place| place.head.epoch == head.epoch) else {
            return false;
        };
        // At an epoch's beginning nothing of it exists.
        if head.offset > place.begin {
            evidence.note(head);
        }
        true
    }

    /// The deployment has another number of partitions, or this one has none of it any more.
    pub(crate) fn set_misfit(&self, why: Option<String>) {
        let mut misfit = self.misfit.write();
        if why.is_some() || misfit.as_ref().is_some_and(|(by, _)| *by == self.partition) {
            *misfit = why.map(|why| (self.partition, why));
        }
    }

    /// The node has entered. Gives the number of this entry, to be told when it may be used.
    pub(crate) fn set_entered(&self, place: &Place) -> u64 {
        let mut entered = self.entered.write();
        let count = 1 + entered.as_ref().map_or(0, |entered| entered.count);
        *entered = Some(Entered { place: Arc::new(place.clone()), count });
        count
    }

    /// Wakes those who wait for that entry.
    pub(crate) fn tell(&self, count: u64) {
        self.state.send_modify(|state| state.entries = count);
    }

    /// Whether the current entry was doubted since the last call.
    pub(crate) fn take_doubt(&self) -> bool {
        let doubted = self.doubted.swap(0, Ordering::Relaxed);
        doubted > 0 && self.entered.read().as_ref().is_some_and(|entered| entered.count <= doubted)
    }

    /// `live`: the connection that is, or why none is.
    pub(crate) fn set_state(&self, live: Result<u64, Error>) {
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
