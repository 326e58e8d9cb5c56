//! RFC 6184: H.264 in RTP, packetization mode 1.

mod depacketizer;
mod packetizer;

pub(super) use depacketizer::Depacketizer;
pub use packetizer::Packetizer;

/// Payload bytes of one packet at most. With 12 bytes of RTP header, 16 of header extensions, 16 of SRTP tag
/// and 2 of RTX it makes 1218 bytes of UDP payload, which fits IPv6's minimum MTU of 1280 minus 48 bytes of
/// IPv6 and UDP header, with room for TURN's channel header.
pub const PAYLOAD_BYTES_MAX: usize = 1172;

/// FU header bits (RFC 6184 section 5.8).
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use bytes::{BufMut, Bytes, BytesMut};

    use crate::bits::tests::unhex;
    use crate::h264::Config;
    use crate::time::tests::origin;
    use crate::{CodecConfig, Frame, MediaTime, Timescale};

    /// The first byte of a slice: macroblock 0, slice type 5 to 7, PPS 0.
    pub(crate) const BODY: u8 = 0b1001_1010;

    pub(crate) fn config() -> Arc<CodecConfig> {
        let sps = Bytes::from(unhex(crate::h264::sps_for_tests::BASELINE));
        let pps = Bytes::from_static(&[0x68, 0xcb, 0x83, 0xcb, 0x20]);
        Arc::new(CodecConfig::H264(Config::from_parameter_sets(vec![sps], vec![pps]).expect("valid")))
    }

    /// A unit of `length` bytes.
    pub(crate) fn nal(header: u8, length: usize) -> Bytes {
        let mut nal = vec![BODY; length];
        nal[0] = header;
        nal.into()
    }

    pub(crate) fn frame(time: i64, keyframe: bool, nals: &[Bytes]) -> Frame {
        let mut data = BytesMut::new();
        for nal in nals {
            data.put_u32(nal.len() as u32);
            data.put_slice(nal);
        }
        let time = MediaTime::new(time, Timescale::VIDEO);
        Frame {
            dts: time,
            pts: time,
            duration: 0,
            keyframe,
            discardable: !nals.is_empty() && nals.iter().all(|nal| nal[0] & 0x60 == 0),
            data: data.freeze(),
            config: config(),
            epoch: 0,
            arrival: origin(),
        }
    }
}
