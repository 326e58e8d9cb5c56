//! One viewer × one m-line: numbers, header, seal, and what was sent, for NACK.

use std::time::Instant;

use media::{Codec, Kind, RtpPacket};

use super::catch_up::CatchUp;
use super::counters::Counters;
use super::history::History;
use crate::egress::batch::{Batch, Dest};
use crate::egress::seal::Sealer;
use crate::forward::rewriter::{Placement, Refused, Rewriter, Source, Stamp};

/// Slot of the sealer for retransmissions.
const RTX_SLOT: usize = 2;
/// Packets whose numbers are remembered for NACK: 3 s of 2.5 Mbit/s, 24 KiB. Older ones count as
/// `nack_unknown`.
const SENT_MAX: usize = 1024;
/// Packets at the beginning that carry the MID: a receiver binds the SSRC by it (RFC 9143 section 9.2), and
/// the answer names the SSRCs anyway.
const MID_PACKETS: u8 = 8;
/// Longest MID written: a one-byte extension holds 16 (RFC 8285 section 4.2). Longer ones are left out.
const MID_BYTES_MAX: usize = 16;

/// A payload type agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) rtx: Option<u8>,
    pub(crate) nack: bool,
}

/// What was negotiated for an m-line; fixed for the life of the Peer.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: u32,
    pub(crate) formats: Vec<Format>,
    /// Id of the transport-wide congestion control extension.
    pub(crate) transport_cc: Option<u8>,
    /// Id of the MID extension, and the MID.
    pub(crate) mid: Option<(u8, Vec<u8>)>,
    pub(crate) first: u16,
    pub(crate) rtx_first: u16,
    pub(crate) base: u32,
}

/// Where a viewer is in a feed.
#[derive(Debug)]
pub(crate) enum Flow {
    /// It waits for a keyframe that it can begin with.
    Waiting,
    /// It gets the cached group of pictures.
    CatchUp(Box<CatchUp>),
    /// It gets what arrives, from this number of the source on.
    Live { from: u64 },
    /// It gets nothing: paused, or WebRTC cannot carry the picture.
    Stopped,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    /// There was no room in the batch; nothing has changed.
    Full,
    Skipped,
}

/// What of the viewer a packet needs on its way out.
#[derive(Debug)]
pub(crate) struct Outlet<'a> {
    pub(crate) dest: &'a Dest,
    pub(crate) sealer: &'a mut Sealer,
    /// The transport-wide number, shared by all m-lines.
    pub(crate) transport_seq: &'a mut u16,
    pub(crate) counters: &'a mut Counters,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    seq: u64,
    timestamp: u32,
    /// Low half of the index.
    index: u32,
    /// Milliseconds on the Peer's clock when it was sent again last.
    resent: u32,
    transport_seq: u16,
    payload_type: u8,
    with_mid: bool,
}

/// One m-line of a viewer.
#[derive(Debug)]
pub(crate) struct DownTrack {
    pub(crate) line: Line,
    pub(crate) flow: Flow,
    pub(crate) paused: bool,
    rewriter: Rewriter,
    /// The rewriter must begin anew with the next packet.
    fresh: bool,
    format: Option<Format>,
    mids_left: u8,
    rtx_next: u64,
    /// Ring by output index; empty if NACK was not negotiated.
    sent: Box<[Option<Sent>]>,
    /// For sender reports.
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    pub(crate) replayed: Option<Instant>,
}

impl DownTrack {
    pub(crate) fn new(line: Line) -> Self {
        let nack = line.formats.iter().any(|format| format.nack);
        Self {
            flow: Flow::Stopped,
            paused: false,
            rewriter: Rewriter::new(line.first, line.base),
            fresh: true,
            format: None,
            mids_left: MID_PACKETS,
            rtx_next: u64::from(line.rtx_first),
            sent: vec![None; if nack { SENT_MAX } else { 0 }].into_boxed_slice(),
            packets: 0,
            octets: 0,
            replayed: None,
            line,
        }
    }

    /// Slot of the sealer.
    pub(crate) fn slot(&self) -> usize {
        match self.line.kind {
            Kind::Audio => 0,
            Kind::Video => 1,
        }
    }

    pub(crate) fn offers(&self, codec: Codec) -> bool {
        self.line.formats.iter().any(|format| format.codec == codec)
    }

    /// Another source comes next: another payload type maybe, the same numbers and clock.
    pub(crate) fn switch(&mut self, codec: Codec, flow: Flow) {
        self.format = self.line.formats.iter().find(|format| format.codec == codec).copied();
        self.restart(flow);
    }

    /// The next packet is not the one after the last.
    pub(crate) fn restart(&mut self, flow: Flow) {
        self.flow = flow;
        self.begin_anew();
    }

    /// What was left out before the next packet leaves no gap.
    pub(crate) fn begin_anew(&mut self) {
        self.fresh = true;
    }

    /// Whether retransmissions of the same bytes will be needed.
    pub(crate) fn needs_reseal(&self) -> bool {
        self.line.formats.iter().any(|format| format.nack && format.rtx.is_none())
    }

