//! One audio codec to another, in step with the picture. No I/O, no clock, no thread.

use std::sync::Arc;

use bytes::Bytes;
use media::{Codec, CodecConfig, Frame, MediaTime, Timescale};

use crate::config::Config;
use crate::resample::Resampler;
use crate::timeline::{Placed, RATE, Timeline};
use crate::{Error, aac, opus};

/// Decoded sound of one frame.
#[derive(Default)]
pub(crate) struct Pcm {
    /// Interleaved, full scale is 1.
    pub(crate) samples: Vec<f32>,
    pub(crate) channels: usize,
    pub(crate) rate: u32,
    /// How many of these samples (per channel) the decoder is late.
    pub(crate) delay: usize,
}

/// What a [`Converter`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Single samples inserted or removed to follow the source's clock.
    pub drift_corrections: u64,
    /// Times that silence was inserted, sound removed, or a new start made.
    pub reanchors: u64,
    /// Holes that the Opus decoder made up.
    pub concealments: u64,
    /// Frames of a configuration that cannot be decoded.
    pub undecodable: u64,
}

/// Converts the frames of one audio Track to another codec.
///
/// A frame that comes out is stamped with the place of the sound that a decoder makes of it: the place of the
/// first sample that went in, less what decoder, resampler and encoder are late. So no edit list is needed.
pub struct Converter {
    target: Codec,
    settings: Config,
    chain: Option<Chain>,
    /// The configuration that cannot be decoded: said once, not per frame.
    refused: Option<Arc<CodecConfig>>,
    tally: Tally,
}

impl Converter {
    /// A converter to `target`. What it converts from, each frame says.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] if this build has no encoder for `target`.
    pub fn new(target: Codec, settings: &Config) -> Result<Self, Error> {
        let built = target == Codec::Opus || (cfg!(feature = "aac-fdk") && target == Codec::Aac);
        if !built {
            let from = if target == Codec::Opus { Codec::Aac } else { Codec::Opus };
            return Err(Error::NotBuilt { from, to: target });
        }
        Ok(Self { target, settings: settings.clone(), chain: None, refused: None, tally: Tally::default() })
    }

    /// Ticks per second of what comes out.
    pub fn timescale(&self) -> Timescale {
        // Derived AAC has 48 kHz too: its ticks are samples (`media::TrackSpec::timescale`).
        Timescale::OPUS
    }

    /// What was done since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Converts one frame; appends what is ready to `out`. After an error go on with the next frame: what is
    /// missing becomes silence.
    ///
    /// # Errors
    /// [`Error::Decode`] for a broken frame; [`Error::UnsupportedAac`] once per configuration.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        if self.refused.as_ref().is_some_and(|refused| same(refused, &frame.config)) {
            self.tally.undecodable += 1;
            return Ok(());
        }
        let fits = |chain: &Chain| chain.epoch == frame.epoch && same(&chain.source, &frame.config);
        if !self.chain.as_ref().is_some_and(fits) {
            self.chain = None;
        }
        let chain = match &mut self.chain {
            Some(chain) => chain,
            None => match Chain::new(frame) {
                Ok(chain) => self.chain.insert(chain),
                Err(error) => {
                    self.refused = Some(Arc::clone(&frame.config));
                    self.tally.undecodable += 1;
                    return Err(error);
                }
            },
        };
        chain.push(frame, self.target, &self.settings, &mut self.tally, out)
    }
}

