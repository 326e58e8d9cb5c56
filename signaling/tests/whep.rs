//! WHEP, row by row of the conformance list (draft-ietf-wish-whep), against a real SFU. What WHEP shares with
//! WHIP to the letter (media types, limits, problems) is tested in `ingest/tests/whip/`.
#![expect(clippy::disallowed_methods, reason = "tests read the clock")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use control::{Authority, ChannelConfig};
use media::{ChannelName, Codec, Hub, NtpTime, Publication, StreamWriter, Timescale, TrackSpec};
use sfu::Sfu;
use signaling::whep::{Whep, routes};
use tower::ServiceExt;

const CHROMIUM: &str = include_str!("../../sfu/tests/fixtures/offers/chromium-h264.offer.sdp");
const ENDPOINT: &str = "/whep/ana";

/// What Chromium offers who only wants to receive: its publisher's offer without a source.
fn viewer() -> String {
    CHROMIUM
        .replace("a=sendonly", "a=recvonly")
        .lines()
        .filter(|line| !line.starts_with("a=ssrc") && !line.starts_with("a=msid:"))
        .map(|line| format!("{line}\r\n"))
        .collect()
}

/// The routes; channel `ana` exists, and is live while the writer is held.
struct House {
    app: Router,
    hub: Arc<Hub>,
    sfu: Sfu,
    live: Option<StreamWriter>,
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

    fn session(&self) -> String {
        let location = self.header("location").expect("a location");
        location[location.find("/whep/s/").unwrap()..].to_owned()
    }
}

impl House {
    fn open(live: bool) -> Self {
        let config = sfu::Config {
            port: 0,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            announce: vec!["127.0.0.1".to_owned()],
            shards: 1,
            ..sfu::Config::default()
        };
        let sfu = Sfu::start(config).unwrap();
        let hub = Hub::new(Duration::from_secs(10));
        let name = ChannelName::parse("ana").unwrap();
        let wall = NtpTime::from_unix_micros(1_795_000_000_000_000);
        let writer = live.then(|| hub.publish(&name, Publication::default(), Instant::now(), wall).unwrap());
        let authority = Authority::new(&[ChannelConfig {
            name,
            title: String::new(),
            keys: Vec::new(),
            rewind_s: None,
            rewind_mib: None,
        }]);
        let whep = Whep::new(Arc::clone(&hub), sfu.clone(), Arc::new(authority), None).secure(false);
        Self { app: routes(whep), hub, sfu, live: writer }
    }

    async fn send(&self, method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(uri).header("host", "live.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().into()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "row 10: on every answer");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Location, Link, ETag"));
        answer
    }

    async fn post(&self, uri: &str, offer: &str) -> Answer {
        self.send(Method::POST, uri, &[("content-type", "application/sdp")], offer).await
    }

    async fn session(&self) -> Answer {
        let answer = self.post(ENDPOINT, &viewer()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.sfu.stop();
    }
}

#[tokio::test]
async fn row_01_post_is_201_with_answer_location_and_tag() {
    let house = House::open(true);
    let answer = house.session().await;
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert!(answer.header("location").unwrap().starts_with("http://live.example/whep/s/"));
    let tag = answer.header("etag").unwrap();
    assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "row 14: {tag}");
    assert_ne!(house.session().await.header("etag"), Some(tag), "row 14: unique");
}

