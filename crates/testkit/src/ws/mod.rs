//! A client's side of WebSocket, over HTTP/1.1 and over HTTP/2, with the same words as [`Sse`](crate::Sse).

mod builder;
mod h2;

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

pub use builder::{Builder, Refused};
pub use tokio_tungstenite::tungstenite::Message;

use crate::Event;

/// What frames run over.
trait Wire: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Wire for T {}

/// Why nothing more comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// The gateway said so, with a code and a reason.
    Said(u16, String),
    /// It said so without a code.
    Empty,
    /// The connection ended without a word, or broke.
    Cut(String),
}

/// An open WebSocket. Nothing is read from its socket but by `next` and its kin, so not calling them makes a slow client that answers no ping
/// either. All of them may be cancelled without a loss. Dropping it closes the socket without a word.
#[derive(Debug)]
pub struct WebSocket {
    /// The headers of the answer to the handshake.
    pub headers: HeaderMap,
    url: String,
    stream: WebSocketStream<Box<dyn Wire>>,
    /// Where an HTTP/2 connection is driven.
    _driver: Option<Driver>,
    last_event_id: String,
    deadline: Duration,
    seen: Vec<Value>,
    pings: usize,
    close: Option<Close>,
}

/// Aborts the task when it goes.
#[derive(Debug)]
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl WebSocket {
    /// Opens one over HTTP/1.1 (`http://` or `ws://`). Panics if it is refused.
    pub async fn open(url: &str) -> WebSocket {
        WebSocket::builder(url).open().await
    }

    /// One with headers, over TLS, over HTTP/2, …
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// The next object, or none at the end. Panics after the deadline, and on anything that is no JSON object.
    pub async fn next_object(&mut self) -> Option<Value> {
        self.next_text().await?;
        self.seen.last().cloned()
    }

    /// The same as the text that it came as.
    pub async fn next_text(&mut self) -> Option<String> {
        match tokio::time::timeout(self.deadline, self.read()).await {
            Ok(text) => text,
            Err(_) => panic!("nothing within {:?} on {}", self.deadline, self.story()),
        }
    }

    /// The next event as a stream would show it: string data as the string itself, anything else as its JSON text; `message` where it has no
    /// name.
    pub async fn next(&mut self) -> Option<Event> {
        let object = self.next_object().await?;
        let text = |field: &str| object[field].as_str().map(ToOwned::to_owned);
        Some(Event {
            id: text("id"),
            event: text("event").unwrap_or_else(|| "message".into()),
            data: text("data").unwrap_or_else(|| object["data"].to_string()),
            retry: object["retry"].as_u64().map(Duration::from_millis),
        })
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

    /// The next object with this name; others are passed over.
    pub async fn next_object_named(&mut self, name: &str) -> Value {
        loop {
            match self.next_object().await {
                Some(object) if object["event"] == name => return object,
                Some(_) => {}
                None => panic!("ended before `{name}`: {}", self.story()),
            }
        }
    }

    /// The data of the next `count` events. `tidegate:ready`, heartbeats and answers to what was sent don't count; a reset or a closing is a
    /// panic, and so is the end.
    pub async fn collect_data(&mut self, count: usize) -> Vec<String> {
        const PASSED: [&str; 5] = ["ready", "heartbeat", "published", "subscribed", "unsubscribed"];
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            match self.next().await {
                Some(event) => match event.event.strip_prefix("tidegate:") {
                    None => data.push(event.data),
                    Some(name) if PASSED.contains(&name) => {}
                    Some(_) => {
                        panic!("{event:?} after {} of {count} events: {}", data.len(), self.story())
                    }
                },
                None => panic!("the end after {} of {count} events: {}", data.len(), self.story()),
            }
        }
        data
    }

    /// Everything until it ends, and how it ended.
    pub async fn rest(&mut self) -> (Vec<Event>, Close) {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        (events, self.close.clone().expect("no event means the end"))
    }

    /// Sends an object.
    pub async fn send(&mut self, object: &Value) {
        self.send_raw(Message::text(object.to_string())).await;
    }

    /// Sends a frame as it is. Panics if the socket no longer takes any.
    pub async fn send_raw(&mut self, message: Message) {
        self.try_send(message).await.unwrap_or_else(|e| panic!("{e}: {}", self.story()));
    }

    /// The same, where the gateway may have ended the connection.
    pub async fn try_send(&mut self, message: Message) -> Result<(), String> {
        match tokio::time::timeout(self.deadline, self.stream.send(message)).await {
            Ok(sent) => sent.map_err(|e| e.to_string()),
            Err(_) => Err(format!("not taken within {:?}", self.deadline)),
        }
    }

    /// Asks for more topics, and waits until they are there.
    pub async fn subscribe(&mut self, topics: &[&str]) {
        self.send(&json!({ "subscribe": topics })).await;
        self.next_named("tidegate:subscribed").await;
    }

    /// Publishes, and waits for the receipt; what comes before it is passed over.
    pub async fn publish(&mut self, event: &Value) -> Value {
        self.send(&json!({ "publish": event })).await;
        self.next_object_named("tidegate:published").await["data"].clone()
    }

    /// Says goodbye, and waits for the gateway's answer.
    pub async fn close(&mut self) -> Close {
        let frame = CloseFrame { code: 1000.into(), reason: "".into() };
        // Refused when the gateway has said goodbye itself.
        let _ = self.try_send(Message::Close(Some(frame))).await;
        self.rest().await.1
    }

    /// The last id that came.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How it ended, once `next` has returned none.
    pub fn closed(&self) -> Option<&Close> {
        self.close.as_ref()
    }

    /// Every object so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Pings so far: seen and answered by `next` and its kin.
    pub fn pings(&self) -> usize {
        self.pings
    }

    async fn read(&mut self) -> Option<String> {
        while self.close.is_none() {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let object: Value = serde_json::from_str(&text)
                        .unwrap_or_else(|e| panic!("{e} in {text:?}: {}", self.story()));
                    assert!(object.is_object(), "{object}: {}", self.story());
                    if let Some(id) = object["id"].as_str() {
                        id.clone_into(&mut self.last_event_id);
                    }
                    self.seen.push(object);
                    return Some(text.to_string());
                }
                Some(Ok(Message::Ping(_))) => {
                    self.pings += 1;
                    // Sends the answer, which the library has made.
                    let _ = self.stream.flush().await;
                }
                Some(Ok(Message::Close(frame))) => {
                    let close = frame.map_or(Close::Empty, |frame| {
                        Close::Said(frame.code.into(), frame.reason.to_string())
                    });
                    let _ = self.stream.flush().await;
                    self.close = Some(close);
                }
                Some(Ok(Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}: {}", self.story()),
                Some(Err(e)) => self.close = Some(Close::Cut(e.to_string())),
                None => self.close = Some(Close::Cut("the end".into())),
            }
        }
        None
    }

    fn story(&self) -> String {
        let skipped = self.seen.len().saturating_sub(20);
        let WebSocket { url, close, .. } = self;
        format!("{url} ({close:?}); {skipped} objects, then {:#?}", &self.seen[skipped..])
    }
}
