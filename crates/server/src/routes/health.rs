//! Health, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};

use crate::app::App;
use crate::problem::Problem;

/// The process lives.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether the node can serve, and if not, why.
fn ready(app: &App) -> Result<String, String> {
    if app.draining() {
        return Err("draining: the node goes away".into());
    }
    let health = app.broker().health();
    if health.ready { Ok(health.detail) } else { Err(health.detail) }
}

/// The node can serve.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let (status, body) = match ready(&app) {
        Ok(detail) => (StatusCode::OK, json!({ "status": "ready", "detail": detail })),
        Err(detail) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "detail": detail })),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The same for everybody: why not is for operators, on the admin listener.
pub(super) async fn readyz_brief(State(app): State<App>) -> Response {
    let (status, word) = match ready(&app) {
        Ok(_) => (StatusCode::OK, "ready"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(json!({ "status": word }))).into_response()
}

pub(super) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder.encode(&app.metrics.registry.gather(), &mut text).map_err(|error| {
        tracing::error!(%error, "metrics could not be written");
        Problem::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}

pub(super) async fn index() -> &'static str {
    "tidegate admin: /metrics /healthz /readyz\n"
}
