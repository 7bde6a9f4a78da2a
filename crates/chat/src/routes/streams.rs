use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use tidegate_hub::Resume;
use tidegate_server::{Caller, Problem, Query, Segment, last_event_id, stream};

use super::Node;

/// The most messages that a stream begins with.
const MOST: u32 = 1_000;

pub(super) async fn room(
    State(node): State<Node>,
    Segment(room): Segment<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    open(&node, &parts, &room).await
}

/// With the room in the query.
pub(super) async fn room_by_query(State(node): State<Node>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let query = Query::of(&parts)?;
    let room = query.one("roomId").unwrap_or_default();
    open(&node, &parts, room).await
}

pub(super) async fn user(State(node): State<Node>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let resume = resume(&parts, 0)?;
    let opening = match Caller::of(&node.app, &parts).await {
        Ok(caller) => node.chat.user_stream(&caller, resume).await,
        Err(problem) => Err(problem),
    };
    stream(&node.app, &parts, opening).await
}

async fn open(node: &Node, parts: &Parts, room: &str) -> Result<Response, Problem> {
    let resume = resume(parts, node.chat.options.replay)?;
    let caller = match Caller::of(&node.app, parts).await {
        Ok(caller) => caller,
        Err(problem) => return stream(&node.app, parts, Err(problem)).await,
    };
    let opening = match node.chat.room_stream(&caller, room, resume).await {
        Ok(opening) => opening,
        Err(problem) => return stream(&node.app, parts, Err(problem)).await,
    };
    let response = stream(&node.app, parts, Ok(opening)).await?;
    // Who was removed while the stream was being opened is told now: the word to end it may have come before there was one.
    match node.chat.admit(&caller, room).await {
        Ok(_) => Ok(response),
        Err(problem) => stream(&node.app, parts, Err(problem)).await,
    }
}

/// Where a stream begins: behind what the client has, else with the last `replay` messages.
fn resume(parts: &Parts, replay: u32) -> Result<Resume, Problem> {
    if let Some(id) = last_event_id(parts)? {
        return Ok(Resume::After(id));
    }
    let query = Query::of(parts)?;
    let (field, count) = match (query.number("replay")?, query.number("limit")?) {
        (Some(count), _) => ("replay", count),
        (None, Some(count)) => ("limit", count),
        (None, None) => ("replay", replay),
    };
    match count {
        0 => Ok(Resume::Live),
        count if count <= MOST => Ok(Resume::Last(count)),
        _ => Err(Problem::invalid(field, format!("{field} must be 0 to {MOST}."))),
    }
}