    /// The packet is left out on purpose.
    pub(crate) fn leave_out(&mut self, seq: u64) {
        if !self.fresh {
            self.rewriter.leave_out(seq);
        }
    }

    /// Seals a packet of the source into the batch.
    pub(crate) fn send(
        &mut self,
        packet: &RtpPacket,
        stamp: Stamp,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let Some(format) = self.format else { return Outcome::Skipped };
        if self.fresh {
            self.rewriter.begin(packet.seq);
            self.fresh = false;
        }
        let source = self.source(packet);
        let placement = match self.rewriter.place(&source, stamp) {
            Ok(placement) => placement,
            Err(Refused::Late) => {
                outlet.counters.late_dropped += 1;
                return Outcome::Skipped;
            }
            Err(Refused::StepsBack) => {
                outlet.counters.reordered_dropped += 1;
                self.rewriter.leave_out(packet.seq);
                return Outcome::Skipped;
            }
        };
        let with_mid = self.mids_left > 0 && self.line.mid.is_some();
        let header = Header {
            marker: packet.marker,
            payload_type: format.payload_type,
            number: placement.index as u16,
            timestamp: placement.timestamp,
            ssrc: self.line.ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, *outlet.transport_seq)),
            mid: if with_mid { self.line.mid.as_ref() } else { None },
        };
        let header_len = header.len();
        let plain = header_len + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..plain].copy_from_slice(&packet.payload);
        self.rewriter.commit(&source, &placement);
        let slot = self.slot();
        if outlet.sealer.seal(slot, self.line.ssrc, placement.index, header_len, buf).is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        outlet.counters.bytes_sealed += buf_len(plain, outlet.sealer);
        self.remember(packet.seq, &placement, *outlet.transport_seq, format.payload_type, with_mid);
        self.mids_left -= u8::from(with_mid);
        *outlet.transport_seq =
            outlet.transport_seq.wrapping_add(u16::from(self.line.transport_cc.is_some()));
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        Outcome::Sent
    }

    fn source(&self, packet: &RtpPacket) -> Source {
        Source {
            seq: packet.seq,
            ticks: packet.time.ticks(),
            epoch: packet.epoch,
            begins_keyframe: packet.starts_keyframe && packet.frame_start,
            // Sound that overlaps what was sent (a reconnect) is dropped: clamped, it would be played as noise.
            reorders: packet.reorders || self.line.kind == Kind::Audio,
        }
    }

    fn remember(
        &mut self,
        seq: u64,
        placement: &Placement,
        transport_seq: u16,
        payload_type: u8,
        with_mid: bool,
    ) {
        if self.sent.is_empty() {
            return;
        }
        self.sent[placement.index as usize % SENT_MAX] = Some(Sent {
            seq,
            timestamp: placement.timestamp,
            index: placement.index as u32,
            resent: 0,
            transport_seq,
            payload_type,
            with_mid,
        });
    }

    /// Whether a number that the viewer misses may be sent again now: its output index.
    ///
    /// `now_ms` and `interval_ms`: the Peer's clock, and how long one packet waits for the next repetition.
    pub(crate) fn missed(&mut self, number: u16, now_ms: u32, interval_ms: u32) -> Result<u64, Missed> {
        let index = self.rewriter.index_of(number).ok_or(Missed::Unknown)?;
        let entry = self.sent.get_mut(index as usize % SENT_MAX).ok_or(Missed::Unknown)?;
        match entry.as_mut().filter(|sent| sent.index == index as u32) {
            Some(sent) => {
                if sent.resent != 0 && now_ms.wrapping_sub(sent.resent) < interval_ms {
                    return Err(Missed::TooSoon);
                }
                sent.resent = now_ms.max(1);
                Ok(index)
            }
            // It was never sent (it came late, or was dropped here) but may be there now.
            None => self.rewriter.source_of(index).map(|_| index).ok_or(Missed::Unknown),
        }
    }

    /// Sends a packet again: by RTX, or as the same bytes.
    pub(crate) fn resend(
        &mut self,
        index: u64,
        history: &History,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let sent = self.sent.get(index as usize % SENT_MAX).copied().flatten();
        let Some(sent) = sent.filter(|sent| sent.index == index as u32) else {
            return self.send_missing(index, history, batch, outlet);
        };
        let Some(packet) = history.get(sent.seq) else {
            outlet.counters.nack_unknown += 1;
            return Outcome::Skipped;
        };
        let rtx = self
            .line
            .formats
            .iter()
            .find(|format| format.payload_type == sent.payload_type)
            .and_then(|format| format.rtx);
        match rtx {
            Some(payload_type) => {
                self.resend_rtx(index as u16, sent.timestamp, payload_type, packet, batch, outlet)
            }
            None => self.resend_same(index, &sent, packet, batch, outlet),
        }
    }

    /// A number that was left free for a packet which has come meanwhile.
    fn send_missing(
        &mut self,
        index: u64,
        history: &History,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        match self.rewriter.source_of(index).and_then(|seq| history.get(seq)) {
            Some(packet) => self.send(packet, Stamp::Own, batch, outlet),
            None => {
                outlet.counters.nack_unknown += 1;
                Outcome::Skipped
            }
        }
    }

    /// RFC 4588: its own SSRC and numbers, the original number before the payload.
    fn resend_rtx(
        &mut self,
        original: u16,
        timestamp: u32,
        payload_type: u8,
        packet: &RtpPacket,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let header = Header {
            marker: packet.marker,
            payload_type,
            number: self.rtx_next as u16,
            timestamp,
            ssrc: self.line.rtx_ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, *outlet.transport_seq)),
            mid: None,
        };
        let header_len = header.len();
        let plain = header_len + 2 + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..header_len + 2].copy_from_slice(&original.to_be_bytes());
        buf[header_len + 2..plain].copy_from_slice(&packet.payload);
        let sealed = outlet.sealer.seal(RTX_SLOT, self.line.rtx_ssrc, self.rtx_next, header_len, buf);
        self.rtx_next += 1;
        if sealed.is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        outlet.counters.bytes_sealed += buf_len(plain, outlet.sealer);
        *outlet.transport_seq =
            outlet.transport_seq.wrapping_add(u16::from(self.line.transport_cc.is_some()));
        Outcome::Sent
    }

    /// Without RTX: the very same bytes, so that no index is ever used for two packets.
    fn resend_same(
        &mut self,
        index: u64,
        sent: &Sent,
        packet: &RtpPacket,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let header = Header {
            marker: packet.marker,
            payload_type: sent.payload_type,
            number: index as u16,
            timestamp: sent.timestamp,
            ssrc: self.line.ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, sent.transport_seq)),
            mid: if sent.with_mid { self.line.mid.as_ref() } else { None },
        };
        let header_len = header.len();
        let plain = header_len + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..plain].copy_from_slice(&packet.payload);
        let slot = self.slot();
        if outlet.sealer.reseal(slot, self.line.ssrc, index, header_len, buf).is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        outlet.counters.bytes_sealed += buf_len(plain, outlet.sealer);
        Outcome::Sent
    }

    /// RTP timestamp of a moment on the Stream's clock.
    pub(crate) fn timestamp_at(&self, ticks: i64) -> u32 {
        self.rewriter.timestamp_at(ticks)
    }
}

