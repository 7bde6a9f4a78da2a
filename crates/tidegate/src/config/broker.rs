//! Where events are numbered and kept, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{SecretUrl, Size};

/// The Redis that joins the nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redis {
    /// `redis://` or `rediss://`. Empty: the in-process broker, for one node, gone with the process.
    pub(crate) url: SecretUrl,
    /// A PEM file with what may have signed the certificate of a `rediss://` Redis. Empty: what the system trusts.
    pub(crate) ca_file: PathBuf,
    /// Connections for reads. 8: reads are pipelined and short, and Redis has one thread to answer them.
    pub(crate) pool_size: usize,
    /// 2 s: longer than a lost SYN (1 s), shorter than anybody's patience.
    #[serde(with = "humantime_serde")]
    pub(crate) connect_timeout: Duration,
    /// A command unanswered for so long counts as failed: publishers get 503.
    #[serde(with = "humantime_serde")]
    pub(crate) response_timeout: Duration,
    /// Multiplexed connections that publishes are pipelined over.
    pub(crate) publish_connections: usize,
    /// 1 to 8: more only for a Redis Cluster, since each costs cursor bytes and a counter. Can't be changed with the data kept.
    pub(crate) partitions: u8,
    /// Begins every key: several gateways may share one Redis.
    pub(crate) prefix: String,
    /// How often the way of an event is tried out end to end.
    #[serde(with = "humantime_serde")]
    pub(crate) probe_interval: Duration,
    /// A probe that is late by so much makes the node not ready.
    #[serde(with = "humantime_serde")]
    pub(crate) probe_timeout: Duration,
    /// Not ready while Redis may evict keys. Off: a managed Redis may not let its policy be changed, and most never fill.
    pub(crate) require_noeviction: bool,
    /// How long a topic stays subscribed after its last listener left: a page reload should not cost Redis anything.
    #[serde(with = "humantime_serde")]
    pub(crate) linger: Duration,
    /// Events that have arrived and wait for dispatch. When full, reading stops, and the gap is repaired from history.
    pub(crate) queue_bytes: Size,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: SecretUrl::default(),
            ca_file: PathBuf::new(),
            pool_size: 8,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            publish_connections: 2,
            partitions: 1,
            prefix: "tg".into(),
            probe_interval: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(2),
            require_noeviction: false,
            linger: Duration::from_secs(1),
            queue_bytes: Size::mib(64),
        }
    }
}

/// What a topic keeps for those who come back, unless its namespace says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct History {
    /// Events a topic keeps. 0: none, and its events have no id.
    pub(crate) size: u32,
    /// How long after its last event.
    #[serde(with = "humantime_serde")]
    pub(crate) ttl: Duration,
    /// How long "expired" can be told from "never was": a client away for longer gets no reset.
    #[serde(with = "humantime_serde")]
    pub(crate) record_ttl: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            size: 1_000,
            ttl: Duration::from_secs(3_600),
            record_ttl: Duration::from_secs(30 * 24 * 3_600),
        }
    }
}

/// Rules for the topics whose first segment is the table's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Namespace {
    /// Instead of `history.size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u32>,
    /// Instead of `history.ttl`.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<Duration>,
    /// Who may subscribe and read history.
    pub(crate) subscribe: Allowed,
    /// Who may publish.
    pub(crate) publish: Allowed,
}

/// Who may do a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Allowed {
    /// Whose token or key grants it.
    #[default]
    Granted,
    /// Any valid token or key.
    Authenticated,
    /// Everybody.
    Anyone,
}

/// `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Idempotency {
    /// How long a key is remembered: longer than any publisher retries.
    #[serde(with = "humantime_serde")]
    pub(crate) ttl: Duration,
}

impl Default for Idempotency {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(600) }
    }
}
