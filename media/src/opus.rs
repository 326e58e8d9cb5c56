//! Opus (RFC 6716): packet durations, and what `dOps` and `OpusHead` say.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

/// RFC 6716 section 2: an encoder of libopus looks ahead 312 samples at 48 kHz; senders by RTP do not say.
pub const PRE_SKIP_DEFAULT: u16 = 312;

/// RFC 6716 section 3.2.5 (requirement R5): no packet is longer than 120 ms, in samples at 48 kHz.
pub const PACKET_SAMPLES_MAX: u32 = 5_760;

/// What a packet may be, in bytes: 120 ms at 510 kbit/s, the highest that encoders make, are 7650 bytes. Each goes out
/// as one datagram.
pub const PACKET_BYTES_MAX: usize = 8192;

/// What an Opus decoder must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Channels: 1 or 2.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
}

impl Default for Config {
    /// What RFC 7587 section 4.1 says of every Opus by RTP: two channels.
    fn default() -> Self {
        Self { channels: 2, pre_skip: PRE_SKIP_DEFAULT }
    }
}

impl Config {
    /// The body of the `dOps` box (Opus in ISOBMFF section 4.3.2), for channel mapping family 0.
    pub fn dops(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(11);
        out.put_slice(&[0, self.channels]);
        out.put_u16(self.pre_skip);
        out.put_u32(48_000);
        out.put_i16(0); // output gain
        out.put_u8(0); // mapping family
        out.freeze()
    }

    /// The identification header (RFC 7845 section 5.1), as Ogg and Enhanced RTMP carry it.
    pub fn opus_head(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(19);
        out.put_slice(b"OpusHead\x01");
        out.put_u8(self.channels);
        out.put_u16_le(self.pre_skip);
        out.put_u32_le(48_000);
        out.put_i16_le(0);
        out.put_u8(0);
        out.freeze()
    }

    /// Reads an identification header.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none, [`Error::Unsupported`] for more than two channels.
    pub fn from_opus_head(head: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "OpusHead";
        let Some((fields, _)) = head.strip_prefix(b"OpusHead").and_then(<[u8]>::split_first_chunk) else {
            return Err(Error::Malformed { what: WHAT, why: "cut off, or no OpusHead" });
        };
        let &[version, channels, skip_low, skip_high, _, _, _, _, _, _, family] = fields;
        if version >> 4 != 0 {
            return Err(Error::Unsupported { what: WHAT, why: "another major version" });
        }
        if family != 0 || !matches!(channels, 1 | 2) {
            return Err(Error::Unsupported { what: WHAT, why: "more than two channels" });
        }
        Ok(Self { channels, pre_skip: u16::from_le_bytes([skip_low, skip_high]) })
    }
}

/// How long a packet plays, in samples at 48 kHz (RFC 6716 section 3.1).
///
/// # Errors
/// [`Error::Malformed`] if the packet is empty, has no frames is longer than 120 ms, or than [`PACKET_BYTES_MAX`].
pub fn packet_samples(packet: &[u8]) -> Result<u32, Error> {
    const BROKEN: fn(&'static str) -> Error = |why| Error::Malformed { what: "Opus packet", why };
    let (&toc, rest) = packet.split_first().ok_or(BROKEN("empty"))?;
    if packet.len() > PACKET_BYTES_MAX {
        return Err(BROKEN("larger than a packet may be"));
    }
    // Table 2: frame sizes per configuration.
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)], // SILK: 10 to 60 ms
        12..=15 => [480, 960][usize::from(config & 1)],            // hybrid: 10 or 20 ms
        _ => [120, 240, 480, 960][usize::from(config & 3)],        // CELT: 2.5 to 20 ms
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first().ok_or(BROKEN("no frame count"))? & 0x3f),
    };
    match frame * frames {
        0 => Err(BROKEN("no frames")),
        samples if samples > PACKET_SAMPLES_MAX => Err(BROKEN("longer than 120 ms")),
        samples => Ok(samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_toc() {
        for (packet, samples) in [
            (&[0x00][..], 480),               // SILK NB 10 ms, one frame
            (&[0x18], 2880),                  // SILK NB 60 ms
            (&[0x19], 5760),                  // two of them: just allowed
            (&[12 << 3], 480),                // hybrid 10 ms
            (&[15 << 3 | 1], 1920),           // hybrid 20 ms, two
            (&[16 << 3], 120),                // CELT 2.5 ms
            (&[31 << 3 | 4], 960),            // CELT FB 20 ms stereo: what browsers send
            (&[31 << 3 | 2], 1920),           // two of different size
            (&[16 << 3 | 3, 48], 5760),       // 48 × 2.5 ms
            (&[31 << 3 | 3, 0xc0 | 6], 5760), // 6 × 20 ms, VBR and padding flags
        ] {
            assert_eq!(packet_samples(packet), Ok(samples), "{packet:?}");
        }
        assert_eq!(packet_samples(&[0xfc; PACKET_BYTES_MAX]), Ok(960));
        assert!(packet_samples(&[0xfc; PACKET_BYTES_MAX + 1]).is_err());
        for bad in [&[][..], &[3], &[3, 0], &[31 << 3 | 3, 7], &[0x1b, 3], &[16 << 3 | 3, 49]] {
            assert!(packet_samples(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn headers() {
        let config = Config::default();
        assert_eq!(config.dops(), [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0][..]);
        assert_eq!(Config::from_opus_head(&config.opus_head()), Ok(config));
        for bad in
            [&b"OpusHead"[..], b"OpusTags\x01\x02\0\0\0\0\0\0\0\0\0", b"OpusHead\x01\x06\0\0\0\0\0\0\0\0\x01"]
        {
            assert!(Config::from_opus_head(bad).is_err());
        }
    }
}
