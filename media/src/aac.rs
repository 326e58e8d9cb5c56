//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1) and ADTS headers (13818-7 section 6.2).

use bytes::Bytes;

use crate::Error;
use crate::bits::Bits;

/// Samples per channel in one frame of the core codec. Frames of 960 (digital radio) are refused.
pub const SAMPLES_PER_FRAME: u32 = 1024;

/// Table 1.18: `samplingFrequencyIndex`.
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Audio object type of AAC-LC.
pub const LOW_COMPLEXITY: u8 = 2;
const SBR: u8 = 5;
const PARAMETRIC_STEREO: u8 = 29;

/// What an AAC decoder must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The AudioSpecificConfig as it was received.
    pub asc: Bytes,
    /// Audio object type: 2 is AAC-LC, 5 SBR, 29 PS.
    pub object_type: u8,
    /// Samples per second of the core codec.
    pub sample_rate: u32,
    /// Channels: 1 to 8.
    pub channels: u8,
}

const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "AudioSpecificConfig", why };
const REFUSED: fn(&'static str) -> Error = |why| Error::Unsupported { what: "AudioSpecificConfig", why };

impl Config {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is cut off or uses reserved values, [`Error::Unsupported`] for codecs that
    /// are no AAC with 1024 samples per frame, and for channels that only a program config element tells.
    pub fn parse(asc: &[u8]) -> Result<Self, Error> {
        let mut bits = Bits::new(asc);
        let object_type = object_type(&mut bits).ok_or(BROKEN("cut off"))?;
        let sample_rate = sample_rate(&mut bits)?;
        let channels = channels(bits.take(4).ok_or(BROKEN("cut off"))?)?;
        let core = if matches!(object_type, SBR | PARAMETRIC_STEREO) {
            // The output rate of SBR; times stay in the core's.
            self::sample_rate(&mut bits)?;
            self::object_type(&mut bits).ok_or(BROKEN("cut off"))?
        } else {
            object_type
        };
        // Table 1.17: these have a GASpecificConfig that begins with frameLengthFlag.
        if !matches!(core, 1..=4 | 17) {
            return Err(REFUSED("not AAC-LC or a relative of it"));
        }
        if bits.take(1).ok_or(BROKEN("cut off"))? == 1 {
            return Err(REFUSED("960 samples per frame"));
        }
        Ok(Self { asc: Bytes::copy_from_slice(asc), object_type, sample_rate, channels })
    }

    /// The configuration of AAC-LC, as an encoder of ours makes it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a sample rate or channel count that AAC has no index for.
    pub fn low_complexity(sample_rate: u32, channels: u8) -> Result<Self, Error> {
        let rate = SAMPLE_RATES.iter().position(|&rate| rate == sample_rate);
        let rate = rate.ok_or(REFUSED("a sample rate without index"))? as u8;
        let layout = match channels {
            1..=6 => channels,
            8 => 7,
            _ => return Err(REFUSED("a channel count without index")),
        };
        let asc = [LOW_COMPLEXITY << 3 | rate >> 1, rate << 7 | layout << 3];
        Ok(Self { asc: Bytes::copy_from_slice(&asc), object_type: LOW_COMPLEXITY, sample_rate, channels })
    }

    /// A frame without sound (one raw data block): [`SAMPLES_PER_FRAME`] samples. `None` where none is known: only for
    /// AAC-LC of one or two channels. All spectral bands are left out, so it is the same at every sample rate.
    pub fn silence(&self) -> Option<&'static [u8]> {
        match (self.object_type, self.channels) {
            (LOW_COMPLEXITY, 1) => Some(&[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80]),
            (LOW_COMPLEXITY, 2) => Some(&[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80]),
            _ => None,
        }
    }

    /// `mp4a.40.2` and so on.
    pub fn rfc6381(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }
}

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    let short = bits.take(5)?;
    let long = if short == 31 { 32 + bits.take(6)? } else { short };
    u8::try_from(long).ok()
}

fn sample_rate(bits: &mut Bits<'_>) -> Result<u32, Error> {
    let index = bits.take(4).ok_or(BROKEN("cut off"))?;
    let rate = if index == 15 {
        bits.take(24).ok_or(BROKEN("cut off"))?
    } else {
        SAMPLE_RATES.get(index as usize).copied().ok_or(BROKEN("reserved sample rate"))?
    };
    // Below it is no sound, above it no AAC encoder; and a rate of 0 would be no timescale.
    if (1_000..=192_000).contains(&rate) { Ok(rate) } else { Err(BROKEN("impossible sample rate")) }
}

