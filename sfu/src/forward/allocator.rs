//! What of a viewer's line goes to which Layer: sound first, then the highest Layer that fits.
//!
//! Down at once, up with patience: a Layer too high makes the picture stand still, one too low only makes it softer.
//! See `docs/layers.md` for the numbers.

use std::time::{Duration, Instant};

use super::selector::Candidate;
use crate::{AudioOnly, LayerCap};

/// What a datagram has besides payload, in percent: RTP header, extensions and tag are some 40 bytes of 1200. IP and
/// UDP do not count: estimates are without them too.
const WIRE_PERCENT: u64 = 104;
/// What sound is taken to need before it was measured, and what its headers add: 40 bytes in 50 packets per second.
const AUDIO_BPS: u64 = 64_000;
const AUDIO_WIRE_BPS: u64 = 16_000;
/// Without an estimate yet, a line that will give one is taken to carry this: what nearly every line that watches
/// video does. A Layer above it is the estimate's to allow.
const START_BPS: u64 = 3_000_000;
/// Below this part of what it needs, a Layer is left at once: at this rate a second fills the queue of a home router.
const DEEP_PERCENT: u64 = 85;
/// After such a fall this part of the estimate is used: it may still be falling, and the queue that has grown meanwhile
/// must drain. What turns out to be too little is put right in a few seconds, and another fall would be seen.
const DRAIN_PERCENT: u64 = 50;
/// A line that carries a little less than the Layer needs may be about to carry it: estimates dip when a keyframe
/// passes.
const TIGHT_HOLD: Duration = Duration::from_millis(400);
/// The room above a Layer that going up to it takes, and for how long it must be there.
const UP_PERCENT: u64 = 115;
const UP_HOLD: Duration = Duration::from_millis(500);
/// What the prober is to look for: a little more than going up takes, because what it finds is a little less.
const PROBE_PERCENT: u64 = 130;
/// Nobody goes up so soon after having gone down; and when going up has failed, twice as long, up to the maximum.
const STAY_MIN: Duration = Duration::from_secs(3);
const STAY_MAX: Duration = Duration::from_secs(60);
/// Going up has failed if the line turned out not to carry it within this time.
const FAILED: Duration = Duration::from_secs(8);
/// A Layer held for so long has not failed: the next failure is a first one again.
const HELD: Duration = Duration::from_secs(30);
/// Under this part of the smallest Layer for so long: sound alone. Everything shown would be late and broken.
const STARVED_PERCENT: u64 = 80;
const STARVED_HOLD: Duration = Duration::from_secs(3);
/// Without better news, a picture is tried again after so many times the time that nobody goes up.
const TRY_AFTER_STAYS: u32 = 4;
/// Loss of a viewer that gives no estimate, in parts of 256 as receivers report it: what makes it go down (10 %), and
/// what lets it go up (2 %) after so long.
const LOSS_DOWN: u8 = 26;
const LOSS_UP: u8 = 5;
const LOSS_UP_AFTER: Duration = Duration::from_secs(10);
/// Reports in a row with so much loss: one may be a burst.
const LOSS_REPORTS: u8 = 2;

/// What the viewer asked for, among the Layers that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Auto {
        max_height: Option<u32>,
    },
    /// Number of a Layer.
    Layer(usize),
    AudioOnly,
}

/// What is known when a Layer is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// Lowest first.
    pub(crate) layers: &'a [Candidate],
    /// The one that is sent, or that is about to be; `None`: no picture.
    pub(crate) heading: Option<usize>,
    /// It is being sent: the viewer is not waiting for a keyframe to begin with.
    pub(crate) flows: bool,
    /// What the line carries, sound and all.
    pub(crate) estimate_bps: Option<u64>,
    /// What of that has arrived lately, if the viewer says so.
    pub(crate) arriving_bps: Option<u64>,
    /// Payload bits per second of the sound, once measured.
    pub(crate) audio_bps: Option<u64>,
    /// There will be an estimate: the viewer reports when packets arrive.
    pub(crate) measurable: bool,
    pub(crate) wish: Wish,
    /// What this node can do, however much the line carries.
    pub(crate) cap: LayerCap,
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// Number of the Layer, or why there is none. `Ok(None)`: there is no Layer to send yet.
    pub(crate) layer: Result<Option<usize>, AudioOnly>,
    /// What the line should be probed for; 0: there is nothing better.
    pub(crate) wanted_bps: u64,
}

