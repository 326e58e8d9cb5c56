//! What strangers send, and viewers that mean ill: nothing crashes, nothing is answered to an address that has not
//! proven itself, every refusal has its counter, and the viewer beside it loses nothing.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use sfu::core::{Counters, Routed};

use crate::browser::Abilities;
use crate::line::Line;
use crate::source::Source;
use crate::viewer::Client;
use crate::world::World;
use crate::{SECOND, check_wire, gaps, ms};

const STRANGER: &str = "203.0.113.9:9";

/// Why a datagram was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Unknown,
    OfNobody,
    Check,
    Stun,
    Dtls,
    Srtcp,
    Rtp,
}

impl Why {
    const ALL: [Self; 7] =
        [Self::Unknown, Self::OfNobody, Self::Check, Self::Stun, Self::Dtls, Self::Srtcp, Self::Rtp];

    fn count(self, counters: &Counters) -> u64 {
        match self {
            Self::Unknown => counters.datagrams_unknown,
            Self::OfNobody => counters.datagrams_of_nobody,
            Self::Check => counters.checks_refused,
            Self::Stun => counters.stun_ignored,
            Self::Dtls => counters.dtls_ignored,
            Self::Srtcp => counters.srtcp_refused,
            Self::Rtp => counters.rtp_from_viewers,
        }
    }

    fn counts(counters: &Counters) -> [u64; 7] {
        Self::ALL.map(|why| why.count(counters))
    }
}

/// A datagram comes from there: it is counted as `why` alone, and nothing is said to anybody.
fn refuse(world: &mut World, from: SocketAddr, datagram: &[u8], why: Why, what: &str) {
    let before = Why::counts(world.core.counters());
    let routed = world.inject(from, datagram.to_vec());
    let known = matches!(why, Why::Stun | Why::Dtls | Why::Srtcp | Why::Rtp);
    assert_eq!(routed, if known { Routed::Here } else { Routed::Dropped }, "{what}");
    assert!(world.core.poll_transmit().is_none(), "{what} was answered");
    let after = Why::counts(world.core.counters());
    let grown = Why::ALL.iter().zip(before).zip(after).filter(|((_, before), after)| after != before);
    let grown: Vec<_> = grown.map(|((why, before), after)| (*why, after - before)).collect();
    assert_eq!(grown, [(why, 1)], "{what}");
}

/// A world in which that many browsers watch, and what they send is heard.
fn watched(seed: u64, viewers: usize) -> World {
    let mut world = World::new(seed, Source::default());
    world.heard = Some(Vec::new());
    world.run(ms(100));
    for _ in 0..viewers {
        world.join_browser(Line::default(), Abilities::default());
    }
    world.run(2 * SECOND);
    assert_eq!(world.core.counters().viewers_connected, viewers as u64);
    world
}

/// Two more seconds: no viewer misses a frame, and nothing went where nobody is.
fn unharmed(world: &mut World, viewers: &[usize]) {
    let before: Vec<usize> = viewers.iter().map(|at| world.viewers[*at].video_frames().len()).collect();
    world.run(2 * SECOND);
    check_wire(world);
    for (at, before) in viewers.iter().zip(before) {
        assert_eq!(gaps(world, *at), [0; 0], "viewer {at}");
        let more = world.viewers[*at].video_frames().len() - before;
        assert!(more >= 58, "viewer {at} got {more} frames in two seconds");
    }
    assert!(world.strays.is_empty(), "sent to who has not proven itself: {:?}", world.strays);
    assert_eq!(world.core.counters().panics_caught, 0);
}

/// What a viewer sent so far of that kind, by the first byte.
fn heard(world: &World, viewer: usize, is: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let heard = world.heard.as_ref().expect("somebody listens").iter();
    heard.filter(|(at, data)| *at == viewer && is(data)).map(|(_, data)| data.clone()).collect()
}

fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 192..=223, ..])
}

fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// A binding request (RFC 8445 section 7.2), authentic if `pwd` is the server's.
struct Check {
    message: Vec<u8>,
    pwd: String,
}

impl Check {
    fn new(name: &str, pwd: &str) -> Self {
        let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend_from_slice(b"transaction!");
        Self { message, pwd: pwd.to_owned() }.attribute(0x0006, name.as_bytes())
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.message.extend_from_slice(&kind.to_be_bytes());
        self.message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.message.extend_from_slice(value);
        self.message.resize(self.message.len().next_multiple_of(4), 0);
        self.sized(0)
    }

    /// With a length that counts so much more than is there.
    fn sized(mut self, more: usize) -> Self {
        let length = (self.message.len() - 20 + more) as u16;
        self.message[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    fn signed(self) -> Self {
        let check = self.sized(24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, check.pwd.as_bytes());
        let tag = hmac::sign(&key, &check.message);
        check.attribute(0x0008, tag.as_ref())
    }

    /// With a FINGERPRINT that is right if `error` is zero (RFC 8489 section 14.7).
    fn fingerprinted(self, error: u32) -> Self {
        let check = self.sized(8);
        let crc = !check.message.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 }
            })
        });
        check.attribute(0x8028, &(crc ^ 0x5354_554e ^ error).to_be_bytes())
    }
}

/// What the answer to a viewer says: our ufrag and password.
fn credentials(world: &World, viewer: usize) -> (String, String) {
    let answer = &world.viewers[viewer].answer;
    let value =
        |key| answer.lines().find_map(|line| line.strip_prefix(key)).expect("every answer has it").trim();
    (value("a=ice-ufrag:").to_owned(), value("a=ice-pwd:").to_owned())
}

#[test]
fn checks_that_are_broken_or_not_authentic_get_no_answer() {
    let mut world = watched(60, 2);
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let (ufrag, pwd) = credentials(&world, 0);
    let (_, other_pwd) = credentials(&world, 1);
    let name = format!("{ufrag}:them");
    let long = format!("{ufrag}:{}", "x".repeat(600));
    let good = Check::new(&name, &pwd).signed().fingerprinted(0).message;
    let mut huge = Check::new(&name, &pwd).signed().message;
    // USERNAME claims more than there is.
    huge[22..24].copy_from_slice(&[0xff, 0xff]);
    let mut table = vec![
        ("a wrong password", Check::new(&name, "guess").signed().message, Why::Check),
        ("another viewer's password", Check::new(&name, &other_pwd).signed().message, Why::Check),
        ("no password", Check::new(&name, "").signed().message, Why::Check),
        ("a foreign username", Check::new("nobody:them", &pwd).signed().message, Why::OfNobody),
        (
            "their half of the username first",
            Check::new(&format!("them:{ufrag}"), &pwd).signed().message,
            Why::OfNobody,
        ),
        ("an empty username", Check::new("", &pwd).signed().message, Why::OfNobody),
        ("a giant username", Check::new(&long, &pwd).signed().message, Why::OfNobody),
        ("an attribute longer than the message", huge, Why::OfNobody),
        ("no integrity", Check::new(&name, &pwd).message, Why::OfNobody),
        ("half an integrity", Check::new(&name, &pwd).attribute(0x0008, &[0; 10]).message, Why::OfNobody),
        ("a giant integrity", Check::new(&name, &pwd).attribute(0x0008, &[0; 1000]).message, Why::OfNobody),
        ("a wrong fingerprint", Check::new(&name, &pwd).signed().fingerprinted(1).message, Why::OfNobody),
        (
            "a fingerprint in the middle",
            Check::new(&name, &pwd).fingerprinted(0).signed().message,
            Why::OfNobody,
        ),
    ];
    for (what, kind) in [("an indication", [0, 0x11]), ("a success", [1, 1]), ("an error", [1, 0x11])] {
        let mut message = Check::new(&name, &pwd).signed().message;
        message[..2].copy_from_slice(&kind);
        table.push((what, message, Why::OfNobody));
    }
    for (what, datagram, why) in &table {
        refuse(&mut world, stranger, datagram, *why, what);
    }
    // From an address that is believed it is refused as well, and if it is no check at all, ignored.
    let viewer = world.viewers[0].address;
    for (what, datagram, why) in &table {
        let known = if *why == Why::OfNobody && !what.contains("username") { Why::Stun } else { *why };
        let known = if what.contains("giant username") { Why::Stun } else { known };
        refuse(&mut world, viewer, datagram, known, what);
    }
    for cut in 1..good.len() {
        refuse(&mut world, stranger, &good[..cut], Why::OfNobody, "the beginning of a check");
    }
    // Each bit of what the integrity covers counts, and the integrity itself.
    for bit in 0..8 * (good.len() - 8) {
        let mut spoiled = good.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        let before = world.core.counters().checks_answered;
        world.inject(stranger, spoiled);
        assert_eq!(world.core.counters().checks_answered, before, "bit {bit}");
        assert!(world.core.poll_transmit().is_none(), "bit {bit}");
    }
    unharmed(&mut world, &[0, 1]);
}

