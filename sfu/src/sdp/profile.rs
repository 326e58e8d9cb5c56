//! How well an offered payload type fits what will be sent: profiles, tiers, levels.

use media::Codec;

use super::OfferedCodec;

/// The highest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The viewer says that it decodes this.
    pub(super) decodable: bool,
    closeness: u32,
}

/// `source`: the RFC 6381 string of what will be sent. Without it, or with that of another codec, the payload
/// type is preferred that most encoders write for.
pub(super) fn rank(offered: &OfferedCodec, source: Option<&str>) -> Rank {
    match offered.codec {
        Codec::H264 => {
            Rank { decodable: true, closeness: h264_closeness(offered, source.and_then(h264_profile)) }
        }
        Codec::H265 => h265_rank(offered, source),
        Codec::Vp9 => vp9_rank(offered, source),
        Codec::Av1 => av1_rank(offered, source),
        Codec::Vp8 | Codec::Opus | Codec::Aac | _ => Rank { decodable: true, closeness: 0 },
    }
}

/// `profile_idc` and constraint flags of `avc1.PPCCLL`.
fn h264_profile(rfc6381: &str) -> Option<(u8, u8)> {
    let hex = rfc6381.strip_prefix("avc1.").or_else(|| rfc6381.strip_prefix("avc3."))?;
    profile_of_hex(hex)
}

fn profile_of_hex(hex: &str) -> Option<(u8, u8)> {
    let byte = |range| u8::from_str_radix(hex.get(range)?, 16).ok();
    Some((byte(0..2)?, byte(2..4)?))
}

/// How well an offered H.264 payload type fits what will be sent; the highest wins.
///
/// Browsers offer baseline and main only, yet decode High (measured): so a profile that nobody offered goes
/// under the best that was. Packetization mode 1 is what we send (RFC 6184 section 5.4); a client that only
/// lists mode 0 in truth reads FU-A too.
fn h264_closeness(offered: &OfferedCodec, wanted: Option<(u8, u8)>) -> u32 {
    let mode_1 = offered.parameter("packetization-mode") == Some("1");
    // RFC 6184 section 8.1: without profile-level-id it is baseline, level 1.
    let (idc, constraints) =
        offered.parameter("profile-level-id").and_then(profile_of_hex).unwrap_or((0x42, 0x00));
    let constrained = idc == 0x42 && constraints & 0x40 != 0;
    let closeness = match wanted.map(|(idc, _)| idc) {
        Some(0x64) => match idc {
            0x64 => 9,
            0x4d => 8,
            _ if constrained => 7,
            _ => 6,
        },
        Some(0x4d) => match idc {
            0x4d => 9,
            0x64 => 8,
            _ if constrained => 7,
            _ => 6,
        },
        _ if constrained => 9,
        _ => match idc {
            0x42 => 8,
            0x4d => 7,
            _ => 6,
        },
    };
    closeness + if mode_1 { 100 } else { 0 }
}

/// RFC 9628 section 6: `profile-id` is what the receiver decodes, 0 if it is not there. The profiles are no
/// subsets of each other.
fn vp9_rank(offered: &OfferedCodec, source: Option<&str>) -> Rank {
    let profile = number(offered, "profile-id").unwrap_or(0);
    match source.and_then(|text| fields(text, "vp09.")?.next()?.parse::<u32>().ok()) {
        Some(wanted) => Rank { decodable: profile == wanted, closeness: 0 },
        None => Rank { decodable: true, closeness: u32::from(profile == 0) },
    }
}

/// RTP Payload Format For AV1, section 7.2.1: `profile`, `level-idx` and `tier` are what the receiver decodes.
/// Each profile includes those before it. A level that is too low is no refusal: browsers say 3.1 by leaving it
/// out, and decode what their machine can.
fn av1_rank(offered: &OfferedCodec, source: Option<&str>) -> Rank {
    let profile = number(offered, "profile").unwrap_or(0);
    let level = number(offered, "level-idx").unwrap_or(5);
    let wanted = source.and_then(|text| {
        let mut fields = fields(text, "av01.")?;
        let (profile, level) = (fields.next()?, fields.next()?);
        Some((profile.parse::<u32>().ok()?, level.get(..2)?.parse::<u32>().ok()?))
    });
    let (least, least_level) = wanted.unwrap_or((0, 0));
    // Of those that will do, the least: profile 0 is decoded by hardware.
    let closeness = 2 * 3u32.saturating_sub(profile) + u32::from(level >= least_level);
    Rank { decodable: profile >= least, closeness }
}

