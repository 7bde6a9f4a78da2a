use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::{Cursor, Data, Epoch, Event, EventName, Offset, Partition, Position, Topic};

/// An event on its way in.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Where to.
    pub topic: Topic,
    /// SSE event name.
    pub name: Option<EventName>,
    /// Payload.
    pub data: Data,
    /// When it was taken: milliseconds since 1970.
    pub at: u64,
    /// How long it stays in history.
    pub retention: Retention,
    /// Publishing again with the same key (for the same topic) within [`Retention::key_ttl`] gives the first receipt and stores nothing.
    pub key: Option<String>,
}

/// What a namespace keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events a topic keeps at least; a few more may be kept. 0: none, and events have no id.
    pub size: u32,
    /// How long a topic keeps its events after its last one.
    pub ttl: Duration,
    /// How long "expired" can be told from "never was".
    pub record_ttl: Duration,
    /// How long an idempotency key is remembered.
    pub key_ttl: Duration,
}

/// The answer to a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's place; `None` when it was not stored.
    pub mark: Option<(Partition, Position)>,
    /// Nodes that had a listener.
    pub nodes: u32,
}

impl Receipt {
    /// The event's id on the wire.
    pub fn id(&self) -> Option<Cursor> {
        self.mark.map(|(partition, position)| Cursor::single(partition, position))
    }
}

/// What arrives at a node.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An event of a subscribed topic.
    Event(Arc<Event>),
    /// A word about a user, on the user's own topic.
    Control {
        /// The user's own topic.
        user: Topic,
        /// The partition of that topic, and where it stood.
        seen: (Partition, Position),
        /// What to do.
        control: Control,
    },
    /// The topic's stored events up to here have been deleted, on purpose: what a node keeps of them goes too. Streams miss nothing.
    Forgotten {
        /// Whose.
        topic: Topic,
        /// The partition of that topic, and where it stood.
        seen: (Partition, Position),
    },
    /// Events of these topics were lost for good. What comes next is after `position`.
    Reset {
        /// Which partition.
        partition: Partition,
        /// Which of its topics; `None`: every one.
        topics: Option<Vec<Topic>>,
        /// Why.
        reason: ResetReason,
        /// Where deliveries go on.
        position: Position,
    },
    /// Everything up to here has been handed on, though nothing of it may have been for this node.
    Seen(Partition, Position),
    /// The partition's epoch has ended, and nothing was lost: `position` is where deliveries go on, with the offset at which they
    /// stopped. Streams miss nothing; their positions in it are positions of the new epoch.
    Continued(Partition, Position),
    /// Controls and deletions of this partition may have been missed: memberships and disconnects of its users must be read again, and
    /// what is kept of its stored events, too.
    Gap(Partition),
}

/// What a node is told about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The user's streams receive `topic` from now on, and no event after `from` may be missed.
    Joined {
        /// Of what.
        topic: Topic,
        /// The place of the topic's partition just before; `None` only if the broker could not tell.
        from: Option<Position>,
    },
    /// The user's streams stop receiving the topic, unless they asked for it themselves.
    Left {
        /// Of what.
        topic: Topic,
    },
    /// Close the user's streams.
    Disconnect,
}

/// Why a cursor could not be continued. The words go over the wire and into metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResetReason {
    /// Newer events pushed out some after the cursor.
    Trimmed,
    /// The topic's history timed out, or was deleted, with events after the cursor in it.
    Expired,
    /// The cursor belongs to another life of the counter: the store lost its data.
    Epoch,
    /// The id is none that a gateway could have given.
    Malformed,
    /// The id is ahead of the counter: not given by this gateway, or the store fell back.
    Unknown,
}

impl ResetReason {
    /// Every reason there is.
    pub const ALL: [Self; 5] = [Self::Trimmed, Self::Expired, Self::Epoch, Self::Malformed, Self::Unknown];

    /// Whether the position means nothing any more: not where the topic is, and not where another is.
    pub fn is_void(self) -> bool {
        matches!(self, Self::Epoch | Self::Unknown | Self::Malformed)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Expired => "expired",
            Self::Epoch => "epoch",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
        }
    }
}

/// A wish to read a topic's history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// Whose.
    pub topic: Topic,
    /// Which part.
    pub span: Span,
}

/// Which part of a topic's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Every event after a place, oldest first, up to `limit`. Says when retention no longer covers the place.
    After {
        /// The reader's place.
        position: Position,
        /// At most this many; of topics that are read together, the largest holds for all.
        limit: u32,
    },
    /// The last `limit` events, oldest first.
    Last {
        /// At most this many.
        limit: u32,
    },
    /// The last `limit` events before an offset of the current epoch, oldest first.
    Before {
        /// Exclusive.
        offset: Offset,
        /// At most this many.
        limit: u32,
    },
}

/// A part of a topic's history.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// Where the partition stood when it was read; [after](Span::After) a place and with `more`,
    /// where to read on. Together with `events` nothing up to here is missing.
    pub head: Position,
    /// Why the reader's place can't be continued without a gap. `events` then holds what is still there after it
    /// ([`ResetReason::Trimmed`]), or nothing.
    pub reset: Option<ResetReason>,
    /// There are further events in the direction of reading.
    pub more: bool,
}

impl Span {
    /// How many events it asks for.
    pub fn limit(&self) -> u32 {
        match *self {
            Self::After { limit, .. } | Self::Last { limit } | Self::Before { limit, .. } => limit,
        }
    }

    /// The reader's place; none that a counter has for what is read backwards.
    pub fn from(&self) -> Position {
        match *self {
            Self::After { position, .. } => position,
            Self::Last { .. } | Self::Before { .. } => Position { epoch: Epoch::NONE, offset: 0 },
        }
    }
}

impl Page {
    /// Bytes of its events' data.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.data.as_bytes().len()).sum()
    }
}

/// The indexes of the reads that a store answers together: those [after](Span::After) a place in
/// each of its partitions, and all that go backwards.
pub fn groups(reads: &[Read], partitions: u8) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Option<Partition>, Vec<usize>> = BTreeMap::new();
    for (at, read) in reads.iter().enumerate() {
        let forwards = matches!(read.span, Span::After { .. });
        groups.entry(forwards.then(|| read.topic.partition(partitions))).or_default().push(at);
    }
    groups.into_values().collect()
}

/// Whether a broker works, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Publishing and receiving work.
    pub ready: bool,
    /// What is wrong and since when, or what works.
    pub detail: String,
    /// The partitions that do not work, each with what is wrong. There may be some on a ready node.
    pub degraded: Vec<(Partition, String)>,
    /// The store throws away what it should keep, or may begin to: what to do.
    pub eviction: Option<String>,
}
