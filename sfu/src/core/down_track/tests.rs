use super::*;
use crate::core::history::tests::packet;
use crate::core::up_track::beginning;
use crate::egress::seal::Profile;

fn line(rtx: Option<u8>) -> Line {
    let format = Format { codec: Codec::H264, payload_type: 96, rtx, nack: true };
    Line {
        kind: Kind::Video,
        ssrc: 1,
        rtx_ssrc: 2,
        formats: vec![format],
        transport_cc: Some(4),
        mid: Some((9, b"0".to_vec())),
        first: 100,
        rtx_first: 7,
        base: 0,
    }
}

/// Everything that was sent, with one viewer.
struct Bench {
    down: DownTrack,
    sealer: Sealer,
    batch: Batch,
    transport_seq: u16,
    counters: Counters,
    history: History,
}

impl Bench {
    fn new(rtx: Option<u8>) -> Self {
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
        let to = "192.0.2.9:9".parse().expect("an address");
        let from = std::net::IpAddr::from([192, 0, 2, 1]);
        let dest = Dest { to, from, gso: false };
        let mut outlet = Outlet {
            now: beginning(),
            dest: &dest,
            sealer: &mut self.sealer,
            transport_seq: &mut self.transport_seq,
            congestion: None,
            counters: &mut self.counters,
        };
        let outcome = call(&mut self.down, &self.history, &mut self.batch, &mut outlet);
        assert_eq!(outcome, Outcome::Sent);
    }

    fn take_sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.batch.runs().iter().map(|run| self.batch.bytes(run).to_vec()).collect();
        self.batch.clear();
        sent
    }

    fn send(&mut self, seq: u64) {
        let now = beginning();
        self.history.push(now, packet(seq, seq as i64 * 3000, seq == 0, true, now));
        self.with(|down, history, batch, outlet| {
            down.send(history.get(seq).expect("it is there"), Stamp::Own, batch, outlet)
        });
    }

    fn resend(&mut self, number: u16, now_ms: u32) -> Result<(), Missed> {
        let index = self.down.missed(number, now_ms, 50)?;
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
fn the_header_carries_what_was_negotiated() {
    let mut bench = Bench::new(None);
    (0..12).for_each(|seq| bench.send(seq));
    let sent = bench.take_sent();
    assert_eq!(sent[0][..2], [0x90, 96]);
    assert_eq!(sent[0][12..24], [0xbe, 0xde, 0, 2, 4 << 4 | 1, 0, 0, 9 << 4, b'0', 0, 0, 0]);
    assert_eq!(sent[11][12..20], [0xbe, 0xde, 0, 1, 4 << 4 | 1, 0, 11, 0], "the MID only at the beginning");
}
