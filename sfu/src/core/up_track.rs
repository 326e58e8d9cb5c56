//! One Track of a publisher: RTP as it arrived becomes packets on the Stream's clock.

mod arrivals;
mod keyframe;
mod stats;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::rtp::{Flags, Inspector, PublisherClock, SourceClock, TimestampUnwrapper};
use media::{Codec, Demand, NtpTime, Rid, RtpPacket, StreamClock, Timescale, TrackWriter, opus};

use arrivals::{Arrival, Arrivals, RoundTrip};
use keyframe::{Ask, KeyframeRequest};

/// Padding-only packets remembered per source. Chromium probes with bursts of tens; a number older than
/// these is counted as a hole, and costs a viewer a useless NACK.
const PADDINGS_MAX: usize = 256;

/// What the source of a Track negotiated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpSpec {
    pub(crate) codec: Codec,
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    pub(crate) fir: bool,
}

/// A media packet, decrypted, out of its RTX envelope.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) ssrc: u32,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Bytes,
    pub(crate) arrival: Instant,
    /// It came as a retransmission (RFC 4588).
    pub(crate) retransmission: bool,
}

/// What a source must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Feedback {
    /// RFC 4585 section 6.2.1.
    Nack { ssrc: u32, missing: Vec<u16> },
    /// RFC 4585 section 6.3.1.
    Pli { ssrc: u32 },
    /// RFC 5104 section 4.3.1. `count` grows with every new request.
    Fir { ssrc: u32, count: u8 },
}

/// What happened to the packets of a Layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpCounters {
    /// Media packets written to the Track.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that were missing and came after they were asked for: by RTX (RFC 4588), or as the same packet again.
    pub repaired: u64,
    /// Packets of padding alone.
    pub paddings: u64,
    /// Packets of sound that were left out, because the publisher's sound runs faster than its clock.
    pub left_out: u64,
    /// Packets asked for again.
    pub nacks: u64,
    /// Keyframes asked for, by PLI.
    pub plis: u64,
    /// Keyframes asked for, by FIR.
    pub firs: u64,
    /// Keyframes.
    pub keyframes: u64,
    /// Interarrival jitter in ticks (RFC 3550 section 6.4.1); a gauge.
    pub jitter_ticks: u32,
}

impl UpCounters {
    /// Adds those of another Layer.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.repaired += other.repaired;
        self.paddings += other.paddings;
        self.left_out += other.left_out;
        self.nacks += other.nacks;
        self.plis += other.plis;
        self.firs += other.firs;
        self.keyframes += other.keyframes;
        self.jitter_ticks = self.jitter_ticks.max(other.jitter_ticks);
    }
}

/// One Track of a publisher.
#[derive(Debug)]
pub(crate) struct UpTrack {
    spec: UpSpec,
    writer: TrackWriter,
    clock: StreamClock,
    layers: Vec<UpLayer>,
    /// To the source and back: of all Layers, which share the way.
    round_trip: RoundTrip,
    wire: Vec<u16>,
}

/// One Layer: at a time it has one source.
#[derive(Debug)]
struct UpLayer {
    rid: Rid,
    source: Option<Source>,
    /// The number that the next source begins with, so that a restarted encoder goes on.
    next_seq: u64,
    keyframe: KeyframeRequest,
    fir_count: u8,
    counters: UpCounters,
}

/// One SSRC.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    arrivals: Arrivals,
    /// `seq` of the Layer = number of the source - `offset` - paddings before it.
    offset: i64,
    paddings: VecDeque<u64>,
    /// Paddings that are no longer in the list.
    forgotten: u64,
    timestamps: TimestampUnwrapper,
    time: SourceClock,
    inspector: Inspector,
    jitter: Jitter,
}

impl UpTrack {
    /// A Track with one Layer per RID; of no simulcast, [`Rid::single`].
    pub(crate) fn new(spec: UpSpec, writer: TrackWriter, clock: StreamClock, rids: &[Rid]) -> Self {
        let single = [Rid::single()];
        let rids = if rids.is_empty() { &single } else { rids };
        let layers = rids.iter().cloned().map(UpLayer::new).collect();
        Self { spec, writer, clock, layers, round_trip: RoundTrip::default(), wire: Vec::new() }
    }

    pub(crate) fn kind(&self) -> media::Kind {
        self.spec.codec.kind()
    }

