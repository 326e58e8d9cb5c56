//! API tokens of one's own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use control::Action;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::V1;
use super::now_ms;
use super::shape::{Token, TokenList};
use crate::http::caller::Caller;
use crate::http::extract::{Body, InPath, checked_id};
use crate::http::problem::{Problem, Problems};

/// One's API tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "token", responses((status = 200, body = TokenList), Problems))]
pub(super) async fn list(State(v1): State<Arc<V1>>, caller: Caller) -> Result<Json<TokenList>, Problem> {
    let actor = caller.may(Action::WriteAccount)?;
    let tokens = v1.accounts.database().api_tokens(&actor.user.id).await?;
    Ok(Json(TokenList { items: tokens.into_iter().map(Token::from).collect() }))
}

/// A new token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    #[serde(default)]
    name: String,
    /// One or more of `account:read account:write channel:write key:write stream:moderate stream:write grant:write admin`.
    scopes: Vec<String>,
    /// How long it is good; for good if left out.
    #[serde(default)]
    seconds: Option<i64>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken {
    /// Shown this once.
    secret: String,
    token: Token,
}

/// Makes a token. By a session only: tokens make no tokens.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "token", request_body = NewToken,
    responses((status = 201, body = MadeToken), Problems))]
pub(super) async fn add(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let actor = caller.may(Action::WriteAccount)?;
    let (token, secret) = v1.accounts.add_token(&actor.user, &body.name, &body.scopes, body.seconds).await?;
    v1.audit(&caller, "token.create", &token.id).await?;
    let secret = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(MadeToken { secret, token: token.into() })))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "token", params(("id" = String, Path)),
    responses((status = 204), Problems))]
pub(super) async fn revoke(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let actor = caller.may(Action::WriteAccount)?;
    let id = checked_id(&id)?;
    v1.accounts.database().revoke_api_token(&actor.user.id, id, now_ms()).await?;
    v1.done(&caller, "token.revoke", id).await
}