/// Table 1.19.
fn channels(layout: u32) -> Result<u8, Error> {
    match layout {
        0 => Err(REFUSED("channels told by a program config element")),
        1..=6 => Ok(layout as u8),
        7 | 12 | 14 => Ok(8),
        11 => Ok(7),
        _ => Err(BROKEN("reserved channel configuration")),
    }
}

/// One ADTS frame: what some encoders send where a raw frame belongs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdtsFrame<'a> {
    /// What its header says.
    pub config: Config,
    /// The raw data block.
    pub data: &'a [u8],
    /// What follows it.
    pub rest: &'a [u8],
}

impl<'a> AdtsFrame<'a> {
    /// Reads the frame at the front of `data`; `None` if there is none, it is cut off, or holds several blocks.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let mut bits = Bits::new(data);
        // syncword, ID, layer
        if bits.take(12)? != 0xfff || bits.take(3)? & 3 != 0 {
            return None;
        }
        let header_length = if bits.take(1)? == 1 { 7 } else { 9 };
        let object_type = bits.take(2)? + 1;
        let rate = *SAMPLE_RATES.get(bits.take(4)? as usize)?;
        let layout = bits.take(1).and_then(|_private| bits.take(3))?;
        let length = bits.take(4).and_then(|_copy_and_home| bits.take(13))? as usize;
        let blocks = bits.take(11).and_then(|_fullness| bits.take(2))?;
        if object_type != u32::from(LOW_COMPLEXITY) || blocks != 0 {
            return None;
        }
        let config = Config::low_complexity(rate, channels(layout).ok()?).ok()?;
        let (frame, rest) = data.split_at_checked(length)?;
        Some(Self { config, data: frame.get(header_length..)?, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_specific_configs() {
        for (asc, object_type, sample_rate, channels) in [
            (&[0x12, 0x10][..], 2, 44_100, 2),
            (&[0x11, 0x90], 2, 48_000, 2),
            (&[0x14, 0x08], 2, 16_000, 1),
            (&[0x11, 0xb0], 2, 48_000, 6),
            // HE-AAC: 5, 24 kHz core, 2 channels, 48 kHz output, core LC.
            (&[0x2b, 0x11, 0x88, 0x00], 5, 24_000, 2),
            // PS: 29, 24 kHz, 1 channel, 48 kHz, LC.
            (&[0xeb, 0x09, 0x88, 0x00], 29, 24_000, 1),
            // An explicit rate of 44100: 00010 1111 000000001010110001000100 0010 000
            (&[0x17, 0x80, 0x56, 0x22, 0x10], 2, 44_100, 2),
        ] {
            let config = Config::parse(asc).expect("valid");
            assert_eq!(config.asc, asc);
            assert_eq!(
                (config.object_type, config.sample_rate, config.channels),
                (object_type, sample_rate, channels)
            );
        }
    }

    #[test]
    fn refuses_what_is_no_aac() {
        // empty, cut off, reserved rate, channels by PCE, 960 samples, escape to 42 (USAC), ELD 39
        for asc in [
            &[][..],
            &[0x12],
            &[0x16, 0x90],
            &[0x12, 0x00],
            &[0x12, 0x14],
            &[0xf9, 0x46, 0x40, 0],
            &[0xf8, 0xe6, 0x40, 0],
        ] {
            assert!(Config::parse(asc).is_err(), "{asc:?}");
        }
    }

    #[test]
    fn low_complexity_is_read_back() {
        for (rate, channels) in [(48_000, 2), (44_100, 1), (7_350, 8)] {
            let config = Config::low_complexity(rate, channels).expect("has an index");
            assert_eq!(Config::parse(&config.asc), Ok(config));
        }
        assert!(Config::low_complexity(44_000, 2).is_err() && Config::low_complexity(48_000, 7).is_err());
    }

    #[test]
    fn silence_is_known_of_what_encoders_of_streamers_make() {
        for (rate, channels, known) in [(48_000, 2, true), (44_100, 1, true), (48_000, 6, false)] {
            let config = Config::low_complexity(rate, channels).expect("has an index");
            assert_eq!(config.silence().is_some(), known, "{rate} {channels}");
        }
    }

    #[test]
    fn adts_is_taken_apart() {
        // LC, 44.1 kHz, stereo, 9 bytes in all.
        let data = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 0xaa, 0xbb, 0xcc];
        let frame = AdtsFrame::parse(&data).expect("valid");
        assert_eq!((frame.data, frame.rest), (&[0xaa, 0xbb][..], &[0xcc][..]));
        assert_eq!((frame.config.sample_rate, frame.config.channels), (44_100, 2));
        assert_eq!(AdtsFrame::parse(&data[..8]), None);
        assert_eq!(AdtsFrame::parse(&[0x21, 0x10, 0x04]), None);
    }
}
