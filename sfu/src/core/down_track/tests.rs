use media::{NtpTime, StreamClock};
use rtc_crypto::RTCCryptoProvider as _;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::core::history::tests::packet;
use crate::core::up_track::beginning;
use crate::egress::batch::Transport;
use crate::egress::seal::Profile;

/// A video line with H.264 as payload type 96.
pub(crate) fn line(rtx: Option<u8>) -> Line {
    let format = Format { codec: Codec::H264, payload_type: 96, rtx, nack: true };
    Line {
        kind: Kind::Video,
        ssrc: 1,
        rtx_ssrc: 2,
        formats: vec![format],
        transport_cc: Some(4),
        mid: Some((9, b"0".to_vec())),
        extensions: Extensions {
            playout_delay: None,
            capture_time: None,
            send_time: None,
            clock: StreamClock::new(beginning(), NtpTime::from_unix_micros(0)),
        },
        first: 100,
        rtx_first: 7,
        base: 0,
    }
}

/// Everything that was sent, with one viewer.
pub(super) struct Bench {
    pub(super) down: DownTrack,
    sealer: Sealer,
    batch: Batch,
    pub(super) transport_seq: u16,
    counters: Counters,
    history: History,
}

impl Bench {
    pub(super) fn new(rtx: Option<u8>) -> Self {
        let mut down = DownTrack::new(line(rtx));
        down.switch(Codec::H264, Flow::Live { from: 0 });
        let mut sealer = Sealer::new(Profile::AeadAes128Gcm, &[1; 16], &[2; 12]);
        if down.needs_reseal() {
            sealer.allow_reseal(down.slot());
        }
        let (batch, history) = (Batch::new(), History::default());
        Self { down, sealer, batch, transport_seq: 0, counters: Counters::default(), history }
    }

    fn with(&mut self, call: impl FnOnce(&mut DownTrack, &History, &mut Batch, &mut Outlet<'_>) -> Outcome) {
        self.with_outcome(Outcome::Sent, call);
    }

    fn with_outcome(
        &mut self,
        expected: Outcome,
        call: impl FnOnce(&mut DownTrack, &History, &mut Batch, &mut Outlet<'_>) -> Outcome,
    ) {
        let to = "192.0.2.9:9".parse().expect("an address");
        let from = std::net::IpAddr::from([192, 0, 2, 1]);
        let dest = Dest { to, from, transport: Transport::Udp, gso: false };
        let mut outlet = Outlet {
            now: beginning(),
            dest: &dest,
            sealer: &mut self.sealer,
            transport_seq: &mut self.transport_seq,
            congestion: None,
            counters: &mut self.counters,
        };
        let outcome = call(&mut self.down, &self.history, &mut self.batch, &mut outlet);
        assert_eq!(outcome, expected);
    }

    fn take_sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.batch.runs().iter().map(|run| self.batch.bytes(run).to_vec()).collect();
        self.batch.clear();
        sent
    }

    pub(super) fn send(&mut self, seq: u64) {
        let now = beginning();
        self.history.push(now, packet(seq, seq as i64 * 3000, seq == 0, true, now));
        self.with(|down, history, batch, outlet| {
            down.send(history.get(seq).expect("it is there"), Stamp::Own, batch, outlet)
        });
    }

    fn resend(&mut self, number: u16, now_ms: u32) -> Result<(), Missed> {
        let index = self.down.missed(number, now_ms, 50)?;
        self.down.will_resend(index, now_ms);
        self.with(|down, history, batch, outlet| down.resend(index, history, batch, outlet));
        Ok(())
    }
}

#[test]
fn without_rtx_the_same_bytes_are_sent_again() {
    let mut bench = Bench::new(None);
    (0..20).for_each(|seq| bench.send(seq));
    let first = bench.take_sent();
    for number in [100, 105, 119] {
        bench.resend(number, 1000).expect("known");
        assert_eq!(bench.take_sent(), [first[usize::from(number) - 100].clone()], "{number}");
    }
    assert_eq!(bench.resend(105, 1040), Err(Missed::TooSoon));
    assert_eq!(bench.resend(105, 1051), Ok(()));
    assert_eq!(bench.resend(99, 1051), Err(Missed::Unknown));
    assert_eq!(bench.counters.nonce_refused, 0);
}

#[test]
fn what_was_refused_may_be_asked_for_again_at_once() {
    let mut bench = Bench::new(Some(97));
    (0..20).for_each(|seq| bench.send(seq));
    assert_eq!(bench.down.missed(105, 1000, 50), Ok(105));
    assert_eq!(bench.down.missed(105, 1001, 50), Ok(105), "nothing was sent");
    bench.down.will_resend(105, 1001);
    assert_eq!(bench.down.missed(105, 1002, 50), Err(Missed::TooSoon));
}

#[test]
fn with_rtx_it_has_its_own_numbers_and_says_the_original() {
    let mut bench = Bench::new(Some(97));
    (0..20).for_each(|seq| bench.send(seq));
    bench.take_sent();
    bench.resend(105, 1000).expect("known");
    bench.resend(106, 1000).expect("known");
    let sent = bench.take_sent();
    for (at, datagram) in sent.iter().enumerate() {
        assert_eq!(datagram[1] & 0x7f, 97);
        assert_eq!(u16::from_be_bytes([datagram[2], datagram[3]]), 7 + at as u16);
        assert_eq!(
            u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]),
            (5 + at as u32) * 3000
        );
        assert_eq!(datagram[11], 2);
    }
}

