//! AAC: symphonia decodes AAC-LC (pure Rust for untrusted input), FDK decodes the rest and encodes.

use media::Codec;
use media::aac::Config as AacConfig;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder as _, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::AacDecoder;

use crate::Error;
use crate::audio::Pcm;

/// AAC-LC (ISO/IEC 14496-3 table 1.17).
const OBJECT_TYPE_LC: u8 = 2;

/// Up to this rate AAC-LC may carry SBR that its configuration does not tell (implicit signalling,
/// ISO/IEC 14496-3 section 1.6.5): only a decoder that knows SBR plays it at full width.
#[cfg(feature = "aac-fdk")]
const IMPLICIT_SBR_RATE_MAX: u32 = 24_000;

/// AAC to sound.
pub(crate) enum Decoder {
    /// AAC-LC, one or two channels.
    Lc(Box<AacDecoder>),
    /// HE-AAC, more channels, 960-sample frames.
    #[cfg(feature = "aac-fdk")]
    Fdk(fdk::Decoder),
}

impl Decoder {
    pub(crate) fn new(config: &AacConfig) -> Result<Self, Error> {
        #[cfg(feature = "aac-fdk")]
        {
            let plain = config.object_type == OBJECT_TYPE_LC
                && config.channels <= 2
                && config.sample_rate > IMPLICIT_SBR_RATE_MAX;
            match Self::lc(config) {
                Ok(decoder) if plain => Ok(decoder),
                Ok(_) | Err(_) => fdk::Decoder::new(config).map(Self::Fdk),
            }
        }
        #[cfg(not(feature = "aac-fdk"))]
        Self::lc(config)
    }

    fn lc(config: &AacConfig) -> Result<Self, Error> {
        if config.object_type != OBJECT_TYPE_LC {
            return Err(unsupported(config, "SBR and PS need the feature aac-fdk"));
        }
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_AAC).with_extra_data(config.asc.to_vec().into_boxed_slice());
        match AacDecoder::try_new(&params, &AudioDecoderOptions::default()) {
            Ok(decoder) => Ok(Self::Lc(Box::new(decoder))),
            Err(error) => Err(unsupported(config, &error.to_string())),
        }
    }

    /// Decodes one raw data block into `pcm`, replacing what it held.
    pub(crate) fn decode(&mut self, data: &[u8], pcm: &mut Pcm) -> Result<(), Error> {
        match self {
            Self::Lc(decoder) => {
                let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, data);
                let sound = decoder.decode_ref(&packet).map_err(|error| refused(data, &error.to_string()))?;
                pcm.rate = sound.spec().rate();
                pcm.channels = sound.num_planes();
                pcm.delay = 0;
                sound.copy_to_vec_interleaved(&mut pcm.samples);
                Ok(())
            }
            #[cfg(feature = "aac-fdk")]
            Self::Fdk(decoder) => decoder.decode(data, pcm),
        }
    }
}

fn unsupported(config: &AacConfig, why: &str) -> Error {
    Error::UnsupportedAac {
        object_type: config.object_type,
        channels: config.channels,
        sample_rate: config.sample_rate,
        why: why.to_owned(),
    }
}

fn refused(data: &[u8], why: &str) -> Error {
    Error::Decode { codec: Codec::Aac, length: data.len(), why: why.to_owned() }
}

#[cfg(feature = "aac-fdk")]
pub(crate) use fdk::{Encoder, FRAME_SAMPLES};

#[cfg(feature = "aac-fdk")]
mod fdk {
    use bytes::Bytes;
    use fdk_aac::{dec, enc};

    use super::{AacConfig, OBJECT_TYPE_LC, Pcm, refused, unsupported};
    use crate::Error;

    /// Samples of one AAC-LC frame.
    pub(crate) const FRAME_SAMPLES: usize = 1024;

    /// Room for one decoded frame: HE-AAC makes 2048 samples; 8 channels before the downmix.
    const DECODED_SAMPLES_MAX: usize = 2048 * 8;

    /// Room for one encoded frame: 6144 bits per channel (ISO/IEC 14496-3 section 4.5.3.2).
    const ENCODED_BYTES_MAX: usize = 2 * 768 + 64;

