//! One viewer × one m-line: numbers, header, seal, and what was sent, for NACK.

mod extensions;
mod header;
mod opening;
mod pacer;
mod playout_delay;
mod probe;
mod sent;
mod tally;
#[cfg(test)]
pub(super) mod tests;

use std::num::NonZeroU8;
use std::time::Instant;

use media::{Codec, Kind, MediaTime, RtpPacket};

use super::catch_up::CatchUp;
use super::counters::Counters;
use super::history::History;
use crate::bwe::Congestion;
use crate::egress::batch::{Batch, Dest};
use crate::egress::seal::Sealer;
use crate::forward::picture_ids::PictureIds;
use crate::forward::rewriter::{Refused, Rewriter, Source, Stamp};
use extensions::Schedule;
use header::Header;
use opening::Opening;
use sent::{Sent, SentRing};
use tally::Tally;

pub(crate) use extensions::Extensions;
pub(crate) use pacer::{Pacer, WAIT_LONG, WAIT_MAX};

/// Slot of the sealer for retransmissions.
const RTX_SLOT: usize = 2;
/// Packets at the beginning that carry the MID: a receiver binds the SSRC by it (RFC 9143 section 9.2), and
/// the answer names the SSRCs anyway.
const MID_PACKETS: u8 = 8;
/// In a remembered payload type (7 bits): the packet carried the MID. The ring has room for nothing more.
const WITH_MID: u8 = 0x80;

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
    pub(crate) extensions: Extensions,
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
    pub(crate) now: Instant,
    pub(crate) dest: &'a Dest,
    pub(crate) sealer: &'a mut Sealer,
    /// The transport-wide number, shared by all m-lines.
    pub(crate) transport_seq: &'a mut u16,
    pub(crate) congestion: Option<&'a mut Congestion>,
    pub(crate) counters: &'a mut Counters,
}

impl Outlet<'_> {
    /// A packet with the transport-wide number was sealed: the next one gets the next.
    fn count_numbered(&mut self, bytes: usize) {
        if let Some(congestion) = &mut self.congestion {
            congestion.sent(self.now, *self.transport_seq, bytes);
        }
        *self.transport_seq = self.transport_seq.wrapping_add(1);
    }
}

/// One m-line of a viewer.
#[derive(Debug)]
pub(crate) struct DownTrack {
    pub(crate) line: Line,
    pub(crate) flow: Flow,
    pub(crate) paused: bool,
    rewriter: Rewriter,
    pictures: PictureIds,
    /// Rewriter and picture ids must begin anew with the next packet.
    fresh: bool,
    /// The newest packet sent was not the last one of its frame.
    in_frame: bool,
    /// Time at the source of the newest frame that it was given, to be sent now or by and by.
    pub(crate) taken: Option<i64>,
    /// Another number for every other source, and that of the one before.
    source: NonZeroU8,
    last_source: NonZeroU8,
    format: Option<Format>,
    mids_left: u8,
    schedule: Schedule,
    rtx_next: u64,
    sent: SentRing,
    opening: Opening,
    /// For sender reports.
    pub(crate) packets: u32,
    pub(crate) octets: u32,
    /// A sender report was sent.
    pub(crate) reported: bool,
    /// How much later than its time the newest packet really belongs.
    lag_micros: i32,
    pub(crate) replayed: Option<Instant>,
    newest_timestamp: u32,
    /// What waits, if the viewer's line is thin.
    pub(crate) pacer: Option<Box<Pacer>>,
    /// No group of pictures that begins before this number of the source: its end was left out.
    pub(crate) not_before: u64,
    pub(crate) tally: Tally,
}

impl DownTrack {
    pub(crate) fn new(line: Line) -> Self {
        let nack = line.formats.iter().any(|format| format.nack);
        Self {
            flow: Flow::Stopped,
            paused: false,
            rewriter: Rewriter::new(line.first, line.base),
            pictures: PictureIds::default(),
            fresh: true,
            in_frame: false,
            taken: None,
            source: NonZeroU8::MIN,
            last_source: NonZeroU8::MIN,
            format: None,
            mids_left: MID_PACKETS,
            schedule: Schedule::new(line.extensions),
            rtx_next: u64::from(line.rtx_first),
            sent: SentRing::new(nack),
            opening: Opening::default(),
            packets: 0,
            octets: 0,
            reported: false,
            lag_micros: 0,
            replayed: None,
            newest_timestamp: 0,
            pacer: None,
            not_before: 0,
            tally: Tally::default(),
            line,
        }
    }

