//! One Layer that a shard reads: its history, its viewers here, and what waits to be sent to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Kind, Layer, MediaTime, Reordering, Rid, RtpPacket, Track};

use super::history::{History, Placed};
use super::keyframe_pace::{KeyframePace, Piece};
use super::lateness::Lateness;

/// What is older than this when its turn comes is not sent: a viewer would throw it away, and fresh packets
/// wait behind it. Dropped as whole frames, counted as `stale_frames`; the numbers stay free, so that a
/// viewer can ask for it again.
pub(crate) const STALE: Duration = Duration::from_millis(200);
/// Bursts that wait at most: a second of audio in 20 ms frames and more of video. Beyond it the oldest is
/// dropped, counted as `stale_frames`.
const BURSTS_MAX: usize = 256;
/// How long the beginning of a picture waits for the rest of it, which mostly is on its heels: sent in one piece it costs half
/// as much, and without its end it is of no use to anybody.
const GATHER: Duration = Duration::from_millis(1);
/// Requests to an encoder: one per viewer's wish would make it send nothing but keyframes.
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// An encoder that sends nothing for so long is gone, or has lost its line.
const SILENT: Duration = Duration::from_millis(500);
/// Over which the Layer's rate is measured.
const RATE_WINDOW: Duration = Duration::from_millis(1000);
/// A frame lasts at least and at most this, for the live edge: 120 and 10 frames per second.
const FRAME_MIN: Duration = Duration::from_millis(8);
const FRAME_MAX: Duration = Duration::from_millis(100);

/// Packets that arrived together and go to all viewers together: a frame, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    pub(crate) from: u64,
    /// Exclusive.
    pub(crate) to: u64,
    pub(crate) arrival: Instant,
    /// Not before then.
    pub(crate) due: Instant,
    /// Its frame.
    pub(crate) ticks: i64,
    epoch: u32,
    /// It waits for the rest of its picture ([`GATHER`]), and was due then.
    gathers: Option<Instant>,
    /// The viewer whose turn it is, as index in [`Feed::viewers`].
    pub(crate) viewer: usize,
    /// The packet that this viewer gets next; `from` if it has none yet.
    pub(crate) next: u64,
}

impl Burst {
    /// Whether what follows it in the same picture goes with it: what is due then, or what it waits for.
    fn joins(&self, next: &Self) -> bool {
        let paced = next.gathers.is_none() && next.due > self.due;
        self.due == next.due || (self.gathers.is_some() && !paced)
    }
}

/// One Layer on this shard.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) track: Arc<Track>,
    pub(crate) rid: Rid,
    layer: Option<Arc<Layer>>,
    pub(crate) kind: Kind,
    pub(crate) history: History,
    /// Slots of the viewers that read it, and of those that wait for a keyframe of it to read it.
    pub(crate) viewers: Vec<u32>,
    /// How many of them only wait.
    pub(crate) aspirants: u32,
    /// Viewers that have left it and may still ask for what they missed.
    pub(crate) kept: u32,
    pub(crate) bursts: VecDeque<Burst>,
    pub(crate) reordering: Reordering,
    /// It waits in the queue of feeds that have something to send.
    pub(crate) queued: bool,
    keyframe_requested: Option<Instant>,
    edge: Option<Edge>,
    /// The first packets came: what comes now is live.
    primed: bool,
    rate: Rate,
    pace: KeyframePace,
    /// How late what comes live is.
    pub(crate) lateness: Lateness,
}

/// Measures the payload of a Layer.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: Option<Instant>,
    bytes: u64,
    bps: Option<u64>,
}

impl Rate {
    fn count(&mut self, now: Instant, bytes: usize) {
        let since = *self.since.get_or_insert(now);
        self.bytes += bytes as u64;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= RATE_WINDOW {
            let bps = self.bytes * 8_000 / (elapsed.as_millis() as u64).max(1);
            self.bps = Some(self.bps.map_or(bps, |old| (old + bps) / 2));
            (self.since, self.bytes) = (Some(now), 0);
        }
    }
}

