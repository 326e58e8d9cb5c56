//! A viewer that repairs and decodes by the rules of libwebrtc, as far as they matter to a server.

mod arrivals;
mod nack;
mod picture;
mod transport;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sfu::egress::seal::Profile;

use crate::viewer::{Got, Said};
use arrivals::{Arrivals, FEEDBACK_INTERVAL};
use nack::{Nack, PROCESS_INTERVAL};
use picture::{Part, Picture};
use transport::{PWD, Transport, UFRAG};

const REPORT_INTERVAL: Duration = Duration::from_millis(1000);
/// SSRC of what it says.
const OURS: u32 = 1;
/// Id of the header extension.
const TRANSPORT_CC: u8 = 4;

/// What it can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    pub(crate) profile: Profile,
    /// Retransmissions come on a stream of their own (RFC 4588).
    pub(crate) rtx: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { profile: Profile::AeadAes128Gcm, rtx: true }
    }
}

pub(crate) struct Browser {
    transport: Transport,
    nack: Nack,
    picture: Picture,
    /// SSRC of video and its reception, for reports.
    video: Option<Reception>,
    sender_report: Option<(u32, Instant)>,
    arrivals: Arrivals,
    next_feedback: Instant,
    next_process: Instant,
    next_report: Instant,
    said: Vec<Said>,
}

#[derive(Default)]
struct Reception {
    ssrc: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
}

impl Browser {
    /// It, and its offer.
    pub(crate) fn new(now: Instant, server: SocketAddr, abilities: Abilities) -> (Self, String) {
        let browser = Self {
            transport: Transport::new(now, server, abilities.profile),
            nack: Nack::default(),
            picture: Picture::default(),
            video: None,
            sender_report: None,
            arrivals: Arrivals::new(now),
            next_feedback: now,
            next_process: now,
            next_report: now,
            said: Vec::new(),
        };
        (browser, offer(abilities))
    }

    pub(crate) fn accept(&mut self, answer: &str) {
        self.transport.accept(answer);
    }

    /// What its feedback says of when packets arrived steps on from report to report, by so many times 64 ms.
    pub(crate) fn lie_about_arrivals(&mut self, step: u32) {
        self.arrivals.lie = step;
    }

    /// It answers no challenge from now on.
    pub(crate) fn ignore_challenges(&mut self) {
        self.transport.answers_challenges = false;
    }

    /// Under which SSRC the picture comes.
    pub(crate) fn video_ssrc(&self) -> Option<u32> {
        self.video.as_ref().map(|video| video.ssrc)
    }

    /// Source's number of each frame that was decoded, and when.
    pub(crate) fn decoded(&self) -> &[(u32, Instant)] {
        &self.picture.decoded
    }

    /// How often it asked for a keyframe.
    pub(crate) fn keyframes_asked(&self) -> u64 {
        self.picture.keyframes_asked
    }

    /// Takes a datagram, or notices that time has passed. Says what it has to say, and when it wants to look again.
    pub(crate) fn input(&mut self, now: Instant, data: Option<&[u8]>) -> (Vec<Said>, Instant) {
        let was_connected = self.transport.is_connected();
        match data {
            Some([128..=191, 192..=223, ..]) => self.take_rtcp(now, data.unwrap_or_default()),
            Some([128..=191, ..]) => self.take_rtp(now, data.unwrap_or_default()),
            Some(data) => self.transport.handle_datagram(now, data),
            None => {}
        }
        if now >= self.next_process {
            self.next_process = now + PROCESS_INTERVAL;
            let again = self.nack.process(now);
            self.ask_again(&again);
            if self.picture.process(now) {
                self.ask_keyframe();
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.report(now);
        }
        if now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK_INTERVAL;
            self.tell_arrivals();
        }
        let mut out = Vec::new();
        self.transport.handle_timeout(now, &mut out);
        self.said.extend(out.into_iter().map(Said::Send));
        if !was_connected && self.transport.is_connected() {
            self.said.push(Said::Connected);
        }
        (std::mem::take(&mut self.said), self.next_process)
    }

