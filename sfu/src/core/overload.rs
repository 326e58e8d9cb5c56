//! Whether a shard has more to do than it can, and how much it leaves out: decided from what the shell measures.
//!
//! ```text
//!   stage   0        1              2 ─ 5                       6 ─ 9
//!   level   Normal   NoNewViewers   LowerLayers (¼ ½ ¾ all)     AudioOnly (¼ ½ ¾ all)
//! ```
//! Up one stage with every window that was too full, two if a backlog stood through all of it; down one stage
//! after a calm that lasts longer the more often it was broken. Sound is never left out.

use std::time::{Duration, Instant};

/// Over which the load is measured: many frames and a keyframe or two, yet a viewer who waits for a picture does not
/// mind.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows in a row before the first stage: a storm of handshakes looks like overload and passes by itself.
const PATIENCE: u32 = 3;
/// A backlog that never got shorter than this during a window: the shard cannot keep up at all. Less than a viewer's
/// jitter buffer, more than a keyframe to a thousand viewers needs between two looks.
const STANDING: Duration = Duration::from_millis(50);
/// Calm is below this share of the limit: what a stage gives back must fit.
const CALM_PERCENT: u32 = 75;
/// A socket that took nothing for this share of a window is full; below the second share it is fine.
const BLOCKED_PERCENT: u32 = 25;
const UNBLOCKED_PERCENT: u32 = 5;
/// How long it must be calm before a stage is taken back, at first. Each time that turns out too early the next wait
/// is twice as long, so that a picture does not come and go all the time.
const HOLD: Duration = Duration::from_secs(5);
const HOLD_MAX: Duration = Duration::from_secs(160);
/// A stage up so soon after a stage down: the step down was too early.
const TOO_EARLY: Duration = Duration::from_secs(30);
/// Without shedding for so long, past mistakes are forgotten.
const FORGET: Duration = Duration::from_secs(120);
/// The first stages of the levels that take viewers by quarters, and the last stage.
const LOWER_LAYERS: u8 = 2;
const AUDIO_ONLY: u8 = 6;
const STAGE_MAX: u8 = 9;

/// What an overloaded shard leaves out. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverloadLevel {
    /// Nothing.
    #[default]
    Normal,
    /// New viewers: they go to another shard, and are refused if there is none.
    NoNewViewers,
    /// The larger Layers of some or all viewers.
    LowerLayers,
    /// The picture of some or all viewers.
    AudioOnly,
}

impl OverloadLevel {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Normal, Self::NoNewViewers, Self::LowerLayers, Self::AudioOnly];

    /// For logs and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::NoNewViewers => "no_new_viewers",
            Self::LowerLayers => "lower_layers",
            Self::AudioOnly => "audio_only",
        }
    }
}

/// What of its picture a viewer does not get because its shard is overloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerCap {
    /// It may have any Layer.
    #[default]
    None,
    /// It may have the smallest Layer only.
    Smallest,
    /// It gets no picture.
    AudioOnly,
}

impl LayerCap {
    /// As the gateway spells what of the picture there is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "full",
            Self::Smallest => "smallest",
            Self::AudioOnly => "off",
        }
    }
}

/// How far a shard sheds. Ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(u8);

impl Stage {
    /// Everything there is to shed is shed.
    pub const MAX: Self = Self(STAGE_MAX);

    /// The level that it belongs to.
    pub fn level(self) -> OverloadLevel {
        match self.0 {
            0 => OverloadLevel::Normal,
            1 => OverloadLevel::NoNewViewers,
            LOWER_LAYERS..AUDIO_ONLY => OverloadLevel::LowerLayers,
            _ => OverloadLevel::AudioOnly,
        }
    }

    /// What the viewer gets that is number `rank` of `viewers`, counted from the newest. The newest give first: who
    /// was here before keeps what it has, and the newest were what was too much.
    pub fn cap(self, rank: usize, viewers: usize) -> LayerCap {
        let among_newest = |quarters: u8| rank < (viewers * usize::from(quarters)).div_ceil(4);
        match self.level() {
            OverloadLevel::Normal | OverloadLevel::NoNewViewers => LayerCap::None,
            OverloadLevel::LowerLayers if among_newest(self.0 - LOWER_LAYERS + 1) => LayerCap::Smallest,
            OverloadLevel::LowerLayers => LayerCap::None,
            OverloadLevel::AudioOnly if among_newest(self.0 - AUDIO_ONLY + 1) => LayerCap::AudioOnly,
            OverloadLevel::AudioOnly => LayerCap::Smallest,
        }
    }
}

