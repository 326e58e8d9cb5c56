//! The bodies of audio and video messages: FLV tags (Adobe FLV 10.1, annex E) and their Enhanced RTMP v2
//! extension (fourCC codecs, multitrack, ModEx).

use bytes::{Buf, Bytes};
use media::Codec;

use crate::Error;

/// What a video message holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Video {
    /// AVCDecoderConfigurationRecord.
    Config(Bytes),
    /// One access unit, NAL units behind their lengths; shown `composition` ms after it is decoded.
    Frame {
        /// Milliseconds from decoding to showing; may be negative.
        composition: i32,
        /// The access unit.
        data: Bytes,
    },
    /// Nothing for us: end of sequence, seek commands, another track than the first, HDR metadata.
    Nothing,
}

/// What an audio message holds. The codec is [`Codec::Aac`] or [`Codec::Opus`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Audio {
    /// AudioSpecificConfig or OpusHead.
    Config(Codec, Bytes),
    /// One raw AAC data block, one Opus packet.
    Frame(Codec, Bytes),
    /// Nothing for us.
    Nothing,
}

fn malformed(what: &'static str, why: &'static str) -> Error {
    Error::Message { what, why }
}

const CUT: fn() -> Error = || malformed("media message", "cut short");

/// Reads a video message.
///
/// # Errors
/// [`Error::Unsupported`] for a codec that we do not carry, [`Error::Message`] for a broken message.
pub(crate) fn video(mut body: Bytes) -> Result<Video, Error> {
    // An empty message keeps the connection alive.
    let Some(first) = body.try_get_u8().ok() else { return Ok(Video::Nothing) };
    if first & 0x80 != 0 {
        return enhanced_video(first & 0x0f, (first >> 4) & 7, body);
    }
    // Frame type 5 is a seek command for recorded streams.
    if first >> 4 == 5 {
        return Ok(Video::Nothing);
    }
    let codec = first & 0x0f;
    if codec != 7 {
        return Err(Error::Unsupported(format!(
            "{} video is not supported: set the video encoder to H.264 (x264)",
            legacy_video(codec)
        )));
    }
    let packet_type = body.try_get_u8().map_err(|_| CUT())?;
    let composition = signed_24(&mut body)?;
    Ok(match packet_type {
        0 => Video::Config(body),
        1 => Video::Frame { composition, data: body },
        _ => Video::Nothing,
    })
}

const fn legacy_video(codec: u8) -> &'static str {
    match codec {
        2 => "Sorenson H.263",
        3 | 6 => "Screen",
        4 | 5 => "VP6",
        12 => "HEVC (H.265)",
        13 => "AV1",
        _ => "This kind of",
    }
}

/// Enhanced RTMP v2, "Enhanced Video": the packet type takes the place of the codec id, a fourCC follows.
fn enhanced_video(packet_type: u8, frame_type: u8, mut body: Bytes) -> Result<Video, Error> {
    let Some((packet_type, four_cc)) = unwrap(Kind::Video, packet_type, frame_type, &mut body)? else {
        return Ok(Video::Nothing);
    };
    if &four_cc != b"avc1" {
        return Err(Error::Unsupported(format!(
            "{} video is not supported yet: set the video encoder to H.264",
            four_cc_name(four_cc)
        )));
    }
    Ok(match packet_type {
        0 => Video::Config(body),
        1 => Video::Frame { composition: signed_24(&mut body)?, data: body },
        // CodedFramesX: composition time 0 is left out.
        3 => Video::Frame { composition: 0, data: body },
        _ => Video::Nothing,
    })
}

/// Reads an audio message.
///
/// # Errors
/// [`Error::Unsupported`] for a codec that we do not carry, [`Error::Message`] for a broken message.
pub(crate) fn audio(mut body: Bytes) -> Result<Audio, Error> {
    let Some(first) = body.try_get_u8().ok() else { return Ok(Audio::Nothing) };
    let format = first >> 4;
    let packet_type = match format {
        9 => return enhanced_audio(first & 0x0f, body),
        10 => body.try_get_u8().map_err(|_| CUT())?,
        _ => {
            return Err(Error::Unsupported(format!(
                "{} audio is not supported: set the audio encoder to AAC",
                legacy_audio(format)
            )));
        }
    };
    Ok(audio_packet(packet_type, Codec::Aac, body))
}

/// The packet types that plain and Enhanced RTMP share.
fn audio_packet(packet_type: u8, codec: Codec, body: Bytes) -> Audio {
    match packet_type {
        0 => Audio::Config(codec, body),
        1 if !body.is_empty() => Audio::Frame(codec, body),
        _ => Audio::Nothing,
    }
}

const fn legacy_audio(format: u8) -> &'static str {
    match format {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        _ => "This kind of",
    }
}

