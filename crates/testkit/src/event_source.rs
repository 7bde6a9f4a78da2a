//! A browser's `EventSource`, with its patience.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::sse::{self, Block, End, Event, Sse};

/// A client that reconnects as a browser does: after `retry`, with `Last-Event-ID`, for ever, unless an answer is
/// not a 200 event stream. Each connection goes to the next of its URLs, as through a load balancer. Dropping it closes it.
#[derive(Debug)]
pub struct EventSource {
    story: watch::Receiver<Story>,
    deadline: Duration,
    task: JoinHandle<()>,
}

/// One connection, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Where it went.
    pub url: String,
    /// The `Last-Event-ID` it was asked with; empty: none was sent.
    pub last_event_id: String,
    /// The answer's status; none if there was no answer.
    pub status: Option<StatusCode>,
    /// How it ended; none while it is open.
    pub end: Option<End>,
}

/// How an [`EventSource`] differs from a plain one.
#[derive(Debug, Clone)]
pub struct Builder {
    urls: Vec<String>,
    headers: Vec<(String, String)>,
    last_event_id: String,
    retry_cap: Duration,
    deadline: Duration,
    stubborn: bool,
}

/// All that has happened, shared with the test.
#[derive(Debug, Default)]
struct Story {
    events: Vec<Event>,
    connections: Vec<Connection>,
    last_event_id: String,
    gave_up: Option<String>,
}

impl EventSource {
    /// A client of one URL.
    pub fn open(url: &str) -> EventSource {
        EventSource::builder(&[url]).open()
    }

    /// A client of several nodes, with options.
    pub fn builder<S: AsRef<str>>(urls: &[S]) -> Builder {
        assert!(!urls.is_empty(), "an EventSource needs a URL");
        let urls = urls.iter().map(|url| url.as_ref().to_owned()).collect();
        let (headers, last_event_id, stubborn) = (Vec::new(), String::new(), false);
        let retry_cap = Duration::from_millis(200);
        Builder { urls, headers, last_event_id, retry_cap, deadline: crate::DEADLINE, stubborn }
    }

