//! libopus: packets to sound and back, always at 48 kHz.

use media::Codec;

use crate::Error;
use crate::config::Config;
use crate::timeline::RATE;

/// 20 ms: what every browser sends and expects (RFC 7587 section 4.2).
pub(crate) const FRAME_SAMPLES: usize = 960;

/// Longest packet, 120 ms (RFC 6716 section 3.2.5).
const PACKET_SAMPLES_MAX: usize = 5760;

/// Room for one encoded packet: libopus recommends 4000 bytes.
const PACKET_BYTES_MAX: usize = 4000;

/// A whole number of these can be concealed: 2.5 ms.
const CONCEAL_STEP: i64 = RATE / 400;

/// Longest hole that the decoder makes up, 100 ms. Beyond it concealment is a fading buzz: silence is better.
pub(crate) const CONCEAL_TICKS_MAX: i64 = RATE / 10;

/// Packets to sound.
pub(crate) struct Decoder {
    inner: opus::Decoder,
    channels: usize,
    room: Vec<f32>,
}

impl Decoder {
    pub(crate) fn new(channels: usize) -> Result<Self, Error> {
        let inner = opus::Decoder::new(RATE as u32, layout(channels))
            .map_err(|error| Error::Open { what: "the Opus decoder", why: error.to_string() })?;
        Ok(Self { inner, channels, room: vec![0.0; PACKET_SAMPLES_MAX * channels] })
    }

    /// Appends the sound of one packet.
    pub(crate) fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<(), Error> {
        if packet.is_empty() {
            // libopus would take it for a lost packet and make up a whole 120 ms.
            return Err(refused(packet, "it is empty"));
        }
        let samples = self.inner.decode_float(packet, &mut self.room, false);
        let samples = samples.map_err(|error| refused(packet, error.description()))?;
        out.extend_from_slice(&self.room[..samples * self.channels]);
        Ok(())
    }

    /// Makes up the sound of `hole` lost ticks before `packet`, with its forward error correction if it has
    /// one. Answers how many ticks it made, at most `hole`.
    pub(crate) fn conceal(&mut self, hole: i64, packet: &[u8], out: &mut Vec<f32>) -> i64 {
        let hole = hole.min(CONCEAL_TICKS_MAX) / CONCEAL_STEP * CONCEAL_STEP;
        if hole <= 0 || packet.is_empty() {
            return 0;
        }
        let room = &mut self.room[..hole as usize * self.channels];
        match self.inner.decode_float(packet, room, true) {
            Ok(samples) => {
                out.extend_from_slice(&self.room[..samples * self.channels]);
                samples as i64
            }
            Err(_) => 0,
        }
    }
}

/// Sound to packets.
pub(crate) struct Encoder {
    inner: opus::Encoder,
    lookahead: i64,
    room: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(channels: usize, config: &Config) -> Result<Self, Error> {
        let wrong = |error: opus::Error| Error::Open { what: "the Opus encoder", why: error.to_string() };
        let mut inner =
            opus::Encoder::new(RATE as u32, layout(channels), opus::Application::Audio).map_err(wrong)?;
        let bitrate = config.opus_bitrate_bps / if channels == 1 { 2 } else { 1 };
        inner.set_bitrate(opus::Bitrate::Bits(bitrate as i32)).map_err(wrong)?;
        inner.set_complexity(i32::from(config.opus_complexity)).map_err(wrong)?;
        let lookahead = i64::from(inner.get_lookahead().map_err(wrong)?);
        Ok(Self { inner, lookahead, room: vec![0; PACKET_BYTES_MAX] })
    }

    /// How many samples the decoded sound is late.
    pub(crate) fn delay(&self) -> i64 {
        self.lookahead
    }

    /// One packet of [`FRAME_SAMPLES`].
    pub(crate) fn encode(&mut self, samples: &[f32]) -> Result<&[u8], Error> {
        let length = self
            .inner
            .encode_float(samples, &mut self.room)
            .map_err(|error| Error::Encode { what: "Opus sound", why: error.to_string() })?;
        Ok(&self.room[..length])
    }
}

fn layout(channels: usize) -> opus::Channels {
    if channels == 1 { opus::Channels::Mono } else { opus::Channels::Stereo }
}

fn refused(packet: &[u8], why: &str) -> Error {
    Error::Decode { codec: Codec::Opus, length: packet.len(), why: why.to_owned() }
}