/// Where the source is.
#[derive(Clone, Copy, Debug)]
struct Edge {
    ticks: i64,
    epoch: u32,
    arrival: Instant,
    frame: Duration,
}

/// What came of new packets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) useless: u64,
    pub(crate) backlog: u64,
    pub(crate) dropped_bursts: u64,
    pub(crate) dropped_packets: u64,
    /// Groups of pictures that lost their beginning to a bound of the history.
    pub(crate) cut: u64,
    /// A keyframe began, or a hole in the newest group was filled: those who wait may begin.
    pub(crate) may_start: bool,
}

impl Feed {
    pub(crate) fn new(track: Arc<Track>, rid: Rid) -> Self {
        Self {
            kind: track.kind(),
            layer: track.layer(&rid),
            track,
            rid,
            history: History::default(),
            viewers: Vec::new(),
            aspirants: 0,
            kept: 0,
            bursts: VecDeque::with_capacity(BURSTS_MAX),
            reordering: Reordering::None,
            queued: false,
            keyframe_requested: None,
            edge: None,
            primed: false,
            rate: Rate::default(),
            pace: KeyframePace::default(),
            lateness: Lateness::default(),
        }
    }

    /// Takes packets in the order in which they were written.
    pub(crate) fn take(&mut self, now: Instant, packets: &mut Vec<RtpPacket>) -> Taken {
        let mut taken = Taken::default();
        if self.layer.is_none() {
            self.layer = self.track.layer(&self.rid);
        }
        if self.kind == Kind::Video {
            self.reordering = self.layer.as_ref().map_or(Reordering::None, |layer| layer.reordering());
        }
        let primed = self.primed;
        self.primed |= !packets.is_empty();
        for packet in packets.drain(..) {
            let (seq, ticks) = (packet.seq, packet.time.ticks());
            let (epoch, begins) = (packet.epoch, packet.starts_keyframe && packet.frame_start);
            let (frame_start, bytes) = (packet.frame_start, packet.payload.len());
            let whole = packet.marker || self.kind == Kind::Audio;
            let backlog = !primed && now.saturating_duration_since(packet.arrival) > STALE;
            // What is made here has taken its time already; only its wait from now on can be shortened.
            let arrival = if self.track.spec().derived { now } else { packet.arrival };
            match self.history.push(now, packet) {
                Placed::Useless => {
                    taken.useless += 1;
                    continue;
                }
                Placed::Newest => {
                    taken.may_start |= begins;
                    if frame_start {
                        self.move_edge(ticks, epoch, arrival);
                    }
                }
                Placed::Late => taken.may_start = true,
            }
            if backlog {
                // What the bus had kept for us: it is for catch-up bursts only.
                taken.backlog += 1;
                continue;
            }
            // The first ones waited on the bus for their first reader.
            if whole && primed {
                self.lateness.add(now, MediaTime::new(ticks, self.track.spec().timescale).as_micros());
            }
            self.rate.count(now, bytes);
            let due = match self.kind {
                Kind::Video => {
                    let piece = Piece { bytes, frame_start, keyframe: begins };
                    self.pace.due(now, piece, self.rate.bps, self.frame_duration())
                }
                Kind::Audio => now,
            };
            let gathers = (!whole && due <= now).then_some(due);
            let dropped = self.enqueue(Burst {
                from: seq,
                to: seq + 1,
                arrival,
                due: gathers.map_or(due, |due| due + GATHER),
                ticks,
                epoch,
                gathers,
                viewer: 0,
                next: seq,
            });
            taken.dropped_bursts += u64::from(dropped.is_some());
            taken.dropped_packets += dropped.map_or(0, |burst| burst.to - burst.from);
        }
        taken.cut = self.history.take_cut();
        taken
    }

