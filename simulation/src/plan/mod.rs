//! What happens in one simulation, as explicit data: made from a seed, made smaller by the
//! shrinker, kept as a file.

mod families;
mod shrink;

use serde::{Deserialize, Serialize};

use crate::redis::Refusal;
pub use families::Family;

/// Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub seed: u64,
    pub family: Family,
    pub nodes: usize,
    pub partitions: u8,
    pub topics: usize,
    /// How many of the topics keep no history.
    pub unstored: usize,
    pub publishers: usize,
    /// Clients of the hubs.
    pub clients: usize,
    /// How many of the clients are users with memberships that change, and that are disconnected.
    pub users: usize,
    /// Each node's broker is asked for each topic and lets it go, without a hub's patience.
    pub direct: bool,
    /// One way, in microseconds: shortest and longest.
    pub latency: (u64, u64),
    /// Bytes a millisecond to each node; 0: any number.
    pub bandwidth: u64,
    /// The links stay as they are after the last fault, for a while with publishers.
    pub stays_slow: bool,
    /// Bytes that may wait for a subscriber in Redis; 0: any number.
    pub output_limit: usize,
    /// Bytes that may wait in a node.
    pub queue: usize,
    /// A publisher's longest pause; a client's longest stay and absence.
    pub pause: u64,
    pub stay: u64,
    pub away: u64,
    pub linger: u64,
    pub heartbeat: u64,
    /// Recent events that a hub keeps of a topic, and that Redis keeps.
    pub ring: usize,
    pub keeps: u32,
    /// Bytes of an event besides its number.
    pub payload: usize,
    /// Publishers of these percent use idempotency keys, and publish in batches.
    pub keyed: u64,
    pub batched: u64,
    /// How long faults may happen.
    pub length: u64,
    pub steps: Vec<Step>,
}

/// One fault, at its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at: u64,
    /// Whom it meets, where it can be one node; without: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    pub fault: Fault,
}

/// `ms`: how long it lasts. `lag`: how far the copy is behind that Redis goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Each connection ends with this chance.
    Cut { percent: u64 },
    /// Nothing passes on these percent of the connections.
    Stall { percent: u64, ms: u64 },
    /// Redis answers nothing.
    Pause { ms: u64 },
    /// Redis is away, and has everything when it is back.
    Restart { ms: u64 },
    /// It is back with what it had `lag` before.
    Fallback { ms: u64, lag: u64 },
    /// It is back with nothing.
    Wiped { ms: u64 },
    /// The primary dies, and a replica that was behind takes over.
    Failover { ms: u64, lag: u64 },
    /// As before; then that one dies, and another replica takes over from the same place.
    Twice {
        ms: u64,
        lag: u64,
        #[serde(default)]
        old: Old,
    },
    /// The primary stops, a replica takes over; the old one wakes, answers what waits, and ends a
    /// little later.
    Zombie {
        ms: u64,
        lag: u64,
        #[serde(default)]
        old: Old,
    },
    /// A replica takes over, and the old primary goes on serving the connections that it has.
    Split {
        ms: u64,
        lag: u64,
        #[serde(default)]
        old: Old,
    },
    /// A replica with all data takes over, and the old primary becomes its replica with all
    /// connections. `back`: that one is the primary again after a while.
    Demote { ms: u64, back: bool },
    /// A server's name for its reign changes, as it does when it has had no replica for an hour: the
    /// primary's, or that of the server that a stale name leads the node to.
    Reign,
    /// The node goes on finding the server that is the primary now, whatever that becomes.
    Stale { ms: u64 },
    /// One of the keys is evicted that say where a partition stands.
    EvictPlace,
    /// Any one key is evicted.
    EvictAny,
    /// Redis forgets the scripts.
    Scripts,
    /// Redis refuses what it should do.
    Refuse { why: Refusal, ms: u64 },
    /// The latency becomes this (microseconds).
    Slow { from: u64, to: u64 },
    /// The node gets no connection.
    Isolate { ms: u64 },
    /// The node's process ends, and another begins.
    Reboot { ms: u64 },
}

/// What becomes of a primary after another has taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Old {
    #[default]
    Ends,
    /// It becomes a replica, and keeps its connections.
    Follows,
}

impl Fault {
    /// Redis may have lost what it acknowledged: resets are right then.
    pub fn loses_data(&self) -> bool {
        use Fault::{EvictAny, EvictPlace, Failover, Fallback, Split, Twice, Wiped, Zombie};
        match self {
            Failover { lag, .. } => *lag > 0,
            Fallback { .. } | Wiped { .. } | Twice { .. } | Zombie { .. } | Split { .. } => true,
            EvictPlace | EvictAny => true,
            _ => false,
        }
    }

    /// How many reigns begin with it.
    fn reigns(&self) -> usize {
        match self {
            Self::Restart { .. } | Self::Failover { .. } | Self::Reign => 1,
            Self::Demote { back, .. } => 1 + usize::from(*back),
            Self::Fallback { .. } | Self::Zombie { .. } | Self::Split { .. } => 1,
            Self::Twice { .. } => 2,
            _ => 0,
        }
    }
}

/// Ids of more reigns ago than that are told a reset.
const REIGNS: usize = 32;

impl Plan {
    /// Nothing in it is a reason to tell a client that events were lost.
    pub fn keeps_all(&self) -> bool {
        self.keeps >= 100_000 && self.steps.iter().all(|step| !step.fault.loses_data()) && self.few_reigns()
    }

    /// What a partition knows of itself is lost with events only, and no topic is trimmed or deleted.
    pub fn keeps_places(&self) -> bool {
        use Fault::{EvictAny, EvictPlace, Wiped};
        let loses = |step: &Step| matches!(step.fault, EvictAny | EvictPlace | Wiped { .. });
        self.keeps >= 100_000 && self.users == 0 && !self.steps.iter().any(loses) && self.few_reigns()
    }

    fn few_reigns(&self) -> bool {
        self.steps.iter().map(|step| step.fault.reigns()).sum::<usize>() <= REIGNS
    }

    /// How much there is to read in its trace.
    pub fn size(&self) -> u64 {
        let parts = self.steps.len() * 1000
            + (self.nodes + self.clients + self.publishers + self.topics + self.users + self.unstored) * 300;
        parts as u64
            + self.length / 100
            + u64::from(self.partitions) * 100
            + 20_000 / self.pause.max(1)
            + u64::from(self.stays_slow) * 100
            + self.payload as u64 / 10
            + self.keyed
            + self.batched
            + u64::from(self.latency != (1000, 1000)) * 50
    }
}
