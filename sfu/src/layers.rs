//! The Layers of a picture as a viewer sees and chooses them.

use media::Rid;

/// What a viewer wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerChoice {
    /// The best Layer that its line carries.
    Auto {
        /// No higher than so many pixels; a Track that has nothing so small gives its smallest.
        max_height: Option<u32>,
    },
    /// This one, whatever the line carries. While the encoder does not send it, the next lower one.
    Layer(Rid),
    /// Sound alone.
    AudioOnly,
}

impl Default for LayerChoice {
    fn default() -> Self {
        Self::Auto { max_height: None }
    }
}

/// What there is to see, and what is sent. Told whenever anything but the figures changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// All Layers of the Track that is sent, lowest first.
    pub layers: Vec<LayerState>,
    /// The one that is sent; `None`: no picture.
    pub current: Option<Rid>,
    /// The one that takes its place at its next keyframe.
    pub target: Option<Rid>,
    /// What the viewer wants.
    pub choice: LayerChoice,
    /// Why there is sound alone, if so.
    pub audio_only: Option<AudioOnly>,
}

/// One Layer, as a viewer is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerState {
    /// Its name; empty if it is the only one of a source without simulcast.
    pub rid: Rid,
    /// Pixels, once a keyframe told.
    pub width: Option<u32>,
    /// See `width`.
    pub height: Option<u32>,
    /// Payload bits per second, as measured.
    pub bitrate_bps: Option<u64>,
    /// The encoder sends it now.
    pub active: bool,
}

/// Why a viewer gets sound alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioOnly {
    /// It asked for it.
    Choice,
    /// Its line does not carry the smallest Layer.
    Bandwidth,
    /// This node has too much to do.
    Overload,
}

impl AudioOnly {
    /// As the gateway spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Bandwidth => "bandwidth",
            Self::Overload => "overload",
        }
    }
}
