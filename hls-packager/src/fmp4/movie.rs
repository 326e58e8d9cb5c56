//! The `moov` of a progressive MP4 whose samples are those of fragments.

use bytes::BufMut;
use media::{Kind, Timescale};

use super::scan::Found;

/// Ticks per second of the movie's own clock.
const MOVIE_HZ: u64 = 90_000;

/// Samples of a Track at most: 3 days of 60 fps. Each takes 4 bytes of memory, and 8 where it has its own duration or
/// composition offset.
pub(crate) const SAMPLES_MAX: usize = 16 << 20;

/// What is written before the length of an `mdat` that may be longer than 4 GiB.
const MDAT_HEADER_BYTES: u64 = 16;

/// A Track of the movie.
#[derive(Debug)]
pub(crate) struct Track {
    kind: Kind,
    scale: Timescale,
    size: (u16, u16),
    /// Sample entries, as they stand in the inits.
    descriptions: Vec<Vec<u8>>,
    /// Runs of (samples, value).
    durations: Vec<(u32, u32)>,
    offsets: Vec<(u32, i32)>,
    sizes: Vec<u32>,
    syncs: Vec<u32>,
    pub(crate) chunks: Vec<Chunk>,
    first_decode_time: Option<u64>,
    /// When the next sample should be decoded.
    next_decode_time: u64,
}

/// The samples of one fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    /// In ticks of the Track.
    pub(crate) decode_time: u64,
    pub(crate) bytes: u64,
    samples: u32,
    description: u32,
    /// Where it begins in the file, once laid out.
    offset: u64,
}

impl Track {
    pub(crate) fn new(kind: Kind, scale: Timescale) -> Self {
        Self {
            kind,
            scale,
            size: (0, 0),
            descriptions: Vec::new(),
            durations: Vec::new(),
            offsets: Vec::new(),
            sizes: Vec::new(),
            syncs: Vec::new(),
            chunks: Vec::new(),
            first_decode_time: None,
            next_decode_time: 0,
        }
    }

    /// The number of a sample description, from its init; `None` if the init has none.
    pub(crate) fn description(&mut self, init: &[u8]) -> Option<u32> {
        let entry = sample_entry(init)?;
        if self.kind == Kind::Video
            && let Some([w1, w2, h1, h2]) = entry.get(32..36)
        {
            let (width, height) = (u16::from_be_bytes([*w1, *w2]), u16::from_be_bytes([*h1, *h2]));
            self.size = (self.size.0.max(width), self.size.1.max(height));
        }
        let known = self.descriptions.iter().position(|it| it == entry);
        let at = known.unwrap_or_else(|| {
            self.descriptions.push(entry.to_vec());
            self.descriptions.len() - 1
        });
        u32::try_from(at + 1).ok()
    }

    /// Appends the samples of a fragment. False if there are too many.
    pub(crate) fn push(&mut self, fragment: &Found, description: u32) -> bool {
        if self.sizes.len() + fragment.samples.len() > SAMPLES_MAX {
            return false;
        }
        if self.first_decode_time.is_none() {
            self.first_decode_time = Some(fragment.decode_time);
            self.next_decode_time = fragment.decode_time;
        }
        // A hole is filled by the sample before it; where fragments overlap it is shortened.
        let shift = i128::from(fragment.decode_time) - i128::from(self.next_decode_time);
        self.stretch_last(shift);
        for sample in &fragment.samples {
            self.sizes.push(sample.size);
            append_run(&mut self.durations, sample.duration);
            append_run(&mut self.offsets, sample.composition_offset);
            if sample.sync {
                self.syncs.push(u32::try_from(self.sizes.len()).unwrap_or(u32::MAX));
            }
            self.next_decode_time += u64::from(sample.duration);
        }
        self.chunks.push(Chunk {
            decode_time: fragment.decode_time,
            bytes: fragment.payload,
            samples: u32::try_from(fragment.samples.len()).unwrap_or(u32::MAX),
            description,
            offset: 0,
        });
        true
    }

