//! Who asks: nobody, a browser with a session, a program with an API token.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use control::account::TOKEN_PREFIX;
use control::db::Channel;
use control::{Action, Actor, Standing};
use secrecy::SecretString;

use super::problem::Problem;
use super::v1::V1;

/// Cookies of the session. With HTTPS the name makes browsers insist on Secure, on this host and on the whole path.
const COOKIE: &str = "swiftwater_session";
const COOKIE_SECURE: &str = "__Host-swiftwater_session";

/// Whoever asks.
pub(crate) struct Caller {
    actor: Option<Actor>,
    /// From where.
    pub(crate) remote: IpAddr,
    /// The session's cookie, if that is how they are known.
    pub(crate) cookie: Option<SecretString>,
}

impl Caller {
    /// Who it is.
    pub(crate) fn actor(&self) -> Result<&Actor, Problem> {
        self.actor.as_ref().ok_or_else(Problem::unauthorized)
    }

    /// Who it is, if they may do this that has to do with no Channel.
    pub(crate) fn may(&self, action: Action) -> Result<&Actor, Problem> {
        let actor = self.actor()?;
        if actor.can(action, Standing::None) { Ok(actor) } else { Err(refused(actor, action)) }
    }

    /// Who it is, if they may do this to a Channel.
    pub(crate) async fn may_on(&self, v1: &V1, action: Action, channel: &Channel) -> Result<&Actor, Problem> {
        let actor = self.actor()?;
        let standing = if channel.owner_id.as_deref() == Some(actor.user.id.as_str()) {
            Standing::Owner
        } else {
            match v1.accounts.database().channel_role(&channel.id, &actor.user.id).await? {
                Some(role) => Standing::Role(role),
                None => Standing::None,
            }
        };
        if actor.can(action, standing) { Ok(actor) } else { Err(refused(actor, action)) }
    }
}

/// Whoever asks for what a grant opens besides: with a grant for a token they are nobody that the API knows.
pub(crate) struct Guest {
    pub(crate) caller: Caller,
    pub(crate) grant: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Guest
where
    Arc<V1>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = text.and_then(|text| text.strip_prefix("Bearer ")).map(str::trim);
        match bearer.filter(|token| !token.starts_with(TOKEN_PREFIX)).map(str::to_owned) {
            Some(grant) => {
                let caller = Caller { actor: None, remote: remote(parts), cookie: None };
                Ok(Self { caller, grant: Some(grant) })
            }
            None => Ok(Self { caller: Caller::from_request_parts(parts, state).await?, grant: None }),
        }
    }
}

/// Where it comes from. In a test without a socket there is none.
fn remote(parts: &Parts) -> IpAddr {
    let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    remote.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(remote)| remote.ip())
}

fn refused(actor: &Actor, action: Action) -> Problem {
    match (&actor.scopes, action.scope()) {
        (Some(_), None) => Problem::forbidden("API tokens may not do this: sign in"),
        (Some(scopes), Some(scope)) if !scopes.split(' ').any(|it| it == scope) => {
            Problem::forbidden(format!("this API token has not the scope {scope}"))
        }
        _ => Problem::forbidden("your account may not do this here"),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Arc<V1>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let v1 = Arc::<V1>::from_ref(state);
        let remote = remote(parts);
        if let Some(authorization) = parts.headers.get(header::AUTHORIZATION) {
            let token = authorization.to_str().ok().and_then(|it| it.strip_prefix("Bearer "));
            let token = token.ok_or_else(Problem::unauthorized)?.trim().to_owned();
            let actor = v1.accounts.token(&token.into(), remote).await?;
            return Ok(Self { actor: Some(actor.ok_or_else(Problem::unauthorized)?), remote, cookie: None });
        }
        let Some(cookie) = cookie(&parts.headers) else {
            return Ok(Self { actor: None, remote, cookie: None });
        };
        let actor = v1.accounts.session(&cookie).await?;
        if actor.is_some() && !parts.method.is_safe() && !same_site(&parts.headers) {
            return Err(Problem::forbidden("this request comes from another site: use an API token"));
        }
        Ok(Self { actor, remote, cookie: Some(cookie) })
    }
}

fn cookie(headers: &HeaderMap) -> Option<SecretString> {
    let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = pairs.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| [COOKIE, COOKIE_SECURE].contains(name)).map(|(_, value)| value.to_owned().into())
}

/// Whether a page of ours asks, or no page at all (CSRF). Browsers say so by Sec-Fetch-Site, older ones by Origin.
fn same_site(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, authority)| authority == host)
        }
        (Some(_), None) => false,
    }
}

/// The cookie of a new session, or the end of one.
pub(crate) fn set_cookie(value: &str, seconds: i64, secure: bool) -> Option<HeaderValue> {
    let (name, secure) = if secure { (COOKIE_SECURE, "; Secure") } else { (COOKIE, "") };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_ours_and_programs_may_use_a_session() {
        for (pairs, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("origin", "https://a.example"), ("host", "a.example")], true),
            (&[("origin", "https://b.example"), ("host", "a.example")], false),
            (&[("origin", "null"), ("host", "a.example")], false),
            (&[("origin", "https://a.example.evil"), ("host", "a.example")], false),
        ] {
            assert_eq!(same_site(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        use secrecy::ExposeSecret;
        let found = cookie(&headers(&[("cookie", "a=b; swiftwater_session=xyz; c=d")])).expect("there");
        assert_eq!(found.expose_secret(), "xyz");
        assert!(cookie(&headers(&[("cookie", "a=b")])).is_none());
        let secure = set_cookie("v", 60, true).expect("ASCII");
        let secure = secure.to_str().expect("ASCII");
        for part in ["__Host-swiftwater_session=v", "; Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(secure.contains(part), "{secure}");
        }
    }
}
