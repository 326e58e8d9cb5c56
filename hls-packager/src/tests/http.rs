//! The routes, over a Hub, in paused time: what a player sees.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use media::{
    ChannelName, Codec, CodecConfig, Frame, Hub, Kind, MediaTime, NtpTime, Publication, Rid, StreamWriter,
    Timescale, TrackSpec, TrackWriter, opus, vp8,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt;

use super::reader::List;
use super::sim::NOON_UNIX_MICROS;
use super::source::Source;
use crate::{Config, Packager, State, routes};

/// A node with one Stream on channel `ana`.
pub(super) struct House {
    pub(super) hub: Arc<Hub>,
    pub(super) packager: Arc<Packager>,
    pub(super) app: Router,
    pub(super) tasks: JoinSet<()>,
    pub(super) origin: Instant,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) took: Duration,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(super) fn list(&self) -> List {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        List::read(&self.text())
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let packager = Packager::new(config);
        let app = routes(Arc::clone(&packager));
        Self {
            hub: Hub::new(Duration::from_secs(10)),
            packager,
            app,
            tasks: JoinSet::new(),
            origin: Instant::now(),
        }
    }

    fn wall(&self) -> NtpTime {
        let micros = self.origin.elapsed().as_micros() as u64;
        NtpTime::from_unix_micros(NOON_UNIX_MICROS + micros)
    }

    pub(super) fn publish(&mut self) -> StreamWriter {
        let channel = ChannelName::parse("ana").expect("a name");
        let known = self.hub.stream(&channel).is_some();
        let now = Instant::now().into_std();
        let wall = self.wall();
        let writer = self.hub.publish(&channel, Publication::default(), now, wall).expect("free");
        if !known {
            self.origin = Instant::now();
            self.tasks.spawn(self.packager.attach(Arc::clone(writer.stream()), None));
        }
        writer
    }

    /// Publishes `source` from now on; the writer is dropped at its end.
    pub(super) fn play(&mut self, source: Source) {
        let mut writer = self.publish();
        let frames = source.frames(self.origin.into_std());
        self.tasks.spawn(async move {
            let mut tracks = Tracks::of(&mut writer, &source);
            for (kind, frame) in frames {
                tokio::time::sleep_until(frame.arrival.into()).await;
                tracks.write(kind, frame);
            }
        });
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, accept: Option<&str>) -> Answer {
        ask(self.app.clone(), method, path, accept).await
    }

    /// The prefix of the Stream's own URLs, from the multivariant playlist.
    pub(super) async fn prefix(&self) -> String {
        let master = self.get("/hls/ana/master.m3u8").await;
        assert_eq!(master.status, StatusCode::OK, "{}", master.text());
        let text = master.text();
        let uri = text.lines().rfind(|line| !line.starts_with('#')).expect("a variant");
        format!("/hls/ana/{}", uri.strip_suffix("/index.m3u8").expect("a media playlist"))
    }
}

async fn ask(app: Router, method: &str, path: &str, accept: Option<&str>) -> Answer {
    let began = Instant::now();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(accept) = accept {
        request = request.header("accept-encoding", accept);
    }
    let response = app.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
    Answer { status: parts.status, headers: parts.headers, body, took: began.elapsed() }
}

/// The Tracks of a publication.
struct Tracks {
    video: Option<TrackWriter>,
    audio: Option<TrackWriter>,
}

impl Tracks {
    fn of(writer: &mut StreamWriter, source: &Source) -> Self {
        let video = source.video.then(|| writer.track(spec(Codec::H264, Timescale::VIDEO)));
        let audio =
            source.audio_hz.map(|hz| writer.track(spec(Codec::Aac, Timescale::new(hz).expect("not zero"))));
        Self { video, audio }
    }

    fn write(&mut self, kind: Kind, frame: Frame) {
        let track = match kind {
            Kind::Video => self.video.as_mut(),
            Kind::Audio => self.audio.as_mut(),
        };
        track.expect("the source has it").write_frame(&Rid::single(), frame);
    }
}

fn spec(codec: Codec, timescale: Timescale) -> TrackSpec {
    TrackSpec { codec, timescale, keyframes_on_request: false, derived: false }
}

