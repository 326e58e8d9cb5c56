//! Every route of the API: who is let in, and that each answer is one of the OpenAPI document.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::Stage;

use crate::contract::Contract;
use crate::person::{PASSWORD, Person, open_to_all, set_up, sign_up};

/// One request, and the status that each person gets, in this order: nobody, a stranger, moderator, editor, owner of the
/// channel `show`, the owner's API token for `channel:write`, an administrator.
struct Row {
    method: Method,
    path: String,
    body: Option<Value>,
    expected: [u16; 7],
}

fn row(method: Method, path: impl Into<String>, body: Option<Value>, expected: [u16; 7]) -> Row {
    Row { method, path: path.into(), body, expected }
}

/// Everybody.
const PUBLIC: [u16; 7] = [200; 7];
/// Whoever has an account; this token has not the scope.
const SIGNED_IN: [u16; 7] = [401, 200, 200, 200, 200, 403, 200];

const fn admins(status: u16) -> [u16; 7] {
    [401, 403, 403, 403, 403, 403, status]
}

const fn owners(status: u16) -> [u16; 7] {
    [401, 403, 403, 403, status, 403, status]
}

const fn editors(status: u16) -> [u16; 7] {
    [401, 403, 403, status, status, 403, status]
}

const fn moderators(status: u16) -> [u16; 7] {
    [401, 403, status, status, status, 403, status]
}

fn with_account(status: u16) -> [u16; 7] {
    SIGNED_IN.map(|known| if known == 200 { status } else { known })
}

fn table() -> Vec<Row> {
    let mut rows = sessions();
    rows.extend(channels());
    rows.extend(streams());
    rows.extend(hooks());
    rows.extend(instance());
    // The last: the cookies of all are void after it.
    rows.push(row(Method::DELETE, "/api/v1/session", None, [204; 7]));
    rows
}

fn sessions() -> Vec<Row> {
    let credentials = json!({ "login": "nobody", "password": PASSWORD });
    let passwords = json!({ "old": "not the old one", "new": PASSWORD });
    vec![
        row(Method::GET, "/api/v1/setup", None, PUBLIC),
        row(
            Method::POST,
            "/api/v1/setup",
            Some(json!({ "token": "x", "login": "mallory", "password": PASSWORD })),
            [403; 7],
        ),
        row(Method::POST, "/api/v1/session", Some(credentials), [401; 7]),
        row(Method::POST, "/api/v1/users", Some(json!({ "login": "x", "password": PASSWORD })), [422; 7]),
        row(Method::GET, "/api/v1/me", None, SIGNED_IN),
        row(Method::PUT, "/api/v1/me/password", Some(passwords), [401, 401, 401, 401, 401, 403, 401]),
        row(Method::GET, "/api/v1/me/follows", None, SIGNED_IN),
        row(Method::GET, "/api/v1/tokens", None, SIGNED_IN),
        row(Method::POST, "/api/v1/tokens", Some(json!({ "scopes": ["all"] })), with_account(422)),
        row(Method::DELETE, "/api/v1/tokens/tok_none", None, with_account(404)),
    ]
}

