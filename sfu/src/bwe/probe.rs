//! Finding out that a line takes more: bursts of known packets, and what comes of them at the other end.
//!
//! A cluster is a stretch of time in which what is sent reaches a given rate, filled up with probe packets; all that
//! is sent in it counts, since all of it shares the line. If it arrives as fast as it was sent, the line takes that
//! rate; if it arrives slower, it arrives at what the line takes. A catch-up burst is a row of clusters that costs
//! nothing.

use crate::prefetch::prefetch;

/// How long a probe cluster is sent, and the fewest packets of it that are judged (both as libwebrtc does, a little
/// longer: 20 ms at twice what a line takes leave 20 ms of queue, which few routers drop).
const CLUSTER_MICROS: i64 = 20_000;
const PACKETS_MIN: u32 = 5;
/// A cluster of a catch-up burst has at least this time and so many packets, or this time.
const BURST_MICROS: i64 = 40_000;
const BURST_PACKETS: u32 = 12;
const BURST_MAX_MICROS: i64 = 300_000;
/// Clusters that are under way, or of which not everything was heard; with a round trip of 200 ms and 100 ms between
/// reports there are eight of a burst. For more, the burst goes on without.
const CLUSTERS_MAX: usize = 8;
/// One probe packet every 2 ms: not so many that they cost more than they tell.
const PACKET_MICROS: i64 = 2_000;
/// Sizes of probe packets, as datagrams.
const PACKET_BYTES: (i64, i64) = (60, 1200);
/// Each probe tries that much of the estimate, and no more than a little above what is wanted.
const STEP: f64 = 2.0;
const GOAL: f64 = 1.15;
/// Arriving slower than it was sent by more than this is a queue, and then the line is filled to so much of it.
const AS_SENT: f64 = 0.9;
const OF_LIMIT: f64 = 0.95;
/// Arriving faster than it was sent by more than this is no measurement: something held it back, then let go.
const FASTER_MAX: f64 = 2.0;
/// What must have arrived of a cluster to judge it.
const ARRIVED_MIN: f64 = 0.7;
/// How long reports of a cluster are waited for, after its last packet: a round trip and some intervals.
const REPORT_MAX_MICROS: i64 = 1_000_000;
/// From a failed probe to the next, doubled each time. At most so that a line that becomes free is found within a few
/// seconds, with the keyframe that a larger Layer waits for (browsers probe every 5 s).
const INTERVAL_MIN_MICROS: i64 = 1_000_000;
const INTERVAL_MAX_MICROS: i64 = 4_000_000;

/// What a cluster has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The line takes this.
    Takes(f64),
    /// This is all that it takes.
    Limit(f64),
    /// Too little was heard of it.
    Unknown,
}

/// What was concluded of which kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conclusion {
    pub(super) verdict: Verdict,
    /// It was a probe, not a stretch of a catch-up burst.
    pub(super) probe: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    first: i64,
    last: i64,
    first_bytes: u64,
    last_bytes: u64,
    bytes: u64,
    packets: u32,
}

impl Span {
    fn add(&mut self, at: i64, bytes: u64) {
        if self.packets == 0 || at < self.first {
            (self.first, self.first_bytes) = (at, bytes);
        }
        if self.packets == 0 || at >= self.last {
            (self.last, self.last_bytes) = (at, bytes);
        }
        self.bytes += bytes;
        self.packets += 1;
    }

    /// Adds the packet that was sent next; `late`: others that were sent after it have been told already. A queue keeps the
    /// order, so a packet that was overtaken was late by itself, and its time is not what the line took for all of them.
    fn add_next(&mut self, at: i64, bytes: u64, late: bool) {
        if self.packets == 0 || at < self.first {
            (self.first, self.first_bytes) = (at, bytes);
        }
        if self.packets == 0 || !late {
            self.last = at;
        }
        self.bytes += bytes;
        self.packets += 1;
    }

