use super::*;
use crate::core::up_track::beginning;

const STREAM: StreamId = StreamId::from_raw(1);
const NORMAL: [OverloadLevel; 2] = [OverloadLevel::Normal, OverloadLevel::Normal];

struct Node {
    capacity: Capacity,
    audience: Arc<Audience>,
    now: Instant,
}

impl Node {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        assert_eq!(config.validate(), Ok(()));
        Self { capacity: Capacity::new(&config), audience: Arc::default(), now: beginning() }
    }

    /// A viewer of a Stream of so many bits per second comes.
    fn come(&self, needs_bps: u64, levels: [OverloadLevel; 2]) -> Result<Seat, Limit> {
        let seat = self.capacity.seat(self.now, &self.audience, STREAM, needs_bps, levels.into_iter());
        seat.map_err(|error| match error {
            Error::Capacity(limit) => limit,
            other => panic!("{other}"),
        })
    }
}

#[test]
fn without_a_limit_the_bit_rate_refuses_nobody() {
    let node = Node::new(|_| {});
    node.capacity.set_egress_bps(u64::MAX / 4);
    assert!(!node.capacity.over_budget());
    assert!(node.come(u64::MAX / 4, NORMAL).is_ok());
}

#[test]
fn who_would_be_too_much_for_the_line_is_refused() {
    let node = Node::new(|config| config.egress_bitrate_max_bps = Some(10_000_000));
    node.capacity.set_egress_bps(7_500_000);
    assert_eq!(node.come(2_500_001, NORMAL).err(), Some(Limit::Egress));
    let _last = node.come(2_500_000, NORMAL).expect("it fits exactly");
    assert_eq!(node.come(1, NORMAL).err(), Some(Limit::Egress));
    assert_eq!(node.capacity.refused(), Refused { egress: 2, ..Refused::default() });
    assert_eq!(node.audience.viewers(STREAM), 1, "who was refused has no seat");
    // Rates that grow refuse nobody who is here; that is what shedding is for.
    assert!(!node.capacity.over_budget());
    node.capacity.set_egress_bps(10_000_001);
    assert!(node.capacity.over_budget());
}

#[test]
fn a_crowd_that_comes_at_once_does_not_find_the_same_room() {
    let node = Node::new(|config| config.egress_bitrate_max_bps = Some(10_000_000));
    let crowd: Vec<Seat> = std::iter::from_fn(|| node.come(2_500_000, NORMAL).ok()).collect();
    assert_eq!(crowd.len(), 4, "nothing of them was measured yet");
    // Their handshakes take a moment: a window in which they get little changes nothing.
    node.capacity.set_egress_bps(100_000);
    assert_eq!(node.come(2_500_000, NORMAL).err(), Some(Limit::Egress));
    // From the second window on what was measured counts alone.
    node.capacity.set_egress_bps(5_000_000);
    assert!(node.come(2_500_000, NORMAL).is_ok(), "half of them watch something smaller");
}

#[test]
fn overload_is_told_only_if_no_shard_takes_viewers() {
    use OverloadLevel::{NoNewViewers, Normal};
    let node = Node::new(|_| {});
    assert!(node.come(0, [NoNewViewers, Normal]).is_ok());
    for worst in OverloadLevel::ALL.into_iter().filter(|level| *level >= NoNewViewers) {
        assert_eq!(node.come(0, [NoNewViewers, worst]).err(), Some(Limit::Overload), "{worst:?}");
    }
}

#[test]
fn each_limit_is_counted_by_itself_and_says_what_to_do() {
    let node = Node::new(|config| (config.viewers_max, config.viewers_per_stream_max) = (2, 1));
    let _first = node.come(0, NORMAL).expect("free");
    assert_eq!(node.come(0, NORMAL).err(), Some(Limit::ViewersOfStream));
    let other = |stream| node.capacity.seat(node.now, &node.audience, stream, 0, NORMAL.into_iter());
    let _second = other(StreamId::from_raw(2)).expect("another stream");
    assert!(matches!(other(StreamId::from_raw(3)), Err(Error::Capacity(Limit::Viewers))));
    for _ in 0..3 {
        node.capacity.refuse(node.now, Limit::Peers);
    }
    let refused = Refused { viewers_of_stream: 1, viewers: 1, peers: 3, ..Refused::default() };
    assert_eq!(node.capacity.refused(), refused);
    for limit in Limit::ALL {
        let text = Error::Capacity(limit).to_string();
        assert!(text.contains("try again"), "{text}");
        assert!(limit.setting().starts_with("[rtc] "), "{}", limit.setting());
    }
}

#[test]
fn the_meter_measures_whole_windows_of_a_count_that_grows() {
    let start = beginning();
    let mut meter = EgressMeter::new(start);
    assert_eq!(meter.measure(start + RATE_WINDOW / 2, 1_000_000), None);
    assert_eq!(meter.measure(start + RATE_WINDOW, 1_000_000), Some(8_000_000));
    assert_eq!(meter.measure(start + RATE_WINDOW * 3, 2_000_000), Some(4_000_000));
    // A shard's numbers may be of an earlier moment: nothing was sent backwards.
    assert_eq!(meter.measure(start + RATE_WINDOW * 4, 1_500_000), Some(0));
}
