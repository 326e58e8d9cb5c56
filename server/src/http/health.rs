//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use control::Database;
use serde_json::json;

use crate::metrics::Metrics;

/// What health looks at.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) database: Database,
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
    let draining = health.draining.load(Ordering::Relaxed);
    let database = health.database.ping().await.is_ok();
    let ready = !stopping && !draining && database;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "stopping": stopping, "draining": draining, "database": database });
    (status, Json(body)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render()).into_response()
}
