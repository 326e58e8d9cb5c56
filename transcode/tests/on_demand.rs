//! A derived Track is there from the beginning; the work behind it runs only while somebody reads it.
#![cfg(feature = "aac-fdk")]
#![expect(clippy::disallowed_methods, reason = "tests own the clock and join their tasks")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{
    ChannelName, Codec, CodecConfig, Frame, Hub, MediaTime, NtpTime, Publication, Rid, Stream, StreamWriter,
    Timescale, Track, TrackSpec, TrackWriter,
};
use transcode::audio::AacEncoder;
use transcode::{Config, Stats, Transcoder};

const PATIENCE: Duration = Duration::from_secs(20);

fn publish() -> (Arc<Hub>, StreamWriter) {
    let hub = Hub::new(Duration::from_secs(10));
    let channel = ChannelName::parse("ana").expect("a name");
    let wall = NtpTime::from_unix_micros(1_000_000);
    let writer = hub.publish(&channel, Publication::default(), Instant::now(), wall).expect("nobody else");
    (hub, writer)
}

fn spec(codec: Codec) -> TrackSpec {
    TrackSpec { codec, timescale: Timescale::OPUS, keyframes_on_request: false, derived: false }
}

/// Waits without a clock of its own: the condition is made true by the pool's threads.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn derived(stream: &Arc<Stream>, codec: Codec) -> Arc<Track> {
    until("a derived track", || stream.track(codec).filter(|track| track.spec().derived && !track.ended()))
        .await
}

struct Source {
    writer: TrackWriter,
    encoder: AacEncoder,
    config: Arc<CodecConfig>,
    next: i64,
}

impl Source {
    fn new(stream: &mut StreamWriter) -> Self {
        let encoder = AacEncoder::new(48_000, 2, 128_000).expect("encoder");
        let config = Arc::new(CodecConfig::Aac(encoder.config().clone()));
        Self { writer: stream.track(spec(Codec::Aac)), encoder, config, next: 0 }
    }

    fn write(&mut self, frames: usize) {
        for _ in 0..frames {
            let data = self.encoder.encode(&[0.25; 2048]).expect("encodes");
            let pts = MediaTime::new(self.next, Timescale::OPUS);
            self.next += 1024;
            let frame = frame(pts, data, &self.config);
            self.writer.write_frame(&Rid::single(), frame);
        }
    }
}

fn frame(pts: MediaTime, data: Bytes, config: &Arc<CodecConfig>) -> Frame {
    let config = Arc::clone(config);
    let arrival = Instant::now();
    Frame {
        dts: pts,
        pts,
        duration: 1024,
        keyframe: true,
        discardable: false,
        data,
        config,
        epoch: 0,
        arrival,
    }
}

async fn running(transcoder: &Transcoder, jobs: u64) -> Stats {
    until("the number of running jobs", || {
        Some(transcoder.stats()).filter(|stats| stats.jobs_running == jobs)
    })
    .await
}

#[tokio::test]
async fn runs_only_while_somebody_reads() {
    let (hub, mut publisher) = publish();
    let stream = Arc::clone(publisher.stream());
    let transcoder = Transcoder::new(Config::default()).expect("starts");
    let attached = tokio::spawn(Arc::clone(&transcoder).attach(Arc::clone(&stream)));
    let mut source = Source::new(&mut publisher);
    let track = derived(&stream, Codec::Opus).await;
    source.write(50);
    assert_eq!(transcoder.stats().frames_in, 0, "nobody reads, nobody works");

    for round in 1..=2 {
        let mut reader = track.read::<Frame>(&Rid::single());
        running(&transcoder, 1).await;
        let from = source.next;
        source.write(50);
        let first = tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("a frame");
        assert_eq!(first.config.codec(), Codec::Opus);
        assert_eq!(first.pts.ticks(), from - 312, "round {round}: in step from the first packet");
        drop(reader);
        running(&transcoder, 0).await;
    }
    let before = transcoder.stats().frames_in;
    source.write(10);
    assert_eq!(transcoder.stats().frames_in, before);

    hub.end_all();
    tokio::time::timeout(PATIENCE, attached).await.expect("in time").expect("no panic");
    assert!(track.ended());
    assert_eq!(transcoder.stats().jobs, 0);
}

#[tokio::test]
async fn follows_a_change_of_codec() {
    let (hub, mut publisher) = publish();
    let stream = Arc::clone(publisher.stream());
    let transcoder = Transcoder::new(Config::default()).expect("starts");
    let attached = tokio::spawn(Arc::clone(&transcoder).attach(Arc::clone(&stream)));
    let source = Source::new(&mut publisher);
    let opus = derived(&stream, Codec::Opus).await;
    let mut reader = opus.read::<Frame>(&Rid::single());
    running(&transcoder, 1).await;

    let mut writer = publisher.track(spec(Codec::Opus));
    drop(source);
    assert!(tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").is_none());
    let aac = derived(&stream, Codec::Aac).await;
    let mut reader = aac.read::<Frame>(&Rid::single());
    running(&transcoder, 1).await;
    let mut encoder =
        opus::Encoder::new(48_000, opus::Channels::Stereo, opus::Application::Audio).expect("encoder");
    let config = Arc::new(CodecConfig::Opus(media::opus::Config { channels: 2, pre_skip: 312 }));
    for i in 0..20 {
        let data = encoder.encode_vec(&[0; 1920], 1000).expect("encodes");
        let pts = MediaTime::new(96_000 + i * 960, Timescale::OPUS);
        writer.write_frame(&Rid::single(), frame(pts, data.into(), &config));
    }
    let first = tokio::time::timeout(PATIENCE, reader.next()).await.expect("in time").expect("a frame");
    assert_eq!((first.config.codec(), first.pts.ticks()), (Codec::Aac, 96_000 - 2048));
    assert_eq!(stream.tracks().iter().filter(|track| !track.ended()).count(), 2);
    hub.end_all();
    tokio::time::timeout(PATIENCE, attached).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn a_full_transcoder_refuses_and_counts() {
    let config = Config { jobs_max: 1, ..Config::default() };
    let transcoder = Transcoder::new(config).expect("starts");
    let mut kept = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (hub, mut publisher) = publish();
        let stream = Arc::clone(publisher.stream());
        let source = Source::new(&mut publisher);
        tasks.spawn(Arc::clone(&transcoder).attach(stream));
        kept.push((hub, publisher, source));
    }
    until("a refusal", || (transcoder.stats().jobs_refused == 1).then_some(())).await;
    assert_eq!(transcoder.stats().jobs, 1);
    tasks.shutdown().await;
    assert_eq!(transcoder.stats().jobs, 0, "dropping the future ends the derived Tracks");
}