/// The next part after the end of a playlist, as a blocking request asks for it.
fn next(list: &List) -> String {
    let last = list.segments.last().expect("segments");
    let msn = list.media_sequence + list.segments.len() as u64 - 1;
    match last.uri {
        Some(_) => format!("_HLS_msn={}&_HLS_part=0", msn + 1),
        None => format!("_HLS_msn={msn}&_HLS_part={}", last.parts.len()),
    }
}

#[tokio::test(start_paused = true)]
async fn hls_v01_to_v05_v07_v08_v10_p02_p05_c_the_multivariant_playlist_waits_for_the_first_segments() {
    let mut house = House::new();
    assert_eq!(house.get("/hls/ana/master.m3u8").await.status, StatusCode::NOT_FOUND);
    house.play(Source::default());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let master = house.get("/hls/ana/master.m3u8").await;
    assert!((1..5).contains(&master.took.as_secs()), "{:?}", master.took);
    assert_eq!(master.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(master.header("cache-control"), "public, max-age=1");
    assert_eq!(master.header("access-control-allow-origin"), "*");
    let text = master.text();
    let id = house.packager.statuses()[0].stream.clone();
    for expected in [
        "#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned(),
        format!("LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"{id}/audio/index.m3u8\""),
        "CODECS=\"avc1.4d401f,mp4a.40.2\"".to_owned(),
        "RESOLUTION=1280x720".to_owned(),
        "FRAME-RATE=30.000".to_owned(),
        "AUDIO=\"audio\"".to_owned(),
        "CLOSED-CAPTIONS=NONE".to_owned(),
        format!("\n{id}/video/index.m3u8\n"),
    ] {
        assert!(text.contains(&expected), "{expected} in\n{text}");
    }
    assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 1, "V10: no variant of sound alone: {text}");
    let bandwidth = text.split("BANDWIDTH=").nth(1).and_then(|rest| rest.split(',').next());
    let bandwidth: u64 = bandwidth.expect("V01").parse().expect("a number");
    // 40 kB + 59 x 6 kB per 2 s, and audio of 112 kbit/s.
    assert!((1_700_000..2_100_000).contains(&bandwidth), "{bandwidth}");
}

