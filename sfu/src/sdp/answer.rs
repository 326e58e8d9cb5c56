//! What we say to a viewer: ICE-lite, one transport, both m-lines answered whether or not the Track exists yet.

use std::fmt::Write as _;

use media::{Codec, Kind};

use super::{OfferedCodec, Section, Setup, SubscribeOffer};
use crate::candidate::{Candidate, write_candidates};

/// Feedback that we act on, as far as it was offered (RFC 4585, RFC 5104).
const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];

/// What an answer needs besides the offer.
#[derive(Debug)]
pub(crate) struct AnswerTerms<'a> {
    pub(crate) session_id: u64,
    pub(crate) ufrag: &'a str,
    pub(crate) pwd: &'a str,
    pub(crate) fingerprint: &'a str,
    pub(crate) candidates: &'a [Candidate],
    pub(crate) cname: &'a str,
    /// Groups audio and video for the player: the Stream.
    pub(crate) msid: &'a str,
    pub(crate) audio_ssrc: u32,
    pub(crate) video_ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    /// RFC 6381 string of the video, if it is known already.
    pub(crate) video_codecs: Option<&'a str>,
}

impl SubscribeOffer {
    /// The payload types that we accept of a section, and whether the viewer decodes what is sent now with
    /// them: one per codec, so that a codec may change later.
    pub(crate) fn accepted<'a>(
        &self,
        section: &'a Section,
        source: Option<&str>,
    ) -> Vec<(&'a OfferedCodec, bool)> {
        let codecs: &[Codec] = match section.kind {
            Some(Kind::Audio) => &[Codec::Opus],
            Some(Kind::Video) => &[Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1],
            None => &[],
        };
        codecs.iter().filter_map(|codec| section.pick(*codec, source)).collect()
    }

    /// Writes the answer.
    pub(crate) fn answer(&self, terms: &AnswerTerms<'_>) -> String {
        let mut text = String::with_capacity(2048);
        let mids: Vec<&str> = self
            .sections
            .iter()
            .filter(|section| section.kind.is_some())
            .filter_map(|section| section.mid.as_deref())
            .collect();
        line(&mut text, format_args!("v=0"));
        line(&mut text, format_args!("o=- {} 1 IN IP4 0.0.0.0", terms.session_id >> 1));
        line(&mut text, format_args!("s=-"));
        line(&mut text, format_args!("t=0 0"));
        if !mids.is_empty() {
            line(&mut text, format_args!("a=group:BUNDLE {}", mids.join(" ")));
        }
        line(&mut text, format_args!("a=ice-lite"));
        line(&mut text, format_args!("a=msid-semantic: WMS *"));
        // Candidates belong to the section that carries the bundle's transport (RFC 9143 section 7.3).
        let mut candidates = terms.candidates;
        for section in &self.sections {
            match section.kind {
                Some(kind) => {
                    self.accept(&mut text, section, kind, terms, std::mem::take(&mut candidates));
                }
                None => reject(&mut text, section),
            }
        }
        text
    }

    fn accept(
        &self,
        text: &mut String,
        section: &Section,
        kind: Kind,
        terms: &AnswerTerms<'_>,
        candidates: &[Candidate],
    ) {
        let accepted = self.accepted(section, terms.video_codecs);
        let codecs: Vec<&OfferedCodec> = accepted.into_iter().map(|(codec, _)| codec).collect();
        let formats: Vec<String> = codecs
            .iter()
            .flat_map(|codec| [Some(codec.payload_type), codec.rtx])
            .flatten()
            .map(|pt| pt.to_string())
            .collect();
        line(text, format_args!("m={} 9 {} {}", section.media, section.proto, formats.join(" ")));
        line(text, format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &section.mid {
            line(text, format_args!("a=mid:{mid}"));
        }
        line(text, format_args!("a=sendonly"));
        line(text, format_args!("a=rtcp-mux"));
        line(text, format_args!("a=rtcp-mux-only"));
        line(text, format_args!("a=rtcp-rsize"));
        line(text, format_args!("a=ice-ufrag:{}", terms.ufrag));
        line(text, format_args!("a=ice-pwd:{}", terms.pwd));
        line(text, format_args!("a=fingerprint:sha-256 {}", terms.fingerprint));
        let role = if self.setup == Setup::Passive { "active" } else { "passive" };
        line(text, format_args!("a=setup:{role}"));
        write_extensions(text, section);
        for codec in &codecs {
            write_codec(text, codec);
        }
        let (ssrc, rtx) = match kind {
            Kind::Audio => (terms.audio_ssrc, None),
            Kind::Video => {
                (terms.video_ssrc, codecs.iter().any(|codec| codec.rtx.is_some()).then_some(terms.rtx_ssrc))
            }
        };
        let (stream, cname, kind) = (terms.msid, terms.cname, kind.as_str());
        line(text, format_args!("a=msid:{stream} {kind}"));
        if let Some(rtx) = rtx {
            line(text, format_args!("a=ssrc-group:FID {ssrc} {rtx}"));
        }
        for ssrc in std::iter::once(ssrc).chain(rtx) {
            line(text, format_args!("a=ssrc:{ssrc} cname:{cname}"));
            line(text, format_args!("a=ssrc:{ssrc} msid:{stream} {kind}"));
        }
        if !candidates.is_empty() {
            write_candidates(text, candidates);
        }
    }
}

fn write_extensions(text: &mut String, section: &Section) {
    for (id, uri) in section.extensions.accepted() {
        line(text, format_args!("a=extmap:{id} {uri}"));
    }
}

fn write_codec(text: &mut String, codec: &OfferedCodec) {
    let pt = codec.payload_type;
    line(text, format_args!("a=rtpmap:{pt} {}", codec.rtpmap));
    for feedback in FEEDBACK {
        if codec.feedback.iter().any(|offered| offered == feedback) {
            line(text, format_args!("a=rtcp-fb:{pt} {feedback}"));
        }
    }
    match (codec.codec, &codec.fmtp) {
        (Codec::Opus, _) => line(text, format_args!("a=fmtp:{pt} {}", opus_fmtp(codec))),
        (_, Some(fmtp)) => line(text, format_args!("a=fmtp:{pt} {fmtp}")),
        (_, None) => {}
    }
    if let Some(rtx) = codec.rtx {
        line(text, format_args!("a=rtpmap:{rtx} rtx/90000"));
        line(text, format_args!("a=fmtp:{rtx} apt={pt}"));
    }
}

/// What was offered, and that stereo may come (RFC 7587 section 7.1).
fn opus_fmtp(codec: &OfferedCodec) -> String {
    let mut parameters: Vec<&str> = codec.fmtp.as_deref().unwrap_or("").split(';').map(str::trim).collect();
    parameters.retain(|parameter| !parameter.is_empty());
    for (name, parameter) in [("stereo", "stereo=1"), ("sprop-stereo", "sprop-stereo=1")] {
        if codec.parameter(name).is_none() {
            parameters.push(parameter);
        }
    }
    parameters.join(";")
}

fn reject(text: &mut String, section: &Section) {
    line(text, format_args!("m={} 0 {} {}", section.media, section.proto, section.formats.join(" ")));
    line(text, format_args!("c=IN IP4 0.0.0.0"));
    if let Some(mid) = &section.mid {
        line(text, format_args!("a=mid:{mid}"));
    }
    line(text, format_args!("a=inactive"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(line);
    text.push_str("\r\n");
}