impl Allocation {
    fn layer(layer: usize, wanted_bps: u64) -> Self {
        Self { layer: Ok(Some(layer)), wanted_bps }
    }

    fn audio_only(reason: AudioOnly, wanted_bps: u64) -> Self {
        Self { layer: Err(reason), wanted_bps }
    }
}

/// One viewer's memory of how its line behaved.
#[derive(Debug)]
pub(crate) struct Allocator {
    /// The line carries less than the Layer needs, since then.
    tight: Option<Instant>,
    /// It has carried less than the smallest Layer needs for so long, while a picture was sent: who waits for a
    /// keyframe has not seen yet what its line carries, and its estimate is that of the sound.
    starved: Duration,
    /// When that was last added to.
    starved_at: Option<Instant>,
    /// There is no picture because of that.
    sound_alone: bool,
    /// It carries more than the next Layer needs, since then.
    roomy: Option<Instant>,
    went_up: Option<Instant>,
    went_down: Option<Instant>,
    stay: Duration,
    lossy_reports: u8,
    /// The last report that said more than a little loss.
    lossy: Option<Instant>,
}

impl Default for Allocator {
    fn default() -> Self {
        Self {
            tight: None,
            starved: Duration::ZERO,
            starved_at: None,
            sound_alone: false,
            roomy: None,
            went_up: None,
            went_down: None,
            stay: STAY_MIN,
            lossy_reports: 0,
            lossy: None,
        }
    }
}

impl Situation<'_> {
    /// What a Layer and the sound need on the wire.
    fn need(&self, layer: usize) -> u64 {
        let sound = self.audio_bps.map_or(AUDIO_BPS, |bps| bps + AUDIO_WIRE_BPS);
        self.layers[layer].bps * WIRE_PERCENT / 100 + sound
    }

    /// The next Layer above `at` that there is.
    fn next_above(&self, at: usize, ceiling: usize) -> Option<usize> {
        (at + 1..=ceiling).find(|next| self.layers[*next].active)
    }
}

impl Allocator {
    /// A receiver report said that this part of 256 was lost.
    pub(crate) fn note_loss(&mut self, now: Instant, fraction: u8) {
        self.lossy_reports = if fraction >= LOSS_DOWN { self.lossy_reports.saturating_add(1) } else { 0 };
        if fraction > LOSS_UP {
            self.lossy = Some(now);
        }
    }

    /// Chooses. To be asked often: what it answers now rests on how long it has been so.
    pub(crate) fn allocate(&mut self, now: Instant, situation: &Situation<'_>) -> Allocation {
        if situation.wish == Wish::AudioOnly {
            return Allocation::audio_only(AudioOnly::Choice, 0);
        }
        if situation.cap == LayerCap::AudioOnly {
            return Allocation::audio_only(AudioOnly::Overload, 0);
        }
        let usable = |at: &usize| situation.layers[*at].active;
        let Some(lowest) = (0..situation.layers.len()).find(usable) else {
            // Nothing has come of any Layer yet: what is sent stays.
            return Allocation { layer: Ok(situation.heading), wanted_bps: 0 };
        };
        let ceiling = match situation.wish {
            _ if situation.cap == LayerCap::Smallest => lowest,
            Wish::Layer(layer) => return self.pinned(situation, layer, lowest),
            Wish::Auto { max_height } => (lowest..situation.layers.len())
                .rev()
                .filter(usable)
                .find(|at| {
                    max_height.is_none_or(|max| situation.layers[*at].height().is_none_or(|it| it <= max))
                })
                .unwrap_or(lowest),
            Wish::AudioOnly => lowest,
        };
        match situation.estimate_bps {
            Some(estimate) => self.by_estimate(now, situation, lowest, ceiling, estimate),
            None => self.by_loss(now, situation, lowest, ceiling),
        }
    }

