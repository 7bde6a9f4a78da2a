//! `/v1/publish`: events on their way in.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::extract::{body, caller};
use crate::problem::Problem;
use crate::publish::{Events, checked_key, publish};

pub(super) async fn post(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let who = caller::identify(&app, &parts).await?;
    if !who.is_authenticated() && !app.options.namespaces.anyone_publishes() {
        // Before the body is read: strangers need not be given room for one.
        return Err(caller::refuse(&who, None, String::new()));
    }
    let bytes = body::read(&app, &parts.headers, body).await?;
    let key = match parts.headers.get("idempotency-key").map(http::HeaderValue::to_str) {
        Some(Ok(key)) => Some(checked_key("Idempotency-Key", key)?),
        Some(Err(_)) => return Err(Problem::invalid("Idempotency-Key", "The key must be ASCII.")),
        None => None,
    };
    let events = Events::of(&parts.headers, &bytes, app.options.limits.batch)?;
    publish(&app, &who, key, events).await.map(|receipts| Json(receipts).into_response())
}
