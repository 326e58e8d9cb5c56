//! Accounts: making them, signing in, and the secrets that act for them.

mod config;
mod error;
mod setup;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing::{info, warn};

use crate::auth::attempts::{Attempts, network_of};
use crate::auth::password::{LENGTHS, Passwords};
use crate::auth::permission::{Actor, SCOPES};
use crate::auth::secrets::{Secrets, hint, random_text};
use crate::clock;
use crate::db::{ApiToken, Database, NewApiToken, NewStreamKey, NewUser, Role, StoredKey, User};
use crate::seldom::Seldom;
use crate::{StreamKey, db};

pub use config::{Config, SignUp};
pub use error::Error;

/// Random bytes of cookies, tokens and codes: 256 bits and more.
const SECRET_BYTES: usize = 35;

/// What API tokens begin with, so that scanners find them in the wrong places and nobody takes them for grants.
pub const TOKEN_PREFIX: &str = "swt_";

/// Failed logins of one network, and at one account from anywhere: the second is wider, since anybody can use it up to keep
/// the owner out.
const NETWORK_FAILURES_MAX: u32 = 10;
const LOGIN_FAILURES_MAX: u32 = 50;

/// Failed logins are counted anew after this long.
const LOGIN_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How exact `last used` of sessions and tokens is: one write in so much time, not one per request.
const LAST_USED_STEP_MS: i64 = 60_000;

/// How long an invitation is good.
const INVITE_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Characters of names and titles.
pub const NAME_CHARS_MAX: usize = 80;

/// Accounts of this instance.
#[derive(Debug)]
pub struct Accounts {
    database: Database,
    secrets: Secrets,
    config: Config,
    passwords: Passwords,
    by_network: Attempts<IpAddr>,
    by_login: Attempts<String>,
    setup: setup::Setup,
    wrong_tokens: Seldom,
    counters: Counters,
}

/// What accounts have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// API tokens that are none of ours, have expired or were revoked.
    pub tokens_wrong: u64,
    /// API tokens that were not looked at because their network had failed too often.
    pub tokens_limited: u64,
}

#[derive(Debug, Default)]
struct Counters {
    tokens_wrong: AtomicU64,
    tokens_limited: AtomicU64,
}

/// Somebody who has just signed in.
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// The value of the cookie.
    pub cookie: SecretString,
    /// How long it is good if it is not used, in seconds.
    pub seconds: i64,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn").field("user", &self.user.login).finish_non_exhaustive()
    }
}