fn channels() -> Vec<Row> {
    let channel = "/api/v1/channels/show";
    let no_key = format!("{channel}/keys/key_none");
    vec![
        row(Method::GET, "/api/v1/channels", None, SIGNED_IN),
        row(Method::GET, "/api/v1/channels?all=true", None, admins(200)),
        row(Method::POST, "/api/v1/channels", Some(json!({ "name": "api" })), with_account(422)),
        row(Method::GET, channel, None, PUBLIC),
        row(Method::PATCH, channel, Some(json!({ "title": "x" })), [401, 403, 403, 200, 200, 200, 200]),
        // It is gone once its owner has removed it.
        row(Method::DELETE, "/api/v1/channels/doomed", None, [401, 403, 403, 403, 204, 404, 404]),
        // Of the configuration: nobody's.
        row(Method::DELETE, "/api/v1/channels/main", None, admins(409)),
        row(Method::GET, format!("{channel}/keys"), None, owners(200)),
        row(Method::POST, format!("{channel}/keys"), Some(json!({})), owners(201)),
        row(Method::DELETE, no_key.clone(), None, owners(404)),
        row(Method::POST, format!("{no_key}/rotate"), Some(json!({ "overlapSeconds": 1 })), owners(404)),
        row(Method::GET, format!("{channel}/roles"), None, owners(200)),
        row(Method::PUT, format!("{channel}/roles/editor"), Some(json!({ "role": "editor" })), owners(204)),
        row(Method::DELETE, format!("{channel}/roles/stranger"), None, owners(204)),
        row(
            Method::PUT,
            format!("{channel}/subscribers/bystander"),
            Some(json!({ "tier": 1, "seconds": 60 })),
            owners(404),
        ),
        row(Method::DELETE, format!("{channel}/subscribers/stranger"), None, owners(204)),
        row(Method::GET, format!("{channel}/streams"), None, moderators(200)),
        row(Method::GET, format!("{channel}/chat"), None, PUBLIC),
        row(Method::PUT, format!("{channel}/chat"), Some(json!({ "slowMs": 1000 })), moderators(200)),
        row(Method::GET, format!("{channel}/bans"), None, moderators(200)),
        row(
            Method::PUT,
            format!("{channel}/bans/stranger"),
            Some(json!({ "seconds": 60, "reason": "spam" })),
            moderators(204),
        ),
        row(Method::DELETE, format!("{channel}/bans/nobody"), None, moderators(404)),
        row(Method::POST, format!("{channel}/grants"), Some(json!({ "subject": "x" })), editors(201)),
        row(Method::DELETE, format!("{channel}/grants"), None, editors(204)),
        row(Method::PUT, format!("{channel}/follow"), Some(json!({ "notify": true })), with_account(204)),
        row(Method::DELETE, format!("{channel}/follow"), None, with_account(204)),
    ]
}

fn streams() -> Vec<Row> {
    let choice = json!({ "rid": "auto" });
    vec![
        row(Method::GET, "/api/v1/streams", None, PUBLIC),
        row(Method::GET, "/api/v1/streams/show", None, [404; 7]),
        row(Method::GET, "/api/v1/streams/closed", None, moderators(404)),
        row(Method::GET, "/api/v1/streams/show/peers", None, [403, 403, 404, 404, 404, 403, 404]),
        row(Method::DELETE, "/api/v1/streams/show", None, editors(404)),
        row(Method::DELETE, "/api/v1/streams/show/viewers/p1", None, moderators(404)),
        row(Method::PUT, "/api/v1/streams/show/viewers/p1/layer", Some(choice), moderators(404)),
        row(Method::GET, "/api/v1/recordings", None, PUBLIC),
        row(Method::GET, "/api/v1/recordings/s0000000000000", None, [404; 7]),
        row(Method::DELETE, "/api/v1/recordings/s0000000000000", None, [401, 404, 404, 404, 404, 404, 404]),
    ]
}

fn hooks() -> Vec<Row> {
    let hook = json!({ "url": "https://bot.example.org/live" });
    let one = |rest: &str| format!("/api/v1/hooks/hok_none{rest}?channel=show");
    let switch = json!({ "enabled": true });
    vec![
        row(Method::GET, "/api/v1/hooks", None, admins(200)),
        row(Method::POST, "/api/v1/hooks", Some(hook.clone()), admins(201)),
        row(Method::GET, "/api/v1/hooks?channel=show", None, owners(200)),
        row(Method::POST, "/api/v1/hooks?channel=show", Some(hook), owners(201)),
        row(Method::PATCH, one(""), Some(switch), owners(404)),
        row(Method::DELETE, one(""), None, owners(404)),
        row(Method::DELETE, "/api/v1/hooks/hok_none", None, admins(404)),
        row(Method::POST, one("/test"), None, owners(404)),
        row(Method::GET, one("/deliveries"), None, owners(404)),
        row(Method::POST, one("/deliveries/dlv_none/replay"), None, owners(404)),
    ]
}

