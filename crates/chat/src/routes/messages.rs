use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tidegate_server::{Body, Caller, Problem, Query, Segment};

use crate::model::Message;
use crate::service::{Chat, MessageWish, Messages, Want};
use crate::topics;

/// Messages in a page when the caller names no number.
const PAGE: u32 = 50;

/// The most of them.
const MOST: u32 = 200;

pub(super) async fn list(
    State(chat): State<Arc<Chat>>,
    Segment(room): Segment<String>,
    caller: Caller,
    query: Query,
) -> Result<Json<Messages>, Problem> {
    chat.admit(&caller, &room).await?;
    let limit = query.number("limit")?.unwrap_or(PAGE);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid("limit", format!("limit must be 1 to {MOST}.")));
    }
    let (field, id) = match (query.one("before"), query.one("after")) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("before", "Only one of before and after can be given."));
        }
        (Some(id), None) => ("before", Some(id)),
        (None, id) => ("after", id),
    };
    let topic = topics::room(&room)?;
    let want = match id {
        Some(id) => match (chat.place(&room, &topic, id).await?, field) {
            (Some(place), "before") => Want::Before(place),
            (Some(place), _) => Want::After(place),
            (None, _) => return Err(unknown(field)),
        },
        None => Want::Newest,
    };
    chat.page(&topic, want, limit).await.map(Json)
}

pub(super) async fn send(
    State(chat): State<Arc<Chat>>,
    Segment(room): Segment<String>,
    caller: Caller,
    headers: HeaderMap,
    Body(wish): Body<MessageWish>,
) -> Result<(StatusCode, Json<Message>), Problem> {
    let (_, participants) = chat.participant(&caller, &room).await?;
    let key = headers.get("idempotency-key").map(checked_key).transpose()?;
    let sent = chat.compose(&caller, &room, wish, key)?;
    let message = chat.send(&caller, sent, participants).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

pub(super) async fn read(
    State(chat): State<Arc<Chat>>,
    Segment(room): Segment<String>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    let (user, _) = chat.participant(&caller, &room).await?;
    let unread = chat.read(&caller, &room, user).await?;
    Ok(Json(json!({ "roomId": room, "unreadCount": unread })))
}

/// An id that leads nowhere.
pub(super) fn unknown(field: &str) -> Problem {
    Problem::invalid(field, "This is the id of no message that this room still has.")
}

fn checked_key(value: &HeaderValue) -> Result<&str, Problem> {
    let key = value.to_str().ok().filter(|key| (1..=256).contains(&key.len()));
    key.ok_or_else(|| {
        Problem::invalid("Idempotency-Key", "An idempotency key has 1 to 256 ASCII characters.")
    })
}
