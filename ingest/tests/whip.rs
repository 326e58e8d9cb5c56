//! WHIP, row by row of the conformance list (RFC 9725), against a real SFU.
#![expect(clippy::disallowed_methods, reason = "tests read the clock and start tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use ingest::whip::{Whip, routes};
use ingest::{PublishRequest, Rejection, Transport};
use media::{ChannelName, Hub, NtpTime, Publication, StreamState};
use secrecy::ExposeSecret;
use sfu::Sfu;
use tokio::sync::mpsc;
use tower::ServiceExt;

const KEY: &str = "sk_test_0123456789";
const OBS: &str = include_str!("../../sfu/tests/fixtures/offers/obs.offer.sdp");
const OBS_SIMULCAST: &str = include_str!("../../sfu/tests/fixtures/offers/obs-simulcast.offer.sdp");
const CHROMIUM: &str = include_str!("../../sfu/tests/fixtures/offers/chromium-h264.offer.sdp");
const ENDPOINT: &str = "/whip/ana";

/// The routes, with an admission that knows one key and a few that are refused in their own ways.
struct House {
    app: Router,
    hub: Arc<Hub>,
    sfu: Sfu,
    asked: Arc<AtomicUsize>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// The path of the session.
    fn session(&self) -> String {
        let location = self.header("location").expect("a location");
        location[location.find("/whip/s/").unwrap()..].to_owned()
    }
}

impl House {
    fn open() -> Self {
        Self::with(|whip| whip)
    }

    fn with(configure: impl FnOnce(Whip) -> Whip) -> Self {
        Self::of(|_| {}, configure)
    }

    fn of(change: impl FnOnce(&mut sfu::Config), configure: impl FnOnce(Whip) -> Whip) -> Self {
        let mut config = sfu::Config {
            port: 0,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            announce: vec!["127.0.0.1".to_owned()],
            shards: 1,
            ..sfu::Config::default()
        };
        change(&mut config);
        let sfu = Sfu::start(config).unwrap();
        let hub = Hub::new(Duration::from_secs(10));
        let (sender, mut requests) = mpsc::channel::<PublishRequest>(8);
        let asked = Arc::new(AtomicUsize::new(0));
        let (rooms, count) = (Arc::clone(&hub), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                assert_eq!(request.transport, Transport::Whip);
                count.fetch_add(1, Ordering::SeqCst);
                let elsewhere = request.channel.as_ref().is_some_and(|name| name.as_str() != "ana");
                match request.key.expose_secret() {
                    KEY if !elsewhere => {
                        let channel = ChannelName::parse("ana").unwrap();
                        let publication = Publication { transport: "whip", ..Publication::default() };
                        let wall = NtpTime::from_unix_micros(1_795_000_000_000_000);
                        request.accept(rooms.take_over(&channel, publication, Instant::now(), wall));
                    }
                    "banned" => request.reject(Rejection::Forbidden("You are banned until Friday".into())),
                    "busy" => request.reject(Rejection::Busy),
                    "down" => request.reject(Rejection::Unavailable),
                    "dropped" => drop(request),
                    _ => request.reject(Rejection::UnknownKey),
                }
            }
        });
        let app = routes(configure(Whip::new(sender, sfu.clone(), None)));
        Self { app, hub, sfu, asked }
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(body.into()).unwrap()).await
    }

    async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.into()).unwrap(),
        };
        // Row 10 holds for every answer.
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", answer.status);
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["Location", "Link", "ETag", "Accept-Post", "Retry-After"] {
            assert!(exposed.contains(name), "{name} is exposed");
        }
        answer
    }

    async fn post(&self, uri: &str, key: &str, offer: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers =
            [("content-type", "application/sdp"), ("authorization", &*bearer), ("host", "live.example")];
        self.send(Method::POST, uri, &headers, offer.to_owned()).await
    }

    /// A session that was just made.
    async fn session(&self) -> Answer {
        let answer = self.post(ENDPOINT, KEY, OBS).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer
    }

    async fn patch(&self, session: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/trickle-ice-sdpfrag")];
        all.extend(headers);
        self.send(Method::PATCH, session, &all, body.to_owned()).await
    }

    fn state(&self) -> Option<StreamState> {
        self.hub.stream(&ChannelName::parse("ana").unwrap()).map(|stream| stream.state())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.sfu.stop();
    }
}

fn ufrag(offer: &str) -> &str {
    offer.lines().find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:")).unwrap()
}

fn fragment(ufrag: &str, candidate: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef01234567\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{candidate}"
    )
}

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

#[tokio::test]
async fn a_second_offer_with_the_same_key_takes_over() {
    let house = House::open();
    house.session().await;
    let stream = house.hub.stream(&ChannelName::parse("ana").unwrap()).unwrap();
    house.session().await;
    assert_eq!((stream.epoch(), stream.state()), (1, StreamState::Live));
}