    /// What happened, per Layer.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&Rid, UpCounters)> {
        self.layers.iter().map(|layer| (&layer.rid, layer.counters))
    }

    /// Takes a packet of Layer number `layer`.
    pub(crate) fn handle_packet(&mut self, publisher: &mut PublisherClock, layer: usize, packet: Arrived) {
        let Some(layer) = self.layers.get_mut(layer) else { return };
        if let Some(packet) = layer.accept(&self.spec, &self.clock, publisher, &mut self.round_trip, packet) {
            self.writer.write_rtp(&layer.rid, packet);
        }
    }

    /// A sender report (RFC 3550 section 6.4.1): `rtp_time` of that source was at `ntp` on its wall clock.
    pub(crate) fn handle_report(&mut self, ssrc: u32, ntp: NtpTime, rtp_time: u32) {
        for layer in &mut self.layers {
            if let Some(source) = layer.source.as_mut().filter(|source| source.ssrc == ssrc)
                && let Some(timestamp) = source.timestamps.peek(rtp_time)
            {
                source.time.handle_sender_report(ntp, timestamp);
            }
        }
    }

    /// To the source and back, if anything had to be asked for again.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.measured()
    }

    /// Asks what readers want, and what must be asked of the source now.
    pub(crate) fn poll_feedback(&mut self, now: Instant, out: &mut Vec<Feedback>) {
        let interval = self.round_trip.nack_interval();
        while let Some(demand) = self.writer.try_demand() {
            match demand {
                Demand::Keyframe(rid) => {
                    if let Some(layer) = self.layers.iter_mut().find(|layer| layer.rid == rid) {
                        layer.keyframe.want();
                    }
                }
                // The publisher sends every layer it has; which of them is read is not its business yet.
                Demand::LayerWanted(..) => {}
            }
        }
        for layer in &mut self.layers {
            layer.poll_feedback(now, interval, &self.spec, &mut self.wire, out);
        }
    }

    /// When [`Self::poll_feedback`] has something to say that no packet brings about.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.layers.iter().filter_map(|layer| layer.poll_timeout(now)).min()
    }
}

impl UpLayer {
    fn new(rid: Rid) -> Self {
        Self {
            rid,
            source: None,
            next_seq: 0,
            keyframe: KeyframeRequest::default(),
            fir_count: 0,
            counters: UpCounters::default(),
        }
    }

    fn accept(
        &mut self,
        spec: &UpSpec,
        clock: &StreamClock,
        publisher: &mut PublisherClock,
        round_trip: &mut RoundTrip,
        packet: Arrived,
    ) -> Option<RtpPacket> {
        if self.source.as_ref().is_none_or(|source| source.ssrc != packet.ssrc) {
            // A repair cannot begin a source: its neighbours are not known.
            if packet.retransmission {
                return None;
            }
            self.source = Some(Source::begin(&packet, spec, publisher, self.next_seq));
        } else {
            let source = self.source.as_mut()?;
            let seq = source.arrivals.extend(packet.seq);
            match source.arrivals.insert(packet.arrival, seq, &mut self.counters.lost) {
                Arrival::New => {}
                Arrival::Repaired(after) => {
                    self.counters.repaired += 1;
                    round_trip.add(after);
                }
                Arrival::Duplicate => {
                    self.counters.duplicates += 1;
                    return None;
                }
                Arrival::TooLate => {
                    self.counters.late += 1;
                    return None;
                }
            }
        }
        let source = self.source.as_mut()?;
        let number = source.arrivals.extend(packet.seq);
        if packet.payload.is_empty() {
            self.counters.paddings += 1;
            source.skip(number);
            return None;
        }
        let timestamp = source.timestamps.unwrap(packet.timestamp);
        let length = length(spec.codec, &packet.payload);
        let Some(place) = source.time.place(publisher, timestamp, length, packet.arrival) else {
            self.counters.left_out += 1;
            source.skip(number);
            return None;
        };
        let seq = source.renumber(number)?;
        self.next_seq = self.next_seq.max(seq + 1);
        let flags = source.inspector.inspect(timestamp, packet.marker, &packet.payload);
        self.counters.packets += 1;
        self.counters.bytes += packet.payload.len() as u64;
        if !packet.retransmission {
            self.counters.jitter_ticks = source.jitter.update(clock, spec.codec, &packet);
        }
        self.note_keyframe(spec, flags);
        Some(RtpPacket {
            seq,
            time: place.time,
            lag_micros: place.lag_micros,
            payload: packet.payload,
            marker: packet.marker,
            frame_start: flags.frame_start,
            starts_keyframe: flags.starts_keyframe,
            discardable: flags.discardable,
            reorders: false,
            temporal_id: flags.temporal_id,
            // The writer sets it.
            epoch: 0,
            arrival: packet.arrival,
        })
    }

