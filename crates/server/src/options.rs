use std::time::Duration;

use tidegate_auth::Origins;

use crate::policy::{AdmissionOptions, Namespaces};

/// Settings of the HTTP side.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Origins whose pages may read answers.
    pub origins: Origins,
    /// The cookie that may carry a token.
    pub cookie: String,
    /// Most topics in one stream. A cursor covers any number, so this bounds only what a join
    /// costs.
    pub topics: usize,
    /// What topics keep and who may use them.
    pub namespaces: Namespaces,
    /// Bounds on what a request may say.
    pub limits: Limits,
    /// Bounds on connections: those that the listeners are given.
    pub transport: tidegate_transport::Options,
    /// Who may open one stream more.
    pub admission: AdmissionOptions,
    /// It listens on this machine only: no page of another host is its own.
    pub loopback: bool,
    /// Whether the page is served at `/`.
    pub page: bool,
}

/// Bounds on what a request may say. Those on connections are in [`tidegate_transport::Options`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all requests' bodies together, but for the first few of each.
    pub body_memory: usize,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Bytes of one event's data.
    pub event_bytes: usize,
    /// Events in one publish request.
    pub batch: usize,
    /// Events per second that one credential may publish; 0: any number.
    pub publish_rate: u32,
    /// How many of them at once; 0: one second's worth.
    pub publish_burst: u32,
    /// How long a long poll may wait; one that asks for more waits so long.
    pub poll_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_memory: 256 << 20,
            body_timeout: Duration::from_secs(30),
            event_bytes: 64 << 10,
            batch: 1_000,
            publish_rate: 0,
            publish_burst: 0,
            poll_timeout: Duration::from_secs(60),
        }
    }
}