#[test]
fn a_number_left_free_is_filled_when_its_packet_comes_late() {
    for rtx in [None, Some(97)] {
        let mut bench = Bench::new(rtx);
        bench.send(0);
        bench.send(2);
        bench.take_sent();
        assert_eq!(bench.down.missed(101, 1000, 50), Ok(101), "it may have come");
        let now = beginning();
        bench.history.push(now, packet(1, 3000, false, true, now));
        bench.resend(101, 1001).expect("known");
        let sent = bench.take_sent();
        assert_eq!(u16::from_be_bytes([sent[0][2], sent[0][3]]), 101);
        assert_eq!(sent[0][1] & 0x7f, 96);
    }
}

#[test]
fn a_number_left_free_stays_free_once_the_source_begins_anew() {
    let mut bench = Bench::new(Some(97));
    bench.send(0);
    bench.send(2);
    assert_eq!(bench.down.missed(101, 1000, 50), Ok(101));
    let now = beginning();
    bench.history.push(now, packet(1, 3000, false, true, now));
    bench.down.begin_anew();
    bench.down.will_resend(101, 1001);
    bench.take_sent();
    bench.with_outcome(Outcome::Skipped, |down, history, batch, outlet| {
        down.resend(101, history, batch, outlet)
    });
    assert!(bench.take_sent().is_empty() && bench.down.fresh, "the keyframe is still to come");
    assert_eq!(bench.counters.nack_unknown, 1);
}

/// Two layers whose encoders count from different numbers: the viewer sees one count, and the same one when it
/// asks again.
#[test]
fn picture_ids_of_vp8_go_on_over_a_switch_and_are_repeated() {
    for rtx in [None, Some(97)] {
        let mut bench = Bench::new(rtx);
        bench.down.line.formats[0].codec = Codec::Vp8;
        let now = beginning();
        let mut sent = Vec::new();
        for (layer, first) in [(0, 500), (1, 9000), (2, 17)] {
            bench.down.switch(Codec::Vp8, Flow::Live { from: 0 });
            bench.history = History::default();
            for seq in 0..3 {
                let id = (first + seq as u16) | 0x8000;
                let payload = [&[0x90, 0x80][..], &id.to_be_bytes(), b"picture"].concat();
                let ticks = (layer * 3 + seq as i64) * 3000;
                let source = RtpPacket { payload: payload.into(), ..packet(seq, ticks, seq == 0, true, now) };
                bench.history.push(now, source);
                bench.with(|down, history, batch, outlet| {
                    down.send(history.get(seq).expect("it is there"), Stamp::Own, batch, outlet)
                });
            }
            sent = bench.take_sent();
            let opened: Vec<u16> = sent.iter().map(|datagram| picture_id(datagram)).collect();
            let expected = 500 + layer as u16 * 3;
            assert_eq!(opened, [expected, expected + 1, expected + 2]);
        }
        bench.resend(107, 1000).expect("known");
        let again = bench.take_sent();
        match rtx {
            None => assert_eq!(again[0], sent[1]),
            // The original number stands before the payload.
            Some(_) => assert_eq!(opened(&again[0])[2..], opened(&sent[1])[..]),
        }
    }
}

