use std::time::Duration;

use tidegate_protocol::EventName;

/// Settings of the hub. Every bound has its policy beside it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name shown in `tidegate:ready`.
    pub node: String,
    /// Silence after which a stream gets a heartbeat, ±10 %. Default 15 s: a quarter of the 60 s at
    /// which nginx and ALB cut.
    pub heartbeat: Duration,
    /// What a heartbeat looks like.
    pub heartbeat_style: Heartbeat,
    /// Base of the reconnect delay told to clients, ±50 % for each: a deploy must not bring all
    /// back at once. Default 2 s.
    pub retry: Duration,
    /// Age at which a stream is closed cleanly, ±10 %. `None`: never.
    pub max_age: Option<Duration>,
    /// Events that may wait for one connection; beyond it the connection is closed resumably
    /// (`slow_consumer`). Default 1,000.
    pub outbox_events: usize,
    /// Bytes likewise. Default 1 MiB: 10,000 stuck clients hold less than 10 GiB at worst, and a
    /// page of history fits.
    pub outbox_bytes: usize,
    /// Streams one user may have on this node; the next one is turned away. 0: any number. Default
    /// 100: devices times tabs stay far below.
    pub user_connections: usize,
    /// Recent events a topic keeps in memory to answer reconnects without the store. Default 128.
    pub ring_events: usize,
    /// Bytes likewise. Default 128 KiB.
    pub ring_bytes: usize,
    /// Bytes of all rings together; beyond it rings shrink as their topics get events. Default 64
    /// MiB.
    pub ring_total: usize,
    /// How long a topic stays subscribed after its last listener left. Default 1 s: a page reload
    /// does not unsubscribe.
    pub linger: Duration,
    /// How long a join may wait for the broker. Default 5 s: below the patience of a person and of
    /// every proxy.
    pub join_timeout: Duration,
    /// How long a socket may stay full before its connection is cut. Default 30 s: a phone that
    /// changes networks takes a few.
    pub write_deadline: Duration,
    /// Events of one replay, of all topics together; a client further behind is closed resumably in
    /// the middle and comes back for the rest. Default 10,000.
    pub replay_events: u32,
    /// Bytes likewise. Default 16 MiB.
    pub replay_bytes: usize,
    /// Bytes of stored events on their way from the broker into outboxes and answers, of all joins
    /// and requests together; beyond it they wait in their order, and replays come in smaller
    /// pieces. Default 64 MiB: four of the largest replays, or 64 pages, at once.
    pub history_memory: usize,
}

/// What a heartbeat looks like on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// `:` and a blank line: seen by no listener.
    Comment,
    /// `tidegate:heartbeat` without id.
    Named,
    /// An event without id, for clients that watch for it.
    Event {
        /// Its name; `None`: a plain message.
        name: Option<EventName>,
        /// Its data; may be empty.
        data: String,
    },
}

/// How one stream differs from the node's settings: an application's clients may expect what
/// another server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOverrides {
    /// Sent once, after `tidegate:ready`.
    pub greeting: Option<Greeting>,
    /// As [`Options::heartbeat`].
    pub heartbeat: Duration,
    /// As [`Options::heartbeat_style`].
    pub style: Heartbeat,
    /// As [`Options::max_age`].
    pub max_age: Option<Duration>,
}

/// An event without id at the beginning of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its name.
    pub event: EventName,
    /// Its data.
    pub data: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: "node".into(),
            heartbeat: Duration::from_secs(15),
            heartbeat_style: Heartbeat::Comment,
            retry: Duration::from_secs(2),
            max_age: None,
            outbox_events: 1_000,
            outbox_bytes: 1 << 20,
            user_connections: 100,
            ring_events: 128,
            ring_bytes: 128 << 10,
            ring_total: 64 << 20,
            linger: Duration::from_secs(1),
            join_timeout: Duration::from_secs(5),
            write_deadline: Duration::from_secs(30),
            replay_events: 10_000,
            replay_bytes: 16 << 20,
            history_memory: 64 << 20,
        }
    }
}
