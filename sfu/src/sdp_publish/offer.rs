//! What we take from a publisher's offer.

use std::collections::HashMap;
use std::net::IpAddr;

use media::{Codec, Kind, Rid};

use super::lines::{Description, Media};
use super::payload::{feedback, payloads};
use crate::core::Credentials;
use crate::sdp::Error;

/// Longest offer read: Chromium with simulcast writes 7 KiB; beyond it WHIP answers 413.
pub const OFFER_BYTES_MAX: usize = 64 * 1024;

/// Most simulcast layers: OBS and browsers send three or four.
pub(crate) const RIDS_MAX: usize = 4;

/// A checked offer of a publisher.
#[derive(Clone, Debug)]
pub struct PublishOffer {
    pub(crate) encoder: Option<String>,
    remote: Option<IpAddr>,
    /// The publisher's half of the ICE session.
    pub(crate) credentials: Credentials,
    /// SHA-256 of the certificate, as colon-separated hexadecimal bytes.
    pub(crate) fingerprint: String,
    pub(crate) setup: Setup,
    pub(crate) extmap_allow_mixed: bool,
    pub(crate) sections: Vec<Section>,
}

/// Who begins the DTLS handshake (RFC 8842 section 5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// The publisher does.
    Active,
    /// We do: ffmpeg.
    Passive,
    /// It leaves the choice to us.
    ActPass,
}

/// One m-line.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// `audio` or `video`.
    pub(crate) kind: Kind,
    pub(crate) mid: String,
    /// The first format, for the answer of a section that is off.
    pub(crate) format: String,
    /// `None`: the offerer itself switched the section off (port 0 without `bundle-only`).
    pub(crate) accepted: Option<Accepted>,
}

/// What will be sent in a section.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    /// As it was offered, for example `H264/90000`.
    pub(crate) rtpmap: String,
    pub(crate) fmtp: Option<String>,
    pub(crate) rtx: Option<u8>,
    /// The feedback that was offered and that we give.
    pub(crate) feedback: Vec<&'static str>,
    pub(crate) extensions: Vec<(u8, Extension)>,
    /// Simulcast layers, in the order of the offer; empty without simulcast.
    pub(crate) rids: Vec<Rid>,
    /// Declared SSRCs, each with the one of its retransmissions.
    pub(crate) ssrcs: Vec<(u32, Option<u32>)>,
    pub(crate) reduced_size_rtcp: bool,
    /// Made by libwebrtc (Chromium, Safari): it reads `x-google-*` parameters.
    pub(crate) libwebrtc: bool,
}

/// A header extension that we use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extension {
    /// RFC 8843 section 15.
    Mid,
    /// RFC 8852 section 3.1.
    Rid,
    /// RFC 8852 section 3.2.
    RepairedRid,
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01.
    TransportCc,
}

impl Extension {
    const ALL: [Self; 4] = [Self::Mid, Self::Rid, Self::RepairedRid, Self::TransportCc];

    pub(crate) const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        }
    }
}

impl PublishOffer {
    /// Reads and checks an offer.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is no SDP, [`Error::Unacceptable`] if it cannot be answered.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > OFFER_BYTES_MAX {
            return Err(Error::Unacceptable("the offer is too long"));
        }
        crate::sdp::refuse_controls(text)?;
        let description = Description::split(text)?;
        let mut sections = Vec::new();
        for media in &description.sections {
            sections.push(Section::read(&description, media, sections.len())?);
        }
        let live = || sections.iter().filter(|section| section.accepted.is_some());
        if live().next().is_none() {
            return Err(Error::Unacceptable("it offers neither audio nor video"));
        }
        for kind in [Kind::Audio, Kind::Video] {
            if live().filter(|section| section.kind == kind).count() > 1 {
                return Err(Error::Unacceptable("at most one audio and one video track can be published"));
            }
        }
        check_bundle(&description, live().map(|section| section.mid.as_str()))?;
        let transport = Transport::read(&description)?;
        Ok(Self {
            encoder: None,
            remote: None,
            credentials: transport.credentials,
            fingerprint: transport.fingerprint,
            setup: transport.setup,
            extmap_allow_mixed: description.session().has("extmap-allow-mixed"),
            sections,
        })
    }

    /// Says what the encoder calls itself (HTTP `User-Agent`): OBS and ffmpeg do not make keyframes when
    /// asked, whatever they negotiate.
    #[must_use]
    pub fn with_encoder(mut self, encoder: Option<String>) -> Self {
        self.encoder = encoder;
        self
    }

    /// Simulcast Layers of the Track that has most; 0 without simulcast.
    pub fn layers(&self) -> usize {
        self.accepted().map(|accepted| accepted.rids.len()).max().unwrap_or(0)
    }

    /// Says from where it came, for the limit per address.
    #[must_use]
    pub fn with_remote(mut self, remote: IpAddr) -> Self {
        self.remote = Some(remote);
        self
    }

    pub(crate) fn remote(&self) -> Option<IpAddr> {
        self.remote
    }

    /// What will be sent, per m-line.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &Accepted> {
        self.sections.iter().filter_map(|section| section.accepted.as_ref())
    }

    /// Whether the encoder makes a keyframe when asked for one.
    pub(crate) fn keyframes_on_request(&self, accepted: &Accepted) -> bool {
        let deaf = self.encoder.as_deref().is_some_and(|name| name.contains("OBS") || name.contains("Lavf"));
        accepted.keyframe_feedback() && !deaf
    }
}