    fn take_rtp(&mut self, now: Instant, data: &[u8]) {
        let Some(plain) = self.transport.open_rtp(data) else { return };
        let u16_at = |at: usize| u16::from_be_bytes([plain[at], plain[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([plain[at], plain[at + 1], plain[at + 2], plain[at + 3]]);
        let (mut number, timestamp, ssrc) = (u16_at(2), u32_at(4), u32_at(8));
        let mut at = 12;
        if plain[0] & 0x10 != 0 {
            let end = at + 4 + 4 * usize::from(u16_at(at + 2));
            if let Some(number) = transport_number(&plain[at + 4..end]) {
                self.arrivals.insert(now, number);
            }
            at = end;
        }
        // The server numbers its streams so: audio, video, retransmissions.
        let recovered = ssrc & 3 == 2;
        // Padding alone (RFC 3550 section 5.1): its arrival is all there is to it.
        if recovered && plain[0] & 0x20 != 0 {
            return;
        }
        if recovered {
            number = u16_at(at);
            at += 2;
        }
        let payload = &plain[at..];
        let part = Part {
            frame: u32_at(at),
            part: u16_at(at + 4),
            parts: u16_at(at + 6) & 0x7fff,
            keyframe: u16_at(at + 6) & 0x8000 != 0,
        };
        assert!(payload[8..].iter().all(|byte| *byte == payload[3]), "a payload was damaged");
        let video = ssrc & 3 != 0;
        let Part { frame, part: place, parts, .. } = part;
        self.said.push(Said::Got(Got {
            video,
            frame,
            part: place,
            parts,
            timestamp,
            at: now,
            date: None,
            waits: None,
        }));
        if !video {
            return;
        }
        let seq = self.nack.extend(number);
        if !recovered {
            let video =
                self.video.get_or_insert_with(|| Reception { ssrc, first: seq, ..Reception::default() });
            video.highest = video.highest.max(seq);
            video.received += 1;
        }
        match self.nack.insert(now, seq, recovered) {
            Ok(missing) => self.ask_again(&missing),
            Err(()) => {
                self.picture.ask(now);
                self.ask_keyframe();
            }
        }
        if let Some(first) = self.picture.insert(now, seq, part) {
            self.nack.forget_before(first);
        }
    }

    fn tell_arrivals(&mut self) {
        let Some(video) = &self.video else { return };
        let Some(fci) = self.arrivals.feedback() else { return };
        let mut feedback = vec![0x8f, 205];
        feedback.extend_from_slice(&(2 + fci.len() as u16 / 4).to_be_bytes());
        feedback.extend_from_slice(&OURS.to_be_bytes());
        feedback.extend_from_slice(&video.ssrc.to_be_bytes());
        feedback.extend_from_slice(&fci);
        self.say(&feedback);
    }

    fn take_rtcp(&mut self, now: Instant, data: &[u8]) {
        let Some(plain) = self.transport.open_rtcp(data) else { return };
        // A sender report begins the compound; the middle of its NTP time comes back in ours.
        if plain[1] == 200 {
            let middle = u32::from_be_bytes([plain[10], plain[11], plain[12], plain[13]]);
            self.sender_report = Some((middle, now));
        }
    }

    fn ask_again(&mut self, numbers: &[u16]) {
        let Some(video) = self.video.as_ref().filter(|_| !numbers.is_empty()) else { return };
        let mut pairs: Vec<(u16, u16)> = Vec::new();
        for number in numbers {
            match pairs.last_mut() {
                Some((first, mask)) if (1..=16).contains(&number.wrapping_sub(*first)) => {
                    *mask |= 1 << (number.wrapping_sub(*first) - 1);
                }
                _ => pairs.push((*number, 0)),
            }
        }
        let mut nack = vec![0x81, 205];
        nack.extend_from_slice(&(2 + pairs.len() as u16).to_be_bytes());
        nack.extend_from_slice(&OURS.to_be_bytes());
        nack.extend_from_slice(&video.ssrc.to_be_bytes());
        for (first, mask) in pairs {
            nack.extend_from_slice(&first.to_be_bytes());
            nack.extend_from_slice(&mask.to_be_bytes());
        }
        self.say(&nack);
    }

    pub(crate) fn ask_keyframe(&mut self) {
        let Some(video) = &self.video else { return };
        let mut pli = vec![0x81, 206, 0, 2];
        pli.extend_from_slice(&OURS.to_be_bytes());
        pli.extend_from_slice(&video.ssrc.to_be_bytes());
        self.say(&pli);
    }

    /// RFC 3550 section 6.4.2.
    fn report(&mut self, now: Instant) {
        let Some(video) = &mut self.video else { return };
        let (expected, received) = (video.highest + 1 - video.first, video.received);
        let (new, got) = (expected - video.reported.0, received.saturating_sub(video.reported.1));
        video.reported = (expected, received);
        let lost = new.saturating_sub(got);
        let fraction = (256 * lost).checked_div(new).unwrap_or(0).min(255) as u8;
        let total = expected.saturating_sub(received).min(0x7f_ffff) as u32;
        let mut report = vec![0x81, 201, 0, 7];
        report.extend_from_slice(&OURS.to_be_bytes());
        report.extend_from_slice(&video.ssrc.to_be_bytes());
        report.extend_from_slice(&(u32::from(fraction) << 24 | total).to_be_bytes());
        report.extend_from_slice(&(video.highest as u32).to_be_bytes());
        report.extend_from_slice(&[0; 4]);
        let (middle, delay) = self.sender_report.map_or((0, 0), |(middle, at)| {
            (middle, (now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000) as u32)
        });
        report.extend_from_slice(&middle.to_be_bytes());
        report.extend_from_slice(&delay.to_be_bytes());
        self.say(&report);
    }

    /// Sends a compound of RTCP, once there are keys.
    pub(crate) fn say(&mut self, plain: &[u8]) {
        self.said.extend(self.transport.seal_rtcp(plain).map(Said::Send));
    }
}

/// The transport-wide number among the one-byte extensions (RFC 8285 section 4.2).
fn transport_number(mut extensions: &[u8]) -> Option<u16> {
    while let [head, rest @ ..] = extensions {
        if *head == 0 {
            extensions = rest;
            continue;
        }
        let (value, rest) = rest.split_at_checked(usize::from(head & 15) + 1)?;
        if head >> 4 == TRANSPORT_CC {
            return Some(u16::from_be_bytes([value[0], value[1]]));
        }
        extensions = rest;
    }
    None
}

fn offer(abilities: Abilities) -> String {
    let formats = if abilities.rtx { "102 103" } else { "102" };
    let mut text = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=setup:actpass\r\n\
         a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\na=fingerprint:sha-256 {}\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=extmap:{TRANSPORT_CC} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=rtcp-fb:102 transport-cc\r\na=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n\
         a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n",
        Transport::fingerprint()
    );
    if abilities.rtx {
        text.push_str("a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n");
    }
    text.push_str(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n",
    );
    text
}
