use std::net::SocketAddr;

use media::{Codec, Kind};
use str0m::change::SdpAnswer;

use super::*;
use crate::Candidate;
use crate::sdp::Error;

pub(crate) const OFFERS: [(&str, &str); 12] = [
    ("aiortc-H264", include_str!("../../tests/fixtures/offers/aiortc-H264.offer.sdp")),
    ("aiortc-VP8", include_str!("../../tests/fixtures/offers/aiortc-VP8.offer.sdp")),
    ("chromium-default", include_str!("../../tests/fixtures/offers/chromium-default.offer.sdp")),
    ("chromium-h264", include_str!("../../tests/fixtures/offers/chromium-h264.offer.sdp")),
    (
        "chromium-simulcast-h264",
        include_str!("../../tests/fixtures/offers/chromium-simulcast-h264.offer.sdp"),
    ),
    ("chromium-simulcast-vp8", include_str!("../../tests/fixtures/offers/chromium-simulcast-vp8.offer.sdp")),
    ("chromium-vp8", include_str!("../../tests/fixtures/offers/chromium-vp8.offer.sdp")),
    ("ffmpeg8", include_str!("../../tests/fixtures/offers/ffmpeg8.offer.sdp")),
    ("ffmpeg9", include_str!("../../tests/fixtures/offers/ffmpeg9.offer.sdp")),
    ("gstreamer", include_str!("../../tests/fixtures/offers/gstreamer.offer.sdp")),
    ("obs", include_str!("../../tests/fixtures/offers/obs.offer.sdp")),
    ("obs-simulcast", include_str!("../../tests/fixtures/offers/obs-simulcast.offer.sdp")),
];

