//! Setting up, signing in, signing out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::account::SignedIn;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::V1;
use super::shape::Account;
use crate::http::caller::{Caller, set_cookie};
use crate::http::extract::Body;
use crate::http::problem::{Problem, Problems};

/// What somebody needs to know before they sign in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetupState {
    /// There is no account yet: the first one is made with the token in the server's log.
    needed: bool,
    /// `open`, `invite` or `closed`.
    sign_up: &'static str,
}

/// Whether the first account is still to be made, and who may sign up.
#[utoipa::path(get, path = "/api/v1/setup", tag = "session", responses((status = 200, body = SetupState), Problems))]
pub(super) async fn setup_state(State(v1): State<Arc<V1>>) -> Json<SetupState> {
    let sign_up = v1.accounts.config().sign_up.as_str();
    Json(SetupState { needed: v1.accounts.needs_setup(), sign_up })
}

/// The first account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetUp {
    /// From the server's log.
    #[schema(value_type = String)]
    token: SecretString,
    login: String,
    #[serde(default)]
    display_name: String,
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    password: SecretString,
}

/// Makes the first account, an administrator's, and signs it in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "session", request_body = SetUp,
    responses((status = 201, body = Account), Problems))]
pub(super) async fn set_up(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<SetUp>,
) -> Result<Response, Problem> {
    let SetUp { token, login, display_name, password } = body;
    let signed_in = v1.accounts.set_up(&token, &login, &display_name, password, caller.remote).await?;
    Ok(signed(&v1, StatusCode::CREATED, &signed_in))
}

/// Login and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    login: String,
    #[schema(value_type = String)]
    password: SecretString,
}

/// Signs in: the answer sets a cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = LogIn,
    responses((status = 200, body = Account), Problems))]
pub(super) async fn log_in(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<LogIn>,
) -> Result<Response, Problem> {
    let signed_in = v1.accounts.log_in(&body.login, body.password, caller.remote).await?;
    Ok(signed(&v1, StatusCode::OK, &signed_in))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204), Problems))]
pub(super) async fn log_out(State(v1): State<Arc<V1>>, caller: Caller) -> Result<Response, Problem> {
    if let Some(cookie) = &caller.cookie {
        v1.accounts.log_out(cookie).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cookie) = set_cookie("", 0, v1.secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The answer that signs a browser in.
pub(super) fn signed(v1: &V1, status: StatusCode, signed_in: &SignedIn) -> Response {
    let mut response = (status, Json(Account::from(&signed_in.user))).into_response();
    if let Some(cookie) = set_cookie(signed_in.cookie.expose_secret(), signed_in.seconds, v1.secure) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