    /// Brings nearer what its next packets will need besides itself.
    pub(crate) fn prefetch(&self) {
        self.sent.prefetch(self.rewriter.next_index());
        self.rewriter.prefetch();
    }

    /// The codec of what is sent, once a Track was chosen.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.format.map(|format| format.codec)
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
        self.not_before = 0;
        self.last_source = self.source;
        self.source = self.source.checked_add(1).unwrap_or(NonZeroU8::MIN);
        self.restart(flow);
    }

    /// The next packet is not the one after the last.
    pub(crate) fn restart(&mut self, flow: Flow) {
        self.flow = flow;
        if let Some(pacer) = &mut self.pacer {
            pacer.clear();
        }
        (self.in_frame, self.taken) = (false, None);
        self.begin_anew();
    }

    /// It gets a picture, or is about to.
    pub(crate) fn is_showing(&self) -> bool {
        matches!(self.flow, Flow::CatchUp(_) | Flow::Live { .. })
    }

    /// The rest of a frame is still to be sent.
    pub(crate) fn in_frame(&self) -> bool {
        match &self.flow {
            Flow::CatchUp(catch_up) => catch_up.in_frame,
            Flow::Live { .. } => self.in_frame,
            Flow::Waiting | Flow::Stopped => false,
        }
    }

    /// How many sources ago a packet was sent that is remembered under this index: 0 is the present one.
    pub(crate) fn sources_ago(&self, index: u64) -> u8 {
        match self.sent.get(index) {
            Some(sent) if sent.source == self.source => 0,
            Some(sent) if sent.source == self.last_source => 1,
            Some(_) => 2,
            None => 0,
        }
    }

    /// What was left out before the next packet leaves no gap.
    pub(crate) fn begin_anew(&mut self) {
        self.fresh = true;
    }

    /// Whether live packets wait, because the viewer's line is thin.
    pub(crate) fn waits(&self) -> bool {
        self.pacer.as_ref().is_some_and(|pacer| !pacer.is_empty())
    }

    /// Whether retransmissions of the same bytes will be needed.
    pub(crate) fn needs_reseal(&self) -> bool {
        self.line.formats.iter().any(|format| format.nack && format.rtx.is_none())
    }

    /// Sound comes so many microseconds behind this picture of the same moment; `None`: there is none.
    pub(crate) fn follow_sound(&mut self, behind: Option<i64>) {
        if !self.needs_reseal() {
            self.schedule.follow_sound(behind);
        }
    }

    /// The packet is left out on purpose: no number tells that it ever was.
    pub(crate) fn leave_out(&mut self, packet: &RtpPacket) {
        if !self.fresh
            && self.rewriter.leave_out(packet.seq)
            && let Some(format) = self.format
        {
            self.pictures.leave_out(format.codec, self.rewriter.expected_index(), &packet.payload);
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
            self.pictures.begin_source();
            self.schedule.begin_anew();
            self.fresh = false;
        }
        let source = self.source(packet);
        let placement = match self.rewriter.place(&source, stamp) {
            Ok(placement) if self.pictures.knows(placement.index) => placement,
            Ok(_) | Err(Refused::Late) => {
                outlet.counters.late_dropped += 1;
                return Outcome::Skipped;
            }
            Err(Refused::StepsBack) => {
                outlet.counters.reordered_dropped += 1;
                self.leave_out(packet);
                return Outcome::Skipped;
            }
        };
        let with_mid = self.mids_left > 0 && self.line.mid.is_some();
        let elements = self.schedule.plan(outlet.now, placement.index, packet);
        let header = Header {
            marker: packet.marker,
            padding: false,
            payload_type: format.payload_type,
            number: placement.index as u16,
            timestamp: placement.timestamp,
            ssrc: self.line.ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, *outlet.transport_seq)),
            mid: if with_mid { self.line.mid.as_ref() } else { None },
            elements,
        };
        let header_len = header.len();
        let plain = header_len + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..plain].copy_from_slice(&packet.payload);
        self.rewriter.commit(&source, &placement);
        self.schedule.commit(placement.index, packet, &elements);
        self.pictures.rewrite(format.codec, placement.index, &mut buf[header_len..plain]);
        let slot = self.slot();
        if outlet.sealer.seal(slot, self.line.ssrc, placement.index, header_len, buf).is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        self.count(plain, outlet);
        let sent = Sent {
            seq: packet.seq,
            timestamp: placement.timestamp,
            index: placement.index as u32,
            resent: 0,
            transport_seq: *outlet.transport_seq,
            payload_type: format.payload_type | if with_mid { WITH_MID } else { 0 },
            source: self.source,
        };
        self.sent.push(outlet.now, sent);
        self.mids_left -= u8::from(with_mid);
        self.newest_timestamp = placement.timestamp;
        if placement.is_newest() {
            self.in_frame = !packet.marker;
            self.lag_micros = packet.lag_micros;
        }
        if self.line.transport_cc.is_some() {
            self.opening.sent(*outlet.transport_seq);
            outlet.count_numbered(plain + outlet.sealer.tag_len());
        }
        self.packets = self.packets.wrapping_add(1);
        self.tally.packets += 1;
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        Outcome::Sent
    }

    fn count(&mut self, plain: usize, outlet: &mut Outlet<'_>) {
        let bytes = (plain + outlet.sealer.tag_len()) as u64;
        outlet.counters.bytes_sealed += bytes;
        self.tally.bytes += bytes;
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

    /// Whether a number that the viewer misses may be sent again now: its output index. Whoever sends it again says so
    /// by [`Self::will_resend`].
    ///
    /// `now_ms` and `interval_ms`: the Peer's clock, and how long one packet waits for the next repetition.
    pub(crate) fn missed(&self, number: u16, now_ms: u32, interval_ms: u32) -> Result<u64, Missed> {
        let index = self.rewriter.index_of(number).ok_or(Missed::Unknown)?;
        if !self.sent.is_on() {
            return Err(Missed::Unknown);
        }
        match self.sent.get(index) {
            Some(sent) if sent.resent != 0 && now_ms.wrapping_sub(sent.resent) < interval_ms => {
                Err(Missed::TooSoon)
            }
            Some(_) => Ok(index),
            // It was never sent (it came late, or was dropped here) but may be there now.
            None => self.rewriter.source_of(index).map(|_| index).ok_or(Missed::Unknown),
        }
    }

    /// What [`Self::missed`] has answered is sent again: not what a budget refuses, which may be asked for at once.
    pub(crate) fn will_resend(&mut self, index: u64, now_ms: u32) {
        if let Some(sent) = self.sent.get_mut(index) {
            sent.resent = now_ms.max(1);
        }
    }

    fn format_of(&self, sent: &Sent) -> Option<Format> {
        self.line.formats.iter().find(|format| format.payload_type == sent.payload_type & !WITH_MID).copied()
    }

    /// Sends a packet again: by RTX, or as the same bytes.
    pub(crate) fn resend(
        &mut self,
        index: u64,
        history: &History,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let Some(sent) = self.sent.get(index).copied() else {
            return self.send_missing(index, history, batch, outlet);
        };
        let packet = history.get(sent.seq).filter(|_| self.pictures.knows(index));
        let (Some(packet), Some(format)) = (packet, self.format_of(&sent)) else {
            outlet.counters.nack_unknown += 1;
            self.tally.nack_unknown += 1;
            return Outcome::Skipped;
        };
        if let Some(pacer) = &mut self.pacer {
            pacer.charge(outlet.now, packet.payload.len());
        }
        match format.rtx {
            Some(_) => self.resend_rtx(index, sent.timestamp, &format, packet, batch, outlet),
            None => self.resend_same(index, &sent, &format, packet, batch, outlet),
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
        // Before the first packet of another source the numbers still are those of the last one, and a packet from its
        // middle would begin it, without the keyframe.
        let source = (!self.fresh).then(|| self.rewriter.source_of(index)).flatten();
        match source.and_then(|seq| history.get(seq)) {
            Some(packet) => self.send(packet, Stamp::Own, batch, outlet),
            None => {
                outlet.counters.nack_unknown += 1;
                self.tally.nack_unknown += 1;
                Outcome::Skipped
            }
        }
    }

    /// RFC 4588: its own SSRC and numbers, the original number before the payload.
    fn resend_rtx(
        &mut self,
        index: u64,
        timestamp: u32,
        format: &Format,
        packet: &RtpPacket,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let payload_type = format.rtx.unwrap_or(format.payload_type);
        let header = self.rtx_header(payload_type, packet.marker, timestamp, outlet);
        let header_len = header.len();
        let plain = header_len + 2 + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        let payload = header_len + 2;
        buf[header_len..payload].copy_from_slice(&(index as u16).to_be_bytes());
        buf[payload..plain].copy_from_slice(&packet.payload);
        self.pictures.repeat(format.codec, index, &mut buf[payload..plain]);
        let sealed = outlet.sealer.seal(RTX_SLOT, self.line.rtx_ssrc, self.rtx_next, header_len, buf);
        self.rtx_next += 1;
        if sealed.is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        self.count(plain, outlet);
        if self.line.transport_cc.is_some() {
            outlet.count_numbered(plain + outlet.sealer.tag_len());
        }
        Outcome::Sent
    }

    fn rtx_header(
        &self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        outlet: &Outlet<'_>,
    ) -> Header<'static> {
        Header {
            marker,
            padding: false,
            payload_type,
            number: self.rtx_next as u16,
            timestamp,
            ssrc: self.line.rtx_ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, *outlet.transport_seq)),
            mid: None,
            elements: self.schedule.of_repair(outlet.now),
        }
    }

    /// Without RTX: the very same bytes, so that no index is ever used for two packets.
    fn resend_same(
        &mut self,
        index: u64,
        sent: &Sent,
        format: &Format,
        packet: &RtpPacket,
        batch: &mut Batch,
        outlet: &mut Outlet<'_>,
    ) -> Outcome {
        let header = Header {
            marker: packet.marker,
            padding: false,
            payload_type: sent.payload_type & !WITH_MID,
            number: index as u16,
            timestamp: sent.timestamp,
            ssrc: self.line.ssrc,
            transport_cc: self.line.transport_cc.map(|id| (id, sent.transport_seq)),
            mid: if sent.payload_type & WITH_MID != 0 { self.line.mid.as_ref() } else { None },
            elements: self.schedule.repeat(index, packet),
        };
        let header_len = header.len();
        let plain = header_len + packet.payload.len();
        let Some(buf) = batch.push(outlet.dest, plain + outlet.sealer.tag_len()) else {
            return Outcome::Full;
        };
        header.write(buf);
        buf[header_len..plain].copy_from_slice(&packet.payload);
        self.pictures.repeat(format.codec, index, &mut buf[header_len..plain]);
        let slot = self.slot();
        if outlet.sealer.reseal(slot, self.line.ssrc, index, header_len, buf).is_err() {
            batch.take_back();
            outlet.counters.nonce_refused += 1;
            return Outcome::Skipped;
        }
        self.count(plain, outlet);
        Outcome::Sent
    }

    /// The viewer reports the highest number that it received.
    pub(crate) fn received(&mut self, number: u16) {
        if let Some(index) = self.rewriter.index_of(number) {
            self.schedule.heard(index);
        }
    }

    /// RTP timestamp of a moment on the Stream's clock. What was captured then is stamped a little earlier or later
    /// if the source's clock is off.
    pub(crate) fn timestamp_at(&self, moment: MediaTime) -> u32 {
        let lag = MediaTime::from_micros(self.lag_micros.into(), moment.scale());
        self.rewriter.timestamp_at(moment.ticks().saturating_sub(lag.ticks()))
    }
}

/// Why a missed packet is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    Unknown,
    TooSoon,
}
