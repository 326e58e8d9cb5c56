//! Offers of viewers: read with tolerance, checked once; `answer` writes what we say to them.
//!
//! What real clients send, and what must therefore not be an error: no candidate at all, `setup:passive`,
//! a second m-line with port 0 and `bundle-only` (not a rejection, RFC 9143 section 6), codec names in any
//! case, several fingerprints, no RTX, no transport-cc, header extensions listed before the codecs.

mod answer;
mod codec;
mod extension;
mod fragment;
mod profile;

use std::cmp::Reverse;
use std::io::Cursor;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use media::{Codec, Kind, Stream, Track};
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use crate::core::Credentials;
pub(crate) use answer::AnswerTerms;
pub(crate) use codec::OfferedCodec;
pub(crate) use extension::Extensions;
pub use fragment::Fragment;

/// Longest offer read: Chromium's with every codec is 6 kB. Longer ones are refused before parsing.
pub const OFFER_BYTES_MAX: usize = 64 * 1024;

/// Most m-lines of an offer: a player offers two. More are refused.
const SECTIONS_MAX: usize = 16;

/// Most fingerprints kept: one per hash function, for each of two certificates.
const FINGERPRINTS_MAX: usize = 8;

/// Why an offer was refused.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It is not SDP.
    #[error("not a session description: {0}")]
    Syntax(String),
    /// It is SDP that we cannot answer.
    #[error("cannot answer this offer: {0}")]
    Unacceptable(&'static str),
}

impl Error {
    /// True: the text is broken (HTTP 400). False: it is well-formed but cannot be served (HTTP 422).
    pub const fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax(_))
    }
}

/// RFC 8866 section 9 has neither NUL nor CR in any text, and section 5 ends lines with CRLF or LF. What of an offer comes
/// back in the answer must not bring one.
pub(crate) fn refuse_controls(text: &str) -> Result<(), Error> {
    let wrong = text.bytes().enumerate().find(|&(at, byte)| match byte {
        0 => true,
        b'\r' => text.as_bytes().get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    match wrong {
        Some((at, 0)) => Err(Error::Syntax(format!("byte {at} is zero"))),
        Some((at, _)) => Err(Error::Syntax(format!("byte {at} is a carriage return that ends no line"))),
        None => Ok(()),
    }
}

/// What a viewer offers.
#[derive(Clone, Debug)]
pub struct SubscribeOffer {
    pub(crate) sections: Vec<Section>,
    pub(crate) fingerprints: Vec<Fingerprint>,
    credentials: Credentials,
    pub(crate) setup: Setup,
    /// How long the viewer may be told to wait at most before it shows a picture; `None`: it is not told.
    pub(crate) playout_delay_max: Option<Duration>,
    remote: Option<IpAddr>,
}

/// One m-line.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// `audio`, `video`, `application`: repeated in the answer, also when we reject it.
    pub(crate) media: String,
    pub(crate) proto: String,
    pub(crate) formats: Vec<String>,
    pub(crate) mid: Option<String>,
    /// `None`: we reject it.
    pub(crate) kind: Option<Kind>,
    pub(crate) codecs: Vec<OfferedCodec>,
    pub(crate) extensions: Extensions,
}

/// Who begins DTLS (RFC 8842 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// We choose: passive.
    ActPass,
    /// The viewer is the client.
    Active,
    /// We are the client.
    Passive,
}

/// A certificate's hash (RFC 8122).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
}