fn same(a: &Arc<CodecConfig>, b: &Arc<CodecConfig>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

enum Decoder {
    Aac(aac::Decoder),
    Opus(opus::Decoder),
}

enum Encoder {
    Opus(opus::Encoder),
    #[cfg(feature = "aac-fdk")]
    Aac(aac::Encoder),
}

/// All that belongs to one configuration of one publication.
struct Chain {
    source: Arc<CodecConfig>,
    epoch: u32,
    decoder: Decoder,
    pcm: Pcm,
    /// Where the next frame begins if none is lost, in 48 kHz ticks.
    expected: Option<i64>,
    /// From decoded sound on; made anew when its shape changes or the source jumps.
    back: Option<Back>,
}

/// From decoded sound to encoded frames.
struct Back {
    rate: u32,
    channels: usize,
    resampler: Option<Resampler>,
    resampled: Vec<f32>,
    timeline: Timeline,
    block: Vec<f32>,
    encoder: Encoder,
    config: Arc<CodecConfig>,
}

impl Chain {
    fn new(frame: &Frame) -> Result<Self, Error> {
        let decoder = match &*frame.config {
            CodecConfig::Aac(config) => Decoder::Aac(aac::Decoder::new(config)?),
            CodecConfig::Opus(config) => {
                Decoder::Opus(opus::Decoder::new(usize::from(config.channels.clamp(1, 2)))?)
            }
            other => return Err(Error::NotBuilt { from: other.codec(), to: Codec::Opus }),
        };
        let mut pcm = Pcm { rate: RATE as u32, ..Pcm::default() };
        if let CodecConfig::Opus(config) = &*frame.config {
            pcm.channels = usize::from(config.channels.clamp(1, 2));
        }
        let source = Arc::clone(&frame.config);
        Ok(Self { source, epoch: frame.epoch, decoder, pcm, expected: None, back: None })
    }

    fn push(
        &mut self,
        frame: &Frame,
        target: Codec,
        settings: &Config,
        tally: &mut Tally,
        out: &mut Vec<Frame>,
    ) -> Result<(), Error> {
        let mut at = frame.pts.rescale(Timescale::OPUS).ticks();
        match &mut self.decoder {
            Decoder::Aac(decoder) => decoder.decode(&frame.data, &mut self.pcm)?,
            Decoder::Opus(decoder) => {
                self.pcm.samples.clear();
                let hole = self.expected.map_or(0, |expected| at - expected);
                if (1..=opus::CONCEAL_TICKS_MAX).contains(&hole) {
                    let made = decoder.conceal(hole, &frame.data, &mut self.pcm.samples);
                    at -= made;
                    tally.concealments += u64::from(made > 0);
                }
                decoder.decode(&frame.data, &mut self.pcm.samples)?;
                self.expected = Some(at + (self.pcm.samples.len() / self.pcm.channels) as i64);
            }
        }
        at -= self.pcm.delay as i64 * RATE / i64::from(self.pcm.rate.max(1));
        let shaped = |back: &Back| back.rate == self.pcm.rate && back.channels == self.pcm.channels;
        if !self.back.as_ref().is_some_and(shaped) {
            self.back = None;
        }
        // Twice at most: a jump needs a new start, and a new start takes every place.
        for _ in 0..2 {
            let back = match &mut self.back {
                Some(back) => back,
                None => self.back.insert(Back::new(&self.pcm, target, settings)?),
            };
            if back.place(at, &self.pcm.samples, tally)? == Placed::Queued {
                return back.encode(frame, out);
            }
            tally.reanchors += 1;
            self.back = None;
        }
        Ok(())
    }
}

impl Back {
    fn new(pcm: &Pcm, target: Codec, settings: &Config) -> Result<Self, Error> {
        let channels = pcm.channels;
        let (encoder, config) = match target {
            Codec::Opus => {
                let encoder = opus::Encoder::new(channels, settings)?;
                let config =
                    media::opus::Config { channels: channels as u8, pre_skip: encoder.delay() as u16 };
                (Encoder::Opus(encoder), CodecConfig::Opus(config))
            }
            #[cfg(feature = "aac-fdk")]
            Codec::Aac => {
                let encoder = aac::Encoder::new(RATE as u32, channels, settings.aac_bitrate_bps)?;
                let config = CodecConfig::Aac(encoder.config().clone());
                (Encoder::Aac(encoder), config)
            }
            other => return Err(Error::NotBuilt { from: Codec::Opus, to: other }),
        };
        let resampler =
            if pcm.rate == RATE as u32 { None } else { Some(Resampler::new(pcm.rate, channels)?) };
        Ok(Self {
            rate: pcm.rate,
            channels,
            resampler,
            resampled: Vec::new(),
            timeline: Timeline::new(channels),
            block: Vec::new(),
            encoder,
            config: Arc::new(config),
        })
    }

    fn place(&mut self, at: i64, samples: &[f32], tally: &mut Tally) -> Result<Placed, Error> {
        let placed = match &mut self.resampler {
            None => self.timeline.push(at, samples),
            Some(resampler) => {
                self.resampled.clear();
                let at = resampler.push(at, samples, &mut self.resampled)?;
                self.timeline.push(at, &self.resampled)
            }
        };
        let corrections = self.timeline.take_corrections();
        tally.drift_corrections += corrections.slips;
        tally.reanchors += corrections.reanchors;
        Ok(placed)
    }

    /// Encodes what is complete. `frame` completed it: its arrival and epoch are passed on.
    fn encode(&mut self, frame: &Frame, out: &mut Vec<Frame>) -> Result<(), Error> {
        let (samples, delay) = match &self.encoder {
            Encoder::Opus(encoder) => (opus::FRAME_SAMPLES, encoder.delay()),
            #[cfg(feature = "aac-fdk")]
            Encoder::Aac(encoder) => (aac::FRAME_SAMPLES, encoder.delay()),
        };
        while let Some(at) = self.timeline.pop(samples, &mut self.block) {
            let data = match &mut self.encoder {
                Encoder::Opus(encoder) => encoder.encode(&self.block)?,
                #[cfg(feature = "aac-fdk")]
                Encoder::Aac(encoder) => encoder.encode(&self.block)?,
            };
            let pts = MediaTime::new(at - delay, Timescale::OPUS);
            if pts.ticks() < 0 {
                // Priming from before the Stream began: containers cannot say negative times.
                continue;
            }
            out.push(Frame {
                dts: pts,
                pts,
                duration: samples as u32,
                keyframe: true,
                discardable: false,
                data: Bytes::copy_from_slice(data),
                config: Arc::clone(&self.config),
                epoch: frame.epoch,
                arrival: frame.arrival,
            });
        }
        Ok(())
    }
}

/// Sound to AAC-LC, for those who make sound themselves (the demo).
#[cfg(feature = "aac-fdk")]
pub struct AacEncoder(aac::Encoder);

#[cfg(feature = "aac-fdk")]
impl AacEncoder {
    /// Samples per channel of one frame.
    pub const FRAME_SAMPLES: usize = aac::FRAME_SAMPLES;

    /// An encoder for mono or stereo (`bitrate_bps` is for stereo; mono takes half).
    ///
    /// # Errors
    /// [`Error::Open`] if the library refuses.
    pub fn new(sample_rate: u32, channels: u8, bitrate_bps: u32) -> Result<Self, Error> {
        aac::Encoder::new(sample_rate, usize::from(channels.clamp(1, 2)), bitrate_bps).map(Self)
    }

    /// What a decoder must know.
    pub fn config(&self) -> &media::aac::Config {
        self.0.config()
    }

    /// How many samples the decoded sound is late.
    pub fn delay(&self) -> i64 {
        self.0.delay()
    }

    /// Encodes [`Self::FRAME_SAMPLES`] interleaved samples per channel, full scale 1.
    ///
    /// # Errors
    /// [`Error::Encode`] if the number of samples is another.
    pub fn encode(&mut self, samples: &[f32]) -> Result<Bytes, Error> {
        self.0.encode(samples).map(Bytes::copy_from_slice)
    }
}
