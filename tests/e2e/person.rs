//! Somebody who speaks to the API.

use std::net::SocketAddr;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tests::Stage;

/// Everybody's.
pub(crate) const PASSWORD: &str = "correct horse";

/// Somebody who speaks to the API.
#[derive(Clone, Default)]
pub(crate) struct Person {
    pub(crate) cookie: Option<String>,
    pub(crate) token: Option<String>,
}

impl Person {
    /// A request of theirs, which can be added to.
    pub(crate) fn request(
        &self,
        at: impl Into<SocketAddr>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", at.into());
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request
    }

    pub(crate) async fn send(
        &self,
        at: impl Into<SocketAddr>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Response {
        self.request(at, method, path, body).send().await.expect("HTTP answers")
    }

    pub(crate) async fn status(
        &self,
        at: impl Into<SocketAddr>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> u16 {
        self.send(at, method, path, body).await.status().as_u16()
    }

    pub(crate) async fn post(&self, at: impl Into<SocketAddr>, path: &str, body: Value) -> Value {
        let response = self.send(at, Method::POST, path, Some(body)).await;
        let status = response.status();
        let answer: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    pub(crate) async fn get(&self, at: impl Into<SocketAddr>, path: &str) -> Value {
        let response = self.send(at, Method::GET, path, None).await;
        let status = response.status();
        let answer: Value = response.json().await.expect("JSON");
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    /// Posts what signs somebody in, and keeps the cookie.
    pub(crate) async fn sign_in(at: impl Into<SocketAddr>, path: &str, body: Value) -> Self {
        let response = Self::default().send(at, Method::POST, path, Some(body)).await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let cookie = response.headers()["set-cookie"].to_str().expect("ASCII");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        Self { cookie: cookie.split(';').next().map(str::to_owned), token: None }
    }
}

/// The administrator of a fresh server.
pub(crate) async fn set_up(stage: &Stage) -> Person {
    let token = stage.server().setup_token().expect("there is no account yet").expose_secret().to_owned();
    let body = json!({ "token": token, "login": "ana", "password": PASSWORD });
    Person::sign_in(stage, "/api/v1/setup", body).await
}

pub(crate) async fn sign_up(at: impl Into<SocketAddr>, login: &str) -> Person {
    Person::sign_in(at, "/api/v1/users", json!({ "login": login, "password": PASSWORD })).await
}

/// Anybody may make an account, and there is no channel but `main`, as without a configuration file.
pub(crate) fn open_to_all(config: &mut server::Config) {
    config.accounts.sign_up = control::account::SignUp::Open;
    config.channels.clear();
}