/// What a turn of the shard's loop was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// How long it worked.
    pub busy: Duration,
    /// How long a socket had been full.
    pub blocked: Duration,
    /// How late the oldest burst is that still waits; zero if none is due.
    pub late: Duration,
    /// The node sends more than it may.
    pub over_budget: bool,
}

/// Decides how far a shard sheds.
#[derive(Debug)]
pub struct Overload {
    /// Percent of its time that a shard may work; `None`: it never sheds.
    limit: Option<u32>,
    stage: Stage,
    window: Window,
    /// Windows in a row that were too full.
    full: u32,
    calm_since: Option<Instant>,
    hold: Duration,
    stepped_down: Option<Instant>,
    /// The share of the last whole window that was work, in percent.
    busy_percent: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Option<Instant>,
    busy: Duration,
    blocked: Duration,
    /// The least that ever waited.
    standing: Option<Duration>,
    over_budget: bool,
}

impl Overload {
    /// Sheds when a shard works for more than `limit_percent` of its time, or its socket stays full. 0: never.
    pub fn new(limit_percent: u8) -> Self {
        Self {
            limit: (limit_percent > 0).then_some(u32::from(limit_percent)),
            stage: Stage::default(),
            window: Window::default(),
            full: 0,
            calm_since: None,
            hold: HOLD,
            stepped_down: None,
            busy_percent: 0,
        }
    }

    /// How far it sheds now.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How much of the last window was work, in percent.
    pub fn busy_percent(&self) -> u32 {
        self.busy_percent
    }

    /// Takes a turn of the loop that ends `now`. `lowerable`: whether some viewer here could get a smaller Layer; asked
    /// once per window. `Some`: the stage has changed.
    pub fn note(&mut self, now: Instant, load: Load, lowerable: impl FnOnce() -> bool) -> Option<Stage> {
        let began = *self.window.began.get_or_insert(now);
        self.window.add(load);
        let elapsed = now.saturating_duration_since(began);
        if elapsed < WINDOW {
            return None;
        }
        let window = std::mem::replace(&mut self.window, Window { began: Some(now), ..Window::default() });
        self.busy_percent = percent(window.busy, elapsed);
        let limit = self.limit?;
        let before = self.stage;
        let standing = window.standing.unwrap_or_default();
        let blocked = percent(window.blocked, elapsed);
        if standing >= STANDING {
            self.step_up(now, 2, lowerable);
        } else if self.busy_percent >= limit || blocked >= BLOCKED_PERCENT || window.over_budget {
            self.full += 1;
            self.calm_since = None;
            if self.stage != Stage::default() || self.full >= PATIENCE {
                self.step_up(now, 1, lowerable);
            }
        } else if self.busy_percent * 100 < limit * CALM_PERCENT && blocked < UNBLOCKED_PERCENT {
            self.full = 0;
            self.stay_calm(now, elapsed, lowerable);
        } else {
            self.full = 0;
            self.calm_since = None;
        }
        (self.stage != before).then_some(self.stage)
    }

    fn step_up(&mut self, now: Instant, stages: u8, lowerable: impl FnOnce() -> bool) {
        self.calm_since = None;
        if self.stepped_down.take().is_some_and(|at| now.saturating_duration_since(at) < TOO_EARLY) {
            self.hold = (self.hold * 2).min(HOLD_MAX);
        }
        let mut next = (self.stage.0 + stages).min(STAGE_MAX);
        // Nothing would be gained there, and time lost.
        if (LOWER_LAYERS..AUDIO_ONLY).contains(&next) && !lowerable() {
            next = AUDIO_ONLY;
        }
        self.stage = Stage(next);
    }

    fn stay_calm(&mut self, now: Instant, elapsed: Duration, lowerable: impl FnOnce() -> bool) {
        let since = *self.calm_since.get_or_insert(now.checked_sub(elapsed).unwrap_or(now));
        let calm = now.saturating_duration_since(since);
        if self.stage == Stage::default() {
            if calm >= FORGET {
                self.hold = HOLD;
            }
            return;
        }
        if calm < self.hold {
            return;
        }
        let mut next = self.stage.0 - 1;
        if (LOWER_LAYERS..AUDIO_ONLY).contains(&next) && !lowerable() {
            next = LOWER_LAYERS - 1;
        }
        self.stage = Stage(next);
        self.calm_since = Some(now);
        self.stepped_down = Some(now);
    }
}

impl Window {
    fn add(&mut self, load: Load) {
        self.busy += load.busy;
        self.blocked += load.blocked;
        self.standing = Some(self.standing.map_or(load.late, |least| least.min(load.late)));
        self.over_budget |= load.over_budget;
    }
}

fn percent(part: Duration, whole: Duration) -> u32 {
    u32::try_from(part.as_micros() * 100 / whole.as_micros().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