/// Enhanced RTMP v2, "Enhanced Audio".
fn enhanced_audio(packet_type: u8, mut body: Bytes) -> Result<Audio, Error> {
    let Some((packet_type, four_cc)) = unwrap(Kind::Audio, packet_type, 0, &mut body)? else {
        return Ok(Audio::Nothing);
    };
    let codec = match &four_cc {
        b"mp4a" => Codec::Aac,
        b"Opus" => Codec::Opus,
        _ => {
            return Err(Error::Unsupported(format!(
                "{} audio is not supported: set the audio encoder to AAC",
                four_cc_name(four_cc)
            )));
        }
    };
    Ok(audio_packet(packet_type, codec, body))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Audio,
    Video,
}

/// Takes ModEx, command, fourCC and multitrack headers off. What is left is the body of a packet of the
/// returned type; `None` if there is none for us.
fn unwrap(
    kind: Kind,
    mut packet_type: u8,
    frame_type: u8,
    body: &mut Bytes,
) -> Result<Option<(u8, [u8; 4])>, Error> {
    const MOD_EX: u8 = 7;
    const VIDEO_METADATA: u8 = 4;
    let multitrack = if kind == Kind::Video { 6 } else { 5 };
    // ModEx carries refinements (nanoseconds) that one may skip; each says the type of what follows.
    while packet_type == MOD_EX {
        let mut length = usize::from(body.try_get_u8().map_err(|_| CUT())?) + 1;
        if length == 256 {
            length = usize::from(body.try_get_u16().map_err(|_| CUT())?) + 1;
        }
        skip(body, length)?;
        packet_type = body.try_get_u8().map_err(|_| CUT())? & 0x0f;
    }
    if kind == Kind::Video && frame_type == 5 && packet_type != VIDEO_METADATA {
        return Ok(None);
    }
    if packet_type != multitrack {
        return Ok(Some((packet_type, four_cc(body)?)));
    }
    let head = body.try_get_u8().map_err(|_| CUT())?;
    let (layout, packet_type) = (head >> 4, head & 0x0f);
    const ONE_TRACK: u8 = 0;
    const MANY_TRACKS_MANY_CODECS: u8 = 2;
    let common = if layout == MANY_TRACKS_MANY_CODECS { None } else { Some(four_cc(body)?) };
    while !body.is_empty() {
        let codec = match common {
            Some(codec) => codec,
            None => four_cc(body)?,
        };
        let track = body.try_get_u8().map_err(|_| CUT())?;
        let length = if layout == ONE_TRACK { body.len() } else { unsigned_24(body)? as usize };
        if length > body.len() {
            return Err(CUT());
        }
        let packet = body.split_to(length);
        // Track 0 is the default one; the others are for simulcast by RTMP, which is not built yet.
        if track == 0 {
            *body = packet;
            return Ok(Some((packet_type, codec)));
        }
    }
    Ok(None)
}

fn four_cc(body: &mut Bytes) -> Result<[u8; 4], Error> {
    body.try_get_u32().map(u32::to_be_bytes).map_err(|_| CUT())
}

fn four_cc_name(four_cc: [u8; 4]) -> String {
    match &four_cc {
        b"hvc1" => "HEVC (H.265)".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp09" => "VP9".to_owned(),
        b"vp08" => "VP8".to_owned(),
        b"vvc1" => "VVC (H.266)".to_owned(),
        b"fLaC" => "FLAC".to_owned(),
        b"ac-3" | b"ec-3" => "Dolby".to_owned(),
        b".mp3" => "MP3".to_owned(),
        // Shown without what could garble a log.
        other => other.iter().filter(|byte| byte.is_ascii_graphic()).map(|&byte| char::from(byte)).collect(),
    }
}

fn skip(body: &mut Bytes, length: usize) -> Result<(), Error> {
    if length > body.len() {
        return Err(CUT());
    }
    body.advance(length);
    Ok(())
}

fn unsigned_24(body: &mut Bytes) -> Result<u32, Error> {
    if body.len() < 3 {
        return Err(CUT());
    }
    Ok(body.get_uint(3) as u32)
}