    /// Bits per second of `bytes` in this span. `None`: it took no time.
    fn rate(&self, bytes: u64) -> Option<f64> {
        (self.last > self.first).then(|| bytes as f64 * 8e6 / (self.last - self.first) as f64)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    id: u8,
    /// Bits per second to be reached; `None`: a stretch of a catch-up burst.
    target: Option<f64>,
    began: i64,
    sending: bool,
    sent: Span,
    arrived: Span,
    /// The longest time between two arrivals, in microseconds.
    stalled: i64,
    missing: u32,
}

/// The clusters of one line, and when the next probe may be.
#[derive(Clone, Debug)]
pub(super) struct Probing {
    clusters: [Option<Cluster>; CLUSTERS_MAX],
    /// How many of them there are: seldom any, and then a packet need not look at their kilobyte.
    open: u8,
    last_id: u8,
    /// Not before then.
    next: i64,
    interval: i64,
}

impl Probing {
    pub(super) fn new() -> Self {
        Self { clusters: [None; CLUSTERS_MAX], open: 0, last_id: 0, next: 0, interval: INTERVAL_MIN_MICROS }
    }

    /// A packet is sent: the cluster that it belongs to, or 0.
    pub(super) fn sent(&mut self, now: i64, bytes: u64) -> u8 {
        let Some(cluster) = self.sending() else { return 0 };
        cluster.sent.add(now, bytes);
        let id = cluster.id;
        if cluster.is_full(now) {
            cluster.sending = false;
        }
        id
    }

    /// Brings nearer what sending a packet needs.
    pub(super) fn prefetch(&self) {
        prefetch(&self.open);
    }

    fn sending(&mut self) -> Option<&mut Cluster> {
        if self.open == 0 {
            return None;
        }
        self.clusters.iter_mut().flatten().find(|cluster| cluster.sending)
    }

    /// What is sent now is part of a catch-up burst.
    pub(super) fn burst(&mut self, now: i64) {
        if self.sending().is_none() {
            self.begin(now, None);
        }
    }

    fn begin(&mut self, now: i64, target: Option<f64>) -> bool {
        let Some(place) = self.clusters.iter_mut().find(|place| place.is_none()) else { return false };
        self.open += 1;
        self.last_id = if self.last_id == u8::MAX { 1 } else { self.last_id + 1 };
        *place = Some(Cluster {
            id: self.last_id,
            target,
            began: now,
            sending: true,
            sent: Span::default(),
            arrived: Span::default(),
            stalled: 0,
            missing: 0,
        });
        true
    }

    /// Begins a probe if one is due. True: it has begun.
    pub(super) fn start(&mut self, now: i64, estimate: f64, wanted: f64) -> bool {
        if now < self.next || estimate >= wanted || self.open > 0 {
            return false;
        }
        self.begin(now, Some((estimate * STEP).min(wanted * GOAL)))
    }

    /// Bytes of the next probe packet, if it is due.
    pub(super) fn poll(&mut self, now: i64) -> Option<usize> {
        let cluster = self.sending()?;
        let target = cluster.target?;
        if cluster.is_full(now) {
            cluster.sending = false;
            return None;
        }
        let due = cluster.began + (cluster.sent.bytes as f64 * 8e6 / target) as i64;
        if now < due {
            return None;
        }
        let (least, most) = PACKET_BYTES;
        let bytes = (target * PACKET_MICROS as f64 / 8e6) as i64;
        Some(bytes.clamp(least, most) as usize)
    }

    /// When the next probe packet is due.
    pub(super) fn due(&self) -> Option<i64> {
        if self.open == 0 {
            return None;
        }
        let cluster = self.clusters.iter().flatten().find(|cluster| cluster.sending)?;
        Some(cluster.began + (cluster.sent.bytes as f64 * 8e6 / cluster.target?) as i64)
    }

