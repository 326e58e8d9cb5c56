//! A source of made-up media, and viewers by another WebRTC implementation: str0m.
#![allow(dead_code, unreachable_pub, reason = "each user takes a part of it")]
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "real sockets, real time, test code")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use media::{
    ChannelName, Codec, CodecConfig, Frame, Hub, MediaTime, NtpTime, Publication, Rid, Stream, StreamWriter,
    Timescale, TrackSpec, TrackWriter,
};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;

/// 30 frames per second of so many bytes are 2.5 Mbit/s.
const FRAME_BYTES: usize = 10_400;
const KEYFRAME_BYTES: usize = 60_000;
const KEYFRAME_EVERY: u64 = 60;
const AUDIO_BYTES: usize = 160;

/// A Stream with H.264 and Opus in it, written in real time.
pub struct Source {
    pub stream: Arc<Stream>,
    _hub: Arc<Hub>,
    _writer: StreamWriter,
    video: TrackWriter,
    audio: TrackWriter,
    h264: Arc<CodecConfig>,
    opus: Arc<CodecConfig>,
    begin: Instant,
    frames: u64,
    packets: u64,
}

impl Source {
    pub fn new() -> Self {
        let now = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let wall = NtpTime::from_unix_micros(wall.as_micros() as u64);
        let hub = Hub::new(Duration::from_secs(1));
        let channel = ChannelName::parse("test").unwrap();
        let mut writer = hub.publish(&channel, Publication::default(), now, wall).unwrap();
        let spec = |codec, hz| TrackSpec {
            codec,
            timescale: Timescale::new(hz).unwrap(),
            keyframes_on_request: false,
            derived: false,
        };
        let video = writer.track(spec(Codec::H264, 90_000));
        let audio = writer.track(spec(Codec::Opus, 48_000));
        // 1280x720, constrained baseline.
        let sps: &[u8] = &[
            0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
            0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
        ];
        let pps: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
        let h264 = media::h264::Config::from_parameter_sets(
            vec![Bytes::from_static(sps)],
            vec![Bytes::from_static(pps)],
        );
        Self {
            stream: Arc::clone(writer.stream()),
            _hub: hub,
            _writer: writer,
            video,
            audio,
            h264: Arc::new(CodecConfig::H264(h264.unwrap())),
            opus: Arc::new(CodecConfig::Opus(media::opus::Config::default())),
            begin: now,
            frames: 0,
            packets: 0,
        }
    }

    /// Writes what is due, and says when the next is.
    pub fn turn(&mut self) -> Instant {
        loop {
            let video_at = self.begin + Duration::from_micros(self.frames * 33_333);
            let audio_at = self.begin + Duration::from_millis(self.packets * 20);
            let due = video_at.min(audio_at);
            if due > Instant::now() {
                return due;
            }
            if video_at <= audio_at {
                self.write_video()
            } else {
                self.write_audio()
            }
            while self.video.try_demand().is_some() || self.audio.try_demand().is_some() {}
        }
    }

    fn write_video(&mut self) {
        let keyframe = self.frames.is_multiple_of(KEYFRAME_EVERY);
        let size = if keyframe { KEYFRAME_BYTES } else { FRAME_BYTES };
        let mut data = Vec::with_capacity(size);
        data.extend_from_slice(&(size as u32 - 4).to_be_bytes());
        // A slice header: first_mb_in_slice 0, slice_type 7 (I) or 5 (P), pps 0; the rest is never decoded.
        data.extend_from_slice(if keyframe { &[0x65, 0x88, 0x84] } else { &[0x41, 0x9a, 0x24] });
        data.resize(size, self.frames as u8 | 1);
        let time = MediaTime::new((self.frames * 3000) as i64, Timescale::new(90_000).unwrap());
        self.frames += 1;
        self.video.write_frame(&Rid::single(), frame(time, 3000, keyframe, data, &self.h264));
    }

