//! `/v1/poll`: long polling. Each poll is a stream of its own that ends with the first events, and the cursor joins them.

use std::future::poll_fn;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use tidegate_hub::{Batch, Resume};
use tidegate_protocol::Format;
use tokio::time::Instant;

use crate::admission::Refused;
use crate::app::App;
use crate::application::Opening;
use crate::connection::Connection;
use crate::poll::Poll;
use crate::problem::Problem;
use crate::query::Query;
use crate::receive::{self, Wish};
use crate::stream::Counted;

/// How long a poll waits that does not say: below the 30 s after which some proxies and libraries give up.
const TIMEOUT: Duration = Duration::from_secs(25);

pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let wish = Wish::of(&parts.headers, &parts.uri, "since")?;
    let timeout =
        Query::of(&parts.uri)?.number("timeout")?.map_or(TIMEOUT, |n| Duration::from_secs(n.into()));
    let Some(who) = receive::identify(&app, &parts).await? else {
        return Err(Problem::no_keys());
    };
    let join = receive::join(&app, &who, wish, Format::Json)?;
    let since = match &join.resume {
        Resume::After(since) => since.clone(),
        _ => String::new(),
    };
    // Without a cursor the client has nothing to go on with: it gets one at once.
    let wait = !since.is_empty() && parts.method != Method::HEAD;
    let place = app.admission.enter(&parts).map_err(Refused::problem)?;
    let subscription = app.hub.join(join).await.map_err(|error| receive::refused(&app, &error))?;
    let counted = Counted::new(app.metrics.connections.with_label_values(&["poll"]), place);
    let mut poll = Poll::new(subscription, app.hub.clone(), counted, since);
    let mut response = match poll.now(wait) {
        Some(answer) => Body::from(answer).into_response(),
        None => {
            // A connection that is about to close can't be given back: it stays where it is.
            let alone = parts.version == Version::HTTP_11 && !app.draining() && !closes(&parts.headers);
            let driver = parts.extensions.get::<Connection>().filter(|_| alone);
            let driver = driver.and_then(|connection| connection.driver.clone());
            let deadline = Instant::now() + timeout.min(app.options.limits.poll_timeout);
            Body::new(poll.until(deadline, driver)).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Waits for the first events, at most so long, for an application with a long poll of its own
/// form. A resumed one has what came since.
pub async fn wait(
    app: &App,
    parts: &Parts,
    Opening(join): Opening,
    timeout: Duration,
) -> Result<Batch, Problem> {
    let place = app.admission.enter(parts).map_err(Refused::problem)?;
    let mut subscription = app.hub.join(join).await.map_err(|error| receive::refused(app, &error))?;
    let _counted = Counted::new(app.metrics.connections.with_label_values(&["poll"]), place);
    let batch = tokio::time::timeout(timeout, poll_fn(|cx| subscription.poll_batch(cx, true))).await;
    let batch = match batch {
        Ok(batch) => batch,
        Err(_) => poll_fn(|cx| subscription.poll_batch(cx, false)).await,
    };
    for event in &batch.events {
        app.hub.metrics().sent(event.events, event.at);
    }
    Ok(batch)
}

/// Whether the client wants the connection closed behind the answer.
fn closes(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}
