//! Layers of an encoder that names them as it likes, and leaves them out as it likes.

use media::{
    ChannelName, Hub, MediaTime, NtpTime, Publication, RtpPacket, StreamWriter, Timescale, TrackSpec,
    TrackWriter,
};

use super::*;
use crate::core::up_track::beginning;

struct Encoder {
    now: Instant,
    seqs: [u64; 3],
    video: TrackWriter,
    candidates: Candidates,
    _stream: StreamWriter,
}

/// As OBS does it: the largest is called 0, and none is half as large as the next.
const LAYERS: [(&str, u16, u16, usize); 3] =
    [("0", 1920, 1080, 9000), ("1", 1280, 720, 6000), ("2", 640, 360, 3000)];

impl Encoder {
    fn new() -> Self {
        let now = beginning();
        let hub = Hub::new(Duration::from_secs(10));
        let channel = ChannelName::parse("ana").expect("a name");
        let wall = NtpTime::from_unix_micros(0);
        let mut stream = hub.publish(&channel, Publication::default(), now, wall).expect("free");
        let video = stream.track(TrackSpec {
            codec: Codec::Vp8,
            timescale: Timescale::VIDEO,
            keyframes_on_request: true,
            derived: false,
        });
        let candidates = Candidates::new(Arc::clone(video.track()));
        Self { now, seqs: [0; 3], video, candidates, _stream: stream }
    }

    /// Sends frames of the Layers with these numbers, so many and so far apart.
    fn send(&mut self, layers: &[usize], frames: u32, apart: Duration) {
        for _ in 0..frames {
            for &at in layers {
                let (rid, width, height, bytes) = LAYERS[at];
                let key = self.seqs[at] == 0;
                let mut payload = vec![0x10, u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a];
                payload.extend_from_slice(&width.to_le_bytes());
                payload.extend_from_slice(&height.to_le_bytes());
                payload.resize(bytes, 0);
                let packet = RtpPacket {
                    seq: self.seqs[at],
                    time: MediaTime::new(self.seqs[at] as i64 * 3000, Timescale::VIDEO),
                    lag_micros: 0,
                    payload: payload.into(),
                    marker: true,
                    frame_start: true,
                    starts_keyframe: key,
                    discardable: false,
                    reorders: false,
                    temporal_id: 0,
                    epoch: 0,
                    arrival: self.now,
                };
                self.seqs[at] += 1;
                self.video.write_rtp(&Rid::parse(rid).expect("a RID"), packet);
                // Looks fall between the Layers of one frame too.
                self.candidates.look(self.now);
            }
            self.now += apart;
        }
        self.candidates.look(self.now + LOOK_INTERVAL);
    }

    fn active(&self) -> Vec<&str> {
        let active = self.candidates.list().iter().filter(|candidate| candidate.active);
        active.map(|candidate| candidate.rid.as_str()).collect()
    }
}

const FRAME: Duration = Duration::from_millis(33);

#[test]
fn the_order_is_that_of_sizes_whatever_the_names() {
    let mut encoder = Encoder::new();
    encoder.send(&[0, 1, 2], 100, FRAME);
    assert_eq!(encoder.active(), ["2", "1", "0"]);
    for (candidate, (_, width, height, bytes)) in encoder.candidates.list().iter().rev().zip(LAYERS) {
        assert_eq!(candidate.size, Some((width.into(), height.into())));
        let bps = bytes as f64 * 8000.0 / 33.0;
        assert!((candidate.bps as f64 / bps - 1.0).abs() < 0.05, "{} instead of {bps}", candidate.bps);
    }
    let version = encoder.candidates.version();
    encoder.send(&[0, 1, 2], 100, FRAME);
    assert_eq!(encoder.candidates.version(), version, "nothing but rates has changed");
}

#[test]
fn a_layer_that_is_left_out_is_seen_to_be_and_comes_back() {
    let mut encoder = Encoder::new();
    encoder.send(&[0, 1, 2], 100, FRAME);
    encoder.send(&[1, 2], 12, FRAME);
    assert_eq!(encoder.active(), ["2", "1", "0"], "not yet");
    encoder.send(&[1, 2], 6, FRAME);
    assert_eq!(encoder.active(), ["2", "1"], "after half a second");
    encoder.send(&[0, 1, 2], 4, FRAME);
    assert_eq!(encoder.active(), ["2", "1", "0"]);
}

#[test]
fn a_picture_that_hardly_changes_loses_no_layer() {
    let mut encoder = Encoder::new();
    encoder.send(&[0, 1, 2], 100, FRAME);
    encoder.send(&[0, 1, 2], 10, Duration::from_secs(1));
    // The newest frame of one Layer is there, those of the others are on their way.
    encoder.now += Duration::from_secs(2);
    encoder.send(&[2], 1, Duration::ZERO);
    assert_eq!(encoder.active(), ["2", "1", "0"]);
}

#[test]
fn a_layer_without_a_keyframe_cannot_be_chosen_yet() {
    let mut encoder = Encoder::new();
    encoder.seqs[0] = 1;
    encoder.send(&[0, 1, 2], 10, FRAME);
    assert_eq!(encoder.active(), ["2", "1"]);
}
