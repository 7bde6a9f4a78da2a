use std::net::SocketAddr;

use clap::ValueEnum;

/// Whose words are spoken: how a stream is asked for, how an event is published.
///
/// All of them answer with Server-Sent Events, an event being one `data: ` line, and with a 2xx to a publish that they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    Tidegate,
    /// nginx with Nchan, as `scripts/bench/nchan.sh` sets it up: `/sub/ID`, `/pub/ID`.
    Nchan,
    /// `loadtest baseline`: every stream gets every event.
    Loop,
}

impl Profile {
    pub(crate) fn subscribe(self, host: SocketAddr, topic: &str) -> Vec<u8> {
        let path = match self {
            Self::Tidegate => format!("/v1/events?topic={topic}"),
            Self::Nchan => format!("/sub/{topic}"),
            Self::Loop => "/".to_owned(),
        };
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n").into_bytes()
    }

    /// A stream is open once these bytes have come. Without a word of the server's own the end of the head must do; what
    /// the server may still have to arrange then is what the warm-up is for.
    pub(crate) fn opened(self) -> &'static [u8] {
        match self {
            Self::Tidegate => b"tidegate:ready",
            Self::Nchan | Self::Loop => b"\r\n\r\n",
        }
    }

    /// Writes the request that publishes `data`, which needs no escaping in JSON, behind what is in `request`.
    pub(crate) fn publish(self, host: SocketAddr, topic: &str, data: &str, request: &mut Vec<u8>) {
        match self {
            Self::Tidegate => {
                let event = event(topic, data);
                post(host, "/v1/publish", "application/json", event.len(), request);
                request.extend_from_slice(event.as_bytes());
            }
            Self::Nchan => {
                post(host, &format!("/pub/{topic}"), "text/plain", data.len(), request);
                request.extend_from_slice(data.as_bytes());
            }
            Self::Loop => {
                post(host, "/", "text/plain", data.len(), request);
                request.extend_from_slice(data.as_bytes());
            }
        }
    }

    /// The same with `count` events in one request, for servers that have such a thing.
    pub(crate) fn publish_many(
        self,
        host: SocketAddr,
        topic: &str,
        data: &str,
        count: usize,
    ) -> Option<Vec<u8>> {
        let Self::Tidegate = self else { return None };
        let lines = format!("{}\n", event(topic, data)).repeat(count);
        let mut request = Vec::new();
        post(host, "/v1/publish", "application/x-ndjson", lines.len(), &mut request);
        request.extend_from_slice(lines.as_bytes());
        Some(request)
    }
}

fn event(topic: &str, data: &str) -> String {
    format!(r#"{{"topic":"{topic}","data":"{data}"}}"#)
}

fn post(host: SocketAddr, path: &str, kind: &str, length: usize, request: &mut Vec<u8>) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    request.extend_from_slice(head.as_bytes());
}