/// The payload of what [`Bench`] sealed.
fn opened(datagram: &[u8]) -> Vec<u8> {
    let provider = rtc_crypto::providers::AwsLcRsProvider::new();
    let theirs = ProtectionProfile::AeadAes128Gcm;
    let context = Context::new(&[1; 16], &[2; 12], theirs, None, None, provider.crypto());
    let plain = context.expect("keys fit").decrypt_rtp(datagram).expect("it is authentic");
    let words = usize::from(u16::from_be_bytes([plain[14], plain[15]]));
    plain[16 + 4 * words..].to_vec()
}

fn picture_id(datagram: &[u8]) -> u16 {
    let payload = opened(datagram);
    u16::from_be_bytes([payload[2] & 0x7f, payload[3]])
}

/// Without RTX the same bytes must come again, whatever a packet carried.
#[test]
fn extensions_are_repeated_as_they_were() {
    let mut bench = Bench::new(None);
    let extensions = Extensions {
        playout_delay: Some((6, std::time::Duration::from_millis(400))),
        capture_time: Some(7),
        ..bench.down.line.extensions
    };
    bench.down = DownTrack::new(Line { extensions, ..line(None) });
    bench.down.switch(Codec::H264, Flow::Live { from: 0 });
    (0..20).for_each(|seq| bench.send(seq));
    bench.down.received(119);
    (20..60).for_each(|seq| bench.send(seq));
    let first = bench.take_sent();
    let plain = |at: usize| first[at][12..].to_vec();
    let elements = [4 << 4 | 1, 0, 0, 6 << 4 | 2, 0, 7 << 4, 40, 7 << 4 | 7];
    assert_eq!(plain(0)[..12], [&[0xbe, 0xde, 0, 5][..], &elements].concat());
    assert_eq!(plain(10)[..12], [0xbe, 0xde, 0, 2, 4 << 4 | 1, 0, 10, 6 << 4 | 2, 0, 7 << 4, 40, 0]);
    assert_eq!(plain(20)[..8], [0xbe, 0xde, 0, 1, 4 << 4 | 1, 0, 20, 0], "it got through");
    assert_eq!(plain(30)[..4], [0xbe, 0xde, 0, 3], "a second later the capture time again");
    for number in [100, 107, 110, 119, 120, 130, 159] {
        bench.resend(number, 1000).expect("known");
        assert_eq!(bench.take_sent(), [first[usize::from(number) - 100].clone()], "{number}");
    }
}

#[test]
fn the_header_carries_what_was_negotiated() {
    let mut bench = Bench::new(None);
    (0..12).for_each(|seq| bench.send(seq));
    let sent = bench.take_sent();
    assert_eq!(sent[0][..2], [0x90, 96]);
    assert_eq!(sent[0][12..24], [0xbe, 0xde, 0, 2, 4 << 4 | 1, 0, 0, 9 << 4, b'0', 0, 0, 0]);
    assert_eq!(sent[11][12..20], [0xbe, 0xde, 0, 1, 4 << 4 | 1, 0, 11, 0], "the MID only at the beginning");
}

#[test]
fn a_probe_repeats_nothing_of_the_source_before() {
    let mut bench = Bench::new(Some(97));
    (0..20).for_each(|seq| bench.send(seq));
    let probe = |bench: &mut Bench| {
        bench.take_sent();
        bench.with(|down, history, batch, outlet| down.send_probe(1000, Some(history), batch, outlet));
        bench.take_sent().remove(0)
    };
    assert_eq!(probe(&mut bench)[0] & 0x20, 0, "a packet again");
    // Another Layer, whose numbers mean other packets.
    bench.down.switch(Codec::H264, Flow::Live { from: 0 });
    assert_eq!(probe(&mut bench)[0] & 0x20, 0x20, "padding");
}