    /// Waits until the events so far, over all connections, please `wanted`. Panics after the deadline, and at once when the
    /// client has given up.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&[Event]) -> bool) {
        self.wait("the wanted events", |story| wanted(&story.events)).await;
    }

    /// Waits for `count` events that are not the gateway's own, and returns their data, and more if there is more.
    pub async fn wait_data(&self, count: usize) -> Vec<String> {
        self.wait(&format!("{count} events"), |story| data(&story.events).count() >= count).await;
        self.data()
    }

    /// Waits until `count` connections have been answered with a 200, earlier ones counted.
    pub async fn wait_opened(&self, count: usize) {
        let opened =
            |story: &Story| story.connections.iter().filter(|c| c.status == Some(StatusCode::OK)).count();
        self.wait(&format!("{count} opened connections"), |story| opened(story) >= count).await;
    }

    /// Waits until it has given up, and says why.
    pub async fn wait_given_up(&self) -> String {
        let mut story = self.story.clone();
        let end = tokio::time::timeout(self.deadline, story.wait_for(|story| story.gave_up.is_some())).await;
        match end {
            Ok(Ok(story)) => story.gave_up.clone().expect("just checked"),
            _ => panic!("has not given up within {:?}: {}", self.deadline, self.tell()),
        }
    }

    /// All events, of all connections, in the order of their arrival.
    pub fn events(&self) -> Vec<Event> {
        self.story.borrow().events.clone()
    }

    /// The data of all events that are not the gateway's own.
    pub fn data(&self) -> Vec<String> {
        data(&self.story.borrow().events).collect()
    }

    /// All connections, and attempts at one.
    pub fn connections(&self) -> Vec<Connection> {
        self.story.borrow().connections.clone()
    }

    /// What it would send as `Last-Event-ID` now.
    pub fn last_event_id(&self) -> String {
        self.story.borrow().last_event_id.clone()
    }

    /// Closes it; what was recorded stays.
    pub fn close(&self) {
        self.task.abort();
    }

    async fn wait(&self, what: &str, mut wanted: impl FnMut(&Story) -> bool) {
        let mut story = self.story.clone();
        let mut pleased = false;
        let wait = story.wait_for(|story| {
            pleased = wanted(story);
            pleased || story.gave_up.is_some()
        });
        let _ = tokio::time::timeout(self.deadline, wait).await.map(drop);
        assert!(pleased, "no {what} within {:?}: {}", self.deadline, self.tell());
    }

    fn tell(&self) -> String {
        let Story { events, connections, last_event_id, gave_up } = &*self.story.borrow();
        let last = &events[events.len().saturating_sub(20)..];
        format!(
            "{} events, the last ones {last:#?}; connections {connections:#?}; last id {last_event_id:?}; gave up: {gave_up:?}",
            events.len()
        )
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Builder {
    /// Adds a header to every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Builder {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Starts with the position of an earlier client.
    #[must_use]
    pub fn last_event_id(mut self, id: &str) -> Builder {
        self.last_event_id = id.into();
        self
    }

    /// The longest wait before a reconnect, whatever `retry:` says. Default: 200 ms.
    #[must_use]
    pub fn retry_cap(mut self, cap: Duration) -> Builder {
        self.retry_cap = cap;
        self
    }

    /// How long the waits of this client may take. Default: [`DEADLINE`](crate::DEADLINE).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.deadline = deadline;
        self
    }

    /// Tries again after an answer of 500 and up too, which a browser does not.
    #[must_use]
    pub fn stubborn(mut self) -> Builder {
        self.stubborn = true;
        self
    }

    /// Begins. Does not wait for the connection: see [`EventSource::wait_opened`].
    pub fn open(self) -> EventSource {
        let story = Story { last_event_id: self.last_event_id.clone(), ..Story::default() };
        let (told, story) = watch::channel(story);
        let deadline = self.deadline;
        EventSource { story, deadline, task: tokio::spawn(self.run(told)) }
    }

    async fn run(self, story: watch::Sender<Story>) {
        let mut retry = self.retry_cap;
        for url in self.urls.iter().cycle() {
            let request = self.request(url, &story);
            match request.try_open().await {
                Ok(mut stream) => {
                    let status = stream.status;
                    with_last(&story, |connection| connection.status = Some(status));
                    if let Some(reason) = self.refusal(&stream) {
                        story.send_modify(|story| story.gave_up = Some(reason));
                        return;
                    }
                    while let Some(block) = stream.read_block().await {
                        retry = block.retry.unwrap_or(retry);
                        record(&story, block);
                    }
                    with_last(&story, |connection| connection.end = stream.end().cloned());
                }
                Err(e) => with_last(&story, |connection| connection.end = Some(End::Reset(e.to_string()))),
            }
            sleep(retry.min(self.retry_cap)).await;
        }
    }

    fn request(&self, url: &str, story: &watch::Sender<Story>) -> sse::Builder {
        let mut request = Sse::builder(url).header("cache-control", "no-store");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let last_event_id = story.borrow().last_event_id.clone();
        if !last_event_id.is_empty() {
            request = request.last_event_id(&last_event_id);
        }
        let attempt = Connection { url: url.into(), last_event_id, status: None, end: None };
        story.send_modify(|story| story.connections.push(attempt));
        request
    }

    /// Why a browser would not come back after this answer.
    fn refusal(&self, stream: &Sse) -> Option<String> {
        let kind = stream.header("content-type").unwrap_or_default();
        match stream.status {
            status if status.is_server_error() && self.stubborn => None,
            status if status != StatusCode::OK => Some(format!("status {status}")),
            _ if kind.split(';').next() != Some("text/event-stream") => {
                Some(format!("content type {kind:?}"))
            }
            _ => None,
        }
    }
}

/// The id counts at once, as a browser keeps it, so that a test that has seen an event also sees its id.
fn record(story: &watch::Sender<Story>, block: Block) {
    story.send_modify(|story| {
        if let Some(id) = &block.id {
            story.last_event_id.clone_from(id);
        }
        story.events.extend(block.into_event());
    });
}

fn with_last(story: &watch::Sender<Story>, change: impl FnOnce(&mut Connection)) {
    story.send_modify(|story| change(story.connections.last_mut().expect("each attempt is recorded first")));
}

fn data(events: &[Event]) -> impl Iterator<Item = String> + '_ {
    events.iter().filter(|event| !event.event.starts_with("tidegate:")).map(|event| event.data.clone())
}
