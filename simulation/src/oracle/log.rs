//! What happened, as those outside of the gateway saw it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_broker::Receipt;
use tidegate_protocol::{Partition, Position, Topic};
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Log {
    /// By an event's number.
    pub(crate) sent: Vec<Sent>,
    /// What each client got, in order.
    got: BTreeMap<usize, Vec<(Instant, Got)>>,
    /// What each client asked for; users have memberships instead.
    pub(crate) wants: BTreeMap<usize, Vec<Topic>>,
    pub(crate) deeds: Vec<Deed>,
}

/// An event as its publisher knows it.
pub(crate) struct Sent {
    pub(crate) topic: Topic,
    pub(crate) keyed: bool,
    /// The number of the first event of its batch.
    pub(crate) batch: usize,
    pub(crate) begun: Instant,
    /// When it was acknowledged, if it was.
    pub(crate) done: Option<Instant>,
    pub(crate) place: Option<(Partition, Position)>,
    /// The lives of nodes that have a receipt for it.
    pub(crate) receipts: BTreeSet<usize>,
    /// Attempts without an answer, or with one that says nothing about the store.
    pub(crate) unknown: usize,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    /// A stream is open.
    Ready,
    Event {
        number: usize,
    },
    Reset {
        topics: Vec<Topic>,
        reason: String,
    },
    /// The stream is over.
    Left,
}

/// What was done to a user, or to a topic's history.
pub(crate) struct Deed {
    pub(crate) user: usize,
    pub(crate) act: Act,
    pub(crate) begun: Instant,
    /// When it was acknowledged, if it was.
    pub(crate) done: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Join(Topic),
    Leave(Topic),
    Disconnect,
    Forget(Topic),
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub commands: u64,
    pub acknowledged: u64,
    pub received: u64,
    pub resets: u64,
    pub streams: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.commands += other.commands;
        self.acknowledged += other.acknowledged;
        self.received += other.received;
        self.resets += other.resets;
        self.streams += other.streams;
    }
}

impl Sent {
    pub(crate) fn new(topic: Topic, keyed: bool, batch: usize) -> Self {
        Self {
            topic,
            keyed,
            batch,
            begun: Instant::now(),
            done: None,
            place: None,
            receipts: BTreeSet::new(),
            unknown: 0,
        }
    }

    pub(crate) fn stored(&self) -> bool {
        self.topic.as_str().starts_with("room:")
    }
}

impl Log {
    pub(crate) fn begin(&mut self, sent: Sent) -> usize {
        self.sent.push(sent);
        self.sent.len() - 1
    }

    /// The receipt is known to this life of a node.
    pub(crate) fn acknowledge(&mut self, number: usize, receipt: Receipt, life: usize) {
        let sent = &mut self.sent[number];
        sent.receipts.insert(life);
        (sent.done, sent.place) = (Some(Instant::now()), receipt.mark);
    }

    pub(crate) fn attempt(&mut self, deed: Deed) -> usize {
        self.deeds.push(deed);
        self.deeds.len() - 1
    }

    pub(crate) fn record(&mut self, client: usize, got: Got) {
        self.got.entry(client).or_default().push((Instant::now(), got));
    }

    pub(crate) fn got(&self, client: usize) -> &[(Instant, Got)] {
        self.got.get(&client).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether the client is on a stream now.
    pub(crate) fn listening(&self, client: usize) -> bool {
        self.got(client).last().is_some_and(|(_, got)| !matches!(got, Got::Left))
    }

    /// Whether someone tried to delete the topic's history.
    pub(crate) fn forgotten(&self, topic: &Topic) -> bool {
        self.deeds.iter().any(|deed| deed.act == Act::Forget(topic.clone()))
    }

    pub(crate) fn counts(&self, commands: u64) -> Counts {
        let all = || self.got.values().flatten().map(|(_, got)| got);
        let count = |is: fn(&Got) -> bool| all().filter(|got| is(got)).count() as u64;
        Counts {
            commands,
            acknowledged: self.sent.iter().filter(|sent| sent.done.is_some()).count() as u64,
            received: count(|got| matches!(got, Got::Event { .. })),
            resets: count(|got| matches!(got, Got::Reset { .. })),
            streams: count(|got| matches!(got, Got::Ready)),
        }
    }
}
