use std::collections::HashMap;
use std::time::Duration;

use tidegate_auth::{Identity, Origins};
use tidegate_broker::Retention;
use tidegate_protocol::Topic;

/// Settings of the HTTP side.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Origins whose pages may read answers.
    pub origins: Origins,
    /// The cookie that may carry a token.
    pub cookie: String,
    /// Most topics in one stream. A cursor covers any number, so this bounds only what a join costs.
    pub topics: usize,
    /// What topics keep and who may use them.
    pub namespaces: Namespaces,
    /// Bounds on what a client may send.
    pub limits: Limits,
    /// Who may open one stream more.
    pub admission: crate::AdmissionOptions,
    /// It listens on this machine only: no page of another host is its own.
    pub loopback: bool,
    /// Whether the page is served at `/`.
    pub page: bool,
}

/// Bounds on what a client may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections on the main listener. Beyond it streams are told to come back later and requests get 503.
    pub connections: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for the first request's head to arrive.
    pub header_timeout: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
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
    /// How long a socket may stay full before its connection is cut.
    pub write_deadline: Duration,
    /// Streams on one HTTP/2 or HTTP/3 connection.
    pub h2_streams: u32,
    /// How long a long poll may wait; one that asks for more waits so long.
    pub poll_timeout: Duration,
    /// Messages per second that a client may send on one WebSocket, and twice as many at once; 0: any number.
    pub ws_messages: u32,
    /// Frames per second besides those that begin a message (further fragments, pings, pongs), and
    /// twice as many at once; 0: any number.
    pub ws_frames: u32,
}

/// What topics keep and who may use them, by their first segment.
#[derive(Clone, Debug)]
pub struct Namespaces {
    /// For those without settings of their own.
    pub default: Namespace,
    /// By name.
    pub named: HashMap<String, Namespace>,
}

/// The settings of one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    /// What is kept.
    pub retention: Retention,
    /// Who may subscribe.
    pub subscribe: Policy,
    /// Who may publish.
    pub publish: Policy,
}

/// Who may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Whose credential grants it.
    #[default]
    Granted,
    /// Whoever has a credential.
    Authenticated,
    /// Anybody, also without a credential.
    Anyone,
}

impl Namespaces {
    /// The settings that apply to `topic`.
    pub fn of(&self, topic: &Topic) -> &Namespace {
        self.named.get(topic.namespace()).unwrap_or(&self.default)
    }

    /// Whether there is anything that somebody without a credential may publish to.
    pub(crate) fn anyone_publishes(&self) -> bool {
        self.anyone(|namespace| namespace.publish)
    }

    /// Whether there is anything that somebody without a credential may receive.
    pub(crate) fn anyone_subscribes(&self) -> bool {
        self.anyone(|namespace| namespace.subscribe)
    }

    fn anyone(&self, policy: impl Fn(&Namespace) -> Policy) -> bool {
        std::iter::once(&self.default).chain(self.named.values()).any(|own| policy(own) == Policy::Anyone)
    }

    /// Whether `who` may receive `topic`.
    pub fn may_subscribe(&self, who: &Identity, topic: &Topic) -> bool {
        who.may_subscribe(topic) || self.of(topic).subscribe.admits(who, topic)
    }

    /// Whether `who` may publish to `topic`.
    pub fn may_publish(&self, who: &Identity, topic: &Topic) -> bool {
        who.may_publish(topic) || self.of(topic).publish.admits(who, topic)
    }
}

impl Policy {
    fn admits(self, who: &Identity, topic: &Topic) -> bool {
        !topic.is_reserved()
            && match self {
                Self::Granted => false,
                Self::Authenticated => who.is_authenticated(),
                Self::Anyone => true,
            }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 18_000,
            header_bytes: 32 << 10,
            header_timeout: Duration::from_secs(10),
            body_bytes: 8 << 20,
            body_memory: 256 << 20,
            body_timeout: Duration::from_secs(30),
            event_bytes: 64 << 10,
            batch: 1_000,
            publish_rate: 0,
            publish_burst: 0,
            write_deadline: Duration::from_secs(30),
            h2_streams: 256,
            poll_timeout: Duration::from_secs(60),
            ws_messages: 50,
            ws_frames: 500,
        }
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        let retention = Retention {
            size: 1_000,
            ttl: Duration::from_secs(3_600),
            record_ttl: Duration::from_secs(30 * 86_400),
            key_ttl: Duration::from_secs(600),
        };
        let default = Namespace { retention, subscribe: Policy::Granted, publish: Policy::Granted };
        Self { default, named: HashMap::new() }
    }
}
