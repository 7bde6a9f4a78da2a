//! `/v1/events`: Server-Sent Events.

use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use serde::Deserialize;
use tidegate_auth::Identity;
use tidegate_hub::{Join, Resume};
use tidegate_protocol::Topic;

use crate::app::App;
use crate::connection::Connection;
use crate::problem::Problem;
use crate::query::Query;
use crate::stream::{Counted, Opened, Stream};
use crate::wire::Framing;
use crate::{body, caller};

/// What a client wants to receive, however it said so.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    topics: Vec<String>,
    last_event_id: Option<String>,
    replay: Option<u32>,
}

pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wish = from_query(&parts.headers, &parts.uri)?;
    open(&app, &parts, wish).await
}

pub(super) async fn post(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&app, body).await?;
    let mut wish = from_query(&parts.headers, &parts.uri)?;
    if !bytes.is_empty() {
        let said: Wish = body::json(&bytes)?;
        wish.topics.extend(said.topics);
        wish.last_event_id = wish.last_event_id.or(given(said.last_event_id));
        wish.replay = said.replay.or(wish.replay);
    }
    open(&app, &parts, wish).await
}

/// Headers only, after the same checks.
pub(super) async fn head(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wish = from_query(&parts.headers, &parts.uri)?;
    let who = caller::identify(&app, &parts.headers, &parts.uri).await?;
    topics(&app, &who, &wish.topics)?;
    // A body of unknown length, like the stream's: an empty one would be announced as Content-Length: 0.
    Ok(response(Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>())))
}

fn from_query(headers: &HeaderMap, uri: &Uri) -> Result<Wish, Problem> {
    let query = Query::of(uri)?;
    let header =
        headers.get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(Wish {
        topics: query.all("topic").map(Into::into).collect(),
        last_event_id: given(header).or_else(|| given(query.one("last_event_id").map(Into::into))),
        replay: query.number("replay")?,
    })
}

/// An empty id is none: browsers forget theirs when they get one.
fn given(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty())
}

async fn open(app: &App, parts: &http::request::Parts, wish: Wish) -> Result<Response, Problem> {
    let who = match caller::identify(app, &parts.headers, &parts.uri).await {
        Err(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => {
            return Ok(turned_away(app, "unavailable"));
        }
        other => other?,
    };
    let topics = topics(app, &who, &wish.topics)?;
    let connection = parts.extensions.get::<Connection>();
    // Not before it is known who asks: strangers must not use up what the rate leaves for others.
    let place = match app.admission.enter(parts) {
        Ok(place) => place,
        Err(refused) => return Ok(come_back(app, refused.reason())),
    };
    let driver = connection.and_then(|connection| connection.driver.clone());
    let join = Join {
        user: caller::own_topic(&who),
        topics,
        resume: match (wish.last_event_id, wish.replay) {
            (Some(id), _) => Resume::After(id),
            (_, Some(count)) if count > 0 => Resume::Last(count),
            _ => Resume::Live,
        },
        expires: who.expires_at.map(instant),
    };
    let transport = match parts.version {
        Version::HTTP_3 => "sse-h3",
        Version::HTTP_2 => "sse-h2",
        _ => "sse-h1",
    };
    match app.hub.join(join).await {
        Ok(subscription) => {
            let counted = Counted::new(app.metrics.connections.with_label_values(&[transport]), place);
            let framing = if parts.version == Version::HTTP_11 { Framing::Chunked } else { Framing::Close };
            let opened = Opened { subscription, hub: app.hub.clone(), counted, framing };
            let alone = driver.is_some() && parts.version < Version::HTTP_2;
            let mut response = response(Body::new(Stream::new(opened, driver)));
            if alone {
                // The connection ends with the stream: no proxy should keep it for another request.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
        Err(error) => Ok(turned_away(app, error.reason())),
    }
}

fn turned_away(app: &App, reason: &str) -> Response {
    app.metrics.refused.with_label_values(&[reason]).inc();
    come_back(app, reason)
}

/// Anything but 200 would end a browser's EventSource for good: it is told when to come back instead.
fn come_back(app: &App, reason: &str) -> Response {
    let block = app.hub.turned_away(reason);
    let body = futures_util::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from(block)) });
    response(Body::from_stream(body))
}

fn topics(app: &App, who: &Identity, names: &[String]) -> Result<Vec<Topic>, Problem> {
    let most = app.options.topics;
    if names.len() > most {
        let detail = format!("A stream has at most {most} topics, this request has {}.", names.len());
        return Err(Problem::invalid("topics", detail));
    }
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let topic =
            Topic::parse(name).map_err(|error| Problem::invalid("topic", format!("{name:?}: {error}.")))?;
        if !app.options.namespaces.may_subscribe(who, &topic) {
            let detail = format!("The credential does not allow subscribing to {name:?}.");
            return Err(caller::refuse(who, Some("topic"), detail));
        }
        topics.push(topic);
    }
    topics.sort();
    topics.dedup();
    if topics.is_empty() && who.user.is_none() {
        let detail = "Name at least one topic: ?topic=room:1, several times for several.";
        return Err(Problem::invalid("topic", detail));
    }
    Ok(topics)
}

/// The moment on the clock that does not jump.
fn instant(at: SystemTime) -> Instant {
    Instant::now() + at.duration_since(SystemTime::now()).unwrap_or_default()
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