    /// The Layer that the viewer chose, or what comes next to it while the encoder does not send that.
    fn pinned(&mut self, situation: &Situation<'_>, layer: usize, lowest: usize) -> Allocation {
        self.forget();
        let at = (0..=layer).rev().find(|at| situation.layers.get(*at).is_some_and(|it| it.active));
        let at = at.unwrap_or(lowest);
        let need = situation.need(at);
        let short = situation.estimate_bps.is_some_and(|estimate| estimate < need);
        Allocation::layer(at, if short { need } else { 0 })
    }

    fn by_estimate(
        &mut self,
        now: Instant,
        situation: &Situation<'_>,
        lowest: usize,
        ceiling: usize,
        estimate: u64,
    ) -> Allocation {
        let layers = situation.layers;
        let needs = |at: usize| situation.need(at);
        // The highest below `end` that fits; the smallest of all, if none does.
        let fitting = |end: usize, room: u64| {
            let fits = |at: &usize| layers[*at].active && needs(*at) <= room;
            (lowest..end).rev().find(fits).unwrap_or(lowest)
        };
        let best = |end: usize| fitting(end, estimate);
        let Some(heading) = situation.heading else {
            self.starved_at = None;
            if self.sound_alone && !self.may_show_again(now, needs(lowest), estimate) {
                return Allocation::audio_only(AudioOnly::Bandwidth, needs(lowest) * PROBE_PERCENT / 100);
            }
            return Allocation::layer(best(ceiling + 1), 0);
        };
        // On a line that only loses packets an estimate may be far below what arrives and can be repaired.
        let carried = estimate.max(situation.arriving_bps.unwrap_or(0));
        if self.is_starved(now, needs(lowest), carried, situation.flows) {
            self.note_down(now);
            self.sound_alone = true;
            return Allocation::audio_only(AudioOnly::Bandwidth, needs(lowest) * PROBE_PERCENT / 100);
        }
        if heading > ceiling || !layers.get(heading).is_some_and(|it| it.active) {
            // That Layer is none any more, whatever the line carries.
            let below = best(heading.min(ceiling + 1));
            self.forget();
            return Allocation::layer(below, self.wanted(now, situation, below, ceiling));
        }
        if heading > lowest && self.is_tight(now, needs(heading), estimate) {
            self.note_down(now);
            let deep = is_deep(needs(heading), estimate);
            let room = if deep { estimate * DRAIN_PERCENT / 100 } else { estimate };
            let below = fitting(heading, room);
            return Allocation::layer(below, self.wanted(now, situation, below, ceiling));
        }
        let chosen = match self.may_go_up(now, situation, heading, ceiling, estimate) {
            true => {
                self.went_up = Some(now);
                let room = estimate * 100 / UP_PERCENT;
                let roomy = |at: &usize| layers[*at].active && needs(*at) <= room;
                (heading..=ceiling).rev().find(roomy).unwrap_or(heading)
            }
            false => heading,
        };
        Allocation::layer(chosen, self.wanted(now, situation, chosen, ceiling))
    }

    /// The line did not carry any picture; does it now?
    fn may_show_again(&mut self, now: Instant, smallest: u64, estimate: u64) -> bool {
        let down = self.went_down.map_or(Duration::MAX, |down| now.saturating_duration_since(down));
        if estimate * 100 < smallest * UP_PERCENT {
            self.roomy = None;
        } else {
            self.roomy.get_or_insert(now);
        }
        let roomy = self.roomy.is_some_and(|since| now.saturating_duration_since(since) >= UP_HOLD);
        // Sound alone says little about a line, and not every estimate can be probed: now and then it is tried.
        let may = (roomy && down >= self.stay) || down >= self.stay * TRY_AFTER_STAYS;
        if may {
            (self.sound_alone, self.roomy, self.went_up) = (false, None, Some(now));
        }
        may
    }

    fn is_starved(&mut self, now: Instant, smallest: u64, carried: u64, flows: bool) -> bool {
        let passed =
            self.starved_at.replace(now).map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if carried * 100 >= smallest * STARVED_PERCENT {
            self.starved = Duration::ZERO;
        } else if flows {
            self.starved += passed;
        }
        self.starved >= STARVED_HOLD
    }

