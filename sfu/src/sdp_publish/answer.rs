//! The answer to a publisher.

use std::fmt::Write;

use media::{Codec, Kind};

use super::offer::{Accepted, PublishOffer, Section, Setup};
use crate::candidate::{Candidate, write_candidates};

/// What is ours in an answer.
#[derive(Debug)]
pub(crate) struct AnswerParameters<'a> {
    pub(crate) session_id: u64,
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    pub(crate) fingerprint: &'a str,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) start_bitrate_bps: u32,
    pub(crate) bitrate_max_bps: Option<u32>,
}

/// Opus as a browser should send it: without `stereo=1` from the receiver it sends mono.
const OPUS_FMTP: &str = "minptime=10;useinbandfec=1;stereo=1;maxaveragebitrate=128000";

/// Writes the answer: every m-line of the offer in its order (RFC 3264 section 6).
pub(crate) fn write_answer(offer: &PublishOffer, ours: &AnswerParameters<'_>) -> String {
    let mut text = format!("v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", ours.session_id);
    let live = offer.sections.iter().filter(|section| section.accepted.is_some());
    text.push_str("a=group:BUNDLE");
    for section in live {
        let _ = write!(text, " {}", section.mid);
    }
    text.push_str("\r\n");
    if offer.extmap_allow_mixed {
        text.push_str("a=extmap-allow-mixed\r\n");
    }
    text.push_str("a=ice-lite\r\na=msid-semantic: WMS *\r\n");
    let mut first = true;
    for section in &offer.sections {
        let Some(accepted) = &section.accepted else {
            write_rejection(&mut text, section);
            continue;
        };
        write_head(&mut text, section, accepted, ours);
        // In a bundle the candidates of the first section are those of all (RFC 9143 section 7.3).
        if std::mem::take(&mut first) {
            write_candidates(&mut text, ours.candidates);
        }
        write_transport(&mut text, offer.setup, ours);
        write_formats(&mut text, section, accepted, ours);
    }
    text
}

fn write_rejection(text: &mut String, section: &Section) {
    let _ = write!(
        text,
        "m={} 0 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
        section.kind.as_str(),
        section.format,
        section.mid
    );
}

fn write_head(text: &mut String, section: &Section, accepted: &Accepted, ours: &AnswerParameters<'_>) {
    let _ = write!(text, "m={} 9 UDP/TLS/RTP/SAVPF {}", section.kind.as_str(), accepted.payload_type);
    if let Some(rtx) = accepted.rtx {
        let _ = write!(text, " {rtx}");
    }
    text.push_str("\r\nc=IN IP4 0.0.0.0\r\n");
    if let (Kind::Video, Some(bps)) = (section.kind, ours.bitrate_max_bps) {
        // AS counts kbit/s with headers (RFC 8866 section 5.8), TIAS bit/s without (RFC 3890).
        let _ = write!(text, "b=AS:{}\r\nb=TIAS:{bps}\r\n", bps.div_ceil(1000));
    }
    text.push_str("a=rtcp:9 IN IP4 0.0.0.0\r\n");
}

fn write_transport(text: &mut String, setup: Setup, ours: &AnswerParameters<'_>) {
    let setup = match setup {
        Setup::Passive => "active",
        // RFC 9725 section 4.4.2: the server answers passive where it may choose.
        Setup::Active | Setup::ActPass => "passive",
    };
    let _ = write!(
        text,
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n",
        ours.ufrag, ours.pwd, ours.fingerprint
    );
}

fn write_formats(text: &mut String, section: &Section, accepted: &Accepted, ours: &AnswerParameters<'_>) {
    let _ = write!(text, "a=mid:{}\r\n", section.mid);
    for (id, extension) in &accepted.extensions {
        let _ = write!(text, "a=extmap:{id} {}\r\n", extension.uri());
    }
    // RFC 8858 section 3: mux-only, and no port for RTCP alone.
    text.push_str("a=recvonly\r\na=rtcp-mux\r\na=rtcp-mux-only\r\n");
    if accepted.reduced_size_rtcp {
        text.push_str("a=rtcp-rsize\r\n");
    }
    let payload_type = accepted.payload_type;
    let _ = write!(text, "a=rtpmap:{payload_type} {}\r\n", accepted.rtpmap);
    for feedback in &accepted.feedback {
        let _ = write!(text, "a=rtcp-fb:{payload_type} {feedback}\r\n");
    }
    if let Some(fmtp) = fmtp(accepted, ours.start_bitrate_bps) {
        let _ = write!(text, "a=fmtp:{payload_type} {fmtp}\r\n");
    }
    if let Some(rtx) = accepted.rtx {
        let _ = write!(text, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n");
    }
    if !accepted.rids.is_empty() {
        let mut list = String::new();
        for rid in &accepted.rids {
            let _ = write!(text, "a=rid:{rid} recv\r\n");
            if !list.is_empty() {
                list.push(';');
            }
            list.push_str(rid.as_str());
        }
        let _ = write!(text, "a=simulcast:recv {list}\r\n");
    }
}

fn fmtp(accepted: &Accepted, start_bitrate_bps: u32) -> Option<String> {
    let offered = match accepted.codec {
        Codec::Opus => return Some(OPUS_FMTP.to_owned()),
        // RFC 6184 section 8.2.2: the profile must be the one of the offer; `sprop-*` describes what the
        // offerer sends and is not ours to repeat.
        _ => {
            let offered = accepted.fmtp.as_deref().unwrap_or_default();
            let mine: Vec<&str> =
                offered.split(';').filter(|pair| !pair.trim_start().starts_with("sprop-")).collect();
            mine.join(";")
        }
    };
    // Only libwebrtc knows these; others match a format by its whole parameter list.
    let google = accepted.libwebrtc.then(|| format!("x-google-start-bitrate={}", start_bitrate_bps / 1000));
    match (offered.is_empty(), google) {
        (true, None) => None,
        (true, Some(google)) => Some(google),
        (false, None) => Some(offered),
        (false, Some(google)) => Some(format!("{offered};{google}")),
    }
}
