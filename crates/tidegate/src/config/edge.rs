//! What clients meet: streams, limits, and the way out. Also logs and the built-in applications.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_auth::Origins;

use super::values::{HeartbeatStyle, Network, Size};

/// HTTP/3 beside the main listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http3 {
    /// Whether it is spoken where there is TLS.
    pub(crate) enabled: bool,
    /// The UDP port that clients are told, when another one is passed on to this. 0: the one that is listened on.
    pub(crate) advertise_port: u16,
}

impl Default for Http3 {
    fn default() -> Self {
        Self { enabled: true, advertise_port: 0 }
    }
}

/// What the process says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// For a person or for a machine.
    pub(crate) format: LogFormat,
    /// As of tracing-subscriber's `EnvFilter`. `TIDEGATE_LOG`, else `RUST_LOG`, wins over it.
    pub(crate) filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".into() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text; in colour on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// The main listener's TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// A PEM file with the certificate, then those between it and the root. Empty: no TLS.
    pub(crate) certificate: PathBuf,
    /// A PEM file with its private key.
    pub(crate) key: PathBuf,
    /// Instead of both: a certificate made at the start, that nobody trusts unasked.
    pub(crate) dev: bool,
}

impl Tls {
    /// Whether clients have to speak TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.dev || !self.certificate.as_os_str().is_empty()
    }
}

/// Browsers of other origins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cors {
    /// Origins, whose pages may also use cookies; or `["*"]`: any, without cookies.
    pub(crate) origins: Vec<String>,
}

impl Cors {
    /// As they are compared. Each mistake with its index.
    pub(crate) fn parse(&self) -> Result<Origins, Vec<(usize, String)>> {
        Origins::parse(&self.origins)
    }
}

/// One client's stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Stream {
    /// Sent after so much silence, ±10 %. 15 s: proxies cut after 60 s, some mobile networks after 30 s.
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
    /// What is sent then.
    pub(crate) heartbeat_style: HeartbeatStyle,
    /// How long a client waits before it reconnects; each is told another time, ±50 %.
    #[serde(with = "humantime_serde")]
    pub(crate) retry: Duration,
    /// Streams are ended, resumably, at this age (jittered). 0: never.
    #[serde(with = "humantime_serde")]
    pub(crate) max_age: Duration,
    /// Events that wait for a slow client. One more ends the stream, resumably.
    pub(crate) outbox_events: usize,
    /// The same in bytes.
    pub(crate) outbox_bytes: Size,
    /// Streams a user may have open; one more is turned away.
    pub(crate) user_connections: usize,
    /// Topics a stream may ask for.
    pub(crate) topics: usize,
    /// Recent events kept on the node for each live topic, so that reconnecting clients don't ask Redis.
    pub(crate) ring_events: usize,
    /// The same in bytes.
    pub(crate) ring_bytes: Size,
    /// The same for all topics of the node together.
    pub(crate) ring_total: Size,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            heartbeat_style: HeartbeatStyle::Comment,
            retry: Duration::from_secs(2),
            max_age: Duration::ZERO,
            outbox_events: 1_000,
            outbox_bytes: Size::mib(1),
            user_connections: 100,
            topics: 1_000,
            ring_events: 128,
            ring_bytes: Size::kib(128),
            ring_total: Size::mib(64),
        }
    }
}

/// What one caller, or all of them, may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Open connections. 0: 90 % of the open-files limit, the rest is for Redis, files and the admin listener.
    pub(crate) connections: usize,
    /// Streams of one client address. 0: no limit. Off by default: behind a proxy that is not trusted all clients share one address.
    pub(crate) address_connections: u32,
    /// Peers whose `X-Forwarded-For` or `Forwarded` says who the client is.
    pub(crate) trusted_proxies: Vec<Network>,
    /// New streams a second. 0: no limit.
    pub(crate) connect_rate: u32,
    /// New streams above the rate that are let in at once. 0: as many as `connect_rate`.
    pub(crate) connect_burst: u32,
    /// All headers of a request.
    pub(crate) header_bytes: Size,
    /// A request's headers must be complete by then.
    #[serde(with = "humantime_serde")]
    pub(crate) header_timeout: Duration,
    /// A request's body.
    pub(crate) body_bytes: Size,
    /// The bodies of all requests together, but for the first 16 KiB of each.
    pub(crate) body_memory: Size,
    /// A request's body must be complete by then.
    #[serde(with = "humantime_serde")]
    pub(crate) body_timeout: Duration,
    /// One event's data.
    pub(crate) event_bytes: Size,
    /// Events in one publish request.
    pub(crate) batch: usize,
    /// Events a second for each credential. 0: no limit.
    pub(crate) publish_rate: u32,
    /// Events above the rate that are let through at once. 0: as many as `publish_rate`.
    pub(crate) publish_burst: u32,
    /// A client that takes no byte for so long is gone.
    #[serde(with = "humantime_serde")]
    pub(crate) write_deadline: Duration,
    /// Streams in one HTTP/2 or HTTP/3 connection.
    pub(crate) h2_streams: u32,
    /// A stream that could not join its topics by then gets told to come back.
    #[serde(with = "humantime_serde")]
    pub(crate) join_timeout: Duration,
    /// A long poll waits at most so long.
    #[serde(with = "humantime_serde")]
    pub(crate) poll_timeout: Duration,
    /// Messages a second from a client on one WebSocket, and twice as many at once. 0: no limit.
    pub(crate) ws_messages: u32,
    /// Frames a second besides those that begin a message (fragments, pings, pongs), and twice as
    /// many at once. 0: no limit.
    pub(crate) ws_frames: u32,
    /// Topics that one user may be a member of: each costs every join of the user.
    pub(crate) memberships: usize,
    /// Stored events on their way from the broker to streams and answers, all together.
    pub(crate) history_memory: Size,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            address_connections: 0,
            trusted_proxies: Vec::new(),
            connect_rate: 0,
            connect_burst: 0,
            header_bytes: Size::kib(32),
            header_timeout: Duration::from_secs(10),
            body_bytes: Size::mib(8),
            body_memory: Size::mib(256),
            body_timeout: Duration::from_secs(30),
            event_bytes: Size::kib(64),
            batch: 1_000,
            publish_rate: 0,
            publish_burst: 0,
            write_deadline: Duration::from_secs(30),
            h2_streams: 256,
            join_timeout: Duration::from_secs(5),
            poll_timeout: Duration::from_secs(60),
            ws_messages: 50,
            ws_frames: 500,
            memberships: tidegate_broker::MEMBERSHIPS,
            history_memory: Size::mib(64),
        }
    }
}

/// The way out, counted from SIGTERM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Drain {
    /// Not ready, but still accepting: the load balancer needs time to notice.
    #[serde(with = "humantime_serde")]
    pub(crate) delay: Duration,
    /// Streams are closed spread over this time, so that they don't come back all at once.
    #[serde(with = "humantime_serde")]
    pub(crate) window: Duration,
    /// Whatever is still open then is cut.
    #[serde(with = "humantime_serde")]
    pub(crate) deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            window: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
        }
    }
}
