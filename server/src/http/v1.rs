//! `/api/v1`: accounts, channels, keys, grants, moderation. Its OpenAPI document is made from the handlers.

mod account;
mod channel;
mod chat;
mod docs;
mod follow;
mod grant;
mod grant_key;
mod hook;
mod instance;
mod key;
mod member;
mod session;
mod shape;
mod stream;
mod token;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use control::db::Channel;
use control::hooks::Webhooks;
use control::{Accounts, Action, Authority, Moderation};
use hls_packager::Reach;
use media::Hub;
use sfu::Sfu;
use tower_http::cors::{Any, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::docs::Security;
use super::api::Api;
use super::caller::Caller;
use super::extract::channel_name;
use super::limit::{self, Limit};
use super::problem::{Problem, ProblemShape};
use super::recordings::{self, Shelf};
use crate::broadcasts::Broadcasts;

/// What the API stands on.
pub(crate) struct V1 {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) broadcasts: Arc<Broadcasts>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) moderation: Arc<Moderation>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) sfu: Sfu,
    /// Browsers reach us by HTTPS: cookies say so.
    pub(crate) secure: bool,
    /// New Streams go elsewhere.
    pub(crate) draining: Arc<AtomicBool>,
    /// How far back live viewers may go; a Channel's owner may say less.
    pub(crate) reach: Reach,
}

impl V1 {
    /// A Channel by its name in a path, as it stands in the database.
    async fn channel(&self, name: &str) -> Result<Arc<Channel>, Problem> {
        let name = channel_name(name)?;
        // What another node or a command has just changed.
        self.authority.refresh().await?;
        self.authority.channel(&name).ok_or_else(|| Problem::not_found(format!("there is no channel {name}")))
    }

    /// The same, if the caller may do this to it.
    async fn channel_for(
        &self,
        caller: &Caller,
        action: Action,
        name: &str,
    ) -> Result<Arc<Channel>, Problem> {
        let channel = self.channel(name).await?;
        caller.may_on(self, action, &channel).await?;
        Ok(channel)
    }

    /// Notes who changed what.
    pub(super) async fn audit(&self, caller: &Caller, action: &str, target: &str) -> Result<(), Problem> {
        let actor = caller.actor()?;
        let remote = caller.remote.to_string();
        let database = self.accounts.database();
        Ok(database.audit(&actor.user.login, action, target, Some(&remote), now_ms()).await?)
    }

    /// The same, and the answer of a request that has nothing else to say.
    async fn done(&self, caller: &Caller, action: &str, target: &str) -> Result<StatusCode, Problem> {
        self.audit(caller, action, target).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Swiftwater", description = "Accounts, channels, keys, grants and live streams of a Swiftwater server."),
    components(schemas(ProblemShape)),
    modifiers(&Security)
)]
struct Document;

/// The routes, and `/api/v1/openapi.json` and `/api/docs` about them.
pub(crate) fn routes(v1: Arc<V1>, api: Api, shelf: Shelf, limited: Arc<Limit>) -> Router {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(session::setup_state, session::set_up))
        .routes(routes!(session::log_in, session::log_out))
        .routes(routes!(account::sign_up, account::list))
        .routes(routes!(account::change))
        .routes(routes!(account::me))
        .routes(routes!(account::change_password))
        .routes(routes!(account::invite))
        .routes(routes!(token::list, token::add))
        .routes(routes!(token::revoke))
        .routes(routes!(channel::list, channel::add))
        .routes(routes!(channel::show, channel::change, channel::remove))
        .routes(routes!(channel::past))
        .routes(routes!(key::list, key::add))
        .routes(routes!(key::rotate))
        .routes(routes!(key::revoke))
        .routes(routes!(grant::add, grant::void))
        .routes(routes!(grant_key::jwks))
        .routes(routes!(grant_key::list, grant_key::rotate))
        .routes(routes!(grant_key::revoke))
        .routes(routes!(follow::follow, follow::unfollow))
        .routes(routes!(follow::list))
        .routes(routes!(member::roles))
        .routes(routes!(member::set_role, member::remove_role))
        .routes(routes!(member::subscribe, member::unsubscribe))
        .routes(routes!(chat::settings, chat::set))
        .routes(routes!(chat::bans))
        .routes(routes!(chat::ban, chat::lift))
        .routes(routes!(stream::end))
        .routes(routes!(stream::kick))
        .routes(routes!(stream::set_layer))
        .routes(routes!(hook::list, hook::add))
        .routes(routes!(hook::change, hook::remove))
        .routes(routes!(hook::test))
        .routes(routes!(hook::deliveries))
        .routes(routes!(hook::replay))
        .routes(routes!(instance::audit))
        .routes(routes!(instance::drain))
        .with_state(v1)
        .merge(super::api::routes(api))
        .merge(recordings::routes(shelf))
        .split_for_parts();
    docs::name_operations(&mut document);
    let text: Arc<str> = document.to_json().unwrap_or_default().into();
    // Tokens may be used from any page; cookies are for pages of ours, so no credentials.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([
            header::RETRY_AFTER,
            HeaderName::from_static("ratelimit-limit"),
            HeaderName::from_static("ratelimit-remaining"),
            HeaderName::from_static("ratelimit-reset"),
        ]);
    router
        .route("/api/v1/openapi.json", get(move || docs::json(Arc::clone(&text))))
        .method_not_allowed_fallback(docs::not_this_method)
        .layer(from_fn_with_state(limited, limit::limit))
        .layer(cors)
        .route("/api/docs", get(docs::page))
        .route("/api/docs.js", get(docs::script))
}

/// Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "the API is an edge: rows say when they were made")]
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
