//! The routes of WHIP over a real SFU, with an admission that knows one key.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use ingest::whip::{Whip, routes};
use ingest::{PublishRequest, Rejection, Transport};
use media::{ChannelName, Hub, NtpTime, Publication, StreamState};
use secrecy::ExposeSecret;
use sfu::Sfu;
use tokio::sync::mpsc;
use tower::ServiceExt;

pub(crate) const KEY: &str = "sk_test_0123456789";
pub(crate) const OBS: &str = include_str!("../../../sfu/tests/fixtures/offers/obs.offer.sdp");
pub(crate) const OBS_SIMULCAST: &str =
    include_str!("../../../sfu/tests/fixtures/offers/obs-simulcast.offer.sdp");
pub(crate) const CHROMIUM: &str = include_str!("../../../sfu/tests/fixtures/offers/chromium-h264.offer.sdp");
pub(crate) const ENDPOINT: &str = "/whip/ana";

/// The routes, with an admission that knows one key and a few that are refused in their own ways.
pub(crate) struct House {
    pub(crate) app: Router,
    pub(crate) hub: Arc<Hub>,
    pub(crate) sfu: Sfu,
    pub(crate) asked: Arc<AtomicUsize>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// The path of the session.
    pub(crate) fn session(&self) -> String {
        let location = self.header("location").expect("a location");
        location[location.find("/whip/s/").unwrap()..].to_owned()
    }
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(|whip| whip)
    }

    pub(crate) fn with(configure: impl FnOnce(Whip) -> Whip) -> Self {
        Self::of(|_| {}, configure)
    }

    pub(crate) fn of(change: impl FnOnce(&mut sfu::Config), configure: impl FnOnce(Whip) -> Whip) -> Self {
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
                    "guessed" => {
                        let why = "too many wrong stream keys".to_owned();
                        request.reject(Rejection::TooMany { why, seconds: 77 });
                    }
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

    pub(crate) async fn send(
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

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
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

    pub(crate) async fn post(&self, uri: &str, key: &str, offer: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers =
            [("content-type", "application/sdp"), ("authorization", &*bearer), ("host", "live.example")];
        self.send(Method::POST, uri, &headers, offer.to_owned()).await
    }

    /// A session that was just made.
    pub(crate) async fn session(&self) -> Answer {
        let answer = self.post(ENDPOINT, KEY, OBS).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer
    }

    pub(crate) async fn patch(&self, session: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/trickle-ice-sdpfrag")];
        all.extend(headers);
        self.send(Method::PATCH, session, &all, body.to_owned()).await
    }

    pub(crate) fn state(&self) -> Option<StreamState> {
        self.hub.stream(&ChannelName::parse("ana").unwrap()).map(|stream| stream.state())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.sfu.stop();
    }
}

pub(crate) fn ufrag(offer: &str) -> &str {
    offer.lines().find_map(|line| line.trim_end().strip_prefix("a=ice-ufrag:")).unwrap()
}

pub(crate) fn fragment(ufrag: &str, candidate: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef01234567\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{candidate}"
    )
}
