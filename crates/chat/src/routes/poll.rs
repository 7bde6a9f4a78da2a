//! Long polling: each poll ends with the first messages, and whoever names the last one it got misses none in between.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_hub::{Batch, Resume};
use tidegate_protocol::Cursor;
use tidegate_server::{Caller, Problem, Query, Segment, wait};

use super::Node;
use super::messages::unknown;
use crate::topics::{self, CHAT};

/// An event as the hub writes it.
#[derive(Deserialize)]
struct Event<'a> {
    event: Option<&'a str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

pub(super) async fn get(
    State(node): State<Node>,
    Segment(room): Segment<String>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let query = Query::of(&parts)?;
    let most = node.chat.options.poll_timeout;
    let timeout = query.number("timeout")?.map_or(most, |n| Duration::from_secs(n.into()).min(most));
    let resume = match query.one("after").filter(|id| !id.is_empty()) {
        Some(id) => {
            node.chat.admit(&caller, &room).await?;
            // A cursor goes on as it is: it may name places of other partitions, too.
            let known = Cursor::parse(id).is_ok()
                || node.chat.place(&room, &topics::room(&room)?, id).await?.is_some();
            if !known {
                return Err(unknown("after"));
            }
            Resume::After(id.into())
        }
        None => Resume::Live,
    };
    if parts.method == Method::HEAD {
        node.chat.admit(&caller, &room).await?;
        return Ok([(header::CONTENT_TYPE, "application/json")].into_response());
    }
    let opening = node.chat.room_stream(&caller, &room, resume).await?.objects();
    let batch = wait(&node.app, &parts, opening, timeout).await?;
    // Whoever was removed in the meantime gets nothing that came since.
    node.chat.admit(&caller, &room).await?;
    answer(&batch)
}

fn answer(batch: &Batch) -> Result<Response, Problem> {
    let mut messages: Vec<&RawValue> = Vec::with_capacity(batch.events.len());
    for chunk in &batch.events {
        let event: Event<'_> = serde_json::from_slice(&chunk.bytes).map_err(|_| Problem::internal())?;
        if event.event == Some(CHAT) {
            messages.push(event.data);
        }
    }
    let mut response = Json(messages).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let cursor = batch.cursor.as_ref().and_then(|cursor| HeaderValue::from_str(&cursor.to_string()).ok());
    if let Some(cursor) = cursor {
        headers.insert("tidegate-cursor", cursor);
    }
    if batch.reset {
        headers.insert("tidegate-reset", HeaderValue::from_static("true"));
    }
    Ok(response)
}
