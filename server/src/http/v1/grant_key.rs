//! The keys that sign grants. For administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Action;
use control::GrantKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::V1;
use crate::http::caller::Caller;
use crate::http::extract::{Body, InPath, checked_id};
use crate::http::problem::{Problem, Problems};

/// How long others may keep the set of public keys. A new key is in it for twice as long before it signs, unless
/// somebody says otherwise.
const JWKS_SECONDS: i64 = 300;

/// The longest delay: a week.
const DELAY_SECONDS_MAX: i64 = 7 * 24 * 60 * 60;

/// Public keys, for the OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document alone reads it")]
pub(super) struct KeySet {
    keys: Vec<PublicKey>,
}

/// One of them (RFC 8037).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document alone reads it")]
struct PublicKey {
    kty: String,
    crv: String,
    alg: String,
    r#use: String,
    kid: String,
    x: String,
}

/// The public keys by which grants are checked elsewhere (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "grant", responses((status = 200, body = KeySet), Problems))]
pub(super) async fn jwks(State(v1): State<Arc<V1>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, format!("public, max-age={JWKS_SECONDS}"))], Json(v1.authority.jwks()))
}

/// A key that signs grants, signed, or will sign.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrantKeyShape {
    /// `kid` of the grants.
    id: String,
    /// It signs now.
    signs: bool,
    /// Unix milliseconds.
    signs_from: i64,
    /// When the last grant that it signed has expired; null for the newest.
    retires_at: Option<i64>,
}

impl From<GrantKey> for GrantKeyShape {
    fn from(key: GrantKey) -> Self {
        Self { id: key.id, signs: key.signs, signs_from: key.signs_from, retires_at: key.retires_at }
    }
}

/// The keys by which grants are good, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GrantKeyList {
    items: Vec<GrantKeyShape>,
}

impl GrantKeyList {
    fn of(v1: &V1) -> Self {
        Self { items: v1.authority.grant_keys().into_iter().map(GrantKeyShape::from).collect() }
    }
}

/// The keys by which grants are good.
#[utoipa::path(get, path = "/api/v1/grant-keys", tag = "grant", responses((status = 200, body = GrantKeyList), Problems))]
pub(super) async fn list(State(v1): State<Arc<V1>>, caller: Caller) -> Result<Json<GrantKeyList>, Problem> {
    caller.may(Action::Administer)?;
    v1.authority.refresh().await?;
    Ok(Json(GrantKeyList::of(&v1)))
}

/// How to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RotateGrants {
    /// After how long the new key signs: those who check grants elsewhere read it meanwhile. 0 to 604800, 600 if left out.
    #[serde(default)]
    delay_seconds: Option<i64>,
}

/// Makes a new key that takes the place of the others. What they signed is good until it expires.
#[utoipa::path(post, path = "/api/v1/grant-keys", tag = "grant", request_body = RotateGrants,
    responses((status = 201, body = GrantKeyList), Problems))]
pub(super) async fn rotate(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<RotateGrants>,
) -> Result<(StatusCode, Json<GrantKeyList>), Problem> {
    caller.may(Action::Administer)?;
    let delay = body.delay_seconds.unwrap_or(2 * JWKS_SECONDS);
    if !(0..=DELAY_SECONDS_MAX).contains(&delay) {
        return Err(Problem::invalid(format!("delaySeconds is 0 to {DELAY_SECONDS_MAX}")));
    }
    v1.authority.rotate_grant_keys(delay).await?;
    v1.audit(&caller, "grant_key.rotate", &format!("{delay} s")).await?;
    Ok((StatusCode::CREATED, Json(GrantKeyList::of(&v1))))
}

/// Makes void at once what a key has signed that another one has taken the place of.
#[utoipa::path(delete, path = "/api/v1/grant-keys/{id}", tag = "grant", params(("id" = String, Path)),
    responses((status = 204), Problems))]
pub(super) async fn revoke(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::Administer)?;
    let id = checked_id(&id)?;
    v1.authority.revoke_grant_key(id).await?;
    v1.done(&caller, "grant_key.revoke", id).await
}