#[tokio::test]
async fn row_02_03_broken_and_unacceptable_offers() {
    let house = House::open(true);
    let plain = house.send(Method::POST, ENDPOINT, &[("content-type", "text/plain")], &viewer()).await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(plain.header("accept-post"), Some("application/sdp"));
    assert_eq!(house.post(ENDPOINT, "hello").await.status, StatusCode::BAD_REQUEST);
    let unknown = viewer().replace(" opus/", " xyz/").replace(" H264/", " xyz/").replace(" AV1/", " xyz/");
    let answer = house.post(ENDPOINT, &unknown).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn row_04_directions() {
    let house = House::open(true);
    for (direction, status) in [("sendonly", 422), ("inactive", 422), ("recvonly", 201), ("sendrecv", 201)] {
        let offer = viewer().replace("a=recvonly", &format!("a={direction}"));
        let answer = house.post(ENDPOINT, &offer).await;
        assert_eq!(answer.status.as_u16(), status, "{direction}: {}", answer.body);
        if status == 201 {
            assert_eq!(answer.body.matches("a=sendonly").count(), 2);
        }
    }
}

#[tokio::test]
async fn row_05_06_07_bundle_mux_setup_stream_and_candidates() {
    let house = House::open(true);
    let answer = house.session().await;
    let count = |line: &str| answer.body.lines().filter(|found| *found == line).count();
    assert_eq!(count("a=rtcp-mux"), 2);
    assert_eq!(count("a=rtcp-mux-only"), 2);
    assert_eq!(count("a=setup:passive"), 2);
    assert!(answer.body.contains("a=group:BUNDLE 0 1"), "{}", answer.body);
    assert!(count("a=ice-lite") == 1 && answer.body.contains("a=end-of-candidates"));
    assert!(answer.body.contains(&format!(" 127.0.0.1 {} typ host", house.sfu.port())));
    let mut streams: Vec<_> =
        answer.body.lines().filter_map(|line| line.strip_prefix("a=msid:")?.split(' ').next()).collect();
    assert_eq!(streams.len(), 2);
    streams.dedup();
    assert_eq!(streams.len(), 1, "one MediaStream: {streams:?}");
}

#[tokio::test]
async fn row_08_09_31_other_methods() {
    let house = House::open(true);
    let session = house.session().await.session();
    for uri in [ENDPOINT, &session] {
        assert_eq!(house.send(Method::GET, uri, &[], "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(house.send(Method::OPTIONS, uri, &[], "").await.status, StatusCode::OK);
        assert_eq!(house.send(Method::PUT, uri, &[], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let head = house.send(Method::HEAD, ENDPOINT, &[], "").await;
    assert_eq!((head.status, head.header("content-type")), (StatusCode::OK, Some("application/sdp")));
    let options = house.send(Method::OPTIONS, ENDPOINT, &[], "").await;
    assert_eq!(options.header("accept-post"), Some("application/sdp"));
}

#[tokio::test]
async fn row_15_to_19_patch() {
    let house = House::open(true);
    let made = house.session().await;
    let offer = viewer();
    let ufrag = offer.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    let fragment = |ufrag: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef01234567\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2130706431 6c1f9c0e.local 39132 typ host\r\n"
        )
    };
    let tag = made.header("etag").unwrap();
    let kind = ("content-type", "application/trickle-ice-sdpfrag");
    for (name, headers, body, status) in [
        ("trickle", &[kind, ("if-match", tag)][..], fragment(ufrag), 204),
        ("no precondition", &[kind], fragment(ufrag), 428),
        ("another session's", &[kind, ("if-match", "\"x\"")], fragment(ufrag), 412),
        ("malformed", &[kind, ("if-match", tag)], "hello".to_owned(), 400),
        ("an answer", &[("content-type", "application/sdp"), ("if-match", tag)], offer.clone(), 415),
    ] {
        let answer = house.send(Method::PATCH, &made.session(), headers, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.body);
        assert_eq!(answer.header("etag"), None, "{name}");
    }
    let restart = [kind, ("if-match", "*")];
    let restarted = house.send(Method::PATCH, &made.session(), &restart, &fragment("other")).await;
    assert_eq!(restarted.status, StatusCode::OK, "row 18: {}", restarted.body);
    assert_ne!(restarted.header("etag"), Some(tag), "row 18: another ICE session");
    assert!(restarted.body.contains("a=ice-ufrag:") && restarted.body.contains(" 127.0.0.1 "));
    let alive = house.send(Method::GET, &made.session(), &[], "").await;
    assert_eq!(alive.status, StatusCode::NO_CONTENT, "row 18: the session goes on");
}

#[tokio::test]
async fn row_22_23_delete_and_the_end_of_the_peer() {
    let house = House::open(true);
    let (first, second) = (house.session().await.session(), house.session().await.session());
    assert_eq!(house.send(Method::DELETE, &first, &[], "").await.status, StatusCode::OK);
    assert_eq!(house.send(Method::DELETE, &first, &[], "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.send(Method::GET, &second, &[], "").await.status, StatusCode::NO_CONTENT);
    house.sfu.stop();
    let begun = Instant::now();
    while house.send(Method::GET, &second, &[], "").await.status != StatusCode::NOT_FOUND {
        assert!(begun.elapsed() < Duration::from_secs(5), "the session is still there");
        tokio::task::yield_now().await;
    }
    assert_eq!(house.post(ENDPOINT, &viewer()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn row_30_no_publisher_is_409_and_no_channel_404() {
    let house = House::open(false);
    let answer = house.post(ENDPOINT, &viewer()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    for uri in ["/whep/nobody", "/whep/a%20b"] {
        assert_eq!(house.post(uri, &viewer()).await.status, StatusCode::NOT_FOUND, "{uri}");
    }
    // A Publisher that is away for the grace window is no reason to send viewers away.
    let name = ChannelName::parse("ana").unwrap();
    let wall = NtpTime::from_unix_micros(1);
    drop(house.hub.publish(&name, Publication::default(), Instant::now(), wall).unwrap());
    assert_eq!(house.post(ENDPOINT, &viewer()).await.status, StatusCode::CREATED);
}

/// The picture is in a codec that the player did not offer: it is told at once, with the way by HLS.
#[tokio::test]
async fn a_codec_that_was_not_offered_is_406_with_the_url_of_hls() {
    let mut house = House::open(true);
    let writer = house.live.as_mut().unwrap();
    let spec = TrackSpec {
        codec: Codec::Av1,
        timescale: Timescale::VIDEO,
        derived: false,
        keyframes_on_request: true,
    };
    let _picture = writer.track(spec);
    let answer = house.post(ENDPOINT, &viewer()).await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{}", answer.body);
    assert!(answer.body.contains("urn:swiftwater:problem:codec"), "{}", answer.body);
    assert!(answer.body.contains("AV1"), "{}", answer.body);
    let link = answer.header("link").expect("a link");
    assert!(link.starts_with("<http://live.example/hls/ana/master.m3u8>; rel=\"alternate\""), "{link}");
    let with_av1 = viewer().replace("a=rtpmap:108 H264/90000", "a=rtpmap:108 AV1/90000");
    let answer = house.post(ENDPOINT, &with_av1).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
}

#[tokio::test]
async fn row_33_a_layer_is_chosen_beside_the_session() {
    let mut house = House::open(true);
    let spec = TrackSpec {
        codec: Codec::H264,
        timescale: Timescale::VIDEO,
        derived: false,
        keyframes_on_request: true,
    };
    let picture = house.live.as_mut().unwrap().track(spec);
    let _layer = picture.track().read::<media::RtpPacket>(&media::Rid::parse("h").unwrap());
    let answer = house.session().await;
    let relation = "rel=\"urn:ietf:params:whep:ext:core:layer\"";
    let links: Vec<&str> = answer.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    let announced = format!("<http://live.example{}/layer>; {relation}", answer.session());
    assert!(links.contains(&announced.as_str()), "{links:?}");
    let layer = format!("{}/layer", answer.session());
    let json = [("content-type", "application/json")];
    for (headers, body, status) in [
        (&json[..], r#"{"mediaId":"0","encodingId":"h"}"#, StatusCode::OK),
        (&json, r#"{"mediaId":"0","maxHeight":360}"#, StatusCode::OK),
        (&json, r#"{"mediaId":"0"}"#, StatusCode::OK),
        (&json, r#"{"mediaId":"0","encodingId":"x"}"#, StatusCode::NOT_FOUND),
        (&json, "nothing", StatusCode::BAD_REQUEST),
        (&[("content-type", "application/sdp")], "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let answer = house.send(Method::POST, &layer, headers, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    assert_eq!(house.send(Method::GET, &layer, &[], "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(house.send(Method::OPTIONS, &layer, &[], "").await.header("allow"), Some("OPTIONS, POST"));
    let gone = house.send(Method::POST, "/whep/s/0/layer", &json, "{}").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}
