//! The gateway's own events on a stream: `tidegate:*`, and heartbeats.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_broker::ResetReason;
use tidegate_protocol::{Cursor, EventName, Format, Topic, sse};

use crate::clock::jittered;
use crate::options::{Greeting, Heartbeat};

/// A control event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// The stream is subscribed.
    Ready,
    /// The application's own event at the beginning.
    Greeting,
    /// Events were lost, or may have been.
    Reset,
    /// The stream ends, and why.
    Closing,
    /// A sign of life.
    Heartbeat,
    /// Topics came or went at the client's request.
    Topics,
}

pub(crate) struct Ready<'a> {
    pub(crate) retry: Duration,
    pub(crate) id: &'a Cursor,
    pub(crate) connection: &'a str,
    pub(crate) node: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) topics: &'a [Topic],
}

pub(crate) fn ready(format: Format, ready: &Ready<'_>) -> Vec<u8> {
    let Ready { connection, node, user, topics, .. } = ready;
    let data = json!({ "connection": connection, "node": node, "user": user, "topics": topics });
    write(format, Some(jittered(ready.retry)), Some(ready.id), Some("tidegate:ready"), &data)
}

pub(crate) fn reset(format: Format, id: &Cursor, topics: &[Topic], reason: ResetReason) -> Vec<u8> {
    let data = json!({ "topics": topics, "reason": reason.as_str() });
    write(format, None, Some(id), Some("tidegate:reset"), &data)
}

/// No id: the client comes back with the last one it has.
pub(crate) fn closing(format: Format, retry: Duration, reason: &str) -> Vec<u8> {
    write(format, Some(jittered(retry)), None, Some("tidegate:closing"), &json!({ "reason": reason }))
}

/// Topics that the client asked for while connected are received from here on.
pub(crate) fn subscribed(format: Format, id: &Cursor, topics: &[Topic]) -> Vec<u8> {
    write(format, None, Some(id), Some("tidegate:subscribed"), &json!({ "topics": topics }))
}

/// Topics that the client no longer wants are not received from here on.
pub(crate) fn unsubscribed(format: Format, id: &Cursor, topics: &[Topic]) -> Vec<u8> {
    write(format, None, Some(id), Some("tidegate:unsubscribed"), &json!({ "topics": topics }))
}

/// What an application's clients expect at the beginning. No id.
pub(crate) fn greeting(format: Format, greeting: &Greeting) -> Vec<u8> {
    text(format, None, Some(greeting.event.as_str()), &greeting.data)
}

/// With `moved`, also brings a quiet client's cursor up to date. A heartbeat event itself has no
/// id.
pub(crate) fn heartbeat(format: Format, style: &Heartbeat, moved: Option<&Cursor>) -> Vec<u8> {
    match (format, style) {
        (Format::Sse, Heartbeat::Comment) => {
            let mut out = id_block(moved);
            out.extend_from_slice(b":\n\n");
            out
        }
        // A page can't see comments, and a WebSocket has none.
        (Format::Sse, Heartbeat::Named) => text(format, moved, Some("tidegate:heartbeat"), ""),
        (Format::Json, Heartbeat::Comment | Heartbeat::Named) => {
            write(format, None, moved, Some("tidegate:heartbeat"), &Value::Null)
        }
        (_, Heartbeat::Event { name, data }) => {
            text(format, moved, name.as_ref().map(EventName::as_str), data)
        }
    }
}

fn write(
    format: Format,
    retry: Option<u64>,
    id: Option<&Cursor>,
    event: Option<&str>,
    data: &Value,
) -> Vec<u8> {
    // A stream without topics has no position.
    let id = id.filter(|id| !id.is_empty());
    match format {
        Format::Sse => {
            let data = data.to_string();
            let mut out = Vec::with_capacity(data.len() + 96);
            if let Some(retry) = retry {
                sse::push_retry(retry, &mut out);
            }
            format.id(id, &mut out);
            sse::push_block(event, Some(data.as_bytes()), &mut out);
            out
        }
        Format::Json => {
            let id = id.map(ToString::to_string);
            let mut object = json!({ "id": id, "topic": null, "event": event, "data": data });
            if let (Some(retry), Some(fields)) = (retry, object.as_object_mut()) {
                fields.insert("retry".into(), retry.into());
            }
            object.to_string().into()
        }
    }
}

/// An event with a text of the application's, without id. With `moved`, a block before it brings
/// the client's cursor up to date.
fn text(format: Format, moved: Option<&Cursor>, event: Option<&str>, data: &str) -> Vec<u8> {
    if format == Format::Json {
        return write(format, None, moved, event, &data.into());
    }
    let mut out = id_block(moved);
    sse::push_block(event, Some(data.as_bytes()), &mut out);
    out
}

fn id_block(moved: Option<&Cursor>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    if let Some(cursor) = moved {
        push_id(cursor, &mut out);
        out.push(b'\n');
    }
    out
}

fn push_id(id: &Cursor, out: &mut Vec<u8>) {
    if !id.is_empty() {
        sse::push_id(id, out);
    }
}