fn signed_24(body: &mut Bytes) -> Result<i32, Error> {
    // Shifted up and back: the sign bit is bit 23.
    unsigned_24(body).map(|value| (value << 8) as i32 >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    #[test]
    fn video_messages() {
        let frame = |composition, data: &'static [u8]| Video::Frame { composition, data: data.into() };
        for (name, parts, expected) in [
            ("empty", &[&b""[..]][..], Video::Nothing),
            ("avcC", &[&[0x17, 0, 0, 0, 0], b"cfg"], Video::Config(Bytes::from_static(b"cfg"))),
            ("key frame", &[&[0x17, 1, 0, 0, 67], b"nal"], frame(67, b"nal")),
            ("inter frame, negative", &[&[0x27, 1, 0xff, 0xff, 0xfe], b"nal"], frame(-2, b"nal")),
            ("end of sequence", &[&[0x17, 2, 0, 0, 0]], Video::Nothing),
            ("seek command", &[&[0x52, 0]], Video::Nothing),
            ("enhanced config", &[&[0x90], b"avc1cfg"], Video::Config(Bytes::from_static(b"cfg"))),
            ("enhanced frame", &[&[0x91], b"avc1", &[0, 0, 5], b"nal"], frame(5, b"nal")),
            ("enhanced frame X", &[&[0xa3], b"avc1nal"], frame(0, b"nal")),
            ("enhanced metadata", &[&[0x94], b"avc1amf"], Video::Nothing),
            ("enhanced command", &[&[0xd1, 0]], Video::Nothing),
            ("nanoseconds, then a frame", &[&[0x97, 2, 0, 0, 9, 0x03], b"avc1nal"], frame(0, b"nal")),
            ("one track, not ours", &[&[0x96, 0x03], b"avc1", &[1], b"nal"], Video::Nothing),
            ("one track, ours", &[&[0x96, 0x03], b"avc1", &[0], b"nal"], frame(0, b"nal")),
            (
                "two tracks, ours second",
                &[&[0x96, 0x13], b"avc1", &[1, 0, 0, 1], b"x", &[0, 0, 0, 3], b"nal"],
                frame(0, b"nal"),
            ),
            (
                "many codecs, ours second",
                &[&[0x96, 0x23], b"hvc1", &[1, 0, 0, 1], b"x", b"avc1", &[0, 0, 0, 3], b"nal"],
                frame(0, b"nal"),
            ),
        ] {
            assert_eq!(video(bytes(parts)).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn audio_messages() {
        let frame = |data: &'static [u8]| Audio::Frame(Codec::Aac, data.into());
        let config = |codec| Audio::Config(codec, Bytes::from_static(b"asc"));
        for (name, parts, expected) in [
            ("empty", &[&b""[..]][..], Audio::Nothing),
            ("config", &[&[0xaf, 0], b"asc"], config(Codec::Aac)),
            ("frame", &[&[0xaf, 1], b"raw"], frame(b"raw")),
            ("empty frame", &[&[0xaf, 1]], Audio::Nothing),
            ("enhanced config", &[&[0x90], b"mp4aasc"], config(Codec::Aac)),
            ("enhanced frame", &[&[0x91], b"mp4araw"], frame(b"raw")),
            ("Opus config", &[&[0x90], b"Opusasc"], config(Codec::Opus)),
            ("Opus frame", &[&[0x91], b"Opusraw"], Audio::Frame(Codec::Opus, Bytes::from_static(b"raw"))),
            ("multichannel config", &[&[0x94], b"mp4a", &[0, 2]], Audio::Nothing),
            ("track 0", &[&[0x95, 0x01], b"mp4a", &[0], b"raw"], frame(b"raw")),
        ] {
            assert_eq!(audio(bytes(parts)).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn other_codecs_are_named_with_the_setting_to_change() {
        for (body, says) in
            [(&b"\x22"[..], "Sorenson"), (b"\x2c", "HEVC"), (b"\x90hvc1", "HEVC"), (b"\x91av01", "AV1")]
        {
            let error = video(Bytes::from_static(body)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("H.264"), "{error}");
        }
        for (body, says) in [(&b"\x2f"[..], "MP3"), (b"\xb2", "Speex"), (b"\x90fLaC", "FLAC")] {
            let error = audio(Bytes::from_static(body)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("AAC"), "{error}");
        }
    }

    #[test]
    fn every_cut_and_every_byte_is_an_answer() {
        let bodies: [&[u8]; 4] = [
            &[0x17, 1, 0, 0, 67, 1, 2],
            &[0x97, 2, 0, 0, 9, 0x03, b'a', b'v', b'c', b'1', 1],
            &[0x96, 0x23, b'h', b'v', b'c', b'1', 1, 0, 0, 1, 9, b'a', b'v', b'c', b'1', 0, 0, 0, 1, 7],
            &[0x97, 255, 0, 3, 1, 2, 3, 4, 0x96],
        ];
        for body in bodies {
            for end in 0..=body.len() {
                for at in 0..end {
                    for value in [0, 1, 0x7f, 0x96, 0x97, 0xff] {
                        let mut changed = body[..end].to_vec();
                        changed[at] = value;
                        let _ = video(changed.clone().into());
                        let _ = audio(changed.into());
                    }
                }
            }
        }
    }
}