    /// A packet of a cluster arrived: in the order in which they were sent, but for those said to be missing before.
    pub(super) fn arrived(&mut self, id: u8, at: i64, bytes: u64, was_missing: bool) {
        if let Some(cluster) = self.cluster(id) {
            if cluster.arrived.packets > 0 {
                cluster.stalled = cluster.stalled.max(at - cluster.arrived.last);
            }
            cluster.arrived.add_next(at, bytes, was_missing);
            cluster.missing -= u32::from(was_missing && cluster.missing > 0);
        }
    }

    /// A packet of a cluster is said to be lost.
    pub(super) fn missing(&mut self, id: u8) {
        if let Some(cluster) = self.cluster(id) {
            cluster.missing += 1;
        }
    }

    fn cluster(&mut self, id: u8) -> Option<&mut Cluster> {
        if self.open == 0 {
            return None;
        }
        self.clusters.iter_mut().flatten().find(|cluster| cluster.id == id)
    }

    /// What can be concluded now, one cluster after the other.
    pub(super) fn conclude(&mut self, now: i64) -> Option<Conclusion> {
        if self.open == 0 {
            return None;
        }
        for place in &mut self.clusters {
            let Some(cluster) = place else { continue };
            let last = if cluster.sent.packets == 0 { cluster.began } else { cluster.sent.last };
            let all = !cluster.sending && cluster.arrived.packets + cluster.missing >= cluster.sent.packets;
            if !all && now - last < REPORT_MAX_MICROS {
                continue;
            }
            let conclusion = Conclusion { verdict: cluster.verdict(), probe: cluster.target.is_some() };
            *place = None;
            self.open -= 1;
            return Some(conclusion);
        }
        None
    }

    /// A probe has shown that the line takes what was tried: the next may follow at once.
    pub(super) fn succeeded(&mut self, now: i64) {
        self.interval = INTERVAL_MIN_MICROS;
        self.next = now;
    }

    /// It has not. `told`: that the line takes no more. Too little heard of a probe tells nothing: on a line that
    /// loses at random, a longer wait after it would keep a viewer small for nothing.
    pub(super) fn failed(&mut self, now: i64, told: bool) {
        self.next = now + self.interval;
        if told {
            self.interval = (self.interval * 2).min(INTERVAL_MAX_MICROS);
        }
    }

    /// The estimate fell: not at once. `deep`: by so much that it may have been a mistake, or may pass.
    pub(super) fn decreased(&mut self, now: i64, deep: bool) {
        if deep {
            self.interval = INTERVAL_MIN_MICROS;
            self.next = now + self.interval;
        }
        self.next = self.next.max(now + INTERVAL_MIN_MICROS);
    }
}

impl Cluster {
    fn is_full(&self, now: i64) -> bool {
        let took = now - self.began;
        match self.target {
            Some(target) => {
                let bytes = self.sent.bytes as f64 * 8e6;
                took >= CLUSTER_MICROS
                    && self.sent.packets >= PACKETS_MIN
                    && bytes >= target * CLUSTER_MICROS as f64
            }
            None => took >= BURST_MAX_MICROS || (took >= BURST_MICROS && self.sent.packets >= BURST_PACKETS),
        }
    }