    /// Every kind of AAC to mono or stereo.
    pub(crate) struct Decoder {
        inner: dec::Decoder,
        room: Vec<i16>,
    }

    impl Decoder {
        pub(super) fn new(config: &AacConfig) -> Result<Self, Error> {
            let mut inner = dec::Decoder::new(dec::Transport::Raw);
            inner.config_raw(&config.asc).map_err(|error| unsupported(config, error.message()))?;
            inner.set_max_output_channels(2).map_err(|error| unsupported(config, error.message()))?;
            Ok(Self { inner, room: vec![0; DECODED_SAMPLES_MAX] })
        }

        pub(super) fn decode(&mut self, data: &[u8], pcm: &mut Pcm) -> Result<(), Error> {
            let taken = self.inner.fill(data).map_err(|error| refused(data, error.message()))?;
            if taken < data.len() {
                return Err(refused(data, "longer than any AAC frame"));
            }
            self.inner.decode_frame(&mut self.room).map_err(|error| refused(data, error.message()))?;
            let info = self.inner.stream_info();
            let (channels, frames) = (info.numChannels, info.frameSize);
            let (Ok(channels), Ok(frames), Ok(rate)) =
                (usize::try_from(channels), usize::try_from(frames), u32::try_from(info.sampleRate))
            else {
                return Err(refused(data, "no stream information"));
            };
            if !(1..=2).contains(&channels) || rate == 0 || frames * channels > self.room.len() {
                return Err(refused(data, "no stream information"));
            }
            pcm.rate = rate;
            pcm.channels = channels;
            pcm.delay = info.outputDelay as usize;
            pcm.samples.clear();
            pcm.samples.extend(self.room[..frames * channels].iter().map(|&s| f32::from(s) / 32_768.0));
            Ok(())
        }
    }

    /// Sound to AAC-LC.
    pub(crate) struct Encoder {
        inner: enc::Encoder,
        delay: i64,
        config: AacConfig,
        input: Vec<i16>,
        room: Vec<u8>,
    }

    impl Encoder {
        pub(crate) fn new(sample_rate: u32, channels: usize, bitrate_bps: u32) -> Result<Self, Error> {
            let wrong =
                |error: enc::EncoderError| Error::Open { what: "the AAC encoder", why: error.to_string() };
            let inner = enc::Encoder::new(enc::EncoderParams {
                bit_rate: enc::BitRate::Cbr(bitrate_bps / if channels == 1 { 2 } else { 1 }),
                sample_rate,
                transport: enc::Transport::Raw,
                channels: if channels == 1 { enc::ChannelMode::Mono } else { enc::ChannelMode::Stereo },
                audio_object_type: enc::AudioObjectType::Mpeg4LowComplexity,
            })
            .map_err(wrong)?;
            let info = inner.info().map_err(wrong)?;
            let asc = info.confBuf.get(..info.confSize as usize).unwrap_or_default();
            let config = AacConfig {
                asc: Bytes::copy_from_slice(asc),
                object_type: OBJECT_TYPE_LC,
                sample_rate,
                channels: channels as u8,
            };
            let room = vec![0; ENCODED_BYTES_MAX.max(info.maxOutBufBytes as usize)];
            Ok(Self { inner, delay: i64::from(info.nDelay), config, input: Vec::new(), room })
        }

        /// What a decoder of its output must know.
        pub(crate) fn config(&self) -> &AacConfig {
            &self.config
        }

        /// How many samples the decoded sound is late.
        pub(crate) fn delay(&self) -> i64 {
            self.delay
        }

        /// One raw data block of [`FRAME_SAMPLES`].
        pub(crate) fn encode(&mut self, samples: &[f32]) -> Result<&[u8], Error> {
            self.input.clear();
            // `as` saturates: louder than full scale is clipped.
            self.input.extend(samples.iter().map(|sample| (sample * 32_767.0) as i16));
            let done = self
                .inner
                .encode(&self.input, &mut self.room)
                .map_err(|error| Error::Encode { what: "AAC sound", why: error.to_string() })?;
            if done.input_consumed != self.input.len() || done.output_size == 0 {
                return Err(Error::Encode { what: "AAC sound", why: "not a whole frame".to_owned() });
            }
            Ok(&self.room[..done.output_size])
        }
    }
}
