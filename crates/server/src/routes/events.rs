//! `/v1/events`: Server-Sent Events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version, header};
use tidegate_hub::{Heartbeat, Join, StreamOverrides};
use tidegate_protocol::Format;
use tidegate_transport::{ConnectionInfo, respond};

use crate::app::App;
use crate::application::Opening;
use crate::extract::{Query, body, caller};
use crate::problem::Problem;
use crate::receive::{self, StreamRequest};

pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wanted = StreamRequest::of(&parts, "last_event_id")?;
    let Some(who) = receive::identify(&app, &parts).await? else {
        return Ok(turned_away(&app, "unavailable"));
    };
    open(&app, &parts, receive::join(&app, &who, wanted, Format::Sse)).await
}

pub(super) async fn post(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut wanted = StreamRequest::of(&parts, "last_event_id")?;
    let Some(who) = receive::identify(&app, &parts).await? else {
        return Ok(turned_away(&app, "unavailable"));
    };
    if !who.is_authenticated() && !app.options.namespaces.anyone_subscribes() {
        // Before the body is read: strangers need not be given room for one.
        return Err(caller::refuse(&who, None, String::new()));
    }
    let bytes = body::read_one(&app, &parts.headers, body).await?;
    if !bytes.is_empty() {
        wanted.and(body::object(&bytes)?);
    }
    open(&app, &parts, receive::join(&app, &who, wanted, Format::Sse)).await
}

/// Headers only, after the same checks.
pub(super) async fn head(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wanted = StreamRequest::of(&parts, "last_event_id")?;
    let who = caller::identify(&app, &parts).await?;
    receive::topics(&app, &who, &wanted.topics)?;
    // A body of unknown length, like the stream's: an empty one would be announced as
    // Content-Length: 0.
    Ok(response(Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>())))
}

/// Answers a request with an application's stream, over whatever transport it came by. What is
/// wrong with the request is an answer of its own; what is wrong with the gateway just now is said
/// on a stream, with the time to come back. `?heartbeat=event` counts on every stream.
pub async fn stream(
    app: &App,
    parts: &Parts,
    opening: Result<Opening, Problem>,
) -> Result<Response, Problem> {
    open(app, parts, opening.and_then(|Opening(join)| watched(app, parts, join))).await
}

/// The same, with the heartbeats that the query asks for.
fn watched(app: &App, parts: &Parts, join: Join) -> Result<Join, Problem> {
    let Some(named) = receive::overrides(app, Query::of(parts)?.one("heartbeat"))? else { return Ok(join) };
    let own = |own: Arc<StreamOverrides>| {
        Arc::new(StreamOverrides { style: Heartbeat::Named, ..StreamOverrides::clone(&own) })
    };
    Ok(join.change_overrides(|overrides| Some(overrides.map_or(named, own))))
}

async fn open(app: &App, parts: &Parts, join: Result<Join, Problem>) -> Result<Response, Problem> {
    let join = match join {
        Ok(join) => join,
        Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {
            return Ok(turned_away(app, "unavailable"));
        }
        Err(problem) => return Err(problem),
    };
    // Not before it is known who asks: strangers must not use up what the rate leaves for others.
    let admission = match app.admission.enter(parts) {
        Ok(permit) => permit,
        Err(refused) => return Ok(come_back(app, refused.reason())),
    };
    let transport = match parts.version {
        Version::HTTP_3 => "sse-h3",
        Version::HTTP_2 => "sse-h2",
        _ => "sse-h1",
    };
    let subscription = match app.hub.join(join).await {
        Ok(subscription) => subscription,
        Err(error) => return Ok(turned_away(app, error.reason())),
    };
    let permit = app.metrics.transport.stream(transport, admission);
    let mut response = response(Body::new(respond::stream(parts, subscription, permit)));
    let info = parts.extensions.get::<ConnectionInfo>();
    if parts.version < Version::HTTP_2 && info.is_some_and(ConnectionInfo::can_be_taken_over) {
        // The connection ends with the stream: no proxy should keep it for another request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn turned_away(app: &App, reason: &str) -> Response {
    app.metrics.transport.refused.with_label_values(&[reason]).inc();
    come_back(app, reason)
}

/// Anything but 200 would end a browser's EventSource for good: it is told when to come back
/// instead.
fn come_back(app: &App, reason: &str) -> Response {
    let block = app.hub.turned_away(reason);
    let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from(block)) });
    response(Body::from_stream(body))
}

fn response(body: Body) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        // no-transform: compressing proxies would buffer.
        (header::CACHE_CONTROL, "no-cache, no-transform"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
