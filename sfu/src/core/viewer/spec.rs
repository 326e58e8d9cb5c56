//! A viewer to be: what its offer and our answer agreed on (RFC 8829).

use std::sync::Arc;
use std::time::Duration;

use media::{Kind, Stream};

use super::identity::Identity;
use crate::core::challenge::Seed;
use crate::core::credentials::{Credentials, Halves};
use crate::core::down_track::{Extensions, Format, Line};
use crate::sdp::{AnswerTerms, Section, Setup, SubscribeOffer};
use crate::{Candidate, LayerChoice, PeerId};

/// The longest that a browser holds a picture back if nothing else is set: what libwebrtc does by itself. At most 500 ms
/// with a minimum of zero would be taken for a wish to show each picture at once.
const PLAYOUT_DELAY_MAX: Duration = Duration::from_secs(10);
/// Random bytes that a negotiation uses up: credentials, SSRCs, first numbers, a secret. The shell fills it.
pub type Entropy = [u8; 96];

/// A negotiated viewer that waits for its first STUN check.
#[derive(Debug)]
pub struct Spec {
    pub(super) id: PeerId,
    pub(super) stream: Arc<Stream>,
    pub(super) halves: Halves,
    pub(super) seed: Seed,
    pub(super) identity: Identity,
    pub(super) offer_setup: Setup,
    pub(super) fingerprints: Vec<crate::sdp::Fingerprint>,
    pub(super) cname: String,
    pub(super) lines: Vec<Line>,
    pub(super) choice: LayerChoice,
}

impl Spec {
    /// Negotiates: the viewer to be, and the answer to its offer.
    ///
    /// `candidates`: where this node can be reached, in order of preference.
    pub fn negotiate(
        id: PeerId,
        stream: Arc<Stream>,
        offer: &SubscribeOffer,
        identity: &Identity,
        candidates: &[Candidate],
        entropy: &Entropy,
    ) -> (Self, String) {
        let mut random = Random(entropy);
        let (ufrag, pwd, cname) = (random.text(8), random.text(24), random.text(12));
        // Distinct without asking: they differ in the lowest bits.
        let ssrcs = [0, 1, 2].map(|kind| random.u32() & !3 | kind);
        let video_codecs = stream
            .source(Kind::Video)
            .and_then(|track| track.layers().iter().find_map(|layer| layer.info().codecs));
        let answer = offer.answer(&AnswerTerms {
            session_id: random.u64(),
            ufrag: &ufrag,
            pwd: &pwd,
            fingerprint: identity.fingerprint(),
            candidates,
            cname: &cname,
            msid: &stream.id().to_string(),
            audio_ssrc: ssrcs[0],
            video_ssrc: ssrcs[1],
            rtx_ssrc: ssrcs[2],
            video_codecs: video_codecs.as_deref(),
        });
        let mut lines = Vec::new();
        for kind in [Kind::Audio, Kind::Video] {
            if let Some(section) = offer.section(kind) {
                let ssrc = ssrcs[usize::from(kind == Kind::Video)];
                let formats = formats(offer, section, video_codecs.as_deref());
                let extensions = extensions(offer, section, &formats, stream.clock());
                lines.push(line(section, kind, [ssrc, ssrcs[2]], formats, extensions, &mut random));
            }
        }
        let spec = Self {
            id,
            stream,
            halves: Halves { ours: Credentials::new(ufrag, &pwd), theirs: offer.credentials() },
            seed: random.bytes(),
            identity: identity.clone(),
            offer_setup: offer.setup,
            fingerprints: offer.fingerprints.clone(),
            cname,
            lines,
            choice: LayerChoice::default(),
        };
        (spec, answer)
    }

    /// Who it will be.
    pub fn id(&self) -> PeerId {
        self.id
    }

    #[cfg(test)]
    pub(crate) fn choice(&self) -> &LayerChoice {
        &self.choice
    }

    /// What it wants to see, once it is connected.
    pub fn choose(&mut self, choice: LayerChoice) {
        self.choice = choice;
    }

    /// Our ICE ufrag for it: the key of the table of claims.
    pub fn ufrag(&self) -> &str {
        self.halves.ours.ufrag()
    }

    pub(in crate::core) fn replace_credentials(&mut self, halves: Halves) {
        self.halves = halves;
    }
}

fn formats(offer: &SubscribeOffer, section: &Section, source: Option<&str>) -> Vec<Format> {
    let format = |offered: &crate::sdp::OfferedCodec| Format {
        codec: offered.codec,
        payload_type: offered.payload_type,
        rtx: offered.rtx,
        nack: offered.feedback.iter().any(|feedback| feedback == "nack"),
    };
    // A codec whose profile the viewer does not decode is answered, and as good as not offered.
    offer.accepted(section, source).iter().filter(|(_, decodes)| *decodes).map(|(it, _)| format(it)).collect()
}

fn extensions(
    offer: &SubscribeOffer,
    section: &Section,
    formats: &[Format],
    clock: media::StreamClock,
) -> Extensions {
    let offered = section.extensions;
    // Without RTX the very same bytes are sent again, and nobody remembers when it was the first time.
    let same_bytes = formats.iter().any(|format| format.nack && format.rtx.is_none());
    Extensions {
        playout_delay: offered
            .playout_delay
            .map(|id| (id, offer.playout_delay_max.unwrap_or(PLAYOUT_DELAY_MAX))),
        capture_time: offered.abs_capture_time,
        send_time: offered.abs_send_time.filter(|_| !same_bytes),
        clock,
    }
}

fn line(
    section: &Section,
    kind: Kind,
    [ssrc, rtx_ssrc]: [u32; 2],
    formats: Vec<Format>,
    extensions: Extensions,
    random: &mut Random<'_>,
) -> Line {
    let mid = section.mid.as_ref().filter(|mid| !mid.is_empty());
    Line {
        kind,
        ssrc,
        rtx_ssrc,
        formats,
        transport_cc: section.extensions.transport_cc,
        mid: section.extensions.mid.zip(mid).map(|(id, mid)| (id, mid.as_bytes().to_vec())),
        extensions,
        // RFC 3550 section 5.1 wants them random; not near the wrap-around, where a lost first packet
        // would make the receiver guess the rollover counter wrongly (RFC 3711 section 3.3.1).
        first: random.u16() % (1 << 14) + 1,
        rtx_first: random.u16() % (1 << 14) + 1,
        base: random.u32(),
    }
}

/// Hands out the entropy piece by piece.
struct Random<'a>(&'a [u8]);

impl Random<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("Entropy is as long as what is taken from it");
        self.0 = rest;
        *taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// ice-char (RFC 8839 section 5.4), 6 bits each.
    fn text(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..length).map(|_| char::from(ALPHABET[usize::from(self.bytes::<1>()[0] & 63)])).collect()
    }
}
