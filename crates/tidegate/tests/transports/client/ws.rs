//! WebSocket.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tidegate_testkit::ws::Close;
use tidegate_testkit::{WebSocket, ws};

use super::words::{said, strings};
use super::{Ask, Client, End, Event, PATIENCE, Refused, Seen, Wire};
use crate::way::Way;
use crate::world::certificate;

pub(super) async fn open(way: Way, base: &str, ask: &Ask) -> Result<Client, Refused> {
    let mut url = Url::parse(&format!("{base}/v1/ws")).unwrap();
    url.query_pairs_mut()
        .extend_pairs(ask.topics.iter().map(|topic| ("topic", topic)))
        .extend_pairs(ask.cursor.iter().map(|cursor| ("last_event_id", cursor)))
        .extend_pairs(ask.replay.iter().map(|count| ("replay", count.to_string())));
    let mut builder = WebSocket::builder(url.as_str()).bearer(&ask.token).deadline(2 * PATIENCE);
    if let Some(bytes) = ask.buffer {
        builder = builder.receive_buffer(bytes);
    }
    if way.tls() {
        builder = builder.trust(certificate());
    }
    if matches!(way, Way::WsH2 | Way::WsH2Tls) {
        builder = builder.h2();
    }
    let mut socket = builder.try_open().await.map_err(|refused| match refused {
        ws::Refused::Answered(status, headers, _) => Refused::by_problem(status, &headers),
        ws::Refused::Io(e) => Refused::Away(e.to_string()),
    })?;
    let Some(first) = socket.next_object().await else {
        return Err(Refused::Away(format!("{:?}", socket.closed())));
    };
    assert_eq!(first["event"], "tidegate:ready", "{first} comes first");
    assert!(first["id"].is_string() && first["retry"].is_u64(), "{first}");
    let topics = Some(strings(&first["data"]["topics"]));
    let cursor = socket.last_event_id().to_owned();
    Ok(Client { wire: Wire::Ws(Box::new(socket)), cursor, topics })
}

pub(super) async fn next(socket: &mut WebSocket, cursor: &mut String) -> Seen {
    loop {
        let Some(text) = socket.next_text().await else { return Seen::End(end(socket)) };
        socket.last_event_id().clone_into(cursor);
        let event = Event::from_json(&text);
        match event.name.as_deref() {
            Some("tidegate:heartbeat") => {}
            Some(word) if word.starts_with("tidegate:") => {
                let data = serde_json::from_str(&event.data).unwrap();
                let retry = socket.seen().last().and_then(|object| object["retry"].as_u64());
                return said(word, &data, event.id.as_deref(), retry.map(Duration::from_millis));
            }
            _ => return Seen::Event(event),
        }
    }
}

/// A heartbeat is an event here, with an id where the cursor has moved.
pub(super) async fn beat(socket: &mut WebSocket, cursor: &mut String) {
    let beat = socket.next_object().await.expect("a heartbeat, not the end");
    assert_eq!((&beat["event"], &beat["data"]), (&"tidegate:heartbeat".into(), &Value::Null));
    socket.last_event_id().clone_into(cursor);
}

/// Every reason has its code.
fn end(socket: &WebSocket) -> End {
    let (code, reason) = match socket.closed() {
        Some(Close::Said(code, reason)) => (*code, reason.clone()),
        Some(Close::Cut(_)) => return End::Cut,
        other => panic!("{other:?}"),
    };
    let expected = match &*reason {
        "drain" | "max_age" | "replay" => 1012,
        "token_expired" => 3000,
        "disconnected" => 3003,
        "slow_consumer" => 4008,
        _ => panic!("closed with {code} for {reason}"),
    };
    assert_eq!(code, expected, "{reason}");
    End::Said(reason)
}