#[tokio::test(start_paused = true)]
async fn hls_l04_d04_l15_playlists_and_hinted_parts_block_until_they_are_there() {
    let mut house = House::new();
    house.play(Source { seconds: 40.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(4)).await;
    for rendition in ["video", "audio"] {
        let prefix = house.prefix().await.replace("video", rendition);
        let mut list = house.get(&format!("{prefix}/index.m3u8")).await.list();
        for _ in 0..12 {
            let hint = list.hint.clone().expect("a hint");
            let (playlist, part) =
                (format!("{prefix}/index.m3u8?{}", next(&list)), format!("{prefix}/{hint}"));
            let (answer, part) = tokio::join!(house.get(&playlist), house.get(&part));
            let found = answer.list();
            super::rules::check(&found, false);
            super::rules::check_step(&list, &found);
            let last = found.segments.iter().rev().find_map(|segment| segment.parts.last());
            assert_eq!(last.map(|part| &part.uri), Some(&hint), "exactly the part that was asked for");
            assert!(answer.took <= Duration::from_millis(600), "{:?}", answer.took);
            assert_eq!((part.status, part.took), (StatusCode::OK, answer.took), "the part is there as early");
            assert_eq!(part.header("content-length"), part.body.len().to_string());
            assert_eq!(&part.body[4..8], b"moof");
            list = found;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hls_c_cache_lifetimes_and_types() {
    let mut house = House::new();
    house.play(Source { seconds: 40.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let prefix = house.prefix().await;
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    let map = list.segments[0].map.clone().expect("a map");
    let forever = "public, max-age=31536000, immutable";
    for (path, status, cache, content_type) in [
        ("index.m3u8".to_owned(), 200, "public, max-age=1", "application/vnd.apple.mpegurl"),
        (
            format!("index.m3u8?{}", next(&list)),
            200,
            "public, max-age=0, s-maxage=12",
            "application/vnd.apple.mpegurl",
        ),
        // What may come later is kept by nobody: whoever asks too early must not spoil it for those who ask in time.
        ("index.m3u8?_HLS_msn=99999".to_owned(), 400, "no-store", "application/problem+json"),
        ("index.m3u8?_HLS_part=1".to_owned(), 400, "public, max-age=2", "application/problem+json"),
        ("index.m3u8?_HLS_msn=x".to_owned(), 400, "public, max-age=2", "application/problem+json"),
        (map, 200, forever, "video/mp4"),
        ("s0.m4s".to_owned(), 200, forever, "video/mp4"),
        ("p0.m4s".to_owned(), 200, forever, "video/mp4"),
        ("p99999.m4s".to_owned(), 404, "no-store", "application/problem+json"),
        ("s99999.m4s".to_owned(), 404, "no-store", "application/problem+json"),
        ("init1.mp4".to_owned(), 404, "no-store", "application/problem+json"),
        ("../video1/index.m3u8".to_owned(), 404, "no-store", "application/problem+json"),
        ("other".to_owned(), 404, "public, max-age=2", "application/problem+json"),
    ] {
        let url = match path.strip_prefix("../video1") {
            Some(file) => format!("{prefix}1{file}"),
            None => format!("{prefix}/{path}"),
        };
        let answer = house.get(&url).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert_eq!(answer.header("content-type"), content_type, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(answer.header("age"), "", "L21");
    }
    let audio = prefix.replace("video", "audio");
    assert_eq!(house.get(&format!("{audio}/s0.m4s")).await.header("content-type"), "audio/mp4");
    let preflight = house.ask("OPTIONS", &format!("{prefix}/index.m3u8"), None).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert!(preflight.header("access-control-allow-methods").contains("GET"));
    let head = house.ask("HEAD", &format!("{prefix}/s0.m4s"), None).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test(start_paused = true)]
async fn hls_c_what_is_gone_may_be_remembered_and_what_comes_next_may_not() {
    let mut house = House::new();
    house.play(Source { seconds: 120.0, fps: 10.0, keyframe: |n| n % 20 == 0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(100)).await;
    let prefix = house.prefix().await;
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    let hint = list.hint.expect("a hint");
    let next: u64 = hint[1..].trim_end_matches(".m4s").parse().expect("a number");
    let edge = list.media_sequence + list.segments.iter().filter(|it| it.uri.is_some()).count() as u64;
    for (file, cache) in [
        ("p0.m4s".to_owned(), "public, max-age=2"),
        ("s0.m4s".to_owned(), "public, max-age=2"),
        (format!("p{}.m4s", next + 1), "no-store"),
        (format!("s{edge}.m4s"), "no-store"),
        (format!("s{}.m4s", edge + 1), "no-store"),
    ] {
        let answer = house.get(&format!("{prefix}/{file}")).await;
        assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::NOT_FOUND, cache), "{file}");
    }
}

#[tokio::test(start_paused = true)]
async fn hls_p06_p08_m10_every_url_of_a_stream_is_answered_whole_and_without_a_redirect() {
    let mut house = House::new();
    house.play(Source { seconds: 40.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(14)).await;
    let master = house.get("/hls/ana/master.m3u8").await.text();
    let sound = master.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("sound");
    let picture = master.lines().rfind(|line| !line.starts_with('#')).expect("a variant");
    let mut seen = 0;
    for uri in [sound, picture] {
        let list = house.get(&format!("/hls/ana/{uri}")).await.list();
        let base = uri.strip_suffix("index.m3u8").expect("a media playlist");
        let parts = list.segments.iter().flat_map(|segment| &segment.parts).map(|part| &part.uri);
        let whole = list.segments.iter().flat_map(|segment| segment.map.iter().chain(&segment.uri));
        for file in whole.chain(parts).chain(&list.hint) {
            let answer = house.get(&format!("/hls/ana/{base}{file}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{file}");
            assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{file}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[tokio::test(start_paused = true)]
async fn hls_p05_playlists_are_compressed_for_those_who_can() {
    let mut house = House::new();
    house.play(Source { seconds: 40.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(12)).await;
    let path = format!("{}/index.m3u8", house.prefix().await);
    let plain = house.ask("GET", &path, None).await;
    for (accept, compressed) in
        [("gzip, deflate, br", true), ("br;q=1, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false)]
    {
        let answer = house.ask("GET", &path, Some(accept)).await;
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("content-encoding"), if compressed { "gzip" } else { "" }, "{accept}");
        let mut text = String::new();
        if compressed {
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).expect("gzip");
            assert!(answer.body.len() * 2 < text.len());
        } else {
            text = answer.text();
        }
        assert_eq!(text, plain.text());
    }
}

#[tokio::test(start_paused = true)]
async fn hls_l21_a_thousand_waiters_get_the_same_playlist_at_once() {
    let mut house = House::new();
    house.play(Source { seconds: 40.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let prefix = house.prefix().await;
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    let path = format!("{prefix}/index.m3u8?{}", next(&list));
    let before = house.packager.stats();
    let mut viewers = JoinSet::new();
    for _ in 0..1000 {
        let (app, path) = (house.app.clone(), path.clone());
        viewers.spawn(async move { ask(app, "GET", &path, Some("gzip")).await });
    }
    let answers = viewers.join_all().await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK && answer.body == answers[0].body));
    let after = house.packager.stats();
    assert_eq!(after.playlists_served_total - before.playlists_served_total, 1000);
    assert!(after.playlists_rendered_total - before.playlists_rendered_total <= 2, "rendered once");
    assert_eq!(after.requests_waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn hls_d09_a_paused_source_is_answered_with_503_before_hls_js_gives_up() {
    for part_target_ms in [200, 500] {
        d09_a_pause(Config { part_target_ms, ..Config::default() }).await;
    }
}

async fn d09_a_pause(config: Config) {
    let mut house = House::with(config);
    house.play(Source { seconds: 10.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(14)).await;
    let prefix = house.prefix().await;
    // The publisher leaves at 15 s; the grace window runs.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    let part = format!("{prefix}/{}", list.hint.clone().expect("a hint"));
    for path in [format!("{prefix}/index.m3u8?{}", next(&list)), part] {
        let answer = house.get(&path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!((answer.header("cache-control"), answer.header("retry-after")), ("no-store", "1"));
        // hls.js: max(3 x PART-TARGET, 0.8 x TARGETDURATION) = 1.6 s.
        assert!(answer.took < Duration::from_millis(1600), "{:?}", answer.took);
        assert!(answer.took > Duration::from_millis(1100), "hls.js waits 1 s after a 503: {:?}", answer.took);
    }
    assert_eq!(house.get(&format!("{prefix}/index.m3u8")).await.status, StatusCode::OK);
    assert_eq!(house.packager.stats().requests_stalled_total, 2);
}

#[tokio::test(start_paused = true)]
async fn hls_d10_m16_whoever_waits_at_the_end_gets_endlist_and_then_it_drains() {
    let mut house = House::new();
    house.play(Source { seconds: 10.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(14)).await;
    let prefix = house.prefix().await;
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    let hub = Arc::clone(&house.hub);
    let waiting =
        format!("{prefix}/index.m3u8?_HLS_msn={}", list.media_sequence + list.segments.len() as u64);
    let (answer, ()) = tokio::join!(house.get(&waiting), async {
        tokio::time::sleep(Duration::from_millis(1050)).await;
        hub.end_all();
    });
    assert!(answer.list().ended, "D10");
    assert_eq!(house.get("/hls/ana/master.m3u8").await.status, StatusCode::NOT_FOUND, "over");
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(house.get(&format!("{prefix}/index.m3u8")).await.list().ended, "viewers drain");
    assert_eq!(house.get(&format!("{prefix}/s0.m4s")).await.status, StatusCode::OK);
    let stats = house.packager.stats();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(house.get(&format!("{prefix}/index.m3u8")).await.status, StatusCode::NOT_FOUND, "M16");
    let gone = house.packager.stats();
    assert_eq!((gone.streams, gone.bytes_held), (0, 0));
    assert_eq!(gone.parts_total, stats.parts_total, "counters never step back");
}

#[tokio::test(start_paused = true)]
async fn nothing_lingers_when_the_process_stops() {
    let mut house = House::new();
    house.play(Source { seconds: 10.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(14)).await;
    house.packager.stop();
    house.hub.end_all();
    let began = Instant::now();
    // The attached task and the one that publishes.
    while house.tasks.join_next().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(house.packager.stats().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn hls_r6_a_publisher_that_comes_back_in_time_continues_the_playlist() {
    let mut house = House::new();
    house.play(Source { seconds: 10.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(14)).await;
    let prefix = house.prefix().await;
    let before = house.get(&format!("{prefix}/index.m3u8")).await.list();
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Frames arrive 5 s after their time on the clock.
    house.play(Source { from: 15.5, seconds: 20.0, ..Source::default() });
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(house.prefix().await, prefix, "the same Stream");
    let after = house.get(&format!("{prefix}/index.m3u8")).await.list();
    assert_eq!(after.segments.iter().filter(|segment| segment.discontinuity).count(), 1);
    assert!(after.media_sequence == before.media_sequence && after.segments.len() > before.segments.len());
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_hls_does_not_know_is_explained() {
    for with_audio in [false, true] {
        let mut house = House::new();
        let mut writer = house.publish();
        let origin = house.origin.into_std();
        let vp8 = Arc::new(CodecConfig::Vp8(vp8::Config { width: 640, height: 360 }));
        let source = Source { seconds: 20.0, keyframe: |n| n % 30 == 0, ..Source::default() };
        house.tasks.spawn(async move {
            let mut video = writer.track(spec(Codec::Vp8, Timescale::VIDEO));
            let mut audio = with_audio.then(|| writer.track(spec(Codec::Aac, Timescale::OPUS)));
            for (kind, frame) in source.frames(origin) {
                tokio::time::sleep_until(frame.arrival.into()).await;
                match (kind, &mut audio) {
                    (Kind::Video, _) => {
                        video.write_frame(&Rid::single(), Frame { config: Arc::clone(&vp8), ..frame })
                    }
                    (Kind::Audio, Some(audio)) => audio.write_frame(&Rid::single(), frame),
                    (Kind::Audio, None) => {}
                }
            }
        });
        tokio::time::sleep(Duration::from_secs(9)).await;
        let master = house.get("/hls/ana/master.m3u8").await;
        let status = house.packager.status(&ChannelName::parse("ana").expect("a name")).expect("attached");
        assert!(status.notes[0].contains("VP8"), "{:?}", status.notes);
        if with_audio {
            assert!(master.text().contains("CODECS=\"mp4a.40.2\"\n"), "{}", master.text());
            assert_eq!((status.state, status.video), (State::Live, None));
        } else {
            assert_eq!((master.status, status.state), (StatusCode::NOT_FOUND, State::Unsupported));
            assert!(master.text().contains("VP8"), "{}", master.text());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hls_v13_opus_is_carried_when_no_aac_comes() {
    let mut house = House::new();
    let mut writer = house.publish();
    let origin = house.origin.into_std();
    let config = Arc::new(CodecConfig::Opus(opus::Config { channels: 2, pre_skip: 312 }));
    let mut video: VecDeque<_> = Source { audio_hz: None, ..Source::default() }.frames(origin).into();
    house.tasks.spawn(async move {
        let mut picture = writer.track(spec(Codec::H264, Timescale::VIDEO));
        let mut sound = writer.track(spec(Codec::Opus, Timescale::OPUS));
        for n in 0..1500_i64 {
            let at = MediaTime::new(n * 960, Timescale::OPUS);
            let arrival = origin + Duration::from_millis(20 * n as u64 + 5000);
            tokio::time::sleep_until(arrival.into()).await;
            while video.front().is_some_and(|(_, frame)| frame.arrival <= arrival) {
                picture.write_frame(&Rid::single(), video.pop_front().expect("checked").1);
            }
            let frame = Frame {
                dts: at,
                pts: at,
                duration: 960,
                keyframe: true,
                discardable: false,
                data: vec![7; 160].into(),
                config: Arc::clone(&config),
                epoch: 0,
                arrival,
            };
            sound.write_frame(&Rid::single(), frame);
        }
    });
    tokio::time::sleep(Duration::from_secs(9)).await;
    let master = house.get("/hls/ana/master.m3u8").await;
    assert!(master.text().contains("CODECS=\"avc1.4d401f,opus\""), "{}", master.text());
    let prefix = house.prefix().await.replace("video", "audio");
    let list = house.get(&format!("{prefix}/index.m3u8")).await.list();
    assert_eq!(
        house.get(&format!("{prefix}/{}", list.segments[0].map.clone().expect("a map"))).await.status,
        200
    );
}