    fn note_keyframe(&mut self, spec: &UpSpec, flags: Flags) {
        if spec.codec.kind() == media::Kind::Audio {
            return;
        }
        if flags.starts_keyframe {
            self.counters.keyframes += 1;
            self.keyframe.fulfil();
        } else if self.counters.keyframes == 0 {
            // It began in the middle of a GOP: nobody can use it before the next keyframe.
            self.keyframe.want();
        }
    }

    fn poll_feedback(
        &mut self,
        now: Instant,
        interval: Duration,
        spec: &UpSpec,
        wire: &mut Vec<u16>,
        out: &mut Vec<Feedback>,
    ) {
        let Some(source) = &mut self.source else { return };
        let ssrc = source.ssrc;
        wire.clear();
        let given_up = source.arrivals.poll_missing(now, interval, wire);
        self.counters.lost += given_up;
        self.counters.nacks += wire.len() as u64;
        if !wire.is_empty() {
            out.push(Feedback::Nack { ssrc, missing: wire.clone() });
        }
        if given_up > 0 && spec.codec.kind() == media::Kind::Video {
            // The frame face is blind from here to the next keyframe, and nobody there asks.
            self.keyframe.want();
        }
        match self.keyframe.poll(now, spec.pli, spec.fir) {
            Some(Ask::Pli) => {
                self.counters.plis += 1;
                out.push(Feedback::Pli { ssrc });
            }
            Some(Ask::Fir) => {
                self.counters.firs += 1;
                self.fir_count = self.fir_count.wrapping_add(1);
                out.push(Feedback::Fir { ssrc, count: self.fir_count });
            }
            None => {}
        }
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let source = self.source.as_ref()?;
        [source.arrivals.poll_timeout(), self.keyframe.due(now)].into_iter().flatten().min()
    }
}

impl Source {
    fn begin(packet: &Arrived, spec: &UpSpec, publisher: &mut PublisherClock, next_seq: u64) -> Self {
        // One turn above zero, so that what came before the first packet has a number too.
        let first = u64::from(packet.seq) + (1 << 16);
        Self {
            ssrc: packet.ssrc,
            arrivals: Arrivals::new(first, spec.nack, spec.codec.kind()),
            offset: first as i64 - next_seq as i64,
            paddings: VecDeque::new(),
            forgotten: 0,
            timestamps: TimestampUnwrapper::default(),
            time: publisher.source(timescale(spec.codec)),
            inspector: Inspector::for_codec(spec.codec),
            jitter: Jitter::default(),
        }
    }

    /// A padding-only packet, or one that is left out: its number disappears. One that comes late stays a hole,
    /// because numbers after it are out already.
    fn skip(&mut self, number: u64) {
        if self.paddings.back().is_some_and(|last| *last > number) {
            return;
        }
        self.paddings.push_back(number);
        if self.paddings.len() > PADDINGS_MAX {
            self.paddings.pop_front();
            self.forgotten += 1;
        }
    }

    fn renumber(&self, number: u64) -> Option<u64> {
        let before = self.paddings.partition_point(|padding| *padding < number) as u64 + self.forgotten;
        number.checked_add_signed(-self.offset)?.checked_sub(before)
    }
}

/// How long a packet of sound lasts, in ticks; 0 for pictures. Of one that cannot be read, what is usual: its reader
/// will drop it.
fn length(codec: Codec, payload: &[u8]) -> u32 {
    match codec.kind() {
        media::Kind::Audio => opus::packet_samples(payload).unwrap_or(960),
        media::Kind::Video => 0,
    }
}

const fn timescale(codec: Codec) -> Timescale {
    match codec.kind() {
        media::Kind::Audio => Timescale::OPUS,
        media::Kind::Video => Timescale::VIDEO,
    }
}

/// RFC 3550 appendix A.8.
#[derive(Debug, Default)]
struct Jitter {
    last_transit: Option<i64>,
    /// In sixteenths of a tick. Timestamps are what a stranger says they are: 64 bits hold any step.
    estimate: u64,
}

impl Jitter {
    fn update(&mut self, clock: &StreamClock, codec: Codec, packet: &Arrived) -> u32 {
        let arrival = clock.media_time(packet.arrival, timescale(codec)).ticks();
        let transit = arrival.wrapping_sub(i64::from(packet.timestamp));
        if let Some(last) = self.last_transit.replace(transit) {
            // Modulo the timestamp's 32 bits.
            let step = u64::from((transit.wrapping_sub(last) as i32).unsigned_abs());
            self.estimate = self.estimate + step - ((self.estimate + 8) >> 4);
        }
        u32::try_from(self.estimate >> 4).unwrap_or(u32::MAX)
    }
}

/// Where virtual time begins in tests.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
pub(crate) fn beginning() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
