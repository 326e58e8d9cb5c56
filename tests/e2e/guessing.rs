//! Guessing and forging from outside. What can be guessed is refused, then not looked at for a while; a token that is not
//! good opens no door; and no line of the log has what was tried.

use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::stage::{CHANNEL, KEY};
use tests::{Gateway, Stage, eventually, log, source};

use crate::person::{PASSWORD, Person, set_up, sign_up};

const PATIENCE: Duration = Duration::from_secs(30);

/// In no other test, so that a log line that has it comes from here.
const GUESS: &str = "guess_8c1e44d07b";

/// A real encoder's offer.
const OFFER: &str = include_str!("../../sfu/tests/fixtures/offers/obs.offer.sdp");

/// More than any limit, so that a test of one that is not there ends.
const TRIES_MAX: usize = 100;

/// Tries until it is told to wait: how often it was refused before.
async fn until_limited(mut attempt: impl AsyncFnMut(usize) -> reqwest::Response) -> usize {
    for refused in 0..TRIES_MAX {
        let answer = attempt(refused).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait = answer.headers()["retry-after"].to_str().expect("ASCII");
            assert!((1..=300).contains(&wait.parse::<u32>().expect("seconds")), "{wait}");
            return refused;
        }
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    }
    panic!("{TRIES_MAX} guesses, and no limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_refused_then_limited_and_never_logged() {
    let stage = Stage::shared_with(|config| {
        config.accounts.sign_up = control::account::SignUp::Open;
        // A proxy says for whom it asks: nobody from afar can connect in a test, and who comes from the server itself is not
        // limited.
        config.http.public_url = Some("http://live.example".to_owned());
    })
    .await;
    let ana = set_up(&stage).await;
    sign_up(&stage, "bob").await;
    let log_in = async |login: &str, password: &str, from: &str| {
        let body = json!({ "login": login, "password": password });
        let request = Person::default().request(&stage, Method::POST, "/api/v1/session", Some(body));
        request.header("x-forwarded-for", from).send().await.expect("HTTP answers")
    };

    // Passwords, from one network. Whether there is such an account is not to be learnt.
    let guesser = "203.0.113.21";
    let by_network =
        until_limited(async |n| log_in(if n % 2 == 0 { "ana" } else { "nobody" }, GUESS, guesser).await)
            .await;
    assert_eq!(log_in("ana", PASSWORD, guesser).await.status(), 429, "not even the right one");
    assert_eq!(log_in("ana", PASSWORD, "203.0.113.22").await.status(), 200, "from elsewhere");
    // One account, from a network each time.
    let by_account = until_limited(async |n| log_in("bob", GUESS, &format!("198.51.100.{n}")).await).await;

    // API tokens.
    let program = Person { cookie: None, token: Some(format!("swt_{GUESS}")) };
    let tokens = until_limited(async |_| {
        let request = program.request(&stage, Method::GET, "/api/v1/me", None);
        request.header("x-forwarded-for", "203.0.113.23").send().await.expect("HTTP answers")
    })
    .await;

    // Stream keys. An encoder hears it in the words of a refusal.
    let whip = async |key: &str, from: &str| {
        let request =
            reqwest::Client::new().post(stage.url("/whip")).header("content-type", "application/sdp");
        let request = request.header("x-forwarded-for", from).bearer_auth(key).body(OFFER);
        request.send().await.expect("HTTP answers")
    };
    let mut keys = 0;
    let limited = loop {
        let answer = whip(GUESS, "203.0.113.24").await;
        if answer.status() != StatusCode::UNAUTHORIZED {
            break answer;
        }
        keys += 1;
        assert!(keys < TRIES_MAX, "no limit");
    };
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(limited.headers().contains_key("retry-after"));
    assert!(limited.text().await.expect("text").contains("too many wrong stream keys"));
    assert_eq!(whip(KEY, "203.0.113.24").await.status(), 429, "not even the right one");
    assert_eq!(whip(KEY, "203.0.113.25").await.status(), 201, "from elsewhere");

    eprintln!(
        "guesses before the limit: {by_network} logins by network, {by_account} by account, {tokens} tokens, {keys} keys"
    );
    assert_eq!((by_network, by_account, tokens, keys), (10, 50, 10, 20));
    assert_eq!(stage.metric("swiftwater_stream_keys_limited_total").await, 2.0);
    for (reason, count) in [("wrong", 10.0), ("limited", 1.0)] {
        let refused = format!("swiftwater_api_tokens_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(stage.metric(&refused).await, count, "{reason}");
    }
    for said in ["login refused", "an API token was shown that is not good", "publisher refused"] {
        assert!(!log::lines(&[said]).is_empty(), "operators see: {said}");
    }
    for secret in [GUESS, PASSWORD, KEY, &ana.cookie.expect("signed in")[19..]] {
        assert_eq!(log::lines(&[secret]), Vec::<String>::new());
    }
    stage.stop().await;
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn read(token: &str, part: usize) -> Value {
    let text = token.split('.').nth(part).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64")).expect("JSON")
}

/// Tokens made of a good one by somebody who has not the key.
fn forgeries(good: &str, public: &Value) -> Vec<(&'static str, String)> {
    let (header, claims) = (read(good, 0), read(good, 1));
    let signature = good.rsplit('.').next().expect("a signature");
    let with = |value: &Value, name: &str, to: Value| {
        let mut changed = value.clone();
        changed[name] = to;
        changed
    };
    let none = with(&header, "alg", json!("none"));
    // The public key as the secret of an HMAC.
    let confused = format!("{}.{}", part(&with(&header, "alg", json!("HS256"))), part(&claims));
    let key = URL_SAFE_NO_PAD.decode(public["x"].as_str().expect("a point")).expect("base64");
    let mac = hmac::sign(&hmac::Key::new(HMAC_SHA256, &key), confused.as_bytes());
    let changed =
        |name: &str, to: Value| format!("{}.{}.{signature}", part(&header), part(&with(&claims, name, to)));
    vec![
        ("alg none", format!("{}.{}.", part(&none), part(&claims))),
        ("alg none, signed", format!("{}.{}.{signature}", part(&none), part(&claims))),
        ("HS256 by the public key", format!("{confused}.{}", URL_SAFE_NO_PAD.encode(mac))),
        (
            "a key of nobody",
            format!("{}.{}.{signature}", part(&with(&header, "kid", json!("x"))), part(&claims)),
        ),
        ("longer", changed("exp", json!(claims["exp"].as_i64().expect("a time") + 86_400))),
        ("from the future", changed("iat", json!(claims["iat"].as_i64().expect("a time") + 86_400))),
        ("of another channel", changed("ch", json!("main"))),
        ("for another purpose", changed("aud", json!("gateway"))),
        ("nonsense", "a.b.c".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_opens_no_door() {
    let stage = Stage::shared().await;
    let ana = set_up(&stage).await;
    let channel = format!("/api/v1/channels/{CHANNEL}");
    let closed = json!({ "visibility": "signed" });
    assert_eq!(ana.status(&stage, Method::PATCH, &channel, Some(closed)).await, 200);
    let _publisher = source::pattern(&stage.rtmp_url(), source::PLAIN);
    stage.live(&[media::Kind::Video]).await;
    let grants = format!("{channel}/grants");
    let grant = async |seconds: u32| {
        let made = ana.post(&stage, &grants, json!({ "subject": "viewer", "seconds": seconds })).await;
        made["token"].as_str().expect("a token").to_owned()
    };
    let (good, short) = (grant(600).await, grant(1).await);
    let gateway_token = ana.get(&stage, "/api/v1/me").await["gatewayToken"].as_str().expect("one").to_owned();

    let get =
        async |path: String| reqwest::get(stage.url(&path)).await.expect("HTTP answers").status().as_u16();
    let hls = async |token: &str| get(format!("/hls/t/{token}/{CHANNEL}/master.m3u8")).await;
    let whep = async |token: &str| {
        let request = reqwest::Client::new().post(stage.whep_url()).header("content-type", "application/sdp");
        request.bearer_auth(token).body("v=0\r\n").send().await.expect("HTTP answers").status().as_u16()
    };
    let mut member = Gateway::hello(&stage).await;
    let mut join = async |token: &str| {
        let ask = json!({ "type": "join", "ch": format!("stream:{CHANNEL}"), "token": token });
        let answer = member.ask(ask).await;
        answer["error"]["code"].as_str().unwrap_or("joined").to_owned()
    };
    // Whether a token says who somebody is.
    let hello = async |token: &str| {
        let mut gateway = Gateway::open(&stage).await;
        gateway.send(&json!({ "type": "hello", "v": 1, "token": token })).await;
        gateway.find_or_closed(|frame| frame["type"] == "welcome").await.map(drop)
    };

    eventually("the good one opens", PATIENCE, async || (hls(&good).await == 200).then_some(())).await;
    assert_eq!((whep(&good).await, join(&good).await.as_str()), (400, "joined"), "let in, with a bad offer");
    assert_eq!(hello(&gateway_token).await, Ok(()));
    let keys: Value = reqwest::get(stage.url("/.well-known/jwks.json"))
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(keys["keys"][0].get("d").is_none(), "public keys: {keys}");
    let mut bad = forgeries(&good, &keys["keys"][0]);
    bad.push(("who somebody is", gateway_token.clone()));
    for (name, token) in &bad {
        let seen = (hls(token).await, whep(token).await, join(token).await);
        assert_eq!(seen, (401, 401, "forbidden".to_owned()), "{name}");
    }
    let mut bad = forgeries(&gateway_token, &keys["keys"][0]);
    bad.push(("a grant to watch", good.clone()));
    for (name, token) in &bad {
        assert_eq!(hello(token).await, Err(Some(4004)), "{name}");
    }
    // Its second, and ten more for clocks that differ.
    eventually("it is too old", PATIENCE, async || (hls(&short).await == 401).then_some(())).await;
    assert_eq!((whep(&short).await, join(&short).await.as_str()), (401, "forbidden"));
    assert_eq!(hls(&good).await, 200, "the good one stays so");

    assert!(!log::lines(&["a token was shown that is not good"]).is_empty());
    for token in [&good, &short, &gateway_token] {
        let signature = token.rsplit('.').next().expect("a signature");
        assert_eq!(log::lines(&[signature]), Vec::<String>::new());
    }
    stage.stop().await;
}