fn offer(name: &str) -> PublishOffer {
    let (_, text) = OFFERS.into_iter().find(|(known, _)| *known == name).unwrap();
    PublishOffer::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn answer(offer: &PublishOffer, bitrate_max_bps: Option<u32>) -> String {
    let addresses: [SocketAddr; 2] =
        ["192.0.2.1:5000".parse().unwrap(), "[2001:db8::1]:5000".parse().unwrap()];
    let candidates = Candidate::of(&addresses, false);
    write_answer(
        offer,
        &AnswerParameters {
            session_id: 42,
            ufrag: "ourufrag",
            pwd: "ourpasswordourpassword00",
            fingerprint: &offer.fingerprint,
            candidates: &candidates,
            start_bitrate_bps: 2_500_000,
            bitrate_max_bps,
        },
    )
}

fn codec(offer: &PublishOffer, kind: Kind) -> Option<(Codec, u8, Option<u8>)> {
    let accepted = offer.accepted().find(|accepted| accepted.codec.kind() == kind)?;
    Some((accepted.codec, accepted.payload_type, accepted.rtx))
}

#[test]
fn real_offers_are_understood() {
    let table = [
        ("aiortc-H264", 96, (Codec::H264, 99, Some(100)), 0, Setup::ActPass),
        ("chromium-default", 111, (Codec::H264, 102, Some(103)), 0, Setup::ActPass),
        ("chromium-simulcast-h264", 111, (Codec::H264, 102, Some(103)), 3, Setup::ActPass),
        ("ffmpeg8", 111, (Codec::H264, 106, None), 0, Setup::Passive),
        ("ffmpeg9", 111, (Codec::H264, 106, Some(105)), 0, Setup::Passive),
        ("gstreamer", 97, (Codec::H264, 96, None), 0, Setup::ActPass),
        ("obs", 111, (Codec::H264, 96, None), 0, Setup::ActPass),
        ("obs-simulcast", 111, (Codec::H264, 96, None), 3, Setup::ActPass),
    ];
    for (name, audio, video, rids, setup) in table {
        let offer = offer(name);
        assert_eq!(codec(&offer, Kind::Audio), Some((Codec::Opus, audio, None)), "{name}");
        assert_eq!(codec(&offer, Kind::Video), Some(video), "{name}");
        assert_eq!(offer.accepted().map(|accepted| accepted.rids.len()).sum::<usize>(), rids, "{name}");
        assert_eq!(offer.setup, setup, "{name}");
    }
    for name in ["aiortc-VP8", "chromium-vp8", "chromium-simulcast-vp8"] {
        assert_eq!(codec(&offer(name), Kind::Video).unwrap().0, Codec::Vp8, "{name}");
    }
}

#[test]
fn answers_are_valid_and_answer_every_line() {
    for (name, text) in OFFERS {
        let offer = offer(name);
        let answer = answer(&offer, Some(8_000_000));
        rtc_sdp::SessionDescription::unmarshal(&mut std::io::Cursor::new(&answer))
            .unwrap_or_else(|error| panic!("{name}: {error}\n{answer}"));
        // str0m reads no b= lines.
        let plain = super::tests::answer(&offer, None);
        SdpAnswer::from_sdp_string(&plain).unwrap_or_else(|error| panic!("{name}: {error}\n{plain}"));
        let lines = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(lines(&answer, "m="), lines(text, "m="), "{name}");
        assert_eq!(lines(&answer, "a=recvonly"), lines(text, "m="), "{name}");
        assert_eq!(lines(&answer, "a=rtcp-mux-only"), lines(text, "m="), "{name}");
        assert_eq!(lines(&answer, "a=candidate:"), 2, "{name}");
        assert_eq!(lines(&answer, "a=end-of-candidates"), 1, "{name}");
        assert_eq!(lines(&answer, "b=TIAS:8000000"), 1, "{name}");
        assert!(!answer.contains("sprop-"), "{name}");
        assert!(!answer.contains("m=audio 0") && !answer.contains("m=video 0"), "{name}");
        let mids = |text: &str| -> Vec<String> {
            text.lines().filter(|line| line.starts_with("a=mid:")).map(str::to_owned).collect()
        };
        assert_eq!(mids(&answer), mids(text), "{name}");
        let setup = if name.starts_with("ffmpeg") { "a=setup:active" } else { "a=setup:passive" };
        assert_eq!(lines(&answer, setup), lines(text, "m="), "{name}");
        let is_browser = name.starts_with("chromium");
        assert_eq!(answer.contains("x-google-start-bitrate=2500"), is_browser, "{name}");
    }
}

#[test]
fn all_layers_are_answered() {
    let answer = answer(&offer("obs-simulcast"), None);
    assert!(answer.contains("a=simulcast:recv 0;1;2\r\n"), "{answer}");
    for line in [
        "a=rid:0 recv",
        "a=rid:1 recv",
        "a=rid:2 recv",
        "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    ] {
        assert!(answer.contains(line), "{line}");
    }
}

/// What browsers and encoders offer by themselves or because a page asked for it.
#[test]
fn every_codec_can_be_published() {
    let default = OFFERS.into_iter().find(|(name, _)| *name == "chromium-default").unwrap().1;
    let video = |formats: &str| {
        let line = default.lines().find(|line| line.starts_with("m=video")).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        default.replace(line, &format!("{} {formats}", words[..3].join(" ")))
    };
    let h265 = "a=rtpmap:100 VP9/90000\r\na=rtpmap:50 H265/90000\r\na=fmtp:50 level-id=93;profile-id=1;tier-flag=0;tx-mode=";
    let with_h265 = |mode: &str| video("50 51").replace("a=rtpmap:100 VP9/90000", &format!("{h265}{mode}"));
    for (text, expected) in [
        (video("98 99"), (Codec::Vp9, 98, Some(99))),
        (video("45 46"), (Codec::Av1, 45, Some(46))),
        (video("45 46 98 99 96 97"), (Codec::Av1, 45, Some(46))),
        (video("98 99 96 97 102 103"), (Codec::H264, 102, Some(103))),
        (video("98 99 104 107"), (Codec::Vp9, 98, Some(99))),
        (with_h265("SRST"), (Codec::H265, 50, None)),
    ] {
        let offer = PublishOffer::parse(&text).unwrap();
        assert_eq!(codec(&offer, Kind::Video), Some(expected));
        assert!(answer(&offer, None).contains(&format!("m=video 9 UDP/TLS/RTP/SAVPF {}", expected.1)));
    }
    let error = PublishOffer::parse(&with_h265("MRST")).unwrap_err();
    assert!(error.to_string().contains("AV1"), "{error}");
}

#[test]
fn encoders_that_do_not_listen_are_known() {
    for (name, encoder, listens) in [
        ("obs", Some("Mozilla/5.0 (OBS-Studio/32.2.2; Linux x86_64; en-US)"), false),
        ("ffmpeg9", Some("Lavf/63.1.102"), false),
        ("ffmpeg9", None, false),
        ("chromium-h264", Some("Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0"), true),
        ("gstreamer", None, true),
    ] {
        let offer = offer(name).with_encoder(encoder.map(str::to_owned));
        let video = offer.accepted().find(|accepted| accepted.codec == Codec::H264).unwrap();
        assert_eq!(offer.keyframes_on_request(video), listens, "{name}");
    }
}

#[test]
fn what_cannot_be_answered_is_refused_with_a_reason() {
    let (_, good) = OFFERS[8];
    let syntax = true;
    let table: [(&str, String, bool); 13] = [
        ("empty", String::new(), syntax),
        ("html", "<html>".to_owned(), syntax),
        ("a broken line", good.replace("t=0 0", "time"), syntax),
        ("a broken port", good.replace("m=audio 9", "m=audio x"), syntax),
        ("a short password", good.replace("4f23c70ab88fd779236d01f383f060ca", "4f23"), syntax),
        ("a short fingerprint", good.replace(":14:44:", ":14:"), syntax),
        ("no fingerprint", good.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"), false),
        ("no password", good.replace("a=ice-pwd", "a=ice-pwx"), false),
        ("recvonly", good.replace("a=sendonly", "a=recvonly"), false),
        ("no bundle", good.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"), false),
        ("an unknown codec", good.replace("H264/90000", "H263/90000"), false),
        ("two videos", format!("{good}{}", &good[good.find("m=video").unwrap()..]), false),
        ("a data channel", format!("{good}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"), false),
    ];
    for (what, text, is_syntax) in table {
        let error: Error = PublishOffer::parse(&text).err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert_eq!(error.is_syntax(), is_syntax, "{what}: {error}");
    }
}

#[test]
fn a_section_that_the_offerer_switched_off_is_answered_with_port_0() {
    let text =
        OFFERS[8].1.replace("m=audio 9", "m=audio 0").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1");
    let offer = PublishOffer::parse(&text).unwrap();
    assert_eq!(codec(&offer, Kind::Audio), None);
    assert!(answer(&offer, None).contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
}

/// Truncated, doubled and mangled offers: an error or an offer, never a panic.
#[test]
fn mangled_offers_do_no_harm() {
    let mut random: u64 = 0x2545_f491_4f6c_dd1d;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..20_000 {
        let (_, text) = OFFERS[next(OFFERS.len())];
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=next(8) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = b"\r\n :=;,/0\x00\xff"[next(11)],
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, next(256) as u8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(offer) = PublishOffer::parse(&text) {
            let answer = answer(&offer, None);
            assert!(answer.len() < 64 * 1024, "round {round}");
            let _ = canonical_offer(&offer);
        }
    }
}