    /// Returns the burst that had to go for it.
    fn enqueue(&mut self, burst: Burst) -> Option<Burst> {
        if let Some(last) = self.bursts.back_mut()
            && last.to == burst.from
            && (last.ticks, last.epoch) == (burst.ticks, burst.epoch)
            && last.viewer == 0
            && last.next == last.from
            && last.joins(&burst)
        {
            // It waits no longer for the rest because more came; with its end it goes at once.
            last.due = last.due.min(burst.due);
            last.gathers = last.gathers.filter(|_| burst.gathers.is_some());
            last.to = burst.to;
            last.arrival = burst.arrival;
            return None;
        }
        // What it waited for is not coming, or has a time of its own.
        if let Some(last) = self.bursts.back_mut()
            && let Some(due) = last.gathers.take()
        {
            last.due = due;
        }
        let full = self.bursts.len() == BURSTS_MAX;
        let dropped = if full { self.bursts.pop_front() } else { None };
        self.bursts.push_back(burst);
        dropped
    }

    fn move_edge(&mut self, ticks: i64, epoch: u32, arrival: Instant) {
        let hz = i64::from(self.track.spec().timescale.hz());
        let frame = match self.edge {
            Some(old) if old.epoch == epoch && ticks > old.ticks => {
                let micros = (ticks - old.ticks).saturating_mul(1_000_000) / hz;
                Duration::from_micros(micros as u64).clamp(FRAME_MIN, FRAME_MAX)
            }
            Some(old) if old.epoch == epoch => return,
            _ => FRAME_MIN,
        };
        self.edge = Some(Edge { ticks, epoch, arrival, frame });
    }

    /// The time that a frame would have if the source made it at this moment. Stops short of the next frame:
    /// what is stamped with it must come before that.
    pub(crate) fn live_edge(&self, now: Instant) -> Option<i64> {
        let edge = self.edge?;
        let since = now.saturating_duration_since(edge.arrival).min(edge.frame * 9 / 10);
        let hz = u64::from(self.track.spec().timescale.hz());
        Some(edge.ticks + (since.as_micros() as u64 * hz / 1_000_000) as i64)
    }

    /// Nothing has come for a while.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.edge.is_none_or(|edge| now.saturating_duration_since(edge.arrival) > SILENT)
    }

    /// Payload bits per second that arrive. `None`: not for a second yet.
    pub(crate) fn bitrate_bps(&self) -> Option<u64> {
        self.rate.bps
    }

    /// How long a frame lasts.
    pub(crate) fn frame_duration(&self) -> Duration {
        self.edge.map_or(FRAME_MAX, |edge| edge.frame)
    }

    /// A viewer reads it from now on.
    pub(crate) fn add(&mut self, viewer: u32) {
        self.viewers.push(viewer);
    }

    /// A viewer does not read it any more. Bursts under way keep their place.
    pub(crate) fn remove(&mut self, viewer: u32) {
        let Some(at) = self.viewers.iter().position(|slot| *slot == viewer) else { return };
        self.viewers.remove(at);
        for burst in &mut self.bursts {
            if burst.viewer > at {
                burst.viewer -= 1;
            } else if burst.viewer == at {
                burst.next = burst.from;
            }
        }
    }

    /// Whether a burst of a frame from before `ticks` still waits for its turn with this viewer.
    pub(crate) fn owes(&self, viewer: u32, ticks: i64) -> bool {
        let Some(at) = self.viewers.iter().position(|slot| *slot == viewer) else { return false };
        self.bursts.iter().any(|burst| burst.ticks < ticks && burst.viewer <= at)
    }

    /// Whether a packet still waits to be sent to all its viewers.
    pub(crate) fn is_waiting(&self, seq: u64) -> bool {
        self.bursts.iter().any(|burst| (burst.from..burst.to).contains(&seq) && burst.viewer == 0)
    }

    /// The oldest burst, if it begins with the first packet of a keyframe and nobody has got it yet: that packet, and
    /// whether all that came after it waits too.
    pub(crate) fn beginning_keyframe(&self) -> Option<(u64, bool)> {
        let burst = self.bursts.front().filter(|burst| burst.viewer == 0 && burst.next == burst.from)?;
        let first = self.history.get(burst.from)?;
        if !(first.starts_keyframe && first.frame_start) {
            return None;
        }
        let follows = self.bursts.get(1).map_or(self.history.end(), |next| next.from);
        Some((burst.from, follows == burst.to))
    }

    /// From one keyframe of the encoder to the next, if there were two.
    pub(crate) fn keyframe_interval(&self) -> Option<Duration> {
        let micros = self.layer.as_ref()?.activity().keyframe_interval_micros?;
        u64::try_from(micros).ok().map(Duration::from_micros)
    }

    /// A viewer needs a keyframe. True: ask for one now.
    pub(crate) fn request_keyframe(&mut self, now: Instant) -> bool {
        let due = self
            .keyframe_requested
            .is_none_or(|at| now.saturating_duration_since(at) >= KEYFRAME_REQUEST_INTERVAL);
        if due {
            self.keyframe_requested = Some(now);
        }
        due
    }

    /// The encoder makes keyframes when asked.
    pub(crate) fn obeys(&self) -> bool {
        self.track.spec().keyframes_on_request
    }
}

