//! `/v1/poll`: long polling. Each poll is a stream of its own that ends with the first events, and
//! the cursor joins them.

use std::future::poll_fn;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, header};
use tidegate_hub::Batch;
use tidegate_protocol::Format;
use tidegate_transport::{ConnectionInfo, Poll, respond};
use tokio::time::Instant;

use crate::app::App;
use crate::application::Opening;
use crate::extract::Query;
use crate::policy::Refused;
use crate::problem::Problem;
use crate::receive::{self, StreamRequest};

/// How long a poll waits that does not say: below the 30 s after which some proxies and libraries
/// give up.
const TIMEOUT: Duration = Duration::from_secs(25);

pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wanted = StreamRequest::of(&parts, "since")?;
    let timeout = Query::of(&parts)?.number("timeout")?.map_or(TIMEOUT, |n| Duration::from_secs(n.into()));
    let Some(who) = receive::identify(&app, &parts).await? else {
        return Err(Problem::no_keys());
    };
    let since = wanted.last_event_id.clone().unwrap_or_default();
    let join = receive::join(&app, &who, wanted, Format::Json)?;
    // Without a cursor the client has nothing to go on with: it gets one at once.
    let wait = !since.is_empty() && parts.method != Method::HEAD;
    let admission = app.admission.enter(&parts).map_err(Refused::problem)?;
    let subscription = app.hub.join(join).await.map_err(|error| receive::refused(&app, &error))?;
    let permit = app.metrics.transport.stream("poll", admission);
    let mut poll = Poll::new(subscription, permit, since);
    let mut response = match poll.now(wait) {
        Some(answer) => Body::from(answer).into_response(),
        None => {
            let deadline = Instant::now() + timeout.min(app.options.limits.poll_timeout);
            let body = respond::poll(&parts, poll, deadline);
            // A connection that is about to close can't be given back: it stays where it is.
            let body = if app.draining() { body } else { body.detached(&parts) };
            Body::new(body).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Waits for the first events of `join`, at most so long, for an application with a long poll of
/// its own form. A resumed one has what came since. The wait ends when the client closes its side.
pub async fn wait(
    app: &App,
    parts: &Parts,
    Opening(join): Opening,
    timeout: Duration,
) -> Result<Batch, Problem> {
    let admission = app.admission.enter(parts).map_err(Refused::problem)?;
    let mut subscription = app.hub.join(join).await.map_err(|error| receive::refused(app, &error))?;
    let _permit = app.metrics.transport.stream("poll", admission);
    let connection = parts.extensions.get::<ConnectionInfo>();
    let batch = poll_fn(|cx| {
        let left = connection.is_some_and(|connection| connection.poll_client_closed(cx).is_ready());
        subscription.poll_batch(cx, !left)
    });
    match tokio::time::timeout(timeout, batch).await {
        Ok(batch) => Ok(batch),
        Err(_) => Ok(poll_fn(|cx| subscription.poll_batch(cx, false)).await),
    }
}
