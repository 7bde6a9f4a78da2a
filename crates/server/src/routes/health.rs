//! Health, readiness and metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};
use tidegate_broker::Health;

use crate::app::App;
use crate::problem::Problem;

/// The process lives.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether the node can serve, and if not, why.
fn health(app: &App) -> Health {
    let mut health = app.broker().health();
    if app.draining() {
        health.ready = false;
        health.detail = "draining: the node goes away".into();
    }
    health
}

fn answer(ready: bool, mut body: Value) -> Response {
    let (status, word) = match ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    body["status"] = word.into();
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The node can serve, and in operators' words what works and what does not.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    let health = health(&app);
    let degraded: Vec<Value> = health
        .degraded
        .iter()
        .map(|(partition, detail)| json!({ "partition": partition.index(), "detail": detail }))
        .collect();
    let mut body = json!({ "detail": health.detail, "degraded": degraded });
    if let Some(eviction) = health.eviction {
        body["eviction"] = eviction.into();
    }
    answer(health.ready, body)
}

/// The same for everybody: why not is for operators, on the admin listener.
pub(super) async fn readyz_brief(State(app): State<App>) -> Response {
    answer(health(&app).ready, json!({}))
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