/// Why a missed packet is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    Unknown,
    TooSoon,
}

fn buf_len(plain: usize, sealer: &Sealer) -> u64 {
    (plain + sealer.tag_len()) as u64
}

/// An RTP header with the extensions that we write (RFC 3550 section 5.1, RFC 8285 section 4.2).
struct Header<'a> {
    marker: bool,
    payload_type: u8,
    number: u16,
    timestamp: u32,
    ssrc: u32,
    transport_cc: Option<(u8, u16)>,
    mid: Option<&'a (u8, Vec<u8>)>,
}

impl Header<'_> {
    fn elements_len(&self) -> usize {
        let mid = self.mid.map_or(0, |(_, mid)| 1 + mid.len().clamp(1, MID_BYTES_MAX));
        (if self.transport_cc.is_some() { 3 } else { 0 }) + mid
    }

    fn len(&self) -> usize {
        match self.elements_len() {
            0 => 12,
            elements => 16 + elements.next_multiple_of(4),
        }
    }

    fn write(&self, buf: &mut [u8]) {
        let elements = self.elements_len();
        buf[0] = if elements > 0 { 0x90 } else { 0x80 };
        buf[1] = self.payload_type | if self.marker { 0x80 } else { 0 };
        buf[2..4].copy_from_slice(&self.number.to_be_bytes());
        buf[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        buf[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        if elements == 0 {
            return;
        }
        let padded = elements.next_multiple_of(4);
        buf[12..14].copy_from_slice(&[0xbe, 0xde]);
        buf[14..16].copy_from_slice(&((padded / 4) as u16).to_be_bytes());
        let mut at = 16;
        if let Some((id, number)) = self.transport_cc {
            buf[at] = id << 4 | 1;
            buf[at + 1..at + 3].copy_from_slice(&number.to_be_bytes());
            at += 3;
        }
        if let Some((id, mid)) = self.mid {
            let mid = &mid[..mid.len().min(MID_BYTES_MAX)];
            buf[at] = id << 4 | (mid.len().max(1) - 1) as u8;
            buf[at + 1..at + 1 + mid.len()].copy_from_slice(mid);
            at += 1 + mid.len();
        }
        buf[at..16 + padded].fill(0);
    }
}

#[cfg(test)]
mod tests {
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

        fn with(
            &mut self,
            call: impl FnOnce(&mut DownTrack, &History, &mut Batch, &mut Outlet<'_>) -> Outcome,
        ) {
            let to = "192.0.2.9:9".parse().expect("an address");
            let from = std::net::IpAddr::from([192, 0, 2, 1]);
            let dest = Dest { to, from, gso: false };
            let mut outlet = Outlet {
                dest: &dest,
                sealer: &mut self.sealer,
                transport_seq: &mut self.transport_seq,
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
        assert_eq!(
            sent[11][12..20],
            [0xbe, 0xde, 0, 1, 4 << 4 | 1, 0, 11, 0],
            "the MID only at the beginning"
        );
    }
}
