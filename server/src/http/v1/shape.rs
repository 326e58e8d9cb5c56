//! What the API answers with.

use control::db;
use serde::Serialize;
use utoipa::ToSchema;

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    id: String,
    login: String,
    display_name: String,
    /// `user`, `moderator` or `admin`.
    role: &'static str,
    /// `active` or `suspended`.
    status: &'static str,
    /// Unix milliseconds.
    created_at: i64,
}

impl From<&db::User> for Account {
    fn from(user: &db::User) -> Self {
        Self {
            id: user.id.clone(),
            login: user.login.clone(),
            display_name: user.display_name.clone(),
            role: user.role.as_str(),
            status: user.status.as_str(),
            created_at: user.created_at,
        }
    }
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChannelShape {
    name: String,
    title: String,
    /// `public`, `unlisted`, `followers`, `subscribers` or `signed`.
    visibility: &'static str,
    /// The configuration file names it: the API cannot change it.
    configured: bool,
    live: bool,
    /// How far live viewers may go back, in seconds; null: what the server says.
    rewind_seconds: Option<u32>,
    /// The same in MiB.
    rewind_mib: Option<u32>,
    /// Unix milliseconds.
    created_at: i64,
}

impl ChannelShape {
    pub(super) fn new(channel: &db::Channel, live: bool) -> Self {
        Self {
            name: channel.name.clone(),
            title: channel.title.clone(),
            visibility: channel.visibility.as_str(),
            configured: channel.owner_id.is_none(),
            live,
            rewind_seconds: channel.rewind.seconds,
            rewind_mib: channel.rewind.mib,
            created_at: channel.created_at,
        }
    }
}

/// A stream key, without the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    id: String,
    name: String,
    /// Its last characters.
    hint: String,
    created_at: i64,
    last_used_at: Option<i64>,
    expires_at: Option<i64>,
}

impl From<db::StoredKey> for Key {
    fn from(key: db::StoredKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
        }
    }
}

/// An API token, without the token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    id: String,
    name: String,
    /// Its last characters.
    hint: String,
    scopes: Vec<String>,
    created_at: i64,
    last_used_at: Option<i64>,
    expires_at: Option<i64>,
}

impl From<db::ApiToken> for Token {
    fn from(token: db::ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            hint: token.hint,
            scopes: token.scopes.split(' ').map(str::to_owned).collect(),
            created_at: token.created_at,
            last_used_at: token.last_used_at,
            expires_at: token.expires_at,
        }
    }
}

/// A piece of a list of accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountList {
    pub(super) items: Vec<Account>,
    /// The cursor of the next piece; null if this is the last.
    pub(super) next: Option<String>,
}

/// A piece of a list of channels.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChannelList {
    pub(super) items: Vec<ChannelShape>,
    /// The cursor of the next piece; null if this is the last.
    pub(super) next: Option<String>,
}

/// All keys of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyList {
    pub(super) items: Vec<Key>,
}

/// All API tokens of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    pub(super) items: Vec<Token>,
}
