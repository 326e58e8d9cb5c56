use super::*;

const CHROMIUM: &str = include_str!("../../tests/fixtures/chromium-h264.offer.sdp");
const FFMPEG: &str = include_str!("../../tests/fixtures/ffmpeg9.offer.sdp");
const AIORTC: &str = include_str!("../../tests/fixtures/aiortc-H264.offer.sdp");

/// The fixtures are offers of publishers; a viewer's differ in the direction.
fn viewer(text: &str) -> String {
    text.replace("a=sendonly", "a=recvonly")
}

fn answer(offer: &SubscribeOffer, codecs: Option<&str>) -> String {
    let candidates = ["192.0.2.1:8189".parse().expect("v4"), "[2001:db8::1]:8189".parse().expect("v6")];
    offer.answer(&AnswerTerms {
        session_id: 7,
        ufrag: "ufragufr",
        pwd: "pwdpwdpwdpwdpwdpwdpwdpwd",
        fingerprint: "AB:CD",
        candidates: &candidates,
        cname: "c",
        msid: "s",
        audio_ssrc: 1,
        video_ssrc: 2,
        rtx_ssrc: 3,
        video_codecs: codecs,
    })
}

#[test]
fn real_offers_are_answered() {
    for (name, text, video, rtx, role) in [
        ("chromium", CHROMIUM, 108, Some(109), "passive"),
        ("ffmpeg", FFMPEG, 106, Some(105), "active"),
        ("aiortc", AIORTC, 101, Some(102), "passive"),
    ] {
        let offer = SubscribeOffer::parse(&viewer(text)).expect(name);
        assert!(offer.wants(Kind::Audio) && offer.wants(Kind::Video), "{name}");
        let section = offer.section(Kind::Video).expect("video");
        let (picked, _) = section.pick(Codec::H264, None).expect("H.264");
        assert_eq!((picked.payload_type, picked.rtx), (video, rtx), "{name}");
        let answer = answer(&offer, None);
        assert!(answer.contains(&format!("a=setup:{role}\r\n")), "{name}: {answer}");
        assert_eq!(answer.matches("a=sendonly").count(), 2, "{name}: {answer}");
        assert_eq!(answer.matches("typ host").count(), 2, "{name}: {answer}");
        assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{name}: {answer}");
        assert!(!answer.contains("rtcp-fb:0 "), "{name}: {answer}");
    }
}

#[test]
fn h264_goes_under_the_profile_that_fits_best() {
    let offer = SubscribeOffer::parse(&viewer(CHROMIUM)).expect("chromium");
    let section = offer.section(Kind::Video).expect("video");
    for (source, pt) in [
        (Some("avc1.64001f"), 116),
        (Some("avc1.4d401f"), 116),
        (Some("avc1.42e01f"), 108),
        (Some("avc1.42c01e"), 108),
        (None, 108),
    ] {
        let picked = section.pick(Codec::H264, source).map(|(codec, decodes)| (codec.payload_type, decodes));
        assert_eq!(picked, Some((pt, true)), "{source:?}");
    }
    assert!(section.pick(Codec::Vp8, None).is_none());
}

#[test]
fn three_fingerprints_are_kept() {
    let offer = SubscribeOffer::parse(&viewer(AIORTC)).expect("aiortc");
    let hashes: Vec<Hash> = offer.fingerprints.iter().map(|f| f.hash).collect();
    assert_eq!(hashes, [Hash::Sha256, Hash::Sha384, Hash::Sha512]);
}

#[test]
fn bundle_only_with_port_0_is_no_rejection() {
    let text = viewer(CHROMIUM).replace("m=audio 43516", "a=x\r\nm=audio 0");
    let rejected = SubscribeOffer::parse(&text).expect("video is left");
    assert!(!rejected.wants(Kind::Audio));
    assert!(answer(&rejected, None).contains("m=audio 0 "));
    let bundled = text.replace("a=mid:1", "a=mid:1\r\na=bundle-only");
    assert!(SubscribeOffer::parse(&bundled).expect("both").wants(Kind::Audio));
}

#[test]
fn codec_names_are_read_in_any_case() {
    let text = viewer(CHROMIUM).replace("opus/48000/2", "OPUS/48000/2").replace("H264/", "h264/");
    let offer = SubscribeOffer::parse(&text).expect("any case");
    assert!(offer.wants(Kind::Audio) && offer.wants(Kind::Video));
}

#[test]
fn what_cannot_be_served_is_said() {
    for (text, syntax) in [
        (String::new(), true),
        ("hello".to_owned(), true),
        ("v=0\r\nx".to_owned(), true),
        (CHROMIUM.to_owned(), false),
        (viewer(CHROMIUM).replace("a=rtcp-mux\r\n", ""), false),
        (viewer(CHROMIUM).replace("a=fingerprint:sha-256", "a=fingerprint:md5"), false),
        (viewer(CHROMIUM).replace("a=setup:actpass", "a=setup:holdconn"), false),
        (viewer(CHROMIUM).replace("a=ice-pwd", "a=x-pwd"), false),
        ("v=0\r\n".repeat(OFFER_BYTES_MAX / 5 + 1), true),
    ] {
        let error = SubscribeOffer::parse(&text).expect_err("refused");
        assert_eq!(error.is_syntax(), syntax, "{error}");
    }
}

#[test]
fn an_unknown_m_line_is_rejected_and_the_rest_answered() {
    let text = viewer(CHROMIUM)
        + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n";
    let offer = SubscribeOffer::parse(&text).expect("answered");
    let answer = answer(&offer, None);
    assert!(answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{answer}");
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "{answer}");
}

#[test]
fn a_damaged_offer_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pieces = [
        "é",
        "\u{1f600}",
        "\r\n",
        "=",
        ":",
        " ",
        "a=",
        "m=video 9 X 300",
        "99999999999",
        "-1",
        "\0",
        "/",
        ";",
    ];
    let (mut parsed, mut refused) = (0, 0);
    for round in 0..6000 {
        let whole = viewer([CHROMIUM, FFMPEG, AIORTC][round % 3]);
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..1 + random() % 4 {
            let at = random() as usize % text.len();
            let until = (at + random() as usize % 12).min(text.len());
            let piece = pieces[random() as usize % pieces.len()];
            text.splice(at..until, piece.chars());
        }
        let text: String = text.into_iter().collect();
        match SubscribeOffer::parse(&text) {
            Ok(offer) => {
                let _ = answer(&offer, Some("avc1.64001f"));
                parsed += 1;
            }
            Err(_) => refused += 1,
        }
        let _ = Fragment::parse(&text);
    }
    assert!(parsed > 100 && refused > 100, "{parsed} {refused}");
}
