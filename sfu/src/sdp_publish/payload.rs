//! Payload types: which are offered, and which one we take.

use std::collections::HashMap;

use media::Codec;

use super::lines::Media;

/// The feedback that we give, if it is offered.
const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];

/// A payload type, as far as it is described.
pub(super) struct Payload<'a> {
    pub(super) payload_type: u8,
    pub(super) rtpmap: &'a str,
    pub(super) fmtp: Option<&'a str>,
}

impl Payload<'_> {
    pub(super) fn codec(&self) -> Option<Codec> {
        let name = self.rtpmap.split('/').next().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "h264" => Some(Codec::H264),
            // Several streams on one or more transports (RFC 7798 section 7.1) nobody here joins.
            "h265" if self.parameter("tx-mode").is_none_or(|mode| mode == "SRST") => Some(Codec::H265),
            "vp8" => Some(Codec::Vp8),
            "vp9" => Some(Codec::Vp9),
            "av1" => Some(Codec::Av1),
            "opus" => Some(Codec::Opus),
            _ => None,
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp?.split(';').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Lower is better; of equals, the one that was offered first is taken. H.264 first, because everybody
    /// plays it and HLS carries it as it is; its single NAL unit mode late, because its encoders cut pictures
    /// into slices; H.265 last, because most browsers do not receive it.
    pub(super) fn rank(&self) -> u8 {
        match (self.codec(), self.parameter("packetization-mode")) {
            (Some(Codec::Opus), _) => 0,
            (Some(Codec::H264), Some("1")) => 1,
            (Some(Codec::Vp8 | Codec::Vp9 | Codec::Av1), _) => 2,
            (Some(Codec::H264), _) => 3,
            _ => 4,
        }
    }
}

/// The described payload types, in the order of the m-line.
pub(super) fn payloads<'a>(media: &Media<'a>) -> Vec<Payload<'a>> {
    let by_type = |key| {
        let mut map = HashMap::new();
        for value in media.attributes.all(key) {
            if let Some((payload_type, rest)) = value.split_once(' ') {
                map.entry(payload_type).or_insert_with(|| rest.trim());
            }
        }
        map
    };
    let (rtpmaps, fmtps): (HashMap<&str, &str>, HashMap<&str, &str>) = (by_type("rtpmap"), by_type("fmtp"));
    media
        .formats
        .iter()
        .filter_map(|format| {
            // RFC 3551 section 6: seven bits.
            let payload_type = format.parse().ok().filter(|payload_type| *payload_type < 128)?;
            let rtpmap = rtpmaps.get(format)?;
            Some(Payload { payload_type, rtpmap, fmtp: fmtps.get(format).copied() })
        })
        .collect()
}

/// The feedback that was offered for a payload type, as far as we give it.
pub(super) fn feedback(media: &Media<'_>, payload_type: u8) -> Vec<&'static str> {
    let mine = payload_type.to_string();
    let offered: Vec<&str> = media
        .attributes
        .all("rtcp-fb")
        .filter_map(|value| value.split_once(' '))
        .filter(|(payload_type, _)| *payload_type == "*" || *payload_type == mine)
        .map(|(_, feedback)| feedback.trim())
        .collect();
    FEEDBACK.into_iter().filter(|known| offered.contains(known)).collect()
}
