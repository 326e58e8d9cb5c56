//! Methods, pages of others, tokens, addresses, refusals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use ingest::PublishRequest;
use ingest::whip::{Whip, routes};
use media::{ChannelName, NtpTime, Publication};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::house::{ENDPOINT, House, KEY, OBS};

#[tokio::test]
async fn row_08_get_and_head_succeed_without_content() {
    let house = House::open();
    let session = house.session().await.session();
    for uri in [ENDPOINT, "/whip", &session] {
        for method in [Method::GET, Method::HEAD] {
            let answer = house.send(method.clone(), uri, &[], Body::empty()).await;
            assert!(answer.status.is_success(), "{method} {uri}: {}", answer.status);
            assert_eq!(answer.body, "");
        }
    }
    assert_eq!(house.send(Method::GET, ENDPOINT, &[], Body::empty()).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn row_09_options_and_preflights() {
    let house = House::open();
    let preflight = [
        ("origin", "https://studio.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    for headers in [&[][..], &preflight] {
        let answer = house.send(Method::OPTIONS, ENDPOINT, headers, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("accept-post"), Some("application/sdp"));
        assert_eq!(answer.header("link"), None);
    }
    let session = house.session().await.session();
    let answer = house.send(Method::OPTIONS, &session, &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
}

#[tokio::test]
async fn row_10_cors_on_every_answer() {
    // `call` checks origin and exposed headers on all answers of all tests; the rest is here.
    let house = House::open();
    let answer = house.send(Method::OPTIONS, ENDPOINT, &[], Body::empty()).await;
    let methods = answer.header("access-control-allow-methods").unwrap();
    for method in ["OPTIONS", "GET", "HEAD", "POST", "PATCH", "DELETE"] {
        assert!(methods.contains(method));
    }
    let headers = answer.header("access-control-allow-headers").unwrap();
    for header in ["Authorization", "Content-Type", "If-Match"] {
        assert!(headers.contains(header));
    }
    assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    house.send(Method::PUT, ENDPOINT, &[], Body::empty()).await;
    house.send(Method::DELETE, "/whip/s/none", &[], Body::empty()).await;
}

#[tokio::test]
async fn row_11_tokens() {
    let house = House::open();
    let sdp = ("content-type", "application/sdp");
    for (name, headers, uri) in [
        ("none", &[sdp][..], ENDPOINT),
        ("another scheme", &[sdp, ("authorization", "Basic c2s6c2s=")], ENDPOINT),
        ("unknown", &[sdp, ("authorization", "Bearer sk_wrong")], ENDPOINT),
        ("of another channel", &[sdp, ("authorization", "Bearer sk_test_0123456789")], "/whip/bob"),
    ] {
        let answer = house.send(Method::POST, uri, headers, OBS).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.body.contains("sk_"), "no key in an answer");
    }
    let by_url = house.send(Method::POST, &format!("{ENDPOINT}?key={KEY}"), &[sdp], OBS).await;
    assert_eq!(by_url.status, StatusCode::CREATED);
    assert!(!by_url.header("location").unwrap().contains('?'), "OBS keeps the query of a location");
}

#[tokio::test]
async fn peers_of_one_address_are_limited_and_told_so() {
    let house = House::of(|config| config.peers_per_address_max = 2, |whip| whip);
    let post = async |address: &str| {
        let mut request = Request::builder().method(Method::POST).uri(ENDPOINT);
        for (name, value) in
            [("content-type", "application/sdp"), ("authorization", &format!("Bearer {KEY}"))]
        {
            request = request.header(name, value);
        }
        let remote: SocketAddr = address.parse().unwrap();
        let request = request.extension(ConnectInfo(remote));
        house.call(request.body(Body::from(OBS)).unwrap()).await
    };
    let first = post("192.0.2.7:1000").await;
    assert_eq!(
        (first.status, post("192.0.2.7:1001").await.status),
        (StatusCode::CREATED, StatusCode::CREATED)
    );
    let refused = post("192.0.2.7:1002").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.problem()["type"], "urn:swiftwater:problem:too-many-peers");
    assert_eq!(house.sfu.stats().refused.address, 1);
    // Others are not concerned, and a place becomes free.
    assert_eq!(post("192.0.2.8:1000").await.status, StatusCode::CREATED);
    house.send(Method::DELETE, &first.session(), &[], Body::empty()).await;
    assert_eq!(post("192.0.2.7:1003").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn row_24_the_location_is_the_servers_own_url() {
    let url = "https://node1.example";
    type Case = (fn(Whip) -> Whip, &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 3] = [
        (|whip| whip, &[], "/whip/s/"),
        (|whip| whip.secure(false), &[], "http://live.example/whip/s/"),
        (|whip| whip, &[("x-forwarded-proto", "https")], "https://live.example/whip/s/"),
    ];
    for (configure, extra, expected) in cases {
        let house = House::with(configure);
        let bearer = format!("Bearer {KEY}");
        let mut headers =
            vec![("content-type", "application/sdp"), ("authorization", &*bearer), ("host", "live.example")];
        headers.extend(extra);
        let answer = house.send(Method::POST, ENDPOINT, &headers, OBS).await;
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(expected), "{location}");
    }
    let house = House::open();
    let (sender, mut requests) = mpsc::channel::<PublishRequest>(1);
    let hub = Arc::clone(&house.hub);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let channel = ChannelName::parse("ana").unwrap();
            let wall = NtpTime::from_unix_micros(1);
            request.accept(hub.take_over(&channel, Publication::default(), Instant::now(), wall));
        }
    });
    let whip = Whip::new(sender, house.sfu.clone(), Some(url.into())).secure(false);
    let request = Request::post(ENDPOINT)
        .header("content-type", "application/sdp")
        .header("authorization", "Bearer x")
        .header("host", "live.example")
        .body(Body::from(OBS))
        .unwrap();
    let response = routes(whip).oneshot(request).await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("https://node1.example/whip/s/"), "{location}");
}

