//! Server-Sent Events.

use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tidegate_testkit::{self as testkit, Sse};

use super::words::{said, strings};
use super::{Ask, Client, End, Event, PATIENCE, Refused, Seen, Wire};
use crate::way::Way;
use crate::world::certificate;

pub(super) async fn open(way: Way, base: &str, ask: &Ask) -> Result<Client, Refused> {
    let mut url = Url::parse(&format!("{base}/v1/events")).unwrap();
    if way != Way::Post {
        url.query_pairs_mut().extend_pairs(ask.topics.iter().map(|topic| ("topic", topic)));
        url.query_pairs_mut().extend_pairs(ask.replay.iter().map(|count| ("replay", count.to_string())));
    }
    let mut builder = Sse::builder(url.as_str()).bearer(&ask.token).deadline(2 * PATIENCE);
    builder = match (way, &ask.cursor) {
        (Way::Post, cursor) => builder.post(&json!({
            "topics": ask.topics, "last_event_id": cursor, "replay": ask.replay,
        })),
        (_, Some(cursor)) => builder.last_event_id(cursor),
        _ => builder,
    };
    if let Some(bytes) = ask.buffer {
        builder = builder.receive_buffer(bytes);
    }
    builder = match way {
        Way::Http10 => builder.http10(),
        Way::Http10Tls => builder.http10().trust(certificate()),
        Way::H1Tls => builder.trust(certificate()),
        Way::H2 => builder.h2(),
        Way::H2Tls => builder.h2().trust(certificate()),
        Way::H3 => builder.h3().trust(certificate()),
        _ => builder,
    };
    let mut stream = builder.try_open().await.map_err(|e| Refused::Away(e.to_string()))?;
    if stream.status != StatusCode::OK {
        return Err(Refused::by_problem(stream.status, &stream.headers));
    }
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let Some(first) = stream.next().await else { return Err(Refused::Away(format!("{:?}", stream.end()))) };
    let said: Value = serde_json::from_str(&first.data).unwrap();
    match first.event.as_str() {
        "tidegate:ready" => assert!(first.id.is_some() && first.retry.is_some(), "{first:?}"),
        "tidegate:closing" => {
            assert!(first.id.is_none() && first.retry.is_some(), "{first:?}");
            assert_eq!(stream.rest().await, (Vec::new(), testkit::End::Clean));
            return Err(Refused::Later(said["reason"].as_str().unwrap().to_owned()));
        }
        _ => panic!("{first:?} comes first"),
    }
    let cursor = stream.last_event_id().to_owned();
    Ok(Client { wire: Wire::Sse(Box::new(stream)), cursor, topics: Some(strings(&said["topics"])) })
}

pub(super) async fn next(stream: &mut Sse, cursor: &mut String) -> Seen {
    let Some(event) = stream.next().await else {
        return Seen::End(if stream.end() == Some(&testkit::End::Clean) { End::InOrder } else { End::Cut });
    };
    stream.last_event_id().clone_into(cursor);
    if event.event.starts_with("tidegate:") {
        let data = serde_json::from_str(&event.data).unwrap();
        return said(&event.event, &data, event.id.as_deref(), event.retry);
    }
    let name = (event.event != "message").then_some(event.event);
    Seen::Event(Event { id: event.id, topic: None, name, data: event.data })
}

/// A heartbeat is a comment, with an id where the cursor has moved.
pub(super) async fn beat(stream: &mut Sse, cursor: &mut String) {
    let block = stream.next_block().await.expect("a heartbeat, not the end");
    assert_eq!(block.data, None, "{block:?}");
    stream.last_event_id().clone_into(cursor);
}