impl Accepted {
    pub(crate) fn has_feedback(&self, wanted: &str) -> bool {
        self.feedback.contains(&wanted)
    }

    fn keyframe_feedback(&self) -> bool {
        self.has_feedback("nack pli") || self.has_feedback("ccm fir")
    }

    pub(crate) fn extension(&self, wanted: Extension) -> Option<u8> {
        self.extensions.iter().find(|(_, extension)| *extension == wanted).map(|(id, _)| *id)
    }
}

impl Section {
    fn read(description: &Description<'_>, media: &Media<'_>, index: usize) -> Result<Self, Error> {
        let kind = match media.kind {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            _ => return Err(Error::Unacceptable("only audio and video can be published")),
        };
        let mid = match media.attributes.value("mid") {
            Some(mid) if is_token(mid) => mid.to_owned(),
            Some(_) => return Err(Error::Syntax("a=mid is no token".to_owned())),
            None => index.to_string(),
        };
        let format = media.formats.first().copied().unwrap_or("0").to_owned();
        // RFC 9143 section 6: with `bundle-only` port 0 is no rejection.
        if media.port == 0 && !media.attributes.has("bundle-only") {
            return Ok(Self { kind, mid, format, accepted: None });
        }
        if !media.protocol.contains("SAVPF") {
            return Err(Error::Unacceptable("media must be protected (UDP/TLS/RTP/SAVPF)"));
        }
        let receives = ["recvonly", "inactive"]
            .into_iter()
            .any(|key| media.attributes.has(key) || description.session().has(key));
        if receives {
            return Err(Error::Unacceptable("a publisher must offer sendonly or sendrecv"));
        }
        let accepted = Accepted::choose(kind, media)?;
        Ok(Self { kind, mid, format, accepted: Some(accepted) })
    }
}

impl Accepted {
    fn choose(kind: Kind, media: &Media<'_>) -> Result<Self, Error> {
        let payloads = payloads(media);
        let chosen = payloads
            .iter()
            .filter(|payload| payload.codec().is_some_and(|codec| codec.kind() == kind))
            .min_by_key(|payload| payload.rank());
        let Some((chosen, codec)) = chosen.and_then(|payload| Some((payload, payload.codec()?))) else {
            return Err(Error::Unacceptable(match kind {
                Kind::Audio => "no audio codec that we know: offer Opus",
                Kind::Video => "no video codec that we know: offer H.264, VP8, VP9, AV1 or H.265",
            }));
        };
        let rids = rids(media)?;
        let rtx = payloads.iter().find_map(|payload| {
            let apt = payload.parameter("apt")?.parse::<u8>().ok()?;
            let is_rtx = payload.rtpmap.to_ascii_lowercase().starts_with("rtx/");
            (is_rtx && apt == chosen.payload_type).then_some(payload.payload_type)
        });
        Ok(Self {
            codec,
            payload_type: chosen.payload_type,
            rtpmap: chosen.rtpmap.to_owned(),
            fmtp: chosen.fmtp.map(str::to_owned),
            rtx,
            feedback: feedback(media, chosen.payload_type),
            extensions: extensions(media),
            rids,
            ssrcs: ssrcs(media),
            reduced_size_rtcp: media.attributes.has("rtcp-rsize"),
            libwebrtc: media.attributes.all("extmap").any(|map| map.contains("rtp-hdrext/video-timing")),
        })
    }
}

/// RFC 8285 section 8: `a=extmap:<id>[/<direction>] <uri>`.
fn extensions(media: &Media<'_>) -> Vec<(u8, Extension)> {
    let mut found: Vec<(u8, Extension)> = Vec::new();
    for value in media.attributes.all("extmap") {
        let mut words = value.split_ascii_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else { continue };
        let id = id.split('/').next().unwrap_or(id).parse().unwrap_or(0);
        let extension = Extension::ALL.into_iter().find(|extension| extension.uri() == uri);
        if let Some(extension) = extension
            && (1..=14).contains(&id)
            && !found.iter().any(|(known, _)| *known == id)
        {
            found.push((id, extension));
        }
    }
    found
}

