//! One event stream, seen as closely as a test needs: blocks without data, comments, and how it ended.

mod blocks;
mod builder;
mod transport;

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

pub use blocks::{Block, Event, Parser};
pub use builder::Builder;
use transport::Body;

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The response was finished by its own framing.
    Clean,
    /// The connection was closed in the midst of the response.
    Truncated,
    /// The connection or the HTTP/2 stream broke.
    Reset(String),
}

/// An open stream. Nothing is read from its socket but by `next` and its kin, so not calling them makes a slow
/// client. All of them may be cancelled without a loss. Dropping it closes the socket.
#[derive(Debug)]
pub struct Sse {
    /// The response's status.
    pub status: StatusCode,
    /// The response's headers.
    pub headers: HeaderMap,
    url: Url,
    body: Body,
    parser: Parser,
    last_event_id: String,
    deadline: Duration,
    seen: Vec<Block>,
    end: Option<End>,
}

impl Sse {
    /// Opens a stream over HTTP/1.1. The status is not checked.
    pub async fn open(url: &str) -> Sse {
        Sse::builder(url).open().await
    }

    /// Opens a stream over cleartext HTTP/2.
    pub async fn h2(url: &str) -> Sse {
        Sse::builder(url).h2().open().await
    }

    /// A stream with headers, a body, a small receive buffer, …
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// The next event, or none at the end of the stream. Blocks without data are passed over, and their ids counted.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_block().await?.into_event() {
                return Some(event);
            }
        }
    }

    /// The next block of any kind, or none at the end of the stream. Panics after the deadline.
    pub async fn next_block(&mut self) -> Option<Block> {
        match tokio::time::timeout(self.deadline, self.read_block()).await {
            Ok(block) => block,
            Err(_) => panic!("nothing within {:?} on {}", self.deadline, self.story()),
        }
    }

    /// The next event of this name; others are passed over.
    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            match self.next().await {
                Some(event) if event.event == name => return event,
                Some(_) => {}
                None => panic!("ended before `{name}`: {}", self.story()),
            }
        }
    }

    /// The data of the next `count` events. `tidegate:ready` does not count; any other event of the gateway's own
    /// (a reset, a closing) is a panic, and so is the end.
    pub async fn collect_data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            match self.next().await {
                Some(event) if event.event == "tidegate:ready" => {}
                Some(event) if !event.event.starts_with("tidegate:") => data.push(event.data),
                other => panic!("{other:?} after {} of {count} events: {}", data.len(), self.story()),
            }
        }
        data
    }

    /// Everything until the stream ends, and how it ended.
    pub async fn rest(&mut self) -> (Vec<Event>, End) {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        (events, self.end.clone().expect("no event means the end"))
    }

    /// The body of an answer that is no stream: an error's document.
    pub async fn text(mut self) -> String {
        let mut text = Vec::new();
        let all = async {
            while let Ok(bytes) = self.body.read().await {
                text.extend_from_slice(&bytes);
            }
        };
        let whole = tokio::time::timeout(self.deadline, all).await.is_ok();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(whole, "no end of the body within {:?}: {text:?}", self.deadline);
        text
    }

    /// What a browser would send as `Last-Event-ID` now: ids of blocks without data count.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How the stream ended, once `next` has returned none.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Every block so far.
    pub fn seen(&self) -> &[Block] {
        &self.seen
    }

    /// A header's text, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next block, without a deadline.
    pub(crate) async fn read_block(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.parser.next_block() {
                if let Some(id) = &block.id {
                    self.last_event_id.clone_from(id);
                }
                self.seen.push(block.clone());
                return Some(block);
            }
            if self.end.is_some() {
                return None;
            }
            match self.body.read().await {
                Ok(bytes) => self.parser.push(&bytes),
                Err(end) => self.end = Some(end),
            }
        }
    }

    fn story(&self) -> String {
        let skipped = self.seen.len().saturating_sub(20);
        let last = &self.seen[skipped..];
        let Sse { url, status, end, .. } = self;
        format!("{url} ({status}, {end:?}); {skipped} blocks, then {last:#?}")
    }
}
