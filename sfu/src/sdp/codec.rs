//! The payload types of an m-line.

use std::collections::HashMap;

use media::Codec;
use rtc_sdp::description::media::MediaDescription;

use super::values;

/// One payload type of an m-line.
#[derive(Clone, Debug)]
pub(crate) struct OfferedCodec {
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    /// As it stands after `a=rtpmap:PT `, for the answer.
    pub(crate) rtpmap: String,
    pub(crate) fmtp: Option<String>,
    /// Feedback offered for it: `nack`, `nack pli`, …
    pub(crate) feedback: Vec<String>,
    /// Its RTX payload type (RFC 4588).
    pub(crate) rtx: Option<u8>,
}

impl OfferedCodec {
    /// A parameter of its `a=fmtp`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        parameter(self.fmtp.as_deref()?, name)
    }
}

/// Kinds of feedback that are kept of a payload type; browsers offer five.
const FEEDBACK_MAX: usize = 32;

/// The payload types that we know how to send, in the order of the m-line. In time that grows with the length of the
/// offer, whatever it repeats: strangers send it.
pub(super) fn read(media: &MediaDescription) -> Vec<OfferedCodec> {
    let mut formats: Vec<u8> = Vec::new();
    for payload_type in media.media_name.formats.iter().filter_map(|format| payload_type(format)) {
        if !formats.contains(&payload_type) {
            formats.push(payload_type);
        }
    }
    let (maps, parameters) = (by_payload_type(media, "rtpmap"), by_payload_type(media, "fmtp"));
    let mut rtx: HashMap<u8, u8> = HashMap::new();
    for pt in &formats {
        let is_rtx =
            maps.get(pt).and_then(|map| map.get(..4)).is_some_and(|it| it.eq_ignore_ascii_case("rtx/"));
        if is_rtx && let Some(of) = parameters.get(pt).and_then(|fmtp| apt(fmtp)) {
            rtx.entry(of).or_insert(*pt);
        }
    }
    let feedback = feedback(media);
    let kept = formats.iter().filter_map(|pt| {
        let map = maps.get(pt)?;
        let mine = feedback.iter().filter(|(of, _)| of.is_none_or(|of| of == *pt));
        Some(OfferedCodec {
            payload_type: *pt,
            codec: codec(map)?,
            rtpmap: (*map).to_owned(),
            fmtp: parameters.get(pt).map(|fmtp| (*fmtp).to_owned()),
            feedback: mine.map(|(_, what)| what.to_ascii_lowercase()).take(FEEDBACK_MAX).collect(),
            rtx: rtx.get(pt).copied(),
        })
    });
    kept.collect()
}

/// RFC 3551 section 6: 7 bits.
fn payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|pt| *pt < 128)
}

/// What the attributes of that name say of each payload type; the first one counts.
fn by_payload_type<'a>(media: &'a MediaDescription, name: &'static str) -> HashMap<u8, &'a str> {
    let mut found = HashMap::new();
    for (pt, rest) in values(media, name).filter_map(|line| line.split_once(' ')) {
        if let Some(pt) = payload_type(pt) {
            found.entry(pt).or_insert(rest.trim());
        }
    }
    found
}

/// RFC 4585 section 4.2: feedback, and of which payload type; `None`: of all.
fn feedback(media: &MediaDescription) -> Vec<(Option<u8>, &str)> {
    let lines = values(media, "rtcp-fb").filter_map(|line| line.split_once(' '));
    let of = |text| if text == "*" { Some(None) } else { payload_type(text).map(Some) };
    lines.filter_map(|(text, what)| Some((of(text)?, what.trim()))).collect()
}

fn codec(rtpmap: &str) -> Option<Codec> {
    let mut parts = rtpmap.trim().split('/');
    let name = parts.next()?.to_ascii_lowercase();
    match (name.as_str(), parts.next()?) {
        ("h264", "90000") => Some(Codec::H264),
        ("h265", "90000") => Some(Codec::H265),
        ("vp8", "90000") => Some(Codec::Vp8),
        ("vp9", "90000") => Some(Codec::Vp9),
        ("av1", "90000") => Some(Codec::Av1),
        ("opus", "48000") => Some(Codec::Opus),
        _ => None,
    }
}

fn apt(fmtp: &str) -> Option<u8> {
    parameter(fmtp, "apt")?.parse().ok()
}

fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