#[cfg(test)]
mod tests {
    use media::{Codec, Hub, NtpTime, Publication, Timescale, TrackSpec};

    use super::super::history::tests::packet;
    use super::*;
    use crate::core::up_track::beginning;

    fn feed(now: Instant) -> Feed {
        let channel = media::ChannelName::parse("test").expect("a name");
        let hub = Hub::new(Duration::from_secs(10));
        let wall = NtpTime::from_unix_micros(0);
        let mut writer = hub.publish(&channel, Publication::default(), now, wall).expect("free");
        let spec = TrackSpec {
            codec: Codec::H264,
            timescale: Timescale::VIDEO,
            keyframes_on_request: false,
            derived: false,
        };
        Feed::new(Arc::clone(writer.track(spec).track()), Rid::single())
    }

    #[test]
    fn a_frame_is_one_burst_and_a_backlog_is_none() {
        let now = beginning();
        let mut feed = feed(now);
        let mut packets = vec![
            packet(0, 0, true, true, now - STALE * 2),
            packet(1, 3000, false, true, now),
            packet(2, 3000, false, false, now),
            packet(3, 6000, false, true, now),
        ];
        let taken = feed.take(now, &mut packets);
        assert_eq!(taken.backlog, 1);
        assert!(taken.may_start);
        let ranges: Vec<(u64, u64)> = feed.bursts.iter().map(|burst| (burst.from, burst.to)).collect();
        assert_eq!(ranges, [(1, 3), (3, 4)]);
    }

    #[test]
    fn the_beginning_of_a_picture_waits_a_moment_for_the_rest() {
        let start = beginning();
        let mut feed = feed(start);
        let at = |micros: u64| start + Duration::from_micros(micros);
        let piece = |seq: u64, ticks: i64, first: bool, last: bool, now: Instant| {
            let mut one = packet(seq, ticks, false, first, now);
            one.marker = last;
            vec![one]
        };
        // From, to, and after how many microseconds it is due.
        let bursts = |feed: &Feed| -> Vec<(u64, u64, u128)> {
            feed.bursts.iter().map(|it| (it.from, it.to, (it.due - start).as_micros())).collect()
        };
        feed.take(at(0), &mut piece(0, 0, true, false, at(0)));
        assert_eq!(bursts(&feed), [(0, 1, 1000)], "its beginning");
        feed.take(at(300), &mut piece(1, 0, false, false, at(300)));
        assert_eq!(bursts(&feed), [(0, 2, 1000)], "more of it makes nobody wait for longer");
        feed.take(at(700), &mut piece(2, 0, false, true, at(700)));
        assert_eq!(bursts(&feed), [(0, 3, 700)], "whole: it goes at once");
        feed.bursts.clear();
        feed.take(at(0), &mut piece(3, 3000, true, false, at(0)));
        feed.take(at(500), &mut piece(4, 6000, true, true, at(500)));
        assert_eq!(bursts(&feed), [(3, 4, 0), (4, 5, 500)], "the end of the one before is lost, or late");
        feed.bursts.clear();
        feed.take(at(0), &mut piece(5, 9000, true, false, at(0)));
        (feed.bursts[0].viewer, feed.bursts[0].next) = (1, 5);
        feed.take(at(900), &mut piece(6, 9000, false, true, at(900)));
        assert_eq!(bursts(&feed).len(), 2, "it is being sent already");
    }

