//! The payload types of an m-line.

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

/// The payload types that we know how to send, in the order of the m-line.
pub(super) fn read(media: &MediaDescription) -> Vec<OfferedCodec> {
    let formats: Vec<u8> = media
        .media_name
        .formats
        .iter()
        .filter_map(|format| format.parse().ok())
        .filter(|pt| *pt < 128)
        .collect();
    let parameters =
        |pt: u8| values(media, "fmtp").find_map(|fmtp| of_payload_type(fmtp, pt)).map(str::to_owned);
    let maps: Vec<(u8, &str)> = formats
        .iter()
        .filter_map(|pt| Some((*pt, values(media, "rtpmap").find_map(|map| of_payload_type(map, *pt))?)))
        .collect();
    let rtx_of = |wanted: u8| {
        maps.iter()
            .filter(|(_, map)| map.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("rtx/")))
            .find(|(pt, _)| parameters(*pt).and_then(|fmtp| apt(&fmtp)) == Some(wanted))
            .map(|(pt, _)| *pt)
    };
    maps.iter()
        .filter_map(|(pt, map)| {
            let codec = codec(map)?;
            let feedback = values(media, "rtcp-fb")
                .filter_map(|line| line.strip_prefix("* ").or_else(|| of_payload_type(line, *pt)))
                .map(|feedback| feedback.trim().to_ascii_lowercase())
                .collect();
            Some(OfferedCodec {
                payload_type: *pt,
                codec,
                rtpmap: (*map).to_owned(),
                fmtp: parameters(*pt),
                feedback,
                rtx: rtx_of(*pt),
            })
        })
        .collect()
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

/// `Some(rest)` if `line` is `PT rest`.
fn of_payload_type(line: &str, payload_type: u8) -> Option<&str> {
    let (pt, rest) = line.split_once(' ')?;
    (pt.parse() == Ok(payload_type)).then_some(rest.trim())
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