#[test]
fn dtls_before_ice_gets_no_answer_and_the_handshake_after_it_is_as_any() {
    let mut world = watched(61, 1);
    let hellos = heard(&world, 0, is_dtls);
    assert!(hellos.len() >= 3, "a whole handshake");
    // One that is negotiated and has not checked yet, and an address of which nobody knows anything.
    let late = world.join_browser(Line::default(), Abilities::default());
    let early = world.viewers[late].address;
    for from in [early, STRANGER.parse().unwrap()] {
        for datagram in hellos.iter().cycle().take(500) {
            refuse(&mut world, from, datagram, Why::OfNobody, "DTLS before a check");
        }
    }
    world.run(2 * SECOND);
    assert_eq!(world.core.counters().viewers_connected, 2, "its own handshake is another matter");
    unharmed(&mut world, &[0, late]);
}

#[test]
fn a_spoofed_handshake_is_answered_by_less_than_it_costs() {
    let mut world = watched(62, 1);
    let hello = heard(&world, 0, is_dtls).swap_remove(0);
    assert!(matches!(hello[..], [22, _, _, 0, 0, ..]), "a ClientHello is not encrypted");
    // As if from the viewer that watches: its association has long begun.
    let address = world.viewers[0].address;
    let (mut said, mut came) = (0, 0);
    for _ in 0..1000 {
        came += hello.len();
        world.inject(address, hello.clone());
        while let Some(transmit) = world.core.poll_transmit() {
            said += transmit.data.len();
        }
    }
    assert!(world.core.counters().dtls_ignored >= 900, "{:?}", world.core.counters());
    assert!(said * 10 < came, "{said} bytes for {came}");
    // And as if from one that has proven its address and whose own handshake is still to come.
    let slow = world.join_browser(Line::default(), Abilities::default());
    world.viewers[slow].silent = true;
    let (ufrag, pwd) = credentials(&world, slow);
    let address = world.viewers[slow].address;
    world.inject(address, Check::new(&format!("{ufrag}:them"), &pwd).signed().message);
    while world.core.poll_transmit().is_some() {}
    let (mut said, mut came) = (0, 0);
    for _ in 0..1000 {
        came += hello.len();
        world.inject(address, hello.clone());
        while let Some(transmit) = world.core.poll_transmit() {
            said += transmit.data.len();
        }
    }
    assert!(said < came, "{said} bytes for {came}");
    assert_eq!(world.core.counters().dtls_refused, 1, "no handshake has that many");
    unharmed(&mut world, &[0]);
}