    fn write_audio(&mut self) {
        let mut data = vec![self.packets as u8; AUDIO_BYTES];
        // Opus: 20 ms of CELT, one frame.
        data[0] = 0xfc;
        let time = MediaTime::new((self.packets * 960) as i64, Timescale::new(48_000).unwrap());
        self.packets += 1;
        self.audio.write_frame(&Rid::single(), frame(time, 960, true, data, &self.opus));
    }
}

fn frame(time: MediaTime, duration: u32, keyframe: bool, data: Vec<u8>, config: &Arc<CodecConfig>) -> Frame {
    Frame {
        dts: time,
        pts: time,
        duration,
        keyframe,
        discardable: false,
        data: data.into(),
        config: Arc::clone(config),
        epoch: 0,
        arrival: Instant::now(),
    }
}

/// What a viewer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub connected: bool,
    pub closed: bool,
    /// Packets that authenticated and decrypted.
    pub video: u64,
    pub audio: u64,
    /// Holes in the sequence numbers.
    pub gaps: u64,
}

/// A viewer on this machine.
pub struct Viewer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    timeout: Instant,
    last: [Option<u64>; 2],
    video_payload_type: Option<u8>,
    pub seen: Seen,
}

impl Viewer {
    /// A viewer and its offer.
    pub async fn new() -> (Self, String) {
        // Only the first call of the process installs it.
        str0m::crypto::from_feature_flags().install_process_default();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // A viewer that is not scheduled for a moment loses nothing.
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
        let local = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder().set_rtp_mode(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let mut change = rtc.sdp_api();
        change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        change.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        let viewer = Self {
            rtc,
            socket,
            local,
            pending: Some(pending),
            timeout: Instant::now(),
            last: [None; 2],
            video_payload_type: None,
            seen: Seen::default(),
        };
        (viewer, offer.to_sdp_string())
    }

    /// Takes the answer; [`Self::until`] connects.
    pub fn accept(&mut self, answer: &str) {
        let video = answer.lines().find_map(|line| line.strip_prefix("m=video "));
        self.video_payload_type =
            video.and_then(|line| line.split(' ').nth(2)).and_then(|pt| pt.parse().ok());
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        let pending = self.pending.take().expect("an answer comes once");
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    /// Goes on until what it has seen is enough. False: the time is over.
    pub async fn until(&mut self, at_most: Duration, enough: impl Fn(&Seen) -> bool) -> bool {
        let deadline = Instant::now() + at_most;
        let mut buf = [0; 2048];
        while !enough(&self.seen) {
            if Instant::now() >= deadline {
                return false;
            }
            self.poll();
            let wake = self.timeout.min(deadline);
            tokio::select! {
                _ = self.socket.readable() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            while let Ok((len, from)) = self.socket.try_recv_from(&mut buf) {
                if let Ok(contents) = buf[..len].try_into() {
                    let receive =
                        Receive { proto: Protocol::Udp, source: from, destination: self.local, contents };
                    if self.rtc.handle_input(Input::Receive(Instant::now(), receive)).is_err() {
                        self.seen.closed = true;
                    }
                    self.poll();
                }
            }
            if self.timeout <= Instant::now() {
                let _dead = self.rtc.handle_input(Input::Timeout(Instant::now()));
            }
        }
        true
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    let _full = self.socket.try_send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(event)) => self.on_event(&event),
                Err(_dead) => {
                    self.seen.closed = true;
                    self.timeout = Instant::now() + Duration::from_secs(1);
                    return;
                }
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Connected => self.seen.connected = true,
            Event::Closed => self.seen.closed = true,
            Event::RtpPacket(packet) => {
                let video = self.video_payload_type == Some(*packet.header.payload_type);
                let seq: u64 = *packet.seq_no;
                let last = &mut self.last[usize::from(video)];
                if let Some(last) = last
                    && seq != *last + 1
                {
                    self.seen.gaps += 1;
                }
                *last = Some(seq);
                let count = if video { &mut self.seen.video } else { &mut self.seen.audio };
                *count += 1;
            }
            _ => {}
        }
    }
}
