//! Reads fragments back: what whole moof + mdat pairs there are at the beginning of some bytes.

use std::io::{self, Read, Seek, SeekFrom};

use mp4_atom::{Decode, Moof};

use super::TRACK_ID;
use super::boxes::MDAT_HEADER_BYTES;

/// No moof of ours is longer: 16 bytes for each of the frames of a part.
const MOOF_BYTES_MAX: u64 = 1 << 20;

/// One sample of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) size: u32,
    pub(crate) duration: u32,
    pub(crate) composition_offset: i32,
    pub(crate) sync: bool,
}

/// A whole fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// `tfdt`, in ticks.
    pub(crate) decode_time: u64,
    pub(crate) samples: Vec<Entry>,
    /// Where its samples begin.
    pub(crate) payload_at: u64,
    /// The sum of their sizes.
    pub(crate) payload: u64,
    /// Where it ends.
    pub(crate) end: u64,
}

impl Found {
    /// How long it lasts, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    /// When its last sample is decoded, in ticks.
    pub(crate) fn last_decode_time(&self) -> u64 {
        let last = self.samples.last().map_or(0, |sample| u64::from(sample.duration));
        self.decode_time + self.ticks() - last
    }
}

/// The fragment that begins at `at`, if a whole one does; `len` is where the bytes end.
///
/// # Errors
/// What reading says. Bytes that are no fragment are no error.
pub(crate) fn fragment_at(source: &mut (impl Read + Seek), at: u64, len: u64) -> io::Result<Option<Found>> {
    let Some((name, size)) = header(source, at, len)? else { return Ok(None) };
    if &name != b"moof" || size > MOOF_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    source.seek(SeekFrom::Start(at))?;
    source.read_exact(&mut bytes)?;
    let Ok(moof) = Moof::decode(&mut &bytes[..]) else { return Ok(None) };
    let mdat_at = at + size;
    let Some((name, mdat_size)) = header(source, mdat_at, len)? else { return Ok(None) };
    let payload_at = mdat_at + MDAT_HEADER_BYTES as u64;
    Ok(describe(&moof, size, payload_at, mdat_at + mdat_size).filter(|_| &name == b"mdat"))
}

/// All whole fragments from the start on.
///
/// # Errors
/// As for [`fragment_at`].
pub(crate) fn fragments(source: &mut (impl Read + Seek), len: u64) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(fragment) = fragment_at(source, at, len)? {
        at = fragment.end;
        found.push(fragment);
    }
    Ok(found)
}

/// Name and size of the box at `at`, if all of it lies before `len`.
fn header(source: &mut (impl Read + Seek), at: u64, len: u64) -> io::Result<Option<([u8; 4], u64)>> {
    if at.saturating_add(8) > len {
        return Ok(None);
    }
    let mut head = [0; 8];
    source.seek(SeekFrom::Start(at))?;
    source.read_exact(&mut head)?;
    let [a, b, c, d, name @ ..] = head;
    let size = u64::from(u32::from_be_bytes([a, b, c, d]));
    Ok((size >= 8 && at + size <= len).then_some((name, size)))
}

fn describe(moof: &Moof, size: u64, payload_at: u64, end: u64) -> Option<Found> {
    let [traf] = &moof.traf[..] else { return None };
    let [trun] = &traf.trun[..] else { return None };
    if traf.tfhd.track_id != TRACK_ID || u64::try_from(trun.data_offset?).ok()? != size + 8 {
        return None;
    }
    let samples: Option<Vec<Entry>> = trun
        .samples
        .iter()
        .map(|sample| {
            let flags = sample.flags.or(traf.tfhd.default_sample_flags).unwrap_or(0);
            Some(Entry {
                size: sample.size?,
                duration: sample.duration?,
                composition_offset: i32::try_from(sample.cts.unwrap_or(0)).ok()?,
                // `sample_is_non_sync_sample` (ISO/IEC 14496-12 section 8.8.3.1).
                sync: flags & 0x0001_0000 == 0,
            })
        })
        .collect();
    let samples = samples.filter(|samples| !samples.is_empty())?;
    let payload = samples.iter().map(|sample| u64::from(sample.size)).sum();
    let decode_time = traf.tfdt.as_ref()?.base_media_decode_time;
    (payload_at + payload == end).then_some(Found { decode_time, samples, payload_at, payload, end })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use media::Kind;

    use super::super::{Sample, fragment};
    use super::*;

    #[test]
    fn whole_fragments_are_found_wherever_the_bytes_end() {
        let sample = |bytes: usize, keyframe| Sample {
            data: vec![7; bytes].into(),
            duration: 3000,
            composition_offset: 6000,
            keyframe,
            discardable: false,
        };
        let parts = [
            fragment(Kind::Video, 1, 900_000, &[sample(300, true), sample(200, false)]).expect("encodes"),
            fragment(Kind::Video, 2, 906_000, &[sample(100, false)]).expect("encodes"),
        ];
        let bytes = [parts[0].to_bytes(), parts[1].to_bytes()].concat();
        let all = fragments(&mut Cursor::new(&bytes), bytes.len() as u64).expect("readable");
        assert_eq!(all.iter().map(|it| it.decode_time).collect::<Vec<_>>(), [900_000, 906_000]);
        assert_eq!((all[0].last_decode_time(), all[0].ticks()), (903_000, 6000));
        assert_eq!(all[0].samples.iter().map(|it| it.sync).collect::<Vec<_>>(), [true, false]);
        assert_eq!(all[1].end, bytes.len() as u64);
        for cut in 0..bytes.len() {
            let found = fragments(&mut Cursor::new(&bytes[..cut]), cut as u64).expect("readable");
            assert_eq!(found.len(), usize::from(cut >= parts[0].len()), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            let _ = fragments(&mut Cursor::new(&changed), changed.len() as u64).expect("no panic");
        }
    }
}
