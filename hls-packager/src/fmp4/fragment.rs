//! One part: moof + mdat header, then the frames' own bytes. The payload is never copied for video.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use media::Kind;
use mp4_atom::{Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::TRACK_ID;
use super::boxes::{FLAG_DISPOSABLE, FLAGS_DELTA, FLAGS_SYNC, MDAT_HEADER_BYTES, encode, put_mdat_header};
use crate::Error;

/// Samples that are smaller than this on average are copied into one buffer: an audio frame of 300 bytes
/// costs more as a slice of its own (a reference count, an entry in every vectored write) than as a copy.
const COPY_BELOW_BYTES: usize = 2048;

/// One frame on its way into a fragment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The frame.
    pub data: Bytes,
    /// Ticks until the next one.
    pub duration: u32,
    /// `pts - dts` in ticks; not zero with B-frames.
    pub composition_offset: i64,
    /// A decoder can start here.
    pub keyframe: bool,
    /// No other sample refers to it.
    pub discardable: bool,
}

/// Bytes in pieces, served one after the other without joining them.
#[derive(Clone, Debug, Default)]
pub struct Slices {
    pieces: Arc<[Bytes]>,
    len: usize,
}

impl Slices {
    fn new(pieces: Vec<Bytes>) -> Self {
        let len = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into(), len }
    }

    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in order.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// All of it in one buffer, for tests and small things.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.len);
        for piece in self.pieces.iter() {
            all.extend_from_slice(piece);
        }
        all.freeze()
    }
}

impl From<Bytes> for Slices {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

/// Makes one moof + mdat from samples that follow each other from `decode_time` on.
///
/// # Errors
/// [`Error::Mp4`] if a field does not fit its box.
pub fn fragment(
    kind: Kind,
    sequence_number: u32,
    decode_time: u64,
    samples: &[Sample],
) -> Result<Slices, Error> {
    let mut moof = moof(kind, sequence_number, decode_time, samples, 0);
    let length = encode(&moof)?.len();
    // Offsets count from the start of the moof (default-base-is-moof): the payload lies right behind it.
    let offset = i32::try_from(length + MDAT_HEADER_BYTES).unwrap_or(i32::MAX);
    moof.traf[0].trun[0].data_offset = Some(offset);
    let mut head = encode(&moof)?;
    let payload: usize = samples.iter().map(|sample| sample.data.len()).sum();
    put_mdat_header(&mut head, payload);
    if payload < COPY_BELOW_BYTES * samples.len() {
        head.reserve(payload);
        for sample in samples {
            head.extend_from_slice(&sample.data);
        }
        return Ok(Bytes::from(head).into());
    }
    let mut pieces = Vec::with_capacity(1 + samples.len());
    pieces.push(head.into());
    pieces.extend(samples.iter().map(|sample| sample.data.clone()));
    Ok(Slices::new(pieces))
}

fn moof(kind: Kind, sequence_number: u32, decode_time: u64, samples: &[Sample], offset: i32) -> Moof {
    let reordered = samples.iter().any(|sample| sample.composition_offset != 0);
    let entries: Vec<TrunEntry> = samples
        .iter()
        .map(|sample| TrunEntry {
            duration: Some(sample.duration),
            size: u32::try_from(sample.data.len()).ok(),
            flags: (kind == Kind::Video).then_some(flags(sample)),
            cts: reordered.then_some(sample.composition_offset),
        })
        .collect();
    Moof {
        mfhd: Mfhd { sequence_number },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK_ID,
                default_sample_flags: (kind == Kind::Audio).then_some(FLAGS_SYNC),
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt { base_media_decode_time: decode_time }),
            trun: vec![Trun { data_offset: Some(offset), samples: entries.into() }],
            ..Traf::default()
        }],
    }
}

fn flags(sample: &Sample) -> u32 {
    match (sample.keyframe, sample.discardable) {
        (true, _) => FLAGS_SYNC,
        (false, false) => FLAGS_DELTA,
        (false, true) => FLAGS_DELTA | FLAG_DISPOSABLE,
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::Decode;

    use super::*;

    fn sample(bytes: usize, composition_offset: i64, keyframe: bool) -> Sample {
        Sample {
            data: vec![7; bytes].into(),
            duration: 3000,
            composition_offset,
            keyframe,
            discardable: false,
        }
    }

    #[test]
    fn a_fragment_reads_back_and_points_at_its_payload() {
        let samples = [sample(5000, 6000, true), sample(3000, -3000, false)];
        let slices = fragment(Kind::Video, 9, 900_000, &samples).expect("encodes");
        assert_eq!(slices.pieces().len(), 3, "video is not copied");
        let all = slices.to_bytes();
        let mut rest = &all[..];
        let moof = Moof::decode(&mut rest).expect("a moof");
        let trun = &moof.traf[0].trun[0];
        assert_eq!(moof.mfhd.sequence_number, 9);
        assert_eq!(moof.traf[0].tfdt.as_ref().expect("tfdt").base_media_decode_time, 900_000);
        assert!(moof.traf[0].tfhd.default_base_is_moof);
        let at = usize::try_from(trun.data_offset.expect("an offset")).expect("positive");
        assert_eq!(at + 8000, all.len());
        assert_eq!(&all[at - 4..at], b"mdat");
        let composition: Vec<_> = trun.samples.iter().map(|entry| entry.cts).collect();
        assert_eq!(composition, [Some(6000), Some(-3000)], "signed offsets survive");
    }

    #[test]
    fn small_audio_samples_are_joined() {
        let samples = [sample(300, 0, true), sample(280, 0, true)];
        let slices = fragment(Kind::Audio, 1, 0, &samples).expect("encodes");
        assert_eq!(slices.pieces().len(), 1);
    }
}
