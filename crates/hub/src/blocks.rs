//! The gateway's own blocks on a stream.

use std::time::Duration;

use rand::Rng;
use serde_json::json;
use tidegate_broker::ResetReason;
use tidegate_protocol::{Cursor, Topic, sse};

use crate::Heartbeat;

pub(crate) fn ready(
    retry: Duration,
    id: &Cursor,
    connection: &str,
    node: &str,
    user: Option<&str>,
    topics: &[Topic],
) -> Vec<u8> {
    let data = json!({ "connection": connection, "node": node, "user": user, "topics": topics }).to_string();
    let mut out = Vec::with_capacity(data.len() + 96);
    sse::push_retry(jittered(retry), &mut out);
    push_id(id, &mut out);
    sse::push_block(Some("tidegate:ready"), Some(data.as_bytes()), &mut out);
    out
}

pub(crate) fn reset(id: &Cursor, topics: &[Topic], reason: ResetReason) -> Vec<u8> {
    let data = json!({ "topics": topics, "reason": reason.as_str() }).to_string();
    let mut out = Vec::with_capacity(data.len() + 64);
    push_id(id, &mut out);
    sse::push_block(Some("tidegate:reset"), Some(data.as_bytes()), &mut out);
    out
}

/// No id: the client comes back with the last one it has.
pub(crate) fn closing(retry: Duration, reason: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    sse::push_retry(jittered(retry), &mut out);
    let data = json!({ "reason": reason }).to_string();
    sse::push_block(Some("tidegate:closing"), Some(data.as_bytes()), &mut out);
    out
}

/// With `moved`, also brings a quiet client's cursor up to date. A heartbeat event itself has no id.
pub(crate) fn heartbeat(style: &Heartbeat, moved: Option<&Cursor>) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    if let Some(cursor) = moved {
        push_id(cursor, &mut out);
        out.push(b'\n');
    }
    match style {
        Heartbeat::Comment => out.extend_from_slice(b":\n\n"),
        Heartbeat::Event(name) => sse::push_block(Some(name.as_str()), Some(b""), &mut out),
    }
    out
}

/// Milliseconds within ±50 % of `base`: what keeps clients from coming back all at once.
pub(crate) fn jittered(base: Duration) -> u64 {
    let millis = u64::try_from(base.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 32);
    rand::rng().random_range(millis.div_ceil(2)..=millis + millis / 2)
}

fn push_id(id: &Cursor, out: &mut Vec<u8>) {
    // A connection without topics has no place.
    if !id.is_empty() {
        sse::push_id(id, out);
    }
}