    #[test]
    fn a_large_keyframe_is_paced_and_other_frames_are_not() {
        let mut now = beginning();
        let mut feed = feed(now);
        // 2.4 Mbit/s of small frames.
        for seq in 0..600 {
            now += Duration::from_millis(4);
            let mut one = packet(seq, seq as i64 * 360, seq == 0, true, now);
            one.payload = bytes::Bytes::from(vec![0; 1200]);
            feed.take(now, &mut vec![one]);
        }
        feed.bursts.clear();
        for (first, key) in [(1000, true), (1100, false)] {
            let mut frame: Vec<RtpPacket> = (0..50)
                .map(|at| {
                    let mut one = packet(first + at, 300_000 + first as i64, key && at == 0, at == 0, now);
                    one.payload = bytes::Bytes::from(vec![0; 1200]);
                    one
                })
                .collect();
            feed.take(now, &mut frame);
        }
        let bursts: Vec<(u64, u128)> =
            feed.bursts.iter().map(|b| (b.to - b.from, (b.due - now).as_millis())).collect();
        // 16 packets of 1200 bytes at 6 Mbit/s: 25.6 ms.
        assert_eq!(bursts.len(), 5, "{bursts:?}");
        assert_eq!(bursts.iter().map(|burst| burst.0).collect::<Vec<_>>(), [16, 16, 16, 2, 50]);
        for (at, expected) in [(0, 0), (1, 25), (2, 51), (3, 76), (4, 0)] {
            assert!(bursts[at].1.abs_diff(expected) <= 2, "{bursts:?}");
        }
    }

    #[test]
    fn a_leaving_viewer_moves_nobody_out_of_turn() {
        let now = beginning();
        let mut feed = feed(now);
        feed.take(now, &mut vec![packet(0, 0, true, true, now), packet(1, 0, false, false, now)]);
        for viewer in 0..4 {
            feed.add(viewer);
        }
        (feed.bursts[0].viewer, feed.bursts[0].next) = (2, 1);
        feed.remove(0);
        assert_eq!((feed.bursts[0].viewer, feed.bursts[0].next), (1, 1), "still the turn of viewer 2");
        feed.remove(2);
        assert_eq!(
            (feed.bursts[0].viewer, feed.bursts[0].next),
            (1, 0),
            "viewer 3 begins at its first packet"
        );
        assert_eq!(feed.viewers, [1, 3]);
    }

    #[test]
    fn the_edge_runs_at_wall_rate_and_stops_before_the_next_frame() {
        let now = beginning();
        let mut feed = feed(now);
        let second = now + Duration::from_millis(33);
        feed.take(now, &mut vec![packet(0, 0, true, true, now)]);
        feed.take(second, &mut vec![packet(1, 3000, false, true, second)]);
        assert_eq!(feed.live_edge(second), Some(3000));
        assert_eq!(feed.live_edge(second + Duration::from_millis(10)), Some(3900));
        let late = feed.live_edge(second + Duration::from_secs(1)).expect("known");
        assert!((5000..6000).contains(&late), "{late}");
    }

    #[test]
    fn keyframe_requests_are_coalesced() {
        let now = beginning();
        let mut feed = feed(now);
        assert!(feed.request_keyframe(now));
        assert!(!feed.request_keyframe(now + Duration::from_millis(499)));
        assert!(feed.request_keyframe(now + Duration::from_millis(500)));
    }
}