    fn is_tight(&mut self, now: Instant, need: u64, estimate: u64) -> bool {
        if estimate >= need {
            self.tight = None;
            return false;
        }
        let since = *self.tight.get_or_insert(now);
        is_deep(need, estimate) || now.saturating_duration_since(since) >= TIGHT_HOLD
    }

    fn may_go_up(
        &mut self,
        now: Instant,
        situation: &Situation<'_>,
        heading: usize,
        ceiling: usize,
        estimate: u64,
    ) -> bool {
        let enough = situation
            .next_above(heading, ceiling)
            .is_some_and(|next| estimate * 100 >= situation.need(next) * UP_PERCENT);
        if !enough {
            self.roomy = None;
            return false;
        }
        let since = *self.roomy.get_or_insert(now);
        now.saturating_duration_since(since) >= UP_HOLD && self.stayed(now)
    }

    /// It has been down for long enough.
    fn stayed(&self, now: Instant) -> bool {
        self.went_down.is_none_or(|down| now.saturating_duration_since(down) >= self.stay)
    }

    fn wanted(&self, now: Instant, situation: &Situation<'_>, at: usize, ceiling: usize) -> u64 {
        // While nobody may go up, probes would only fill the line. They need a second before it.
        if !self.stayed(now + Duration::from_secs(1)) {
            return 0;
        }
        situation.next_above(at, ceiling).map_or(0, |next| situation.need(next) * PROBE_PERCENT / 100)
    }

    fn note_down(&mut self, now: Instant) {
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        match (since(self.went_up), since(self.went_down)) {
            (Some(held), _) if held <= FAILED => self.stay = (self.stay * 2).min(STAY_MAX),
            (Some(held), _) if held < HELD => {}
            (None, Some(ago)) if ago < HELD => {}
            _ => self.stay = STAY_MIN,
        }
        self.went_up = None;
        self.went_down = Some(now);
        (self.tight, self.roomy, self.starved) = (None, None, Duration::ZERO);
    }

    fn forget(&mut self) {
        (self.tight, self.roomy, self.starved) = (None, None, Duration::ZERO);
    }

    /// Without an estimate: the best there is, until reports say that it does not arrive.
    fn by_loss(
        &mut self,
        now: Instant,
        situation: &Situation<'_>,
        lowest: usize,
        ceiling: usize,
    ) -> Allocation {
        let layers = situation.layers;
        let usable = |at: &usize| layers[*at].active;
        let Some(heading) = situation.heading else {
            let start = if situation.measurable { START_BPS } else { u64::MAX };
            let fitting = (lowest..=ceiling).rev().filter(usable).find(|at| situation.need(*at) <= start);
            return Allocation::layer(fitting.unwrap_or(lowest), 0);
        };
        let below = |end: usize| (lowest..end).rev().find(usable).unwrap_or(lowest);
        if heading > ceiling || !layers.get(heading).is_some_and(|it| it.active) {
            return Allocation::layer(below(heading.min(ceiling + 1)), 0);
        }
        if self.lossy_reports >= LOSS_REPORTS && heading > lowest {
            self.lossy_reports = 0;
            self.note_down(now);
            return Allocation::layer(below(heading), 0);
        }
        let next = situation.next_above(heading, ceiling);
        let quiet = |at: Option<Instant>| {
            at.is_none_or(|at| now.saturating_duration_since(at) >= LOSS_UP_AFTER.max(self.stay))
        };
        let chosen = match next {
            // An estimate that is on its way will say what may be tried.
            Some(_) if situation.measurable => heading,
            Some(_) if self.went_down.is_none() && quiet(self.lossy) => below(ceiling + 1),
            // After a failure one at a time: each is an experiment.
            Some(next) if quiet(self.lossy) && quiet(self.went_down) && quiet(self.went_up) => next,
            _ => heading,
        };
        if chosen > heading {
            self.went_up = Some(now);
        }
        Allocation::layer(chosen, 0)
    }
}

/// The line carries much less than a Layer needs.
fn is_deep(need: u64, estimate: u64) -> bool {
    estimate * 100 < need * DEEP_PERCENT
}

#[cfg(test)]
mod tests;
