//! What administrators do to the whole instance.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::V1;
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, Params, next};
use crate::http::problem::{Problem, Problems};

/// Who did what.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entry {
    id: String,
    /// Unix milliseconds.
    at: i64,
    /// A login, or `command line`.
    actor: String,
    action: String,
    target: String,
    remote: Option<String>,
}

/// A piece of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Log {
    items: Vec<Entry>,
    next: Option<String>,
}

/// The audit log, newest first. For administrators.
#[utoipa::path(get, path = "/api/v1/audit", tag = "instance", params(Cursor),
    responses((status = 200, body = Log), Problems))]
pub(super) async fn audit(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(cursor): Params<Cursor>,
) -> Result<Json<Log>, Problem> {
    caller.may(Action::Administer)?;
    let page = cursor.page()?;
    let entries = v1.accounts.database().audit_log(&page).await?;
    let next = next(&entries, page.limit, |entry| &entry.id);
    let items = entries.into_iter().map(|it| Entry {
        id: it.id,
        at: it.at,
        actor: it.actor,
        action: it.action,
        target: it.target,
        remote: it.remote,
    });
    Ok(Json(Log { items: items.collect(), next }))
}

/// Whether the node drains.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// New Streams are refused and `/readyz` says 503; those that are live go on.
    draining: bool,
}

/// Begins to drain this node, or ends it. For administrators.
#[utoipa::path(put, path = "/api/v1/drain", tag = "instance", request_body = Drain,
    responses((status = 204), Problems))]
pub(super) async fn drain(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<Drain>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::Administer)?;
    v1.draining.store(body.draining, Ordering::Relaxed);
    v1.done(&caller, "node.drain", if body.draining { "begin" } else { "end" }).await
}