    fn verdict(&self) -> Verdict {
        let (sent, arrived) = (&self.sent, &self.arrived);
        let few = (arrived.packets as f64) < f64::from(sent.packets) * ARRIVED_MIN;
        if arrived.packets < PACKETS_MIN || few {
            return Verdict::Unknown;
        }
        // The last packet sent and the first arrived are the ends of the intervals, not inside.
        let Some(rate) = arrived.rate(arrived.bytes - arrived.first_bytes) else { return Verdict::Unknown };
        let sent_rate = sent.rate(sent.bytes - sent.last_bytes).unwrap_or(f64::INFINITY);
        // What is lost makes the rate smaller, but only a full line makes it take longer.
        let took_longer = |took: i64| took as f64 * AS_SENT > (sent.last - sent.first) as f64;
        let took = arrived.last - arrived.first;
        if rate > sent_rate * FASTER_MAX {
            Verdict::Unknown
        } else if self.target.is_none() && took_longer(took) && !took_longer(took - self.stalled) {
            // A full line is slow from packet to packet. What is slow but for one gap came to a receiver that did not read
            // for a moment: browsers stop for 20 to 60 ms while they begin. (Of a probe's few packets one may be a gap.)
            Verdict::Unknown
        } else if took_longer(took) && rate < sent_rate * AS_SENT {
            let limit = rate * OF_LIMIT;
            match self.target {
                // A frame that was sent in one piece arrives slower than that on any line: it is no limit that matters.
                Some(target) if limit >= target => Verdict::Takes(limit),
                _ => Verdict::Limit(limit),
            }
        } else {
            Verdict::Takes(sent_rate.min(rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends one probe over a line of that rate with an empty queue; every `lose`th packet is lost.
    fn probe(probing: &mut Probing, now: &mut i64, line_bps: f64, lose: u32) -> (Option<Conclusion>, u64) {
        let (mut bytes, mut free, mut arrivals, mut count) = (0, 0.0_f64, Vec::new(), 0);
        let began = *now;
        while *now < began + 30_000 {
            while let Some(size) = probing.poll(*now) {
                let id = probing.sent(*now, size as u64);
                bytes += size as u64;
                count += 1;
                free = free.max(*now as f64) + size as f64 * 8e6 / line_bps;
                arrivals.push((id, free as i64, size as u64, lose > 0 && count % lose == 0));
            }
            *now += 1_000;
        }
        for (id, at, size, lost) in arrivals {
            if lost {
                probing.missing(id);
            } else {
                probing.arrived(id, at + 20_000, size, false);
            }
        }
        *now += 100_000;
        (probing.conclude(*now), bytes)
    }

    #[test]
    fn a_probe_tells_what_the_line_takes() {
        for (line, lose, takes) in [(3e6, 0, true), (3e6, 10, true), (6e5, 0, false), (6e5, 5, false)] {
            let (mut probing, mut now) = (Probing::new(), 1_000_000);
            assert!(probing.start(now, 6e5, 2.5e6));
            let (conclusion, bytes) = probe(&mut probing, &mut now, line, lose);
            assert!(bytes < 4000, "{bytes} bytes for 1.2 Mbit/s");
            let conclusion = conclusion.expect("all was told");
            assert!(conclusion.probe);
            match conclusion.verdict {
                Verdict::Takes(bps) => assert!(takes && (1e6..1.4e6).contains(&bps), "{line}: {bps}"),
                Verdict::Limit(bps) => assert!(!takes && (4.5e5..6.2e5).contains(&bps), "{line}: {bps}"),
                Verdict::Unknown => panic!("{line} {lose}"),
            }
        }
    }

    #[test]
    fn a_frame_in_one_piece_and_a_packet_that_was_overtaken_show_no_limit() {
        for (name, gap, late) in [("one piece", 0, 0), ("overtaken", 2_000, 60_000)] {
            let (mut probing, now) = (Probing::new(), 1_000_000);
            assert!(probing.start(now, 6e5, 2.5e6));
            // Before any probe packet is due, a frame comes: it fills the cluster, and takes 1.5 ms at 50 Mbit/s.
            let sent: Vec<(u8, i64)> =
                (0..12).map(|at| now + 20_000 + at * gap).map(|at| (probing.sent(at, 1150), at)).collect();
            for (at, (id, sent)) in sent.iter().enumerate() {
                let late = if at == 2 { late } else { 0 };
                probing.arrived(*id, sent + 20_000 + at as i64 * 184 + late, 1150, false);
            }
            let conclusion = probing.conclude(now + 200_000).expect("all was told");
            assert!(
                matches!(conclusion.verdict, Verdict::Takes(bps) if bps > 1.2e6),
                "{name}: {conclusion:?}"
            );
        }
    }

    #[test]
    fn a_receiver_that_stops_for_a_moment_shows_no_limit() {
        // Two packets every 4 ms are 4.8 Mbit/s: the line takes nearly twice as much, or half.
        for (name, stalls, line_bps, limited) in [
            ("nothing", None, 9e6, false),
            ("stopped in the middle", Some((20, 60)), 9e6, false),
            ("stopped near the end", Some((38, 900)), 9e6, false),
            ("a slow line", None, 2.4e6, true),
            ("a slow line, and stopped", Some((20, 30)), 2.4e6, true),
        ] {
            let (mut probing, began) = (Probing::new(), 1_000_000);
            let (mut sent, mut free) = (Vec::new(), 0.0_f64);
            for at in (0..48).step_by(4).map(|ms| began + ms * 1000) {
                for _ in 0..2 {
                    probing.burst(at);
                    free = free.max(at as f64) + 1200.0 * 8e6 / line_bps;
                    sent.push((probing.sent(at, 1200), free as i64));
                }
            }
            for (id, arrives) in sent {
                let stall = stalls.map(|(from, time)| (began + from * 1000, began + (from + time) * 1000));
                let read = stall
                    .filter(|(from, until)| (from..until).contains(&&arrives))
                    .map_or(arrives, |it| it.1);
                probing.arrived(id, read + 20_000, 1200, false);
            }
            let conclusion = probing.conclude(began + 2_000_000).expect("all was told");
            match conclusion.verdict {
                Verdict::Limit(bps) => assert!(limited && (1.5e6..2.5e6).contains(&bps), "{name}: {bps}"),
                verdict => assert!(!limited, "{name}: {verdict:?}"),
            }
        }
    }

    #[test]
    fn probes_stop_at_what_is_wanted_and_back_off() {
        let mut probing = Probing::new();
        assert!(!probing.start(0, 6e5, 6e5), "nothing more is wanted");
        let mut starts = Vec::new();
        for now in (0..30_000_000).step_by(25_000) {
            if probing.start(now, 6e5, 2.5e6) {
                starts.push(now / 1000);
                while probing.poll(now).is_some() {
                    probing.sent(now, 2000);
                }
            }
            if probing.conclude(now).is_some_and(|conclusion| conclusion.probe) {
                probing.failed(now, true);
            }
        }
        let gaps: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= 1000 && gaps[0] < 2500, "{gaps:?}");
        assert!(gaps[3..].iter().all(|gap| (4000..5500).contains(gap)), "{gaps:?}");
    }

    #[test]
    fn what_is_heard_too_little_of_is_not_judged() {
        let (mut probing, mut now) = (Probing::new(), 0);
        assert!(probing.start(now, 6e5, 2.5e6));
        let (conclusion, _) = probe(&mut probing, &mut now, 3e6, 2);
        assert_eq!(conclusion.map(|conclusion| conclusion.verdict), Some(Verdict::Unknown));
        assert!(probing.start(now, 6e5, 2.5e6));
        now += 25_000;
        probing.poll(now);
        assert_eq!(probing.conclude(now), None, "there is time");
        assert!(probing.conclude(now + REPORT_MAX_MICROS).is_some(), "now there is none");
    }

    #[test]
    fn a_catch_up_burst_is_a_row_of_clusters() {
        let mut probing = Probing::new();
        let mut sent = Vec::new();
        for now in (0..200_000).step_by(1_000) {
            probing.burst(now);
            sent.push((probing.sent(now, 1000), now));
        }
        // 8 Mbit/s were sent, 4 arrive.
        for (id, now) in &sent {
            probing.arrived(*id, now * 2, 1000, false);
        }
        let all: Vec<Conclusion> = std::iter::from_fn(|| probing.conclude(250_000)).collect();
        assert!(all.len() >= 4, "{all:?}");
        for conclusion in all {
            let Verdict::Limit(bps) = conclusion.verdict else { panic!("{conclusion:?}") };
            assert!(!conclusion.probe && (3.6e6..4e6).contains(&bps), "{bps}");
        }
    }
}
