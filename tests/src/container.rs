//! The two simplest containers that ffmpeg reads: IVF for pictures, Ogg for Opus.

use media::Codec;

/// Pictures whose times are 0, 1, 2, … milliseconds: the times of an RTP picture are on its packets, not in it. Their size is
/// in the pictures themselves.
pub fn ivf<'a>(codec: Codec, frames: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = b"DKIF\0\0\x20\0".to_vec();
    out.extend(if codec == Codec::Vp8 { b"VP80" } else { b"H264" });
    out.extend([0; 4]);
    for number in [1000u32, 1, 0, 0] {
        out.extend(number.to_le_bytes());
    }
    for (index, frame) in frames.enumerate() {
        out.extend((frame.len() as u32).to_le_bytes());
        out.extend((index as u64).to_le_bytes());
        out.extend(frame);
    }
    out
}

/// Opus packets, one on each page (RFC 7845). Its pre-skip is none, so that every packet gives all of its samples.
pub fn ogg<'a>(packets: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let head = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";
    page(&mut out, 0, 0, 2, head);
    page(&mut out, 1, 0, 0, b"OpusTags\0\0\0\0\0\0\0\0");
    let mut end = 0;
    for (index, packet) in packets.enumerate() {
        end += u64::from(media::opus::packet_samples(packet).expect("an Opus packet"));
        page(&mut out, index as u32 + 2, end, 0, packet);
    }
    out
}

fn page(out: &mut Vec<u8>, number: u32, granule: u64, flags: u8, packet: &[u8]) {
    let begin = out.len();
    out.extend(b"OggS\0");
    out.push(flags);
    out.extend(granule.to_le_bytes());
    // The stream's serial number, and room for the checksum.
    out.extend(1u32.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend([0; 4]);
    out.push((packet.len() / 255 + 1) as u8);
    out.extend(std::iter::repeat_n(255, packet.len() / 255));
    out.push((packet.len() % 255) as u8);
    out.extend(packet);
    let checksum = crc32(&out[begin..]);
    out[begin + 22..begin + 26].copy_from_slice(&checksum.to_le_bytes());
}

/// Polynomial 0x04c11db7 from 0, not reflected.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| {
            if crc >> 31 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}
