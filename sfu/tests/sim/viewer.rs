//! One viewer of the world: by another stack (str0m), or a model of a browser.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use sfu::{PeerEvent, PeerId};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, RtpPacket};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::browser::Browser;
use crate::line::{Line, LineState};

/// What a viewer got: the stamp in the payload, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Got {
    pub(crate) video: bool,
    pub(crate) frame: u32,
    pub(crate) part: u16,
    pub(crate) parts: u16,
    pub(crate) timestamp: u32,
    pub(crate) at: Instant,
    /// The wall clock of its time by the sender reports, once there are any.
    pub(crate) date: Option<SystemTime>,
    /// What the playout-delay extension says: at least and at most.
    pub(crate) waits: Option<(Duration, Duration)>,
}

/// What a client tells the world.
pub(crate) enum Said {
    Send(Vec<u8>),
    Connected,
    Got(Got),
    /// It gave up.
    Ended,
}

pub(crate) struct Viewer {
    pub(crate) id: PeerId,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) line: Line,
    pub(crate) line_state: LineState,
    pub(crate) connected: Option<Instant>,
    pub(crate) joined: Instant,
    pub(crate) got: Vec<Got>,
    pub(crate) events: Vec<PeerEvent>,
    pub(crate) due: Instant,
    pub(crate) alive: bool,
    pub(crate) silent: bool,
    pub(crate) answer: String,
}

impl Viewer {
    pub(crate) fn video_frames(&self) -> Vec<u32> {
        let mut parts: HashMap<u32, Vec<bool>> = HashMap::new();
        for got in self.got.iter().filter(|got| got.video) {
            parts.entry(got.frame).or_insert_with(|| vec![false; got.parts.into()])[usize::from(got.part)] =
                true;
        }
        let mut whole: Vec<u32> = parts
            .into_iter()
            .filter(|(_, parts)| parts.iter().all(|there| *there))
            .map(|(frame, _)| frame)
            .collect();
        whole.sort_unstable();
        whole
    }

    pub(crate) fn first_video(&self) -> Option<Instant> {
        self.got.iter().find(|got| got.video).map(|got| got.at)
    }

    /// The model of a browser that it is.
    pub(crate) fn browser(&self) -> &Browser {
        match &self.client {
            Client::Browser(browser) => browser,
            Client::Str0m(_) => panic!("it is no browser"),
        }
    }
}

pub(crate) enum Client {
    Str0m(Box<Str0m>),
    Browser(Box<Browser>),
}

impl Client {
    pub(crate) fn accept(&mut self, answer: &str) {
        match self {
            Self::Str0m(client) => client.accept(answer),
            Self::Browser(client) => client.accept(answer),
        }
    }

    /// Takes a datagram, or notices that time has passed. Says what it has to say, and when it wants to look again.
    pub(crate) fn input(&mut self, now: Instant, data: Option<&[u8]>) -> (Vec<Said>, Instant) {
        match self {
            Self::Str0m(client) => client.input(now, data),
            Self::Browser(client) => client.input(now, data),
        }
    }

    /// It asks for a keyframe.
    pub(crate) fn ask_keyframe(&mut self) {
        match self {
            Self::Str0m(client) => client.ask_keyframe(),
            Self::Browser(client) => client.ask_keyframe(),
        }
    }
}

/// A viewer by another WebRTC stack.
pub(crate) struct Str0m {
    rtc: Rtc,
    server: SocketAddr,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    video: Mid,
}

impl Str0m {
    /// It, and its offer.
    pub(crate) fn new(now: Instant, server: SocketAddr, address: SocketAddr) -> (Self, String) {
        let builder = Rtc::builder().set_rtp_mode(true).set_extension(12, Extension::PlayoutDelay);
        let mut rtc = builder.build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let video = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        (Self { rtc, server, address, pending: Some(pending), video }, offer.to_sdp_string())
    }

    fn accept(&mut self, answer: &str) {
        let pending = self.pending.take().expect("an answer comes once");
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(answer).unwrap()).unwrap();
    }

    fn input(&mut self, now: Instant, data: Option<&[u8]>) -> (Vec<Said>, Instant) {
        let input = match data {
            None => Input::Timeout(now),
            Some(data) => {
                let contents = data.try_into().expect("str0m knows what this is");
                let (source, destination) = (self.server, self.address);
                Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents })
            }
        };
        self.rtc.handle_input(input).unwrap();
        let mut said = Vec::new();
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => return (said, due),
                Ok(Output::Transmit(transmit)) => said.push(Said::Send(transmit.contents.to_vec())),
                Ok(Output::Event(Event::Connected)) => said.push(Said::Connected),
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    let payload = &packet.payload;
                    let u32_at = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                    let u16_at = |at: usize| u16::from_be_bytes(payload[at..at + 2].try_into().unwrap());
                    assert!(payload[8..].iter().all(|byte| *byte == payload[3]), "a payload was damaged");
                    said.push(Said::Got(Got {
                        video: packet.time.frequency().get() == 90_000,
                        frame: u32_at(0),
                        part: u16_at(4),
                        parts: u16_at(6) & 0x7fff,
                        timestamp: packet.header.timestamp,
                        at: now,
                        date: date(&packet),
                        waits: waits(&packet),
                    }));
                }
                Ok(Output::Event(_)) => {}
                Err(error) => {
                    println!("a viewer ended: {error}");
                    said.push(Said::Ended);
                    return (said, now);
                }
            }
        }
    }

    fn ask_keyframe(&mut self) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx_by_mid(self.video, None).expect("a stream");
        stream.request_keyframe(KeyframeRequestKind::Pli);
    }
}

fn date(packet: &RtpPacket) -> Option<SystemTime> {
    let report = packet.last_sender_info?;
    let ahead = packet.header.timestamp.wrapping_sub(report.rtp_time.numer() as u32) as i32;
    let micros = i64::from(ahead) * 1_000_000 / packet.time.frequency().get() as i64;
    let apart = Duration::from_micros(micros.unsigned_abs());
    Some(if micros < 0 { report.ntp_time - apart } else { report.ntp_time + apart })
}

fn waits(packet: &RtpPacket) -> Option<(Duration, Duration)> {
    let extensions = &packet.header.ext_vals;
    let time = |it: str0m::media::MediaTime| Duration::from_millis(it.numer() * 1000 / u64::from(it.denom()));
    extensions.play_delay_min.zip(extensions.play_delay_max).map(|(min, max)| (time(min), time(max)))
}
