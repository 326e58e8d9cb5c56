//! The offer as the peer connection underneath gets it.

use std::fmt::Write;

use media::Kind;

use super::offer::{PublishOffer, Setup};
use crate::core::peer::{REMOTE_PWD, REMOTE_UFRAG};

/// Transport and one payload type per section, under a name that the library surely knows: it carries
/// packets and never opens them. No SSRC, RID or extension: which packet is of which Track is
/// decided here, by [`crate::core::peer`], and does not depend on what the library can tell apart. No
/// candidates and none of its credentials: ICE is ours, the library talks to a made-up end of ours only.
pub(crate) fn canonical_offer(offer: &PublishOffer) -> String {
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
    let live = || offer.sections.iter().filter_map(|section| Some((section, section.accepted.as_ref()?)));
    for (section, _) in live() {
        let _ = write!(text, " {}", section.mid);
    }
    let setup = match offer.setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::ActPass => "actpass",
    };
    let _ = write!(text, "\r\na=fingerprint:sha-256 {}\r\n", offer.fingerprint);
    for (section, accepted) in live() {
        let payload_type = accepted.payload_type;
        let rtpmap = canonical_rtpmap(section.kind);
        let _ = write!(
            text,
            "m={} 9 UDP/TLS/RTP/SAVPF {payload_type}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=setup:{setup}\r\na=mid:{}\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:{payload_type} {rtpmap}\r\n",
            section.kind.as_str(),
            REMOTE_UFRAG,
            REMOTE_PWD,
            section.mid,
        );
    }
    text
}

/// What a section of that kind is called, whatever it carries.
pub(crate) const fn canonical_rtpmap(kind: Kind) -> &'static str {
    match kind {
        Kind::Audio => "opus/48000/2",
        Kind::Video => "VP8/90000",
    }
}
