//! Scripted lines: what the estimate says, and what comes of it.

use super::*;
use crate::core::up_track::beginning;

const TICK: Duration = Duration::from_millis(25);
const AUTO: Wish = Wish::Auto { max_height: None };

/// A viewer of three Layers.
struct Viewer {
    allocator: Allocator,
    layers: Vec<Candidate>,
    start: Instant,
    now: Instant,
    sent: Option<usize>,
    reason: Option<AudioOnly>,
    wanted_bps: u64,
    measurable: bool,
    /// For a keyframe.
    waits: bool,
    wish: Wish,
    cap: LayerCap,
    /// When it was given what: milliseconds and number of the Layer.
    log: Vec<(u64, Option<usize>)>,
}

impl Viewer {
    fn new() -> Self {
        let now = beginning();
        Self {
            allocator: Allocator::default(),
            layers: [(180, 150_000), (360, 500_000), (720, 1_500_000)]
                .map(|(height, bps)| Candidate::measured(height, bps))
                .into(),
            start: now,
            now,
            sent: None,
            reason: None,
            wanted_bps: 0,
            measurable: true,
            waits: false,
            wish: AUTO,
            cap: LayerCap::None,
            log: Vec::new(),
        }
    }

    /// Its line carries so much for so long; it may depend on the Layer that is sent.
    fn on(&mut self, seconds: f64, estimate: impl Fn(Option<usize>) -> Option<u64>) -> &mut Self {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            let situation = Situation {
                layers: &self.layers,
                heading: self.sent,
                flows: !self.waits,
                estimate_bps: estimate(self.sent),
                arriving_bps: None,
                audio_bps: None,
                measurable: self.measurable,
                wish: self.wish,
                cap: self.cap,
            };
            let allocation = self.allocator.allocate(self.now, &situation);
            self.wanted_bps = allocation.wanted_bps;
            let (sent, reason) = match allocation.layer {
                Ok(layer) => (layer, None),
                Err(reason) => (None, Some(reason)),
            };
            if (sent, reason) != (self.sent, self.reason) {
                (self.sent, self.reason) = (sent, reason);
                self.log.push(((self.now - self.start).as_millis() as u64, sent));
            }
            self.now += TICK;
        }
        self
    }

    fn given(&self) -> Vec<Option<usize>> {
        self.log.iter().map(|(_, layer)| *layer).collect()
    }
}

#[test]
fn a_step_down_is_followed_at_once_and_a_step_up_after_a_moment() {
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000));
    assert_eq!((viewer.given(), viewer.wanted_bps), (vec![Some(2)], 0), "there is nothing better");
    viewer.on(10.0, |_| Some(600_000));
    viewer.on(10.0, |_| Some(3_000_000));
    let (down, up) = (viewer.log[1], viewer.log[2]);
    assert_eq!(viewer.log.len(), 3, "{:?}", viewer.log);
    assert_eq!(down, (5000, Some(0)), "less than it is said to carry, so that the queue drains");
    assert_eq!(up.1, Some(2));
    assert!((15_500..15_600).contains(&up.0), "{up:?}");
}

#[test]
fn a_dip_is_no_reason_but_a_deep_one_is() {
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000));
    viewer.on(0.3, |_| Some(1_500_000)).on(5.0, |_| Some(1_700_000));
    assert_eq!(viewer.given(), [Some(2)]);
    viewer.on(0.5, |_| Some(1_500_000));
    assert_eq!(viewer.given(), [Some(2), Some(1)]);
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000)).on(0.025, |_| Some(300_000)).on(1.0, |_| Some(300_000));
    assert_eq!(viewer.log.last(), Some(&(5000, Some(0))));
}

#[test]
fn a_layer_that_the_line_does_not_carry_is_tried_more_and_more_seldom() {
    let mut viewer = Viewer::new();
    let line = |sent| if sent == Some(2) { Some(1_000_000) } else { Some(2_000_000) };
    viewer.on(200.0, line);
    let ups: Vec<u64> =
        viewer.log.iter().filter(|(_, layer)| *layer == Some(2)).map(|(at, _)| at / 1000).collect();
    let pauses: Vec<u64> = ups.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [3, 6, 12, 24, 48, 60], "{:?}", viewer.log);
}

#[test]
fn nothing_is_probed_for_while_nobody_may_go_up() {
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000)).on(0.5, |_| Some(600_000));
    assert_eq!(viewer.wanted_bps, 0);
    viewer.on(3.0, |_| Some(600_000));
    let next = 500_000 * WIRE_PERCENT / 100 + AUDIO_BPS;
    assert_eq!(viewer.wanted_bps, next * PROBE_PERCENT / 100);
}

#[test]
fn a_line_that_carries_no_picture_gets_sound_and_then_a_picture_again() {
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000)).on(5.0, |_| Some(100_000));
    assert_eq!(viewer.given(), [Some(2), Some(0), None]);
    assert!((8000..8100).contains(&viewer.log[2].0), "{:?}", viewer.log);
    assert_eq!(viewer.reason, Some(AudioOnly::Bandwidth));
    assert!(viewer.wanted_bps > 200_000, "it is looked for more");
    viewer.on(4.0, |_| Some(400_000));
    assert_eq!(viewer.log[3].1, Some(0));
    // What cannot be probed is tried now and then.
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000));
    viewer.on(60.0, |sent| if sent.is_none() { Some(70_000) } else { Some(100_000) });
    let tries = viewer.log[2..].iter().filter(|(_, layer)| layer.is_some()).count();
    assert!((1..=2).contains(&tries), "{:?}", viewer.log);
}

