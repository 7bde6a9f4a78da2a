//! Whose words are spoken: how a stream is asked for, how an event is published.

use std::str::FromStr;

use anyhow::{Context, Error, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::Usage;
use crate::server::Server;
use crate::template::Template;

const FILES: &[(&str, &str)] = &[
    ("tidegate", include_str!("../profiles/tidegate.toml")),
    ("nchan", include_str!("../profiles/nchan.toml")),
    ("pushpin", include_str!("../profiles/pushpin.toml")),
    ("centrifugo", include_str!("../profiles/centrifugo.toml")),
    ("mercure", include_str!("../profiles/mercure.toml")),
    ("loop", include_str!("../profiles/loop.toml")),
    ("other", include_str!("../profiles/other.toml")),
];

/// A kind of server. All of them answer with Server-Sent Events, an event being one `data: ` line, and with a 2xx to a publish
/// that they took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(default)]
    pub(crate) name: String,
    /// Paths with {topic} in them.
    subscribe: String,
    publish: String,
    content_type: String,
    /// With {topic} and {data} in it.
    body: String,
    /// A stream says itself when it is open.
    #[serde(default)]
    greets: bool,
}

impl FromStr for Profile {
    type Err = Error;

    /// One of those that are part of the tester, or a file.
    fn from_str(text: &str) -> Result<Self> {
        let own = FILES.iter().find(|(name, _)| *name == text);
        let (name, words) = match own {
            Some((name, words)) => ((*name).to_owned(), (*words).to_owned()),
            None => {
                let names: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
                let words = std::fs::read_to_string(text).map_err(|error| {
                    Usage::new(format!("{error}; a file, or one of {}", names.join(", ")))
                })?;
                let stem = std::path::Path::new(text).file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), words)
            }
        };
        let profile: Self = toml::from_str(&words).with_context(|| format!("the profile {text}"))?;
        Ok(Self { name, ..profile })
    }
}

impl Profile {
    /// Its other ways to receive and to publish are known, too.
    pub(crate) fn is_tidegate(&self) -> bool {
        self.name == "tidegate"
    }
}

/// How a client receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Via {
    /// Server-Sent Events over HTTP/1.1.
    Sse,
    /// A WebSocket over HTTP/1.1.
    Ws,
    /// Long polling: one request after another, each from where the last answer ended.
    Poll,
    /// Streams over HTTP/2: for `idle` alone.
    H2,
}

impl Via {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sse => "SSE",
            Self::Ws => "WebSocket",
            Self::Poll => "long polling",
            Self::H2 => "SSE over HTTP/2",
        }
    }
}

/// A profile, with what the flags changed in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) profile: Profile,
    pub(crate) subscribe: Template,
    pub(crate) publish: Template,
    pub(crate) kind: String,
    pub(crate) body: Template,
    /// Whole header lines, each with its end.
    pub(crate) headers: String,
    pub(crate) publish_headers: String,
}