/// Hash functions that we accept for fingerprints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl SubscribeOffer {
    /// Reads and checks an offer.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is no SDP, [`Error::Unacceptable`] if it cannot be served.
    pub fn parse(text: &str) -> Result<Self, Error> {
        refuse_controls(text)?;
        let session = parse_session(text)?;
        if session.media_descriptions.len() > SECTIONS_MAX {
            return Err(Error::Unacceptable("too many m-lines"));
        }
        let bundle = session
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "group")
            .filter_map(|attribute| attribute.value.as_deref()?.strip_prefix("BUNDLE"))
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let mut sections: Vec<Section> = session.media_descriptions.iter().map(Section::read).collect();
        reject_surplus(&mut sections, &bundle);
        if sections.iter().all(|section| section.kind.is_none()) {
            return Err(Error::Unacceptable("no audio or video m-line that receives"));
        }
        for (section, media) in sections.iter().zip(&session.media_descriptions) {
            if section.kind.is_some() && !media.has_attribute("rtcp-mux") {
                return Err(Error::Unacceptable("RTP and RTCP must share a port (rtcp-mux)"));
            }
        }
        let (Some(ufrag), Some(pwd)) =
            (carried(&session, &sections, "ice-ufrag"), carried(&session, &sections, "ice-pwd"))
        else {
            return Err(Error::Unacceptable("no ice-ufrag and ice-pwd"));
        };
        let offer = Self {
            fingerprints: fingerprints(&session),
            credentials: fragment::credentials(ufrag, pwd)?,
            setup: setup(&session)?,
            sections,
            playout_delay_max: None,
            remote: None,
        };
        if offer.fingerprints.is_empty() {
            return Err(Error::Unacceptable("no fingerprint with sha-256, sha-384 or sha-512"));
        }
        Ok(offer)
    }

    /// Bounds how long the viewer waits at most before it shows a picture, if it offered to be told (the playout-delay
    /// extension). `None`: it decides for itself.
    #[must_use]
    pub fn with_playout_delay_max(mut self, most: Option<Duration>) -> Self {
        self.playout_delay_max = most;
        self
    }

    /// Says from where it came, for the limit per address.
    #[must_use]
    pub fn with_remote(self, remote: IpAddr) -> Self {
        Self { remote: Some(remote), ..self }
    }

    pub(crate) fn remote(&self) -> Option<IpAddr> {
        self.remote
    }

    /// The viewer's credentials of the ICE session that it offers.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Whether it has the m-lines of the offer that was answered so: an ICE restart changes none.
    pub fn continues(&self, answer: &str) -> bool {
        let answered = answer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
        self.sections.iter().filter_map(|section| section.mid.as_deref()).eq(answered)
    }

    /// Whether it asks for that kind.
    pub fn wants(&self, kind: Kind) -> bool {
        self.section(kind).is_some()
    }

    /// The codec of the picture of `stream`, if the viewer wants pictures and offered no codec or profile that
    /// it comes in. Before there is a picture nobody knows.
    pub fn lacks(&self, stream: &Stream) -> Option<Codec> {
        let section = self.section(Kind::Video)?;
        let tracks = stream.tracks();
        let mut pictures =
            tracks.iter().filter(|track| track.kind() == Kind::Video && !track.ended()).peekable();
        let first = pictures.peek()?.codec();
        let decodes = |track: &Arc<Track>| {
            let codecs = track.layers().iter().find_map(|layer| layer.info().codecs);
            section.pick(track.codec(), codecs.as_deref()).is_some_and(|(_, decodes)| decodes)
        };
        (!pictures.any(decodes)).then_some(first)
    }

    pub(crate) fn section(&self, kind: Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == Some(kind))
    }
}

