//! `/v1/topics/{topic}/events`, also as `/v1/topic/events?topic=`: what a topic keeps.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::value::RawValue;
use tidegate_broker::{Page, Read, ResetReason, Span};
use tidegate_protocol::{Cursor, Event, Format, Position, Topic};

use crate::app::App;
use crate::extract::{Query, TopicName, caller};
use crate::problem::Problem;

/// Events in a page when the caller names no number.
const PAGE: u32 = 100;

/// The most of them.
const MOST: u32 = 1_000;

#[derive(serde::Serialize)]
struct Answer {
    topic: Topic,
    events: Vec<Box<RawValue>>,
    /// Where the topic's partition stands or, going forwards, where the next page begins: to be
    /// given as `since`, or as a stream's last event id.
    cursor: String,
    /// There are further events in the direction of reading.
    more: bool,
    /// Why `since` can't be continued without a gap.
    reset: Option<&'static str>,
}

pub(super) async fn get(
    State(app): State<App>,
    name: TopicName,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let who = caller::identify(&app, &parts).await?;
    let topic = name.parse()?;
    if !app.options.namespaces.may_subscribe(&who, &topic) {
        let detail = format!("The credential does not allow reading {:?}.", topic.as_str());
        return Err(caller::refuse(&who, Some("topic"), detail));
    }
    let query = Query::of(&parts)?;
    let limit = query.number("limit")?.unwrap_or(PAGE);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid("limit", format!("limit must be 1 to {MOST}.")));
    }
    let since = position(&app, &topic, &query, "since")?;
    let before = position(&app, &topic, &query, "before")?;
    let span = match (since, before) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("before", "Only one of since and before can be given."));
        }
        (Some(position), None) => Span::After { position, limit },
        (None, Some(position)) => Span::Before { offset: position.offset, limit },
        (None, None) => Span::Last { limit },
    };
    let page = app.hub().history(Read { topic: topic.clone(), span }).await?;
    if let (Some(before), true) = (before, matches!(span, Span::Before { .. }))
        && before.epoch != page.head.epoch
    {
        let detail = "This id is from before the store lost its data: no event is older than it.";
        return Err(Problem::invalid("before", detail));
    }
    Ok(Json(answer(&app, topic, &page)?).into_response())
}

pub(super) async fn delete(
    State(app): State<App>,
    name: TopicName,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (parts, _) = request.into_parts();
    let who = caller::identify(&app, &parts).await?;
    caller::require_admin(&who)?;
    let topic = name.parse()?;
    // An application's messages: to forget them is for it to decide, above all where everybody is
    // an admin.
    caller::require_unreserved(&topic)?;
    app.broker().forget(&topic).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The position in the topic's partition that a cursor names.
fn position(app: &App, topic: &Topic, query: &Query, name: &str) -> Result<Option<Position>, Problem> {
    let Some(text) = query.one(name) else { return Ok(None) };
    let cursor = Cursor::parse(text).map_err(|error| Problem::invalid(name, format!("{error}.")))?;
    let found = cursor.get(topic.partition(app.broker().partitions()));
    found.map(Some).ok_or_else(|| {
        Problem::invalid(name, "This id has no place for the topic: it is from a stream without it.")
    })
}

fn answer(app: &App, topic: Topic, page: &Page) -> Result<Answer, Problem> {
    let partition = topic.partition(app.broker().partitions());
    Ok(Answer {
        events: page.events.iter().map(|event| object(event)).collect::<Result<_, _>>()?,
        cursor: Cursor::single(partition, page.head).to_string(),
        more: page.more,
        reset: page.reset.map(ResetReason::as_str),
        topic,
    })
}

fn object(event: &Event) -> Result<Box<RawValue>, Problem> {
    let bytes = Format::Json.frame(event).whole();
    let text = String::from_utf8(bytes.into()).map_err(|_| Problem::internal())?;
    RawValue::from_string(text).map_err(|_| Problem::internal())
}