impl Words {
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            profile: profile.clone(),
            subscribe: Template::new(&profile.subscribe),
            publish: Template::new(&profile.publish),
            kind: profile.content_type.clone(),
            body: Template::new(&profile.body),
            headers: String::new(),
            publish_headers: String::new(),
        }
    }

    /// The request that opens a stream, or the next poll. `cursor`: the last id that came; empty: from now on.
    pub(crate) fn receive(&self, server: &Server, via: Via, topic: &str, cursor: &str) -> Vec<u8> {
        let mut request = format!("GET {}", server.prefix);
        match via {
            Via::Sse | Via::H2 => self.subscribe.write(topic, "", &mut request),
            Via::Ws => request.push_str(&format!("/v1/ws?topic={topic}&last_event_id={cursor}")),
            // Without a place a poll is answered at once, with one.
            Via::Poll if cursor.is_empty() => request.push_str(&format!("/v1/poll?topic={topic}")),
            Via::Poll => request.push_str(&format!("/v1/poll?topic={topic}&timeout=25&since={cursor}")),
        }
        request.push_str(&format!(" HTTP/1.1\r\nhost: {}\r\n{}", server.host, self.headers));
        match via {
            Via::Ws => request.push_str(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            ),
            Via::Poll => {}
            Via::Sse | Via::H2 => {
                request.push_str("accept: text/event-stream\r\n");
                if !cursor.is_empty() {
                    request.push_str(&format!("last-event-id: {cursor}\r\n"));
                }
            }
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// Whether a stream says itself when it is open. Else the end of the head must do; what the server may still have to
    /// arrange then is what the warm-up is for.
    pub(crate) fn greets(&self) -> bool {
        self.profile.greets
    }

    /// Writes the request that publishes `data`, which needs no escaping in JSON, behind what is in `request`. `key`: the
    /// same event may be sent once more under it.
    pub(crate) fn publish(
        &self,
        server: &Server,
        topic: &str,
        data: &str,
        key: Option<&str>,
        request: &mut Vec<u8>,
    ) {
        let mut body = String::with_capacity(data.len() + topic.len() + 32);
        self.body.write(topic, data, &mut body);
        if self.kind.ends_with("urlencoded") {
            body = body.replace(' ', "+");
        }
        self.post(server, topic, &self.kind, key, &body, request);
    }

    /// The same with `count` events in one request, for servers that have such a thing.
    pub(crate) fn publish_many(
        &self,
        server: &Server,
        topic: &str,
        data: &str,
        count: usize,
    ) -> Option<Vec<u8>> {
        if !self.profile.is_tidegate() {
            return None;
        }
        let mut event = String::new();
        self.body.write(topic, data, &mut event);
        let lines = format!("{event}\n").repeat(count);
        let mut request = Vec::new();
        self.post(server, topic, "application/x-ndjson", None, &lines, &mut request);
        Some(request)
    }

    fn post(
        &self,
        server: &Server,
        topic: &str,
        kind: &str,
        key: Option<&str>,
        body: &str,
        request: &mut Vec<u8>,
    ) {
        let mut head = format!("POST {}", server.prefix);
        self.publish.write(topic, "", &mut head);
        head.push_str(&format!(
            " HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{}{}",
            server.host,
            body.len(),
            self.headers,
            self.publish_headers,
        ));
        if let Some(key) = key {
            head.push_str(&format!("idempotency-key: {key}\r\n"));
        }
        head.push_str("\r\n");
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn words(profile: &str) -> Words {
        Words::of(&profile.parse().unwrap())
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_stream_is_asked_for_from_where_it_ended() {
        let server = Server::parse("http://127.0.0.1:80/base").unwrap();
        let mut words = words("tidegate");
        words.headers = "authorization: Bearer x\r\n".to_owned();
        assert_eq!(
            text(words.receive(&server, Via::Sse, "a", "7-1")),
            "GET /base/v1/events?topic=a HTTP/1.1\r\nhost: 127.0.0.1:80\r\nauthorization: Bearer x\r\n\
             accept: text/event-stream\r\nlast-event-id: 7-1\r\n\r\n"
        );
        assert!(text(words.receive(&server, Via::Sse, "a", "")).ends_with("event-stream\r\n\r\n"));
        assert!(text(words.receive(&server, Via::Poll, "a", "")).contains("/v1/poll?topic=a HTTP"));
        assert!(text(words.receive(&server, Via::Poll, "a", "7-1")).contains("&since=7-1 HTTP"));
        assert!(text(words.receive(&server, Via::Ws, "a", "7-1")).contains("last_event_id=7-1 HTTP"));
    }

    #[test]
    fn others_are_published_to_in_their_own_words() {
        let server = Server::parse("http://127.0.0.1:80").unwrap();
        let said = |profile| {
            let mut request = Vec::new();
            words(profile).publish(&server, "t", "0 1 2 xx", None, &mut request);
            text(request)
        };
        assert!(said("tidegate").ends_with("\r\n\r\n{\"topic\":\"t\",\"data\":\"0 1 2 xx\"}"));
        assert!(said("mercure").ends_with("content-length: 21\r\n\r\ntopic=t&data=0+1+2+xx"));
        assert!(said("nchan").starts_with("POST /pub/t HTTP/1.1\r\n"));
        assert!(said("pushpin").ends_with(
            r#"{"items":[{"channel":"t","formats":{"http-stream":{"content":"data: 0 1 2 xx\n\n"}}}]}"#
        ));
        assert!(said("centrifugo").ends_with("{\"channel\":\"t\",\"data\":\"0 1 2 xx\"}"));
    }

    #[test]
    fn a_profile_is_a_name_or_a_file() {
        for (name, _) in FILES {
            assert_eq!(Profile::from_str(name).unwrap().name, *name);
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/nchan.toml");
        assert_eq!(Profile::from_str(file).unwrap(), "nchan".parse().unwrap());
        assert!(Profile::from_str("nobody").unwrap_err().to_string().contains("mercure"));
    }
}