#[test]
fn who_waits_for_a_keyframe_is_not_starved() {
    let mut viewer = Viewer::new();
    viewer.layers.truncate(1);
    viewer.waits = true;
    viewer.on(10.0, |_| Some(100_000));
    assert_eq!(viewer.given(), [Some(0)], "it has not seen yet what its line carries");
    // It begins and breaks off again and again: the times of the picture add up.
    for _ in 0..3 {
        viewer.waits = false;
        viewer.on(1.1, |_| Some(100_000));
        viewer.waits = true;
        viewer.on(2.0, |_| Some(100_000));
    }
    assert_eq!(viewer.given(), [Some(0), None]);
    assert_eq!(viewer.reason, Some(AudioOnly::Bandwidth));
}

#[test]
fn a_viewer_may_ask_for_less() {
    for (max_height, given) in [(Some(400), 1), (Some(360), 1), (Some(100), 0), (Some(4000), 2), (None, 2)] {
        let mut viewer = Viewer::new();
        viewer.wish = Wish::Auto { max_height };
        viewer.on(5.0, |_| Some(5_000_000));
        assert_eq!((viewer.given(), viewer.wanted_bps), (vec![Some(given)], 0), "{max_height:?}");
    }
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(5_000_000));
    viewer.wish = Wish::AudioOnly;
    viewer.on(1.0, |_| Some(5_000_000));
    assert_eq!(viewer.reason, Some(AudioOnly::Choice));
    viewer.wish = AUTO;
    viewer.on(0.025, |_| Some(5_000_000));
    assert_eq!(viewer.sent, Some(2), "at once: its line was never in doubt");
}

#[test]
fn a_chosen_layer_stays_whatever_the_line_carries() {
    let mut viewer = Viewer::new();
    viewer.wish = Wish::Layer(2);
    viewer.on(5.0, |_| Some(3_000_000)).on(20.0, |_| Some(200_000));
    assert_eq!(viewer.given(), [Some(2)]);
    assert!(viewer.wanted_bps > 1_500_000, "it is looked for more");
    viewer.layers[2].active = false;
    viewer.on(1.0, |_| Some(3_000_000));
    viewer.layers[2].active = true;
    viewer.on(1.0, |_| Some(3_000_000));
    assert_eq!(viewer.given(), [Some(2), Some(1), Some(2)], "the next lower one meanwhile");
}

#[test]
fn a_layer_that_is_not_sent_any_more_is_left_at_once() {
    let mut viewer = Viewer::new();
    viewer.on(5.0, |_| Some(3_000_000));
    viewer.layers[2].active = false;
    viewer.on(0.025, |_| Some(3_000_000));
    assert_eq!(viewer.sent, Some(1));
    viewer.layers[1].active = false;
    viewer.on(0.025, |_| Some(3_000_000));
    assert_eq!(viewer.sent, Some(0));
    viewer.layers.iter_mut().for_each(|layer| layer.active = true);
    viewer.on(1.0, |_| Some(3_000_000));
    assert_eq!(viewer.sent, Some(2), "that was not the line's fault: nothing is to be waited for");
    viewer.layers.iter_mut().for_each(|layer| layer.active = false);
    viewer.on(5.0, |_| Some(3_000_000));
    assert_eq!(viewer.sent, Some(2), "if nothing comes, nowhere is better");
}

#[test]
fn without_an_estimate_loss_speaks() {
    let mut viewer = Viewer::new();
    viewer.measurable = false;
    viewer.on(5.0, |_| None);
    assert_eq!(viewer.given(), [Some(2)]);
    let report = |viewer: &mut Viewer, fraction| {
        let now = viewer.now;
        viewer.allocator.note_loss(now, fraction);
        viewer.on(1.0, |_| None);
    };
    report(&mut viewer, 60);
    report(&mut viewer, 0);
    assert_eq!(viewer.given(), [Some(2)], "one report is a burst");
    (0..3).for_each(|_| report(&mut viewer, 60));
    assert_eq!(viewer.given(), [Some(2), Some(1)]);
    (0..30).for_each(|_| report(&mut viewer, 0));
    assert_eq!(viewer.given(), [Some(2), Some(1), Some(2)]);
    let (down, up) = (viewer.log[1].0, viewer.log[2].0);
    assert!((10_000..15_000).contains(&(up - down)), "{:?}", viewer.log);
}

#[test]
fn a_line_that_will_be_measured_begins_with_what_most_lines_carry() {
    let mut viewer = Viewer::new();
    viewer.layers[2].bps = 6_000_000;
    viewer.on(1.0, |_| None);
    assert_eq!(viewer.sent, Some(1));
    viewer.on(2.0, |_| Some(10_000_000));
    assert_eq!(viewer.sent, Some(2));
}

#[test]
fn an_overloaded_node_caps_whatever_the_line_carries_and_the_viewer_wants() {
    for wish in [AUTO, Wish::Layer(2)] {
        let mut viewer = Viewer::new();
        viewer.wish = wish;
        let rich = |_: Option<usize>| Some(20_000_000);
        viewer.on(10.0, rich);
        assert_eq!(viewer.sent, Some(2), "{wish:?}");
        viewer.cap = LayerCap::Smallest;
        viewer.on(0.1, rich);
        assert_eq!((viewer.sent, viewer.reason), (Some(0), None), "{wish:?}");
        viewer.cap = LayerCap::AudioOnly;
        viewer.on(0.1, rich);
        assert_eq!((viewer.sent, viewer.reason), (None, Some(AudioOnly::Overload)), "{wish:?}");
        viewer.cap = LayerCap::None;
        viewer.on(30.0, rich);
        assert_eq!(viewer.sent, Some(2), "{wish:?}");
    }
}
