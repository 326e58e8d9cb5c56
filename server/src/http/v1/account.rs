//! Accounts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use control::Action;
use control::db::{Role, Status};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{Account, AccountList};
use super::{V1, now_ms, session};
use crate::http::caller::Caller;
use crate::http::extract::{Body, Cursor, InPath, Params, next};
use crate::http::problem::{Problem, Problems};

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignUp {
    /// 3 to 25 letters, digits or `_`.
    login: String,
    #[serde(default)]
    display_name: String,
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    password: SecretString,
    /// Where an invitation is needed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    invite: Option<SecretString>,
}

/// Makes an account, if the policy allows it, and signs it in.
#[utoipa::path(post, path = "/api/v1/users", tag = "account", request_body = SignUp,
    responses((status = 201, body = Account), Problems))]
pub(super) async fn sign_up(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<SignUp>,
) -> Result<Response, Problem> {
    let SignUp { login, display_name, password, invite } = body;
    let signed_in =
        v1.accounts.sign_up(&login, &display_name, password, invite.as_ref(), caller.remote).await?;
    Ok(session::signed(&v1, StatusCode::CREATED, &signed_in))
}

/// All accounts. For administrators.
#[utoipa::path(get, path = "/api/v1/users", tag = "account", params(Cursor),
    responses((status = 200, body = AccountList), Problems))]
pub(super) async fn list(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Params(cursor): Params<Cursor>,
) -> Result<Json<AccountList>, Problem> {
    caller.may(Action::Administer)?;
    let page = cursor.page()?;
    let users = v1.accounts.database().users(&page).await?;
    let next = next(&users, page.limit, |user| &user.login);
    Ok(Json(AccountList { items: users.iter().map(Account::from).collect(), next }))
}

/// What changes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// `user`, `moderator` or `admin`.
    #[serde(default)]
    role: Option<String>,
    /// `active` or `suspended`: a suspended account cannot sign in, and its keys and tokens do not work.
    #[serde(default)]
    status: Option<String>,
}

/// Changes an account's role or status. For administrators, not on themselves.
#[utoipa::path(patch, path = "/api/v1/users/{login}", tag = "account", request_body = Change,
    params(("login" = String, Path)), responses((status = 200, body = Account), Problems))]
pub(super) async fn change(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    InPath(login): InPath<String>,
    Body(body): Body<Change>,
) -> Result<Json<Account>, Problem> {
    let actor = caller.may(Action::Administer)?;
    let mut user = v1.user(&login).await?;
    if user.id == actor.user.id {
        return Err(Problem::forbidden("not your own account: ask another administrator"));
    }
    if let Some(role) = &body.role {
        user.role = Role::parse(role).ok_or_else(|| Problem::invalid("role is user, moderator or admin"))?;
    }
    if let Some(status) = &body.status {
        user.status =
            Status::parse(status).ok_or_else(|| Problem::invalid("status is active or suspended"))?;
    }
    v1.accounts.database().set_user(&user.id, user.role, user.status, now_ms()).await?;
    v1.moderation.account_changed_everywhere(&user.id);
    v1.audit(&caller, "user.change", &format!("{login} {} {}", user.role.as_str(), user.status.as_str()))
        .await?;
    v1.broadcasts.check();
    Ok(Json(Account::from(&user)))
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    account: Account,
    /// For `hello` of the gateway, which then knows who it is without asking the database.
    gateway_token: String,
    /// Unix seconds.
    gateway_token_expires: i64,
}

/// Who is signed in, and a token for the gateway.
#[utoipa::path(get, path = "/api/v1/me", tag = "account", responses((status = 200, body = Me), Problems))]
pub(super) async fn me(State(v1): State<Arc<V1>>, caller: Caller) -> Result<Json<Me>, Problem> {
    let actor = caller.may(Action::ReadAccount)?;
    let (gateway_token, gateway_token_expires) = v1.authority.sign_gateway(&actor.user);
    Ok(Json(Me { account: Account::from(&actor.user), gateway_token, gateway_token_expires }))
}

/// The old password and the new.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    #[schema(value_type = String)]
    old: SecretString,
    #[schema(value_type = String, min_length = 8, max_length = 256)]
    new: SecretString,
}

/// Changes one's own password. All sessions end, this one too.
#[utoipa::path(put, path = "/api/v1/me/password", tag = "account", request_body = NewPassword,
    responses((status = 204), Problems))]
pub(super) async fn change_password(
    State(v1): State<Arc<V1>>,
    caller: Caller,
    Body(body): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let actor = caller.may(Action::WriteAccount)?;
    v1.accounts.change_password(&actor.user, body.old, body.new, caller.remote).await?;
    v1.moderation.account_changed_everywhere(&actor.user.id);
    v1.done(&caller, "user.password", &actor.user.login).await
}

/// An invitation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Invitation {
    /// Shown this once.
    code: String,
    /// Unix milliseconds.
    expires_at: i64,
}

/// Makes an invitation, good for one account. For administrators.
#[utoipa::path(post, path = "/api/v1/invites", tag = "account", responses((status = 201, body = Invitation), Problems))]
pub(super) async fn invite(
    State(v1): State<Arc<V1>>,
    caller: Caller,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    let actor = caller.may(Action::Administer)?;
    let (code, expires_at) = v1.accounts.invite(&actor.user).await?;
    v1.audit(&caller, "invite.create", "").await?;
    let code = code.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(Invitation { code, expires_at })))
}

impl V1 {
    /// An account by its login in a path.
    pub(super) async fn user(&self, login: &str) -> Result<control::db::User, Problem> {
        // Logins are ASCII; anything else is of nobody, and a zero byte no text for PostgreSQL.
        if !login.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::not_found("there is no such user"));
        }
        Ok(self.accounts.database().user(&login.to_ascii_lowercase()).await?)
    }
}