impl Section {
    fn read(media: &MediaDescription) -> Self {
        let name = &media.media_name;
        let kind = match name.media.as_str() {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        let receives = !media.has_attribute("sendonly") && !media.has_attribute("inactive");
        // Port 0 rejects an m-line unless it is only there for its bundle (RFC 9143 section 6).
        let open = name.port.value != 0 || media.has_attribute("bundle-only");
        let rtp = name.protos.last().is_some_and(|proto| proto == "SAVPF" || proto == "SAVP");
        let codecs = if kind.is_some() { codec::read(media) } else { Vec::new() };
        Self {
            media: name.media.clone(),
            proto: name.protos.join("/"),
            formats: name.formats.clone(),
            mid: value(media, "mid").map(str::to_owned),
            kind: kind.filter(|_| receives && open && rtp && !codecs.is_empty()),
            codecs,
            extensions: Extensions::read(media),
        }
    }

    /// The payload type for `codec`, and whether the viewer can decode what will be sent with it. `source`: the
    /// RFC 6381 string of that, if known.
    pub(crate) fn pick(&self, codec: Codec, source: Option<&str>) -> Option<(&OfferedCodec, bool)> {
        // The m-line lists the formats in order of preference.
        let fitting = self.codecs.iter().enumerate().filter(|(_, offered)| offered.codec == codec);
        let ranked =
            fitting.map(|(place, offered)| (profile::rank(offered, source), Reverse(place), offered));
        let best = ranked.max_by_key(|(rank, place, _)| (*rank, *place));
        best.map(|(rank, _, offered)| (offered, rank.decodable))
    }
}

impl Fingerprint {
    fn read(text: &str) -> Option<Self> {
        let (hash, hex) = text.trim().split_once(' ')?;
        let hash = match hash.to_ascii_lowercase().as_str() {
            "sha-256" => Hash::Sha256,
            "sha-384" => Hash::Sha384,
            "sha-512" => Hash::Sha512,
            _ => return None,
        };
        let bytes: Option<Vec<u8>> =
            hex.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let length = match hash {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        };
        bytes.filter(|bytes| bytes.len() == length).map(|bytes| Self { hash, bytes })
    }
}

fn parse_session(text: &str) -> Result<SessionDescription, Error> {
    if text.len() > OFFER_BYTES_MAX {
        return Err(Error::Syntax(format!("{} bytes are more than {OFFER_BYTES_MAX}", text.len())));
    }
    if !text.trim_start().starts_with("v=") {
        return Err(Error::Syntax("it does not begin with v=".to_owned()));
    }
    SessionDescription::unmarshal(&mut Cursor::new(text.trim_start().as_bytes()))
        .map_err(|error| Error::Syntax(error.to_string()))
}

/// Keeps the first m-line of each kind, and of several only those in the bundle: we have one transport.
fn reject_surplus(sections: &mut [Section], bundle: &[String]) {
    let mut seen = Vec::new();
    for section in sections {
        let Some(kind) = section.kind else { continue };
        let bundled = section.mid.as_ref().is_some_and(|mid| bundle.contains(mid));
        if seen.contains(&kind) || (!seen.is_empty() && !bundled) {
            section.kind = None;
        } else {
            seen.push(kind);
        }
    }
}

fn fingerprints(session: &SessionDescription) -> Vec<Fingerprint> {
    let of_session = session
        .attributes
        .iter()
        .filter(|attribute| attribute.key == "fingerprint")
        .filter_map(|attribute| attribute.value.as_deref());
    let of_media = session.media_descriptions.iter().flat_map(|media| values(media, "fingerprint"));
    let mut all: Vec<Fingerprint> = Vec::new();
    for fingerprint in of_session.chain(of_media).filter_map(Fingerprint::read) {
        if !all.contains(&fingerprint) && all.len() < FINGERPRINTS_MAX {
            all.push(fingerprint);
        }
    }
    all
}

fn setup(session: &SessionDescription) -> Result<Setup, Error> {
    let of_media = session.media_descriptions.iter().find_map(|media| value(media, "setup"));
    match of_media.or_else(|| session.attribute("setup").map(String::as_str)) {
        // RFC 8842 section 5.2 wants actpass; nothing said is taken as that.
        Some("actpass") | None => Ok(Setup::ActPass),
        Some("active") => Ok(Setup::Active),
        Some("passive") => Ok(Setup::Passive),
        Some(_) => Err(Error::Unacceptable("a=setup is none of actpass, active, passive")),
    }
}

/// An attribute of the transport: of the first m-line that we take and that carries it (bundled ones need not, RFC 9143
/// section 7.1.3), else of the session, else of any m-line.
fn carried<'a>(session: &'a SessionDescription, sections: &[Section], key: &'a str) -> Option<&'a str> {
    let medias = || sections.iter().zip(&session.media_descriptions);
    let taken =
        medias().filter(|(section, _)| section.kind.is_some()).find_map(|(_, media)| value(media, key));
    taken
        .or_else(|| session.attribute(key).map(String::as_str))
        .or_else(|| medias().find_map(|(_, media)| value(media, key)))
        .map(str::trim)
}

fn values<'a>(media: &'a MediaDescription, key: &'a str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
}

fn value<'a>(media: &'a MediaDescription, key: &'a str) -> Option<&'a str> {
    values(media, key).next()
}

#[cfg(test)]
mod tests;