    fn stretch_last(&mut self, shift: i128) {
        let Some((count, duration)) = self.durations.pop() else { return };
        if shift == 0 {
            return self.durations.push((count, duration));
        }
        if count > 1 {
            self.durations.push((count - 1, duration));
        }
        let wanted = (i128::from(duration) + shift).clamp(1, i128::from(u32::MAX));
        let wanted = u32::try_from(wanted).unwrap_or(1);
        append_run(&mut self.durations, wanted);
        self.next_decode_time = self.next_decode_time + u64::from(wanted) - u64::from(duration);
    }

    fn duration(&self) -> u64 {
        self.next_decode_time - self.first_decode_time.unwrap_or(0)
    }

    /// When its first sample is shown, in ticks of the movie.
    fn first_shown(&self) -> u64 {
        let offset = self.offsets.first().map_or(0, |(_, offset)| *offset);
        let shown = self.first_decode_time.unwrap_or(0).saturating_add_signed(i64::from(offset));
        self.in_movie(shown)
    }

    pub(crate) fn in_movie(&self, ticks: u64) -> u64 {
        let scaled = u128::from(ticks) * u128::from(MOVIE_HZ) / u128::from(self.scale.hz());
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

/// Everything before the samples: `ftyp`, `moov` and the header of `mdat`. `order` says for each chunk in the file
/// which Track it is of.
pub(crate) fn head(tracks: &mut [Track], order: &[usize]) -> Vec<u8> {
    let payload: u64 = tracks.iter().flat_map(|track| &track.chunks).map(|chunk| chunk.bytes).sum();
    // Offsets take 8 bytes each, so the length does not depend on them.
    let length = (ftyp().len() + moov(tracks).len()) as u64 + MDAT_HEADER_BYTES;
    let mut next = vec![0; tracks.len()];
    let mut at = length;
    for track in order {
        let Some(chunk) = tracks[*track].chunks.get_mut(next[*track]) else { continue };
        next[*track] += 1;
        chunk.offset = at;
        at += chunk.bytes;
    }
    let mut out = ftyp();
    out.extend_from_slice(&moov(tracks));
    out.put_u32(1);
    out.extend_from_slice(b"mdat");
    out.put_u64(MDAT_HEADER_BYTES + payload);
    out
}

fn append_run<T: PartialEq>(runs: &mut Vec<(u32, T)>, value: T) {
    match runs.last_mut() {
        Some((count, last)) if *last == value => *count += 1,
        _ => runs.push((1, value)),
    }
}

fn boxed(name: &[u8; 4], out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.extend_from_slice(name);
    body(out);
    let size = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box with a version and flags.
fn full(name: &[u8; 4], version: u8, flags: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    boxed(name, out, |out| {
        out.put_u32(u32::from(version) << 24 | flags);
        body(out);
    });
}

fn ftyp() -> Vec<u8> {
    let mut out = Vec::new();
    boxed(b"ftyp", &mut out, |out| out.extend_from_slice(b"isom\0\0\x02\0isomiso2mp41"));
    out
}

fn moov(tracks: &[Track]) -> Vec<u8> {
    let mut out = Vec::new();
    let zero = tracks.iter().map(Track::first_shown).min().unwrap_or(0);
    let lasts = |track: &Track| track.first_shown() - zero + track.in_movie(track.duration());
    let duration = tracks.iter().map(lasts).max().unwrap_or(0);
    boxed(b"moov", &mut out, |out| {
        full(b"mvhd", 1, 0, out, |out| {
            out.put_bytes(0, 16);
            out.put_u32(MOVIE_HZ as u32);
            out.put_u64(duration);
            out.put_u32(0x0001_0000);
            out.put_u16(0x0100);
            out.put_bytes(0, 10);
            put_matrix(out);
            out.put_bytes(0, 24);
            out.put_u32(u32::try_from(tracks.len() + 1).unwrap_or(u32::MAX));
        });
        for (track, id) in tracks.iter().zip(1..) {
            put_track(out, track, id, zero);
        }
    });
    out
}

fn put_matrix(out: &mut Vec<u8>) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000_u32] {
        out.put_u32(value);
    }
}

fn put_track(out: &mut Vec<u8>, track: &Track, id: u32, zero: u64) {
    let video = track.kind == Kind::Video;
    let late = track.first_shown() - zero;
    let lasts = track.in_movie(track.duration());
    boxed(b"trak", out, |out| {
        full(b"tkhd", 1, 3, out, |out| {
            out.put_bytes(0, 16);
            out.put_u32(id);
            out.put_u32(0);
            out.put_u64(late + lasts);
            out.put_bytes(0, 12);
            out.put_u16(if video { 0 } else { 0x0100 });
            out.put_u16(0);
            put_matrix(out);
            out.put_u32(u32::from(track.size.0) << 16);
            out.put_u32(u32::from(track.size.1) << 16);
        });
        boxed(b"edts", out, |out| {
            full(b"elst", 1, 0, out, |out| {
                out.put_u32(1 + u32::from(late > 0));
                if late > 0 {
                    // Nothing is shown until the first sample.
                    out.put_u64(late);
                    out.put_i64(-1);
                    out.put_u32(0x0001_0000);
                }
                out.put_u64(lasts);
                // Composition offsets delay all samples; what is shown first is the beginning.
                out.put_i64(i64::from(track.offsets.first().map_or(0, |(_, offset)| *offset)));
                out.put_u32(0x0001_0000);
            });
        });
        boxed(b"mdia", out, |out| {
            full(b"mdhd", 1, 0, out, |out| {
                out.put_bytes(0, 16);
                out.put_u32(track.scale.hz());
                out.put_u64(track.duration());
                // "und", 5 bits per letter.
                out.put_u32(0x55c4_0000);
            });
            full(b"hdlr", 0, 0, out, |out| {
                out.put_u32(0);
                out.extend_from_slice(if video { b"vide" } else { b"soun" });
                out.put_bytes(0, 12);
                out.extend_from_slice(if video { b"Video\0" } else { b"Audio\0" });
            });
            boxed(b"minf", out, |out| put_media_information(out, track));
        });
    });
}

fn put_media_information(out: &mut Vec<u8>, track: &Track) {
    match track.kind {
        Kind::Video => full(b"vmhd", 0, 1, out, |out| out.put_bytes(0, 8)),
        Kind::Audio => full(b"smhd", 0, 0, out, |out| out.put_u32(0)),
    }
    boxed(b"dinf", out, |out| {
        full(b"dref", 0, 0, out, |out| {
            out.put_u32(1);
            full(b"url ", 0, 1, out, |_| {});
        });
    });
    boxed(b"stbl", out, |out| {
        full(b"stsd", 0, 0, out, |out| {
            put_count(out, track.descriptions.len());
            track.descriptions.iter().for_each(|entry| out.extend_from_slice(entry));
        });
        full(b"stts", 0, 0, out, |out| {
            put_count(out, track.durations.len());
            for (count, duration) in &track.durations {
                out.put_u32(*count);
                out.put_u32(*duration);
            }
        });
        if track.offsets.iter().any(|(_, offset)| *offset != 0) {
            full(b"ctts", 1, 0, out, |out| {
                put_count(out, track.offsets.len());
                for (count, offset) in &track.offsets {
                    out.put_u32(*count);
                    out.put_i32(*offset);
                }
            });
        }
        if track.syncs.len() < track.sizes.len() {
            full(b"stss", 0, 0, out, |out| {
                put_count(out, track.syncs.len());
                track.syncs.iter().for_each(|number| out.put_u32(*number));
            });
        }
        full(b"stsc", 0, 0, out, |out| put_chunk_runs(out, &track.chunks));
        full(b"stsz", 0, 0, out, |out| {
            out.put_u32(0);
            put_count(out, track.sizes.len());
            track.sizes.iter().for_each(|size| out.put_u32(*size));
        });
        full(b"co64", 0, 0, out, |out| {
            put_count(out, track.chunks.len());
            track.chunks.iter().for_each(|chunk| out.put_u64(chunk.offset));
        });
    });
}

fn put_chunk_runs(out: &mut Vec<u8>, chunks: &[Chunk]) {
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    for (chunk, number) in chunks.iter().zip(1..) {
        let same = |run: &&(u32, u32, u32)| (run.1, run.2) == (chunk.samples, chunk.description);
        if runs.last().filter(same).is_none() {
            runs.push((number, chunk.samples, chunk.description));
        }
    }
    put_count(out, runs.len());
    for (first, samples, description) in runs {
        out.put_u32(first);
        out.put_u32(samples);
        out.put_u32(description);
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

/// The sample entry of an init segment.
fn sample_entry(init: &[u8]) -> Option<&[u8]> {
    let mut inside = init;
    for name in [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"] {
        inside = child(inside, name)?;
    }
    // Version, flags and count stand before it.
    let entry = inside.get(8..)?;
    let size = u32::from_be_bytes(entry.get(..4)?.try_into().ok()?);
    entry.get(..usize::try_from(size).ok()?).filter(|entry| entry.len() >= 16)
}

/// The body of the first box of that name.
pub(super) fn child<'a>(mut bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let size = usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
        let found = bytes.get(..size).filter(|found| found.len() >= 8)?;
        if &found[4..8] == name {
            return Some(&found[8..]);
        }
        bytes = &bytes[size..];
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Decode, Ftyp, Moov};

    use super::super::scan::Entry;
    use super::*;

    fn found(decode_time: u64, samples: usize) -> Found {
        let sample = Entry { size: 10, duration: 3000, composition_offset: 6000, sync: false };
        let mut samples = vec![sample; samples];
        samples[0].sync = true;
        let payload = 10 * samples.len() as u64;
        Found { decode_time, samples, payload_at: 0, payload, end: 0 }
    }

    #[test]
    fn a_movie_reads_back_and_a_hole_is_filled_by_the_sample_before_it() {
        let config = crate::tests::source::video_config(crate::tests::SPS);
        let init = super::super::init(&config, Timescale::VIDEO).expect("an init");
        let mut track = Track::new(Kind::Video, Timescale::VIDEO);
        assert_eq!((track.description(&init), track.description(&init)), (Some(1), Some(1)));
        assert!(track.push(&found(900_000, 4), 1));
        // 1 s is missing.
        assert!(track.push(&found(912_000 + 90_000, 4), 1));
        let mut tracks = [track];
        let head = head(&mut tracks, &[0, 0]);
        let mut rest = &head[..];
        Ftyp::decode(&mut rest).expect("ftyp");
        let moov = Moov::decode(&mut rest).expect("moov");
        assert_eq!(rest.len(), 16, "the header of mdat");
        let trak = &moov.trak[0];
        let stbl = &trak.mdia.minf.stbl;
        assert_eq!(trak.mdia.mdhd.duration, 8 * 3000 + 90_000);
        assert_eq!(trak.tkhd.width.integer(), 1280);
        let durations: Vec<_> =
            stbl.stts.entries.iter().map(|it| (it.sample_count, it.sample_delta)).collect();
        assert_eq!(durations, [(3, 3000), (1, 93_000), (4, 3000)]);
        assert_eq!(stbl.stss.as_ref().expect("stss").entries, [1, 5]);
        let offsets = &stbl.co64.as_ref().expect("co64").entries;
        assert_eq!(offsets[..], [head.len() as u64, head.len() as u64 + 40]);
    }

    #[test]
    fn damaged_inits_have_no_sample_entry() {
        let config = crate::tests::source::video_config(crate::tests::SPS);
        let init = super::super::init(&config, Timescale::VIDEO).expect("an init");
        for cut in 0..init.len() {
            assert!(sample_entry(&init[..cut]).is_none(), "{cut}");
        }
    }
}