impl Accounts {
    /// The accounts in `database`.
    pub fn new(database: Database, secrets: Secrets, config: Config) -> Arc<Self> {
        Arc::new(Self {
            database,
            secrets,
            config,
            passwords: Passwords::new(),
            by_network: Attempts::new(NETWORK_FAILURES_MAX, LOGIN_WINDOW),
            by_login: Attempts::new(LOGIN_FAILURES_MAX, LOGIN_WINDOW),
            setup: setup::Setup::default(),
            wrong_tokens: Seldom::default(),
            counters: Counters::default(),
        })
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            tokens_wrong: get(&self.counters.tokens_wrong),
            tokens_limited: get(&self.counters.tokens_limited),
        }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What the operator chose.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A token for the first account, if there is no account: for the log, where its operator reads it. It is good
    /// once, until the process ends.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn offer_setup(&self) -> Result<Option<SecretString>, Error> {
        if self.database.has_users().await? {
            return Ok(None);
        }
        Ok(Some(self.setup.offer(&self.secrets)))
    }

    /// Whether the first account is still to be made.
    pub fn needs_setup(&self) -> bool {
        self.setup.is_open()
    }

    /// Makes the first account, an administrator's.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without the right token; see [`Accounts::add_user`] for the rest.
    pub async fn set_up(
        &self,
        token: &SecretString,
        login: &str,
        display_name: &str,
        password: SecretString,
        remote: IpAddr,
    ) -> Result<SignedIn, Error> {
        self.check_rate(login, remote)?;
        if !self.setup.accepts(&self.secrets, token) {
            self.note_failure(login, remote);
            return Err(Error::Forbidden("this setup token is not good: the server's log has the right one"));
        }
        let (login, display_name) = (checked_login(login)?, checked_name(display_name, login)?);
        let hash = self.hash(password).await?;
        let new =
            NewUser { login: &login, display_name: &display_name, password_hash: &hash, role: Role::Admin };
        let user = self.database.add_first_user(new, clock::unix_ms()).await?;
        self.setup.close();
        info!(login = user.login, "the first account was made: an administrator");
        self.sign_in(user).await
    }

    /// Somebody makes an account, if the policy lets them.
    ///
    /// # Errors
    /// [`Error::Forbidden`] by the policy, [`Error::Invalid`] for a login or a password that cannot be, or
    /// [`Error::Database`] if the login is taken.
    pub async fn sign_up(
        &self,
        login: &str,
        display_name: &str,
        password: SecretString,
        invite: Option<&SecretString>,
        remote: IpAddr,
    ) -> Result<SignedIn, Error> {
        let login = checked_login(login)?;
        self.check_rate(&login, remote)?;
        let code = match (self.config.sign_up, invite) {
            (SignUp::Closed, _) => return Err(Error::Forbidden("nobody can sign up here: ask the operator")),
            (SignUp::Open, _) => None,
            (SignUp::Invite, None) => {
                return Err(Error::Forbidden("an invitation is needed to sign up here"));
            }
            (SignUp::Invite, Some(code)) => Some(self.secrets.fingerprint("invite", code.expose_secret())),
        };
        let display_name = checked_name(display_name, &login)?;
        let hash = self.hash(password).await?;
        if let Some(code) = &code
            && !self.database.use_invite(code, clock::unix_ms()).await?
        {
            self.note_failure(&login, remote);
            return Err(Error::Forbidden("this invitation is used up, too old, or none of ours"));
        }
        let new =
            NewUser { login: &login, display_name: &display_name, password_hash: &hash, role: Role::User };
        match self.database.add_user(new, clock::unix_ms()).await {
            Ok(user) => self.sign_in(user).await,
            Err(error) => {
                if let Some(code) = &code {
                    self.database.return_invite(code).await?;
                }
                // Sign-up tells whether a login exists: asking for many must be slow.
                self.note_failure(&login, remote);
                Err(error.into())
            }
        }
    }

    /// The operator makes an account.
    ///
    /// # Errors
    /// As [`Accounts::sign_up`], without the policy.
    pub async fn add_user(
        &self,
        login: &str,
        display_name: &str,
        password: SecretString,
        role: Role,
    ) -> Result<User, Error> {
        let (login, hash) = (checked_login(login)?, self.hash(password).await?);
        let display_name = checked_name(display_name, &login)?;
        let new = NewUser { login: &login, display_name: &display_name, password_hash: &hash, role };
        Ok(self.database.add_user(new, clock::unix_ms()).await?)
    }

    /// Somebody signs in.
    ///
    /// # Errors
    /// [`Error::Credentials`], the same for a wrong login and for a wrong password; [`Error::TooMany`] after too many.
    pub async fn log_in(
        &self,
        login: &str,
        password: SecretString,
        remote: IpAddr,
    ) -> Result<SignedIn, Error> {
        let login = login.to_ascii_lowercase();
        self.check_rate(&login, remote)?;
        let known = match checked_login(&login) {
            Ok(login) if password.expose_secret().len() <= *LENGTHS.end() => {
                self.database.user_with_password(&login).await?
            }
            _ => None,
        };
        let (user, hash) = known.unzip();
        let right = self.passwords.verify(password, hash).await.map_err(|_| Error::Busy)?;
        match user {
            Some(user) if right && user.status == db::Status::Active => self.sign_in(user).await,
            _ => {
                self.note_failure(&login, remote);
                warn!(%remote, "login refused");
                Err(Error::Credentials)
            }
        }
    }

    async fn sign_in(&self, user: User) -> Result<SignedIn, Error> {
        let cookie: SecretString = random_text("", SECRET_BYTES).into();
        let (hash, now) = (self.fingerprint(&cookie), clock::unix_ms());
        self.database.add_session(&hash, &user.id, now + self.config.session_ms(), now).await?;
        Ok(SignedIn { user, cookie, seconds: self.config.session_ms() / 1000 })
    }

    /// Who a cookie is of.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn session(&self, cookie: &SecretString) -> Result<Option<Actor>, Error> {
        let (hash, now) = (self.fingerprint(cookie), clock::unix_ms());
        let Some(session) = self.database.session(&hash, now).await? else { return Ok(None) };
        if now - session.last_seen_at >= LAST_USED_STEP_MS {
            self.database.touch_session(&hash, now + self.config.session_ms(), now).await?;
        }
        Ok(Some(Actor { user: session.user, scopes: None }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn log_out(&self, cookie: &SecretString) -> Result<(), Error> {
        Ok(self.database.end_session(&self.fingerprint(cookie)).await?)
    }

    /// Somebody changes their own password. All sessions end.
    ///
    /// # Errors
    /// [`Error::Credentials`] if the old one is wrong.
    pub async fn change_password(
        &self,
        user: &User,
        old: SecretString,
        new: SecretString,
        remote: IpAddr,
    ) -> Result<(), Error> {
        self.check_rate(&user.login, remote)?;
        let hash = self.database.user_with_password(&user.login).await?.map(|(_, hash)| hash);
        if !self.passwords.verify(old, hash).await.map_err(|_| Error::Busy)? {
            self.note_failure(&user.login, remote);
            return Err(Error::Credentials);
        }
        self.set_password(user, new).await
    }

    /// The operator sets a password. All sessions end.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be one.
    pub async fn set_password(&self, user: &User, password: SecretString) -> Result<(), Error> {
        let hash = self.hash(password).await?;
        Ok(self.database.set_password(&user.id, &hash, clock::unix_ms()).await?)
    }

    /// Who an API token acts for.
    ///
    /// # Errors
    /// [`Error::TooMany`] if too many wrong ones came from there.
    pub async fn token(&self, token: &SecretString, remote: IpAddr) -> Result<Option<Actor>, Error> {
        self.check_rate("", remote).inspect_err(|_| {
            self.counters.tokens_limited.fetch_add(1, Ordering::Relaxed);
        })?;
        let now = clock::unix_ms();
        let found = match token.expose_secret().starts_with(TOKEN_PREFIX) {
            true => self.database.api_token(&self.fingerprint(token), now).await?,
            false => None,
        };
        let Some((user, row)) = found else {
            self.note_failure("", remote);
            self.counters.tokens_wrong.fetch_add(1, Ordering::Relaxed);
            if self.wrong_tokens.may(clock::now()) {
                warn!(%remote, "an API token was shown that is not good");
            }
            return Ok(None);
        };
        if now - row.last_used_at.unwrap_or_default() >= LAST_USED_STEP_MS {
            self.database.touch_api_token(&row.id, now).await?;
        }
        Ok(Some(Actor { user, scopes: Some(row.scopes) }))
    }

    /// Makes an API token; its secret is shown this once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown scope or a bad name.
    pub async fn add_token(
        &self,
        user: &User,
        name: &str,
        scopes: &[String],
        seconds: Option<i64>,
    ) -> Result<(ApiToken, SecretString), Error> {
        if scopes.is_empty() || scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
            return Err(Error::Invalid(format!("scopes are one or more of: {}", SCOPES.join(", "))));
        }
        let mut scopes = scopes.to_vec();
        scopes.sort();
        scopes.dedup();
        let (name, now) = (checked_name(name, "API token")?, clock::unix_ms());
        let secret: SecretString = random_text(TOKEN_PREFIX, SECRET_BYTES).into();
        let new = NewApiToken {
            user_id: &user.id,
            name: &name,
            hint: hint(secret.expose_secret()),
            hash: &self.fingerprint(&secret),
            scopes: &scopes.join(" "),
            expires_at: expiry(seconds, now)?,
        };
        Ok((self.database.add_api_token(new, now).await?, secret))
    }

    /// Makes an invitation; its code is shown this once.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn invite(&self, by: &User) -> Result<(SecretString, i64), Error> {
        let (code, now) = (SecretString::from(random_text("inv_", SECRET_BYTES)), clock::unix_ms());
        let hash = self.secrets.fingerprint("invite", code.expose_secret());
        self.database.add_invite(&hash, &by.id, now + INVITE_MS, now).await?;
        Ok((code, now + INVITE_MS))
    }

    /// Makes a stream key; it is shown this once.
    ///
    /// # Errors
    /// [`Error::Database`] if the Channel has too many.
    pub async fn add_stream_key(
        &self,
        channel_id: &str,
        name: &str,
        seconds: Option<i64>,
    ) -> Result<(StoredKey, StreamKey), Error> {
        let (key, now, name) = (StreamKey::generate(), clock::unix_ms(), checked_name(name, "default")?);
        let hash = key.fingerprint(&self.secrets);
        let expires_at = expiry(seconds, now)?;
        let new = NewStreamKey { channel_id, name: &name, hash: &hash, hint: key.hint(), expires_at };
        Ok((self.database.add_stream_key(new, now).await?, key))
    }

    /// Makes a stream key in place of another, which works for `overlap` seconds more.
    ///
    /// # Errors
    /// [`Error::Database`] if the Channel has no such key.
    pub async fn rotate_stream_key(
        &self,
        channel_id: &str,
        old_id: &str,
        overlap: i64,
    ) -> Result<(StoredKey, StreamKey), Error> {
        let (key, now) = (StreamKey::generate(), clock::unix_ms());
        let keys = self.database.stream_keys(channel_id).await?;
        let old = keys.into_iter().find(|it| it.id == old_id).ok_or(db::Error::Missing("stream key"))?;
        let hash = key.fingerprint(&self.secrets);
        let new =
            NewStreamKey { channel_id, name: &old.name, hash: &hash, hint: key.hint(), expires_at: None };
        let until = expiry(Some(overlap), now)?.unwrap_or(now);
        Ok((self.database.rotate_stream_key(old_id, new, until, now).await?, key))
    }

    async fn hash(&self, password: SecretString) -> Result<String, Error> {
        if !LENGTHS.contains(&password.expose_secret().len()) {
            return Err(Error::Invalid(format!(
                "a password has {} to {} bytes",
                LENGTHS.start(),
                LENGTHS.end()
            )));
        }
        self.passwords.hash(password).await.map_err(|_| Error::Busy)
    }

    fn fingerprint(&self, secret: &SecretString) -> String {
        self.secrets.fingerprint("session or token", secret.expose_secret())
    }

    fn check_rate(&self, login: &str, remote: IpAddr) -> Result<(), Error> {
        let now = clock::now();
        let network = network_of(remote).and_then(|network| self.by_network.wait(&network, now));
        match network.or_else(|| self.by_login.wait(&login.to_ascii_lowercase(), now)) {
            Some(wait) => Err(Error::TooMany { seconds: wait.as_secs() + 1 }),
            None => Ok(()),
        }
    }

    fn note_failure(&self, login: &str, remote: IpAddr) {
        let now = clock::now();
        if let Some(network) = network_of(remote) {
            self.by_network.note(network, now);
        }
        // A login that cannot be needs no memory.
        if let Ok(login) = checked_login(&login.to_ascii_lowercase()) {
            self.by_login.note(login, now);
        }
    }
}