/// RFC 7798 section 7.1: `profile-id`, `tier-flag` and `level-id` are what the receiver decodes; what is left out
/// is main profile, main tier, level 3.1. A stream names the profiles that it is compatible with. A level that
/// is too low is no refusal: encoders announce levels generously.
fn h265_rank(offered: &OfferedCodec, source: Option<&str>) -> Rank {
    // Several streams on one or more transports (MRST, MRMT) are not what we send.
    let single = offered.parameter("tx-mode").is_none_or(|mode| mode.eq_ignore_ascii_case("SRST"));
    let profile = number(offered, "profile-id").unwrap_or(1);
    let tier = number(offered, "tier-flag").unwrap_or(0);
    let level = number(offered, "level-id").unwrap_or(93);
    let Some(wanted) = source.and_then(H265Source::parse) else {
        return Rank { decodable: single, closeness: u32::from(profile == 1) };
    };
    let compatible = wanted.compatibility.checked_shr(profile).is_some_and(|flags| flags & 1 == 1);
    Rank {
        decodable: single && (profile == wanted.profile || compatible),
        closeness: 4 * u32::from(profile == wanted.profile)
            + 2 * u32::from(level >= wanted.level)
            + u32::from(tier >= wanted.tier),
    }
}

/// What `hvc1.1.6.L93.B0` says.
struct H265Source {
    profile: u32,
    /// Bit n: a decoder of profile n can decode it.
    compatibility: u32,
    tier: u32,
    level: u32,
}

impl H265Source {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = fields(text, "hvc1.")?;
        let profile = fields.next()?.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let compatibility = u32::from_str_radix(fields.next()?, 16).ok()?;
        let (tier, level) = fields.next()?.split_at_checked(1)?;
        Some(Self {
            profile: profile.parse().ok()?,
            compatibility,
            tier: u32::from(tier == "H"),
            level: level.parse().ok()?,
        })
    }
}

/// The dotted fields behind `prefix`.
fn fields<'a>(rfc6381: &'a str, prefix: &str) -> Option<std::str::Split<'a, char>> {
    rfc6381.strip_prefix(prefix).map(|rest| rest.split('.'))
}

fn number(offered: &OfferedCodec, name: &str) -> Option<u32> {
    offered.parameter(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(codec: Codec, fmtp: &str) -> OfferedCodec {
        OfferedCodec {
            payload_type: 96,
            codec,
            rtpmap: String::new(),
            fmtp: (!fmtp.is_empty()).then(|| fmtp.to_owned()),
            feedback: Vec::new(),
            rtx: None,
        }
    }

    /// Offers, the source, and which of them is taken; `None`: it cannot be decoded.
    #[test]
    fn profiles_that_fit_are_found() {
        type Offers<'a> = &'a [&'a str];
        let vp9: Offers<'_> = &["profile-id=2", "profile-id=0", "profile-id=1"];
        let av1: Offers<'_> = &["level-idx=5;profile=1;tier=0", "level-idx=5;profile=0;tier=0"];
        let h265: Offers<'_> = &[
            "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
            "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST",
            "level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST",
        ];
        for (codec, offers, source, taken) in [
            (Codec::Vp9, vp9, None, Some(1)),
            (Codec::Vp9, vp9, Some("vp09.00.31.08"), Some(1)),
            (Codec::Vp9, vp9, Some("vp09.02.31.10"), Some(0)),
            (Codec::Vp9, vp9, Some("vp09.03.31.12"), None),
            (Codec::Vp9, &[""], Some("vp09.00.31.08"), Some(0)),
            (Codec::Av1, av1, None, Some(1)),
            (Codec::Av1, av1, Some("av01.0.08M.08"), Some(1)),
            (Codec::Av1, av1, Some("av01.1.08M.08"), Some(0)),
            (Codec::Av1, av1, Some("av01.2.08M.10"), None),
            (Codec::Av1, &["level-idx=5", "level-idx=9"], Some("av01.0.08M.08"), Some(1)),
            (Codec::Av1, &[""], Some("av01.0.13M.10"), Some(0)),
            (Codec::H265, h265, None, Some(0)),
            (Codec::H265, h265, Some("hvc1.1.6.L93.B0"), Some(0)),
            (Codec::H265, h265, Some("hvc1.1.6.L120.90"), Some(1)),
            (Codec::H265, h265, Some("hvc1.2.4.L120.90"), Some(2)),
            (Codec::H265, &h265[2..], Some("hvc1.1.6.L120.90"), Some(0)),
            (Codec::H265, &h265[..2], Some("hvc1.2.4.L120.90"), None),
            (Codec::H265, &["tx-mode=MRST"], None, None),
            (Codec::H265, &[""], Some("hvc1.1.6.H150.90"), Some(0)),
            // Of another codec.
            (Codec::Vp9, vp9, Some("avc1.42e01f"), Some(1)),
        ] {
            let ranks = offers.iter().map(|fmtp| rank(&offered(codec, fmtp), source));
            let best = ranks.enumerate().max_by_key(|(at, rank)| (*rank, std::cmp::Reverse(*at)));
            let (at, rank) = best.expect("there are offers");
            assert_eq!(rank.decodable.then_some(at), taken, "{codec:?} {source:?} {offers:?}");
        }
    }
}
