//! Events as JSON objects: what long polling, WebSocket and history send.
//!
//! `{"id":"0k3x9a-1f","topic":"room:1","event":"chat","data":{…},"at":1760000000000}`; `id` and `event` are `null` where there is
//! none, `at` is when the event was published, in milliseconds since 1970.

use crate::cursor::Cursor;
use crate::event::{Event, EventName};
use crate::frame::Frame;

/// Encodes one event.
pub fn frame(id: Option<&Cursor>, event: &Event) -> Frame {
    let mut out = Vec::with_capacity(96 + event.data.as_bytes().len());
    push_id(id, &mut out);
    let end = out.len();
    out.extend_from_slice(b"\"topic\":");
    push_text(event.topic.as_str(), &mut out);
    out.extend_from_slice(b",\"event\":");
    match event.name.as_ref().map(EventName::as_str) {
        Some(name) => push_text(name, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"data\":");
    event.data.push_json(&mut out);
    out.extend_from_slice(format!(",\"at\":{}}}", event.at).as_bytes());
    Frame::new(out, end)
}

/// Appends the object's beginning: `{"id":"…",`.
pub fn push_id(id: Option<&Cursor>, out: &mut Vec<u8>) {
    match id {
        Some(id) => {
            out.extend_from_slice(b"{\"id\":\"");
            id.write(out);
            out.extend_from_slice(b"\",");
        }
        None => out.extend_from_slice(b"{\"id\":null,"),
    }
}

/// Appends a text with its quotes.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    // A text is always serializable, and writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}