fn instance() -> Vec<Row> {
    vec![
        row(Method::GET, "/api/v1/info", None, PUBLIC),
        row(Method::GET, "/api/v1/stats", None, PUBLIC),
        row(Method::GET, "/.well-known/jwks.json", None, PUBLIC),
        row(Method::GET, "/api/v1/grant-keys", None, admins(200)),
        row(Method::POST, "/api/v1/grant-keys", Some(json!({ "delaySeconds": 60 })), admins(201)),
        row(Method::DELETE, "/api/v1/grant-keys/none", None, admins(404)),
        row(Method::GET, "/api/v1/users", None, admins(200)),
        row(Method::PATCH, "/api/v1/users/stranger", Some(json!({})), admins(200)),
        row(Method::POST, "/api/v1/invites", None, admins(201)),
        row(Method::GET, "/api/v1/audit", None, admins(200)),
        row(Method::PUT, "/api/v1/drain", Some(json!({ "draining": false })), admins(204)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_should_and_says_what_is_documented() {
    let stage = Stage::shared_with(open_to_all).await;
    let contract = Contract::of(&stage).await;
    let admin = set_up(&stage).await;
    let mut accounts = Vec::new();
    for login in ["stranger", "moderator", "editor", "owner"] {
        accounts.push(sign_up(&stage, login).await);
    }
    let owner = accounts[3].clone();
    owner.post(&stage, "/api/v1/channels", json!({ "name": "show" })).await;
    owner.post(&stage, "/api/v1/channels", json!({ "name": "doomed" })).await;
    owner.post(&stage, "/api/v1/channels", json!({ "name": "closed", "visibility": "signed" })).await;
    for (channel, login) in
        [("show", "editor"), ("show", "moderator"), ("closed", "editor"), ("closed", "moderator")]
    {
        let path = format!("/api/v1/channels/{channel}/roles/{login}");
        assert_eq!(owner.status(&stage, Method::PUT, &path, Some(json!({ "role": login }))).await, 204);
    }
    let made = owner.post(&stage, "/api/v1/tokens", json!({ "scopes": ["channel:write"] })).await;
    let token = Person { cookie: None, token: Some(made["secret"].as_str().expect("shown once").to_owned()) };
    let mut people = vec![Person::default()];
    people.extend(accounts);
    people.extend([token, admin]);

    let ids: BTreeSet<String> = contract.ids().into_iter().collect();
    assert_eq!(ids.len(), contract.operations().len(), "an id of its own for each: {ids:?}");
    let table = table();
    let tried: BTreeSet<String> = table
        .iter()
        .map(|row| {
            let operation = contract.operation(&row.method, &row.path);
            operation.unwrap_or_else(|| panic!("{} {} is no route", row.method, row.path))
        })
        .collect();
    let missing: Vec<String> = contract.operations().into_iter().filter(|it| !tried.contains(it)).collect();
    assert_eq!(missing, Vec::<String>::new(), "routes that are not in the table");

    let send = async |person: &Person, row: &Row| {
        // From afar: a client on the server itself is the operator.
        let request = person.request(&stage, row.method.clone(), &row.path, row.body.clone());
        request.header("x-forwarded-for", "203.0.113.9").send().await.expect("HTTP answers")
    };
    for row in &table {
        let mut seen = [0; 7];
        for (place, person) in seen.iter_mut().zip(&people) {
            let answer = send(person, row).await;
            *place = answer.status().as_u16();
            contract.check(&row.method, &row.path, answer).await;
        }
        assert_eq!(seen, row.expected, "{} {}", row.method, row.path);
    }
    // A session cannot be used from pages of others.
    let owner =
        Person::sign_in(&stage, "/api/v1/session", json!({ "login": "owner", "password": PASSWORD })).await;
    let foreign = owner.request(&stage, Method::DELETE, "/api/v1/channels/show", None);
    let foreign = foreign.header("sec-fetch-site", "cross-site").send().await.expect("HTTP answers");
    assert_eq!(foreign.status(), 403);

    // Without its database each route says what it can, or that it cannot: a problem, with when to come back.
    stage.server().database().close().await;
    let (mut failed, mut answered) = (0, 0);
    for row in &table {
        for person in [&Person::default(), &owner] {
            let answer = send(person, row).await;
            match answer.status().as_u16() {
                503 => failed += 1,
                500.. => panic!("{} {}: {}", row.method, row.path, answer.status()),
                _ => answered += 1,
            }
            contract.check(&row.method, &row.path, answer).await;
        }
    }
    assert!(failed > table.len() / 2 && answered > 10, "{failed} failed, {answered} answered");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_route_is_a_problem_too() {
    let stage = Stage::shared().await;
    let http = reqwest::Client::new();
    for (request, status) in [
        (http.get(stage.url("/api/v1/nothing")), 404),
        (http.get(stage.url("/api/v2")), 404),
        (http.put(stage.url("/api/v1/streams")), 405),
        (http.get(stage.url("/api/v1/streams?limit=0")), 422),
        (http.get(stage.url("/api/v1/streams?limit=many")), 400),
        (http.get(stage.url("/api/v1/streams?cursor=x")), 422),
        (http.get(stage.url("/api/v1/recordings?cursor=x")), 422),
        (http.get(stage.url("/api/v1/channels/%ff")), 400),
        (http.post(stage.url("/api/v1/session")).body("{}"), 415),
        (http.post(stage.url("/api/v1/session")).json(&json!({})), 422),
        (http.post(stage.url("/api/v1/session")).header("content-type", "application/json").body("{"), 400),
        (
            http.post(stage.url("/api/v1/session"))
                .header("content-type", "application/json")
                .body("x".repeat(300_000)),
            413,
        ),
        (http.get(stage.url("/api/v1/me")).bearer_auth("swt_none"), 401),
    ] {
        let answer = request.send().await.expect("HTTP answers");
        let url = answer.url().clone();
        assert_eq!(answer.status().as_u16(), status, "{url}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{url}");
        let problem: Value = answer.json().await.expect("JSON");
        assert_eq!(problem["status"], status, "{url}: {problem}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_others_may_ask_and_hears_how_often() {
    let stage = Stage::shared_with(|config| {
        config.api.requests_per_minute = 3;
        // A proxy says for whom it asks: nobody from afar can connect in a test.
        config.http.public_url = Some("http://live.example".to_owned());
    })
    .await;
    let http = reqwest::Client::new();
    let url = stage.url("/api/v1/streams");
    let from = |request: reqwest::RequestBuilder| {
        request.header("origin", "https://site.example").header("x-forwarded-for", "203.0.113.9")
    };
    let asked = from(http.request(Method::OPTIONS, &url));
    let asked = asked.header("access-control-request-method", "DELETE");
    let asked = asked.header("access-control-request-headers", "authorization,content-type");
    let answer = asked.send().await.expect("HTTP answers");
    assert!(answer.status().is_success(), "{}", answer.status());
    let header = |answer: &reqwest::Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned()).unwrap_or_default()
    };
    // Tokens from any page; no cookies.
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    assert_eq!(header(&answer, "access-control-allow-credentials"), "");
    assert!(header(&answer, "access-control-allow-methods").contains("DELETE"));
    assert!(header(&answer, "access-control-allow-headers").contains("authorization"));
    for left in ["2", "1", "0"] {
        let answer = from(http.get(&url)).send().await.expect("HTTP answers");
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "ratelimit-remaining")),
            (200, left.to_owned())
        );
        assert_eq!(header(&answer, "ratelimit-limit"), "3");
        assert!(header(&answer, "access-control-expose-headers").contains("ratelimit-remaining"));
    }
    let answer = from(http.get(&url)).send().await.expect("HTTP answers");
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "access-control-allow-origin")),
        (429, "*".to_owned())
    );
    assert_eq!(header(&answer, "retry-after"), header(&answer, "ratelimit-reset"));
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!((&problem["status"], problem["type"].as_str().is_some()), (&json!(429), true), "{problem}");
    stage.stop().await;
}
