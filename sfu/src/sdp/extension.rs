//! Header extensions of an m-line (RFC 8285 section 8): those offered that we write.

use rtc_sdp::description::media::MediaDescription;

use super::values;

/// Transport-wide congestion control.
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// RFC 9143 section 14.
const SDES_MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// How long a receiver may wait before it shows a picture.
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// When a frame was captured, by the wall clock.
const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/// When a packet was sent, for receivers that estimate the bandwidth themselves.
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// The ids under which extensions were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) mid: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) playout_delay: Option<u8>,
    pub(crate) abs_capture_time: Option<u8>,
    /// Only without transport-wide congestion control: one estimate is enough.
    pub(crate) abs_send_time: Option<u8>,
}

impl Extensions {
    pub(super) fn read(media: &MediaDescription) -> Self {
        let transport_cc = id(media, TRANSPORT_CC);
        Self {
            mid: id(media, SDES_MID),
            transport_cc,
            playout_delay: id(media, PLAYOUT_DELAY),
            abs_capture_time: id(media, ABS_CAPTURE_TIME),
            abs_send_time: id(media, ABS_SEND_TIME).filter(|_| transport_cc.is_none()),
        }
    }

    /// Those that are there, for the answer.
    pub(super) fn accepted(self) -> impl Iterator<Item = (u8, &'static str)> {
        [
            (self.mid, SDES_MID),
            (self.transport_cc, TRANSPORT_CC),
            (self.playout_delay, PLAYOUT_DELAY),
            (self.abs_capture_time, ABS_CAPTURE_TIME),
            (self.abs_send_time, ABS_SEND_TIME),
        ]
        .into_iter()
        .filter_map(|(id, uri)| Some((id?, uri)))
    }
}

fn id(media: &MediaDescription, uri: &str) -> Option<u8> {
    values(media, "extmap").find_map(|line| {
        let (id, rest) = line.split_once(' ')?;
        // RFC 8285 section 8: the id may carry a direction.
        let id: u8 = id.split('/').next()?.parse().ok()?;
        let named = rest.split_whitespace().next()? == uri;
        // Ids over 14 need the two-byte form, which we do not write.
        (named && (1..=14).contains(&id)).then_some(id)
    })
}
