//! A Stream to watch, for fuzz targets, and what every answer must look like.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{
    ChannelName, Codec, Hub, Kind, NtpTime, Publication, Rid, RtpPacket, Stream, StreamWriter, Timescale,
    TrackSpec, TrackWriter,
};

use crate::core::viewer::Identity;
use crate::egress::seal::Profile;

/// Keys take long to make: all inputs share one identity.
pub(super) fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| Identity::generate(&Profile::ALL).expect("cryptography works"))
}

/// A Stream with H.264 and Opus.
pub(super) struct Source {
    _hub: Arc<Hub>,
    writer: StreamWriter,
    audio: TrackWriter,
    video: TrackWriter,
    numbers: [u64; 2],
}

impl Source {
    pub(super) fn new(start: Instant) -> Self {
        let hub = Hub::new(Duration::from_secs(1));
        let channel = ChannelName::parse("ana").expect("a name");
        let wall = NtpTime::from_unix_micros(1_795_327_200_000_000);
        let mut writer = hub.publish(&channel, Publication::default(), start, wall).expect("free");
        let mut track = |codec, timescale| {
            writer.track(TrackSpec { codec, timescale, keyframes_on_request: false, derived: false })
        };
        let audio = track(Codec::Opus, Timescale::OPUS);
        let video = track(Codec::H264, Timescale::VIDEO);
        Self { _hub: hub, writer, audio, video, numbers: [0; 2] }
    }

    pub(super) fn stream(&self) -> Arc<Stream> {
        Arc::clone(self.writer.stream())
    }

    /// Writes a frame of so many packets.
    pub(super) fn write(&mut self, now: Instant, kind: Kind, packets: u8, keyframe: bool) {
        let (track, scale) = match kind {
            Kind::Audio => (&mut self.audio, Timescale::OPUS),
            Kind::Video => (&mut self.video, Timescale::VIDEO),
        };
        let time = self.writer.stream().clock().media_time(now, scale);
        for at in 0..packets {
            let seq = &mut self.numbers[usize::from(kind == Kind::Video)];
            track.write_rtp(
                &Rid::single(),
                RtpPacket {
                    seq: *seq,
                    time,
                    lag_micros: 0,
                    payload: Bytes::from(vec![at; 40]),
                    marker: at + 1 == packets,
                    frame_start: at == 0,
                    starts_keyframe: at == 0 && keyframe,
                    discardable: false,
                    reorders: false,
                    temporal_id: 0,
                    epoch: 0,
                    arrival: now,
                },
            );
            *seq += 1;
        }
    }

    /// Leaves a hole in the numbers of the picture.
    pub(super) fn skip(&mut self, packets: u64) {
        self.numbers[1] += packets;
    }
}

/// No part of an offer may break out of its line in the answer, nor make it grow without bounds.
pub(super) fn check_answer(offer: &str, answer: &str) {
    assert!(answer.len() < 4 * offer.len() + 16 * 1024, "{} bytes for {}", answer.len(), offer.len());
    let whole = answer.strip_suffix("\r\n").expect("the last line ends");
    for line in whole.split("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let mut start = line.chars();
        assert!(start.next().is_some_and(|kind| kind.is_ascii_lowercase()), "{line:?}");
        assert_eq!(start.next(), Some('='), "{line:?}");
    }
}
