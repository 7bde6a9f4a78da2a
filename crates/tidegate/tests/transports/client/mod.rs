//! A client of any way.

mod poll;
mod sse;
mod words;
mod ws;

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::way::Way;
use crate::world::{somebody, token};

/// How long a client waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) topics: Vec<String>,
    pub(crate) token: String,
    pub(crate) cursor: Option<String>,
    pub(crate) replay: Option<usize>,
    /// How many bytes it takes in without reading them.
    pub(crate) buffer: Option<u32>,
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Event(Event),
    /// Something is missing. Long polls don't say what.
    Reset {
        topics: Vec<String>,
        reason: String,
    },
    /// The connection is going to end, and how long to wait then. Long polls don't say it.
    Closing {
        reason: String,
        retry: Duration,
    },
    /// The connection has ended.
    End(End),
}

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The response was finished by its own framing.
    InOrder,
    /// A WebSocket was closed for this reason, with the code that belongs to it.
    Said(String),
    /// The connection broke, or looks as if it had.
    Cut,
    /// A long poll was answered with another status than 200.
    Status(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) name: Option<String>,
    /// A text as it is, everything else as JSON.
    pub(crate) data: String,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Status(u16),
    /// Answered as a stream, and told to come back later.
    Later(String),
    /// No answer.
    Away(String),
}

/// A connection, or a row of long polls. Dropping it is leaving.
pub(crate) struct Client {
    wire: Wire,
    cursor: String,
    /// What ready said; a long poll says nothing.
    pub(crate) topics: Option<Vec<String>>,
}

enum Wire {
    Sse(Box<tidegate_testkit::Sse>),
    Poll(poll::Poll),
    Ws(Box<tidegate_testkit::WebSocket>),
}

impl End {
    /// Whether this is the good end of a connection that is closed for this reason.
    pub(crate) fn is_good(&self, reason: &str) -> bool {
        match self {
            Self::InOrder => true,
            Self::Said(said) => said == reason,
            Self::Cut | Self::Status(_) => false,
        }
    }
}

impl Refused {
    /// A client for which there is no room at a node. A stream hears of it on the stream: browsers
    /// give one up for good at any other status than 200.
    pub(crate) fn for_now(way: Way, reason: &str, status: u16) -> Refused {
        if way.polls() || way.is_websocket() { Self::Status(status) } else { Self::Later(reason.to_owned()) }
    }

    /// An answer that is a problem, and says when to come back where that may help.
    fn by_problem(status: StatusCode, headers: &HeaderMap) -> Refused {
        assert_eq!(headers["content-type"], "application/problem+json", "{status}");
        let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(headers.contains_key("retry-after"), later, "{status}");
        Self::Status(status.as_u16())
    }
}

impl Ask {
    /// By a user that nobody else is, who may have everything.
    pub(crate) fn new<S: AsRef<str>>(topics: &[S]) -> Ask {
        Ask::as_user(&somebody("somebody"), topics)
    }

    pub(crate) fn as_user<S: AsRef<str>>(user: &str, topics: &[S]) -> Ask {
        let topics = topics.iter().map(|topic| topic.as_ref().to_owned()).collect();
        let token = token(user, Duration::from_secs(3600));
        Ask { topics, token, cursor: None, replay: None, buffer: None }
    }

    pub(crate) fn after(&self, cursor: &str) -> Ask {
        Ask { cursor: Some(cursor.to_owned()), ..self.clone() }
    }

    /// With a client that takes in this many bytes without reading them.
    pub(crate) fn buffer(&self, bytes: u32) -> Ask {
        Ask { buffer: Some(bytes), ..self.clone() }
    }

    pub(crate) fn replay(&self, count: usize) -> Ask {
        Ask { replay: Some(count), ..self.clone() }
    }
}

impl Client {
    /// Opens a stream on the first of the nodes. Long polls go to the others, too.
    pub(crate) async fn open(way: Way, bases: &[String], ask: &Ask) -> Client {
        Client::try_open(way, bases, ask).await.unwrap_or_else(|e| panic!("{way:?} of {}: {e:?}", bases[0]))
    }

    /// The same for a node that may be gone, or say no.
    pub(crate) async fn try_open(way: Way, bases: &[String], ask: &Ask) -> Result<Client, Refused> {
        let opening = async {
            if way.polls() {
                poll::Poll::open(bases, ask).await
            } else if way.is_websocket() {
                ws::open(way, &bases[0], ask).await
            } else {
                sse::open(way, &bases[0], ask).await
            }
        };
        match tokio::time::timeout(PATIENCE, opening).await {
            Ok(opened) => opened,
            Err(_) => panic!("{way:?} of {}: not open within {PATIENCE:?}", bases[0]),
        }
    }

    pub(crate) async fn next(&mut self) -> Seen {
        let next = async {
            match &mut self.wire {
                Wire::Sse(stream) => sse::next(stream, &mut self.cursor).await,
                Wire::Poll(poll) => poll.next(&mut self.cursor).await,
                Wire::Ws(socket) => ws::next(socket, &mut self.cursor).await,
            }
        };
        match tokio::time::timeout(PATIENCE, next).await {
            Ok(seen) => seen,
            Err(_) => panic!("nothing within {PATIENCE:?}: {self:?}"),
        }
    }

    /// The next thing seen, which has to be an event.
    pub(crate) async fn event(&mut self) -> Event {
        match self.next().await {
            Seen::Event(event) => event,
            other => panic!("{other:?} instead of an event: {self:?}"),
        }
    }

    /// The data of the next events.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            match self.next().await {
                Seen::Event(event) => data.push(event.data),
                other => panic!("{other:?} after {data:?}: {self:?}"),
            }
        }
        data
    }

    /// The next things seen, which have to be a closing for this reason and the end in good order.
    /// Returns how long the client was told to wait.
    pub(crate) async fn closed_for(&mut self, wanted: &str) -> Duration {
        let told = match self.next().await {
            Seen::Closing { reason, retry } if reason == wanted => retry,
            other => panic!("{other:?} instead of {wanted}: {self:?}"),
        };
        match self.next().await {
            Seen::End(end) if end.is_good(wanted) => told,
            other => panic!("{other:?} after {wanted}: {self:?}"),
        }
    }

    /// Waits for the next heartbeat, and takes nothing else. A long poll has none: it asks once more.
    pub(crate) async fn beat(&mut self) {
        let beat = async {
            match &mut self.wire {
                Wire::Sse(stream) => sse::beat(stream, &mut self.cursor).await,
                Wire::Poll(poll) => poll.beat(&mut self.cursor).await,
                Wire::Ws(socket) => ws::beat(socket, &mut self.cursor).await,
            }
        };
        let beaten = tokio::time::timeout(PATIENCE, beat).await;
        assert!(beaten.is_ok(), "no heartbeat within {PATIENCE:?}: {self:?}");
    }

    /// Where it would go on.
    pub(crate) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Goes away, and says where it would go on.
    pub(crate) fn leave(self) -> String {
        self.cursor
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire: &dyn fmt::Debug = match &self.wire {
            Wire::Sse(stream) => stream,
            Wire::Poll(poll) => poll,
            Wire::Ws(socket) => socket,
        };
        let wire = format!("{wire:?}");
        // A stream remembers all it has seen; what it is about stands at the end.
        let tail = wire.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
        write!(f, "at {:?}: …{}", self.cursor, &wire[tail..])
    }
}
