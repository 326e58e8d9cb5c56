use super::*;

const CHROMIUM: &str = include_str!("../../tests/fixtures/chromium-h264.offer.sdp");
const DEFAULT: &str = include_str!("../../tests/fixtures/offers/chromium-default.offer.sdp");
const FFMPEG: &str = include_str!("../../tests/fixtures/ffmpeg9.offer.sdp");
const AIORTC: &str = include_str!("../../tests/fixtures/aiortc-H264.offer.sdp");

/// The fixtures are offers of publishers; a viewer's differ in the direction.
fn viewer(text: &str) -> String {
    text.replace("a=sendonly", "a=recvonly")
}

fn answer(offer: &SubscribeOffer, codecs: Option<&str>) -> String {
    let addresses = ["192.0.2.1:8189".parse().expect("v4"), "[2001:db8::1]:8189".parse().expect("v6")];
    let candidates = crate::Candidate::of(&addresses, false);
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

/// An offer of 64 KiB that says the same again and again must not cost more than it is long.
#[test]
fn what_an_offer_repeats_is_read_once() {
    let formats = "96 97 ".repeat(9000);
    let feedback = "a=rtcp-fb:* nack\r\n".repeat(300);
    let text = viewer(CHROMIUM);
    let (session, _) = text.split_once("\nm=").expect("a session");
    let transport: Vec<&str> = text
        .lines()
        .filter(|line| ["a=ice-", "a=fingerprint", "a=setup"].iter().any(|it| line.starts_with(it)))
        .collect();
    let offer = format!(
        "{session}\nm=video 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtcp-mux\r\n\
         {}\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=1\r\na=fmtp:97 apt=96\r\n{feedback}",
        transport.join("\r\n"),
    );
    let offer = SubscribeOffer::parse(&offer).expect("an offer");
    let section = offer.section(Kind::Video).expect("video");
    let codecs: Vec<_> =
        section.codecs.iter().map(|it| (it.payload_type, it.rtx, it.feedback.len())).collect();
    assert_eq!(codecs, [(96, None, 32)], "the first fmtp of 97 is of something else");
    assert_eq!(section.pick(Codec::Vp8, None).map(|(picked, _)| picked.payload_type), Some(96));
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

/// Every codec of ours that was offered is answered, each once, so that an encoder may come back with another.
#[test]
fn every_codec_is_answered_with_the_payload_type_that_fits() {
    let offer = SubscribeOffer::parse(&viewer(DEFAULT)).expect("chromium");
    let section = offer.section(Kind::Video).expect("video");
    for (source, vp9, decodes) in [
        (None, 98, true),
        (Some("vp09.00.31.08"), 98, true),
        (Some("vp09.02.31.10"), 100, true),
        (Some("vp09.01.31.08"), 98, false),
        (Some("av01.0.08M.08"), 98, true),
    ] {
        let text = answer(&offer, source);
        for pt in [108, 96, vp9, 45] {
            assert_eq!(text.matches(&format!("a=rtpmap:{pt} ")).count(), 1, "{pt}: {text}");
        }
        assert_eq!(text.matches("/90000").count(), 8, "four codecs and their retransmissions: {text}");
        let picked = section.pick(Codec::Vp9, source).map(|(codec, decodes)| (codec.payload_type, decodes));
        assert_eq!(picked, Some((vp9, decodes)), "{source:?}");
    }
    let text = answer(&offer, None);
    assert!(text.contains("a=fmtp:45 level-idx=5;profile=0;tier=0\r\n"), "{text}");
    assert!(text.contains("a=fmtp:98 profile-id=0\r\n"), "{text}");
}

#[test]
fn sound_keeps_two_channels_and_its_error_correction() {
    for (offered, answered) in [
        ("minptime=10;useinbandfec=1", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
        ("minptime=10;useinbandfec=1;stereo=1", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
        ("sprop-stereo=1; stereo=0", "sprop-stereo=1;stereo=0"),
    ] {
        let text = viewer(DEFAULT).replace("minptime=10;useinbandfec=1", offered);
        let text = answer(&SubscribeOffer::parse(&text).expect("chromium"), None);
        assert!(text.contains(&format!("a=fmtp:111 {answered}\r\n")), "{offered}: {text}");
    }
}

#[test]
fn extensions_are_answered_if_they_were_offered_and_are_wanted() {
    let most = Some(std::time::Duration::from_millis(500));
    let (playout, send_time) =
        ("a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay", "abs-send-time");
    let plain = viewer(DEFAULT);
    let capture = plain.replace(
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    );
    let without_cc = plain.replace("draft-holmer-rmcat-transport-wide-cc-extensions-01", "other");
    for (text, most, has, has_not) in [
        (&plain, None, vec![playout, "a=extmap:9 ", "a=extmap:4 "], vec![send_time, "abs-capture-time"]),
        (&plain, most, vec![playout], vec![send_time, "abs-capture-time"]),
        (
            &capture,
            None,
            vec!["a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"],
            vec![],
        ),
        (&without_cc, None, vec![send_time], vec!["transport-wide"]),
    ] {
        let offer = SubscribeOffer::parse(text).expect("chromium").with_playout_delay_max(most);
        let answer = answer(&offer, None);
        assert!(has.iter().all(|it| answer.contains(it)), "{has:?}: {answer}");
        assert!(!has_not.iter().any(|it| answer.contains(it)), "{has_not:?}: {answer}");
    }
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
        (viewer(CHROMIUM).replace("a=ice-ufrag:kbkq", &format!("a=ice-ufrag:{}", "k".repeat(257))), true),
        ("v=0\r\n".repeat(OFFER_BYTES_MAX / 5 + 1), true),
    ] {
        let error = SubscribeOffer::parse(&text).expect_err("refused");
        assert_eq!(error.is_syntax(), syntax, "{error}");
    }
}

#[test]
fn the_credentials_are_those_of_the_m_lines_that_we_take() {
    let whole = viewer(CHROMIUM);
    let moved =
        whole.replace("a=ice-ufrag:kbkq\r\n", "").replace("t=0 0\r\n", "t=0 0\r\na=ice-ufrag:sess\r\n");
    let later = whole.replacen("a=ice-ufrag:kbkq\r\n", "", 1);
    // A data channel before the rest, with a transport of its own.
    let other = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:9\r\na=ice-ufrag:data\r\nm=video ";
    let first = whole.replacen("m=video ", other, 1);
    for (text, ufrag) in [(whole, "kbkq"), (moved, "sess"), (later, "kbkq"), (first, "kbkq")] {
        let offer = SubscribeOffer::parse(&text).expect("good SDP");
        assert_eq!(offer.credentials().ufrag(), ufrag);
        assert!(!format!("{offer:?}").contains("ebmLH"), "a password is not logged");
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
fn what_would_break_out_of_a_line_is_refused() {
    let whole = viewer(CHROMIUM);
    assert!(SubscribeOffer::parse(&whole.replace("\r\n", "\n")).is_ok(), "lines may end with LF alone");
    for (broken, why) in [("\0", "zero"), ("\rx", "carriage return")] {
        let offer = whole.replacen("a=fmtp:", &format!("a=fmtp:{broken}"), 1);
        assert_ne!(offer, whole);
        let refusal = SubscribeOffer::parse(&offer).expect_err(why);
        assert!(refusal.is_syntax() && refusal.to_string().contains(why), "{refusal}");
    }
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
        "\r",
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
