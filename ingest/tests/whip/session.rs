//! Sessions: entity tags, patches, ends.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use media::{ChannelName, StreamState};

use crate::house::{ENDPOINT, House, KEY, OBS, fragment, ufrag};

#[tokio::test]
async fn row_14_the_entity_tag_is_strong_quoted_and_unique() {
    let house = House::open();
    let (first, second) = (house.session().await, house.session().await);
    let (one, two) = (first.header("etag").unwrap(), second.header("etag").unwrap());
    assert!(one.len() > 2 && one.starts_with('"') && one.ends_with('"'), "{one}");
    assert!(!one[1..one.len() - 1].contains('"') && one != "\"*\"");
    assert_ne!(one, two);
}

#[tokio::test]
async fn row_15_20_trickled_candidates_are_204_whatever_they_are() {
    let house = House::open();
    let made = house.session().await;
    let tag = made.header("etag").unwrap();
    for candidate in [
        "a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\na=end-of-candidates\r\n",
        "a=candidate:1 1 udp 2130706431 6c1f9c0e-2f54-44d8.local 39132 typ host\r\n",
        "a=candidate:1 1 tcp 2130706431 198.51.100.1 9 typ host tcptype active\r\n",
        "",
    ] {
        let body = fragment(ufrag(OBS), candidate);
        let answer = house.patch(&made.session(), &[("if-match", tag)], &body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{candidate}: {}", answer.body);
        assert_eq!((answer.body.as_str(), answer.header("etag")), ("", None));
    }
}

#[tokio::test]
async fn row_16_preconditions() {
    let house = House::open();
    let session = house.session().await.session();
    let body = fragment(ufrag(OBS), "");
    assert_eq!(house.patch(&session, &[], &body).await.status, StatusCode::PRECONDITION_REQUIRED);
    for tag in ["\"other\"", "W/\"other\"", "other"] {
        let answer = house.patch(&session, &[("if-match", tag)], &body).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{tag}");
    }
}

#[tokio::test]
async fn row_17_18_an_ice_restart_is_answered_under_a_new_tag_and_the_session_goes_on() {
    let house = House::open();
    let made = house.session().await;
    let mut tag = made.header("etag").unwrap().to_owned();
    let mut pwd = String::new();
    for (number, precondition) in ["*", "\"*\"", "the tag"].into_iter().enumerate() {
        let precondition = if precondition == "the tag" { tag.as_str() } else { precondition };
        let theirs = fragment(&format!("new{number}"), "");
        let answer = house.patch(&made.session(), &[("if-match", precondition)], &theirs).await;
        assert_eq!(answer.status, StatusCode::OK, "{precondition}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/trickle-ice-sdpfrag"));
        let line = |prefix: &str| answer.body.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
        let fresh = answer.header("etag").unwrap();
        assert_eq!(fresh, format!("\"{}\"", line("a=ice-ufrag:")));
        assert!(fresh != tag && line("a=ice-pwd:") != pwd, "{}", answer.body);
        assert!(line("m=").starts_with("audio 9 ") && line("a=mid:") == "0", "{}", answer.body);
        assert!(line("a=candidate:").contains(" 127.0.0.1 "), "{}", answer.body);
        pwd = line("a=ice-pwd:").to_owned();
        // The tag of before names an ICE session that is over, or soon will be.
        let late = house.patch(&made.session(), &[("if-match", &tag)], &fragment("late", "")).await;
        assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
        tag = fresh.to_owned();
        // Candidates of the new session are no second restart.
        let trickled = house.patch(&made.session(), &[("if-match", &tag)], &theirs).await;
        assert_eq!(trickled.status, StatusCode::NO_CONTENT);
    }
    let again = house.send(Method::GET, &made.session(), &[], Body::empty()).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_eq!(house.sfu.stats().peers_waiting, 1);
}

#[tokio::test]
async fn row_19_other_patches_are_refused() {
    let house = House::open();
    let made = house.session().await;
    let tag = made.header("etag").unwrap();
    let headers = [("content-type", "application/sdp"), ("if-match", tag)];
    let answer = house.send(Method::PATCH, &made.session(), &headers, OBS).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    let malformed = house.patch(&made.session(), &[("if-match", tag)], "m=audio\r\n").await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn row_22_delete_is_200_once_and_frees_the_publication() {
    let house = House::open();
    let made = house.session().await;
    assert_eq!(house.state(), Some(StreamState::Live));
    // OBS sends its key along; If-Match is ignored.
    let bearer = format!("Bearer {KEY}");
    let headers = [("authorization", &*bearer), ("if-match", "\"other\"")];
    let answer = house.send(Method::DELETE, &made.session(), &headers, Body::empty()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    let stream = house.hub.stream(&ChannelName::parse("ana").unwrap()).unwrap();
    let mut state = stream.watch_state();
    let freed = state.wait_for(|state| *state == StreamState::Reconnecting);
    tokio::time::timeout(Duration::from_secs(5), freed).await.expect("the publication ends").unwrap();
    let again = house.send(Method::DELETE, &made.session(), &[], Body::empty()).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let other = house.session().await;
    let wrong = [("authorization", "Bearer sk_other")];
    let answer = house.send(Method::DELETE, &other.session(), &wrong, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn row_23_a_peer_that_ends_takes_its_session_along() {
    let house = House::open();
    let session = house.session().await.session();
    house.sfu.stop();
    let begun = Instant::now();
    while house.send(Method::GET, &session, &[], Body::empty()).await.status != StatusCode::NOT_FOUND {
        assert!(begun.elapsed() < Duration::from_secs(5), "the session is still there");
        tokio::task::yield_now().await;
    }
    assert_eq!(house.state(), Some(StreamState::Reconnecting));
    // A node that stops says so, instead of an error of its own.
    let answer = house.post(ENDPOINT, KEY, OBS).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_second_offer_with_the_same_key_takes_over() {
    let house = House::open();
    house.session().await;
    let stream = house.hub.stream(&ChannelName::parse("ana").unwrap()).unwrap();
    house.session().await;
    assert_eq!((stream.epoch(), stream.state()), (1, StreamState::Live));
}
