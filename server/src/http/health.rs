//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::metrics::Metrics;

/// What health looks at.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
}

pub(crate) fn routes(health: Health) -> Router {
    Router::new()
        // Alive: the executor answers. Nothing else may make an orchestrator restart us.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let stopping = health.stopping.load(Ordering::Relaxed);
    let status = if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(json!({ "ready": !stopping, "stopping": stopping }))).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render()).into_response()
}
