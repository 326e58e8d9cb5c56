//! What is offered and what is answered.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{Method, StatusCode};

use crate::house::{CHROMIUM, ENDPOINT, House, KEY, OBS, OBS_SIMULCAST};

#[tokio::test]
async fn row_01_post_is_201_with_answer_and_location() {
    let house = House::open();
    for (uri, name) in [(ENDPOINT, "channel in the URL"), ("/whip", "channel from the key")] {
        let answer = house.post(uri, KEY, OBS).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{name}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/sdp"));
        assert!(answer.body.starts_with("v=0"), "OBS looks for it");
        assert!(answer.session().len() > "/whip/s/".len());
    }
}

#[tokio::test]
async fn row_02_media_type_and_syntax() {
    let house = House::open();
    let auth = ("authorization", "Bearer sk_test_0123456789");
    for kind in ["text/plain", "application/json", "application/sdpx"] {
        let answer = house.send(Method::POST, ENDPOINT, &[("content-type", kind), auth], OBS).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
        assert_eq!(answer.header("accept-post"), Some("application/sdp"));
    }
    let bare = house.send(Method::POST, ENDPOINT, &[auth], OBS).await;
    assert_eq!(bare.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for kind in ["application/sdp; charset=utf-8", "Application/SDP"] {
        let answer = house.send(Method::POST, ENDPOINT, &[("content-type", kind), auth], OBS).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{kind}");
    }
    for garbage in ["", "hello", "{\"sdp\":\"v=0\"}", "v=0\r\n"] {
        let answer = house.post(ENDPOINT, KEY, garbage).await;
        assert!(answer.status == 400 || (garbage.starts_with("v=0") && answer.status == 422), "{garbage}");
    }
    let headers = [("content-type", "application/sdp"), auth];
    let binary = house.send(Method::POST, ENDPOINT, &headers, vec![0xff, 0xfe, 0xfd]).await;
    assert_eq!(binary.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn row_03_an_offer_that_cannot_be_answered_is_refused_whole_and_before_admission() {
    let house = House::open();
    let unknown_codec = OBS.replace("H264/90000", "XYZ/90000");
    let video = &OBS[OBS.find("m=video").unwrap()..];
    let two_videos =
        format!("{}{}", OBS.replace("BUNDLE 0 1", "BUNDLE 0 1 2"), video.replace("a=mid:1", "a=mid:2"));
    for (name, offer) in [("unknown codec", unknown_codec), ("two video tracks", two_videos)] {
        let answer = house.post(ENDPOINT, KEY, &offer).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {}", answer.body);
        assert!(!answer.problem()["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(house.asked.load(Ordering::SeqCst), 0);
    assert_eq!(house.state(), None);
}

#[tokio::test]
async fn row_04_directions() {
    let house = House::open();
    for (direction, status) in [("recvonly", 422), ("inactive", 422), ("sendonly", 201), ("sendrecv", 201)] {
        let answer = house.post(ENDPOINT, KEY, &OBS.replace("a=sendonly", &format!("a={direction}"))).await;
        assert_eq!(answer.status.as_u16(), status, "{direction}: {}", answer.body);
        if status == 201 {
            assert_eq!(answer.body.matches("a=recvonly").count(), 2);
        }
    }
}

#[tokio::test]
async fn row_05_06_bundle_mux_and_setup() {
    let house = House::open();
    for offer in [OBS, CHROMIUM] {
        let answer = house.post(ENDPOINT, KEY, offer).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        let count = |line: &str| answer.body.lines().filter(|found| *found == line).count();
        assert_eq!(count("a=rtcp-mux"), 2);
        assert_eq!(count("a=rtcp-mux-only"), 2);
        assert_eq!(count("a=setup:passive"), 2);
        assert!(answer.body.contains("a=group:BUNDLE 0 1"), "{}", answer.body);
    }
}

#[tokio::test]
async fn row_07_the_answer_has_all_candidates() {
    let house = House::open();
    let answer = house.session().await;
    let candidate = format!(" 127.0.0.1 {} typ host", house.sfu.port());
    assert!(answer.body.contains(&candidate), "{}", answer.body);
    assert!(answer.body.contains("a=end-of-candidates"));
}

#[tokio::test]
async fn ice_servers_are_told_with_the_answer_and_before() {
    let server = serde_json::json!({ "urls": ["turn:turn.example.org:3478"], "secret": "north" });
    let house =
        House::of(|config| config.ice_servers = vec![serde_json::from_value(server).unwrap()], |whip| whip);
    let made = house.session().await;
    let options = house.send(Method::OPTIONS, ENDPOINT, &[], Body::empty()).await;
    for answer in [&made, &options] {
        let link = answer.header("link").expect("a link");
        assert!(link.starts_with("<turn:turn.example.org:3478>; rel=\"ice-server\"; username=\""), "{link}");
        assert!(
            link.contains("; credential=\"") && link.ends_with("; credential-type=\"password\""),
            "{link}"
        );
    }
    let preflight = [("access-control-request-method", "POST"), ("origin", "https://example.org")];
    let answer = house.send(Method::OPTIONS, ENDPOINT, &preflight, Body::empty()).await;
    assert_eq!(answer.header("link"), None);
}

#[tokio::test]
async fn row_28_simulcast_accepts_every_layer() {
    let house = House::open();
    let answer = house.post(ENDPOINT, KEY, OBS_SIMULCAST).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert!(answer.body.contains("a=simulcast:recv 0;1;2"), "{}", answer.body);
    for rid in ["a=rid:0 recv", "a=rid:1 recv", "a=rid:2 recv"] {
        assert!(answer.body.contains(rid));
    }
}