#[tokio::test]
async fn row_25_busy_down_and_forbidden() {
    let house = House::open();
    for (key, status, retry) in
        [("banned", 403, false), ("busy", 409, true), ("down", 503, true), ("dropped", 503, true)]
    {
        let answer = house.post(ENDPOINT, key, OBS).await;
        assert_eq!(answer.status.as_u16(), status, "{key}");
        assert_eq!(answer.header("retry-after").is_some(), retry, "{key}");
    }
    let answer = house.post(ENDPOINT, "banned", OBS).await;
    assert_eq!(answer.problem()["detail"], "You are banned until Friday");
}

#[tokio::test]
async fn row_26_a_key_that_was_not_looked_at_may_come_again() {
    let house = House::open();
    let ask = |key: &str| {
        let mut request = Request::post(ENDPOINT)
            .header("content-type", "application/sdp")
            .header("authorization", format!("Bearer {key}"))
            .body(Body::from(OBS))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 9], 1))));
        request
    };
    // More often than failures are forgiven: the wrong keys have been counted, and this one may be good.
    for _ in 0..40 {
        let answer = house.call(ask("guessed")).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.header("retry-after"), Some("77"));
        assert_eq!(answer.problem()["detail"], "too many wrong stream keys");
    }
    assert_eq!(house.call(ask("sk_guess")).await.status, StatusCode::UNAUTHORIZED, "the address may ask on");
}

#[tokio::test]
async fn row_26_sessions_are_unguessable_and_failures_are_limited() {
    let house = House::open();
    let (first, second) = (house.session().await.session(), house.session().await.session());
    assert_ne!(first, second);
    assert_eq!(first.strip_prefix("/whip/s/").unwrap().len(), 32, "128 bits in hexadecimal");

    let from = |address: &str| {
        let mut request = Request::post(ENDPOINT)
            .header("content-type", "application/sdp")
            .header("authorization", "Bearer sk_guess")
            .body(Body::from(OBS))
            .unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address.parse().unwrap(), 1)));
        request
    };
    let mut refused = 0;
    let limited = loop {
        let answer = house.call(from("192.0.2.7")).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        refused += 1;
        assert!(refused < 100, "never limited");
    };
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() <= 61);
    assert_eq!(house.call(from("192.0.2.8")).await.status, StatusCode::UNAUTHORIZED, "others may");
}

#[tokio::test]
async fn row_27_errors_are_problems() {
    let house = House::open();
    let wrong_type = house.send(Method::POST, ENDPOINT, &[("content-type", "text/plain")], OBS).await;
    let answers = [
        (wrong_type, 415),
        (house.post(ENDPOINT, KEY, "hello").await, 400),
        (house.post(ENDPOINT, "sk_wrong", OBS).await, 401),
        (house.post("/whip/a%20b", KEY, OBS).await, 404),
        (house.post(ENDPOINT, KEY, &"x".repeat(65_537)).await, 413),
        (house.send(Method::PUT, ENDPOINT, &[], Body::empty()).await, 405),
        (house.send(Method::PATCH, "/whip/s/none", &[], Body::empty()).await, 404),
    ];
    for (answer, status) in answers {
        assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
        let problem = answer.problem();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:swiftwater:problem:"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn row_27_methods_that_are_not_allowed_say_which_are() {
    let house = House::open();
    let session = house.session().await.session();
    for (uri, methods, allowed) in [
        (ENDPOINT, [Method::PUT, Method::PATCH, Method::DELETE], "OPTIONS, GET, HEAD, POST"),
        (&session, [Method::PUT, Method::POST, Method::TRACE], "OPTIONS, GET, HEAD, PATCH, DELETE"),
    ] {
        for method in methods {
            let answer = house.send(method.clone(), uri, &[], Body::empty()).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {uri}");
            assert_eq!(answer.header("allow"), Some(allowed));
        }
    }
}