/// RFC 8853 section 5.1, RFC 8851 section 4: the sent simulcast streams; of alternatives the first.
fn rids(media: &Media<'_>) -> Result<Vec<Rid>, Error> {
    let Some(simulcast) = media.attributes.value("simulcast") else { return Ok(Vec::new()) };
    let mut words = simulcast.split_ascii_whitespace();
    let sent = loop {
        match (words.next(), words.next()) {
            (Some("send"), Some(list)) => break list,
            (Some(_), Some(_)) => {}
            _ => return Ok(Vec::new()),
        }
    };
    let mut rids = Vec::new();
    for stream in sent.split(';') {
        let rid = stream.split(',').next().unwrap_or(stream).trim_start_matches('~');
        let rid = Rid::parse(rid).map_err(|error| Error::Syntax(error.to_string()))?;
        if rid.as_str().is_empty() {
            return Err(Error::Syntax("an empty rid in a=simulcast".to_owned()));
        }
        if !rids.contains(&rid) {
            rids.push(rid);
        }
    }
    // OBS refuses to start if fewer layers are answered than it offered: all or nothing.
    if rids.len() > RIDS_MAX {
        return Err(Error::Unacceptable("more simulcast layers than we take (4)"));
    }
    Ok(rids)
}

/// RFC 5576: declared sources; a `FID` group pairs one with its retransmissions (RFC 4588).
fn ssrcs(media: &Media<'_>) -> Vec<(u32, Option<u32>)> {
    let mut repairs = HashMap::new();
    for group in media.attributes.all("ssrc-group") {
        let words: Vec<&str> = group.split_ascii_whitespace().collect();
        if let ["FID", source, repair] = words[..]
            && let (Ok(source), Ok(repair)) = (source.parse::<u32>(), repair.parse::<u32>())
        {
            repairs.insert(source, repair);
        }
    }
    let mut sources: Vec<(u32, Option<u32>)> = Vec::new();
    for line in media.attributes.all("ssrc") {
        let number = line.split_ascii_whitespace().next().and_then(|number| number.parse::<u32>().ok());
        let Some(ssrc) = number else { continue };
        let known = sources.iter().any(|(known, _)| *known == ssrc);
        if !known && !repairs.values().any(|repair| *repair == ssrc) && sources.len() < RIDS_MAX {
            sources.push((ssrc, repairs.get(&ssrc).copied()));
        }
    }
    sources
}

/// Everything travels on one transport (RFC 9725 section 4.4.2).
fn check_bundle<'a>(
    description: &Description<'_>,
    mids: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Error> {
    if mids.clone().count() < 2 {
        return Ok(());
    }
    let bundled = description.session().all("group").any(|group| {
        let mut words = group.split_ascii_whitespace();
        let is_bundle = words.next() == Some("BUNDLE");
        let members: Vec<&str> = words.collect();
        is_bundle && mids.clone().all(|mid| members.contains(&mid))
    });
    if bundled {
        Ok(())
    } else {
        Err(Error::Unacceptable("audio and video must be bundled (a=group:BUNDLE)"))
    }
}

/// ICE and DTLS, the same for all bundled sections.
struct Transport {
    credentials: Credentials,
    fingerprint: String,
    setup: Setup,
}

impl Transport {
    fn read(description: &Description<'_>) -> Result<Self, Error> {
        // The first section that carries it: bundled ones need not (RFC 9143 section 7.1.3).
        let first = |key| description.sections.iter().find_map(|media| description.inherited(media, key));
        let (Some(ufrag), Some(pwd)) = (first("ice-ufrag"), first("ice-pwd")) else {
            return Err(Error::Unacceptable("no ICE credentials"));
        };
        // RFC 8839 section 5.4.
        let is_ice = |text: &str, least: usize| {
            (least..=256).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        };
        if !is_ice(ufrag, 4) || !is_ice(pwd, 22) {
            return Err(Error::Syntax("ICE credentials of a wrong form".to_owned()));
        }
        let mut fingerprints = description
            .session()
            .all("fingerprint")
            .chain(description.sections.iter().flat_map(|media| media.attributes.all("fingerprint")))
            .filter_map(|value| value.split_once(' '));
        let Some((_, fingerprint)) = fingerprints.find(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"))
        else {
            return Err(Error::Unacceptable("no SHA-256 certificate fingerprint"));
        };
        let fingerprint = fingerprint.trim();
        // RFC 8122 section 5.
        let bytes: Vec<&str> = fingerprint.split(':').collect();
        let is_byte = |byte: &&str| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
        if bytes.len() != 32 || !bytes.iter().all(is_byte) {
            return Err(Error::Syntax("a=fingerprint is not 32 hexadecimal bytes".to_owned()));
        }
        let setup = match first("setup") {
            Some("active") => Setup::Active,
            Some("passive") => Setup::Passive,
            // RFC 8842 section 5.2: an offer says actpass; without the line, it is what is meant.
            Some("actpass") | None => Setup::ActPass,
            Some(_) => return Err(Error::Unacceptable("a=setup must be actpass, active or passive")),
        };
        Ok(Self {
            credentials: Credentials::new(ufrag.to_owned(), pwd),
            fingerprint: fingerprint.to_owned(),
            setup,
        })
    }
}

/// RFC 8866 section 9, `token`.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&b))
}