/// Logins stand in URLs and messages.
fn checked_login(login: &str) -> Result<String, Error> {
    let login = login.to_ascii_lowercase();
    let letters =
        login.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if letters && (3..=25).contains(&login.len()) {
        Ok(login)
    } else {
        Err(Error::Invalid("a login has 3 to 25 letters, digits or '_'".to_owned()))
    }
}

/// Names and titles: one line.
///
/// # Errors
/// [`Error::Invalid`] if it is too long or has control characters.
pub(crate) fn checked_name(name: &str, otherwise: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Error::Invalid(format!("a name is one line of at most {NAME_CHARS_MAX} characters")));
    }
    Ok(if name.is_empty() { otherwise } else { name }.to_owned())
}

/// Ten years: longer is for good, and says nothing.
const SECONDS_MAX: i64 = 10 * 366 * 24 * 60 * 60;

fn expiry(seconds: Option<i64>, now: i64) -> Result<Option<i64>, Error> {
    match seconds {
        Some(seconds) if !(0..=SECONDS_MAX).contains(&seconds) => {
            Err(Error::Invalid(format!("seconds are 0 to {SECONDS_MAX}")))
        }
        seconds => Ok(seconds.map(|seconds| now + seconds * 1000)),
    }
}

#[cfg(test)]
mod tests;