#[test]
fn srtcp_counts_once_and_only_from_whom_it_is() {
    let mut world = watched(63, 2);
    let [first, second] = [0, 1].map(|at| world.viewers[at].address);
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    // More than a replay window: the first ones will be too old even to be looked up.
    for _ in 0..100 {
        world.say(0, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    }
    world.run(ms(100));
    let spoken = heard(&world, 0, is_rtcp);
    assert!(spoken.len() > 100, "{}", spoken.len());
    let before = *world.core.counters();
    for datagram in &spoken {
        refuse(&mut world, first, datagram, Why::Srtcp, "a replay");
        refuse(&mut world, second, datagram, Why::Srtcp, "somebody else's words");
        refuse(&mut world, stranger, datagram, Why::OfNobody, "SRTCP from an address without a check");
    }
    let newest = spoken.last().unwrap();
    for at in 4..newest.len() {
        let mut spoiled = newest.clone();
        spoiled[at] ^= 1;
        refuse(&mut world, first, &spoiled, Why::Srtcp, "a spoiled report");
    }
    for cut in 2..newest.len() {
        refuse(&mut world, first, &newest[..cut], Why::Srtcp, "the beginning of a report");
    }
    let media = [&[0x80, 102, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[7; 1000]].concat();
    refuse(&mut world, first, &media, Why::Rtp, "RTP of a viewer");
    refuse(&mut world, stranger, &media, Why::OfNobody, "RTP of a stranger");
    let after = world.core.counters();
    assert_eq!(
        (after.nacked, after.keyframes_asked, after.feedback_refused, after.estimates_bps),
        (before.nacked, before.keyframes_asked, before.feedback_refused, before.estimates_bps),
        "nothing of it was believed"
    );
    unharmed(&mut world, &[0, 1]);
}

#[test]
fn an_address_that_another_viewer_claims_is_given_back_by_the_next_check() {
    let mut world = watched(66, 2);
    // The second viewer forges the address of the first: the password is its own, so the check is authentic.
    let (ufrag, pwd) = credentials(&world, 1);
    let victim = world.viewers[0].address;
    world.inject(victim, Check::new(&format!("{ufrag}:them"), &pwd).signed().message);
    while let Some(transmit) = world.core.poll_transmit() {
        assert_eq!(transmit.to, victim);
    }
    // Browsers repeat their checks every 2.5 s at the latest.
    world.run(3 * SECOND);
    let refused = world.core.counters().srtcp_refused;
    assert!(refused > 0, "for a moment its reports were taken for the other's");
    unharmed(&mut world, &[0, 1]);
    assert_eq!(world.core.counters().srtcp_refused, refused, "it is heard again");
}

#[test]
fn every_first_byte_is_refused_by_its_kind() {
    let mut world = watched(64, 1);
    let (viewer, stranger) = (world.viewers[0].address, STRANGER.parse().unwrap());
    for first in 0..=255 {
        for length in [1, 2, 12, 13, 20, 28, 60, 1200, 1500] {
            let mut datagram: Vec<u8> = (0..length).map(|_| world.random.next() as u8).collect();
            datagram[0] = first;
            let (why, known) = match &datagram[..] {
                [0..=3, ..] => (Why::OfNobody, Why::Stun),
                [20..=63, ..] => (Why::OfNobody, Why::Dtls),
                [128..=191, 192..=223, ..] => (Why::OfNobody, Why::Srtcp),
                [128..=191, _, ..] => (Why::OfNobody, Why::Rtp),
                _ => (Why::Unknown, Why::Unknown),
            };
            refuse(&mut world, stranger, &datagram, why, &format!("{length} bytes from {first}"));
            // Garbage that looks like DTLS may be one record that the library skips without a word.
            if known != Why::Dtls {
                refuse(&mut world, viewer, &datagram, known, &format!("{length} bytes from {first}, known"));
            }
        }
    }
    refuse(&mut world, stranger, &[], Why::Unknown, "nothing");
    refuse(&mut world, viewer, &[], Why::Unknown, "nothing");
    unharmed(&mut world, &[0]);
}

#[test]
fn floods_of_reports_cost_who_sends_them() {
    let mut world = watched(65, 2);
    let ssrc = world.viewers[0].browser().video_ssrc().expect("a picture").to_be_bytes();
    let before = *world.core.counters();
    let asked_before = world.keyframe_requests;
    // Goodbyes, one missing packet after the other, wishes for keyframes, wild estimates: 20 of each per millisecond.
    let goodbye = [&[0x81, 203, 0, 1][..], &ssrc].concat();
    let keyframe = [&[0x81, 206, 0, 2, 0, 0, 0, 1][..], &ssrc].concat();
    let estimate = |bits: [u8; 4]| {
        let head = [0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B'];
        [&head[..], &bits, &ssrc].concat()
    };
    let feedback = [&[0x8f, 205, 0, 4, 0, 0, 0, 1][..], &ssrc, &[0, 0, 0xff, 0xff, 0, 0, 0, 0]].concat();
    // A thousand packets that are said not to have come: 20 bytes.
    let none =
        [&[0x8f, 205, 0, 5, 0, 0, 0, 1][..], &ssrc, &[0, 0, 3, 0xe8, 0, 0, 0, 0, 0x03, 0xe8, 0, 0]].concat();
    for round in 0..500_u16 {
        let mut nack = vec![0x81, 205, 0, 252, 0, 0, 0, 1];
        nack.extend_from_slice(&ssrc);
        for pair in 0..250_u16 {
            nack.extend_from_slice(&round.wrapping_mul(251).wrapping_add(pair * 17).to_be_bytes());
            nack.extend_from_slice(&[0xff, 0xff]);
        }
        for plain in [
            &nack,
            &goodbye,
            &keyframe,
            &estimate([1, 0, 0, 0]),
            &estimate([1, 0xff, 0xff, 0xff]),
            &feedback,
            &none,
        ] {
            for _ in 0..4 {
                world.say(0, plain);
            }
        }
        world.run(ms(1));
    }
    let after = *world.core.counters();
    let grown = |count: fn(&Counters) -> u64| count(&after) - count(&before);
    assert!(grown(|it| it.nacked) > 100_000, "{after:?}");
    assert!(grown(|it| it.feedback_refused) >= 3700, "more than a few thousand packets: {after:?}");
    assert!(grown(|it| it.keyframes_asked) >= 1900, "{after:?}");
    let refused = grown(|it| it.nack_unknown + it.nack_throttled + it.nack_superseded);
    assert!(refused + grown(|it| it.packets_resent) + 4096 >= grown(|it| it.nacked), "{after:?}");
    // Half a second's budget at once, and as much again while it lasted.
    assert!(grown(|it| it.packets_resent) <= 512 * 1024 / 1200 + 50, "{after:?}");
    assert!(world.keyframe_requests - asked_before <= 2, "{}", world.keyframe_requests - asked_before);
    assert_eq!(after.viewers_connected, 2, "a goodbye in RTCP is of a source, not of the viewer");
    unharmed(&mut world, &[1]);
    assert!(world.now > world.viewers[0].joined + Duration::from_secs(4));
}

/// Feedback may say that days lie between two packets of a burst: then the line takes less than a bit per second.
#[test]
fn feedback_from_the_far_future_harms_who_sends_it() {
    for (step, parts) in [(0x7f_ffff, 9), (0x7f_ffff, 20), (0x10_0000, 9), (1000, 9)] {
        let source = Source { gop: 300, parts, ..Source::default() };
        let mut world = World::new(66, source);
        world.run(3 * SECOND);
        let beside = world.join_browser(Line::default(), Abilities::default());
        let liar = world.join_browser(Line::default(), Abilities::default());
        let Client::Browser(browser) = &mut world.viewers[liar].client else { panic!("it is one") };
        browser.lie_about_arrivals(step);
        world.run(10 * SECOND);
        assert_eq!(world.core.counters().viewers_connected, 2);
        unharmed(&mut world, &[beside]);
    }
}
