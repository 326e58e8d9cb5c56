//! The write-ahead files: every frame as it came, until the part that it went into is on disk.
//!
//! A recording has a few files `wal-{n}.bin`. The newest takes frames; one is removed when every frame in it is in a
//! part. A record is
//! ```text
//! length u32 │ CRC-32 of the rest u32 │ 1: config number u16, length u32, About as JSON, init segment
//!                                     │ 2: config number u16, flags u8, epoch u32, hz u32, dts i64, pts i64, duration u32, frame
//! ```
//! in big endian. Numbers of configs count within a file, so that each file can be read without the others.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use media::{CodecConfig, Frame, MediaTime, Timescale};
use serde::{Deserialize, Serialize};

use super::journal;
use crate::fmp4;
use crate::storage::disk::Appender;

/// A file that is longer is closed: 2 s of 4 Mbit/s.
const FILE_BYTES: u64 = 1 << 20;

/// Files at a time: what is measured before the first part, 4 s at 100 Mbit/s. At the limit the oldest is removed,
/// though frames in it are in no part yet; counted.
const FILES_MAX: usize = 64;

/// No record is longer: the ring of a Track holds 16 MiB.
const RECORD_BYTES_MAX: usize = 17 << 20;

const CONFIG: u8 = 1;
const FRAME: u8 = 2;
const KEYFRAME: u8 = 1;
const DISCARDABLE: u8 = 2;

/// What a decoder must know, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) rendition: String,
    pub(crate) kind: journal::Kind,
    pub(crate) about: journal::About,
    #[serde(skip)]
    pub(crate) init: Bytes,
}

/// A frame that was read back.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) config: Arc<Config>,
    pub(crate) epoch: u32,
    pub(crate) dts: MediaTime,
    pub(crate) pts: MediaTime,
    pub(crate) duration: u32,
    pub(crate) keyframe: bool,
    pub(crate) discardable: bool,
    pub(crate) data: Bytes,
}

/// The write-ahead files of a recording.
#[derive(Debug)]
pub(crate) struct Wal {
    folder: PathBuf,
    files: VecDeque<OpenFile>,
    next: u64,
    /// Newest decoding time that is in a part, per Rendition.
    covered: BTreeMap<Arc<str>, i64>,
    /// Files that were removed though frames in them were in no part.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: Appender,
    configs: Vec<(&'static str, Arc<CodecConfig>)>,
    last: BTreeMap<&'static str, i64>,
}

impl Wal {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: VecDeque::new(),
            next: 0,
            covered: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// Writes a frame.
    pub(crate) fn write(&mut self, rendition: &'static str, frame: &Frame) -> io::Result<()> {
        if self.files.back().is_none_or(|file| file.file.len() >= FILE_BYTES) {
            self.rotate()?;
        }
        let Some(file) = self.files.back_mut() else { return Ok(()) };
        let known = file.configs.iter().position(|(of, config)| {
            *of == rendition && (Arc::ptr_eq(config, &frame.config) || *config == frame.config)
        });
        let number = match known {
            Some(number) => number,
            None => {
                let number = file.configs.len();
                // A codec that no init can be made for is not recorded either.
                let Some(record) = config_record(number, rendition, frame) else { return Ok(()) };
                file.file.append(&[record])?;
                file.configs.push((rendition, Arc::clone(&frame.config)));
                number
            }
        };
        file.file.append(&frame_record(number, frame))?;
        file.last.insert(rendition, frame.dts.as_micros());
        Ok(())
    }

    /// Everything of a Rendition that is decoded up to `micros` on the Stream's clock is in parts.
    pub(crate) fn cover(&mut self, rendition: &Arc<str>, micros: i64) {
        let covered = self.covered.entry(Arc::clone(rendition)).or_insert(i64::MIN);
        *covered = (*covered).max(micros);
        while self.files.len() > 1
            && let Some(first) = self.files.front()
            && first.last.iter().all(|(name, last)| self.covered.get(*name).is_some_and(|it| it >= last))
        {
            let _ = fs::remove_file(&first.path);
            self.files.pop_front();
        }
    }

    /// Removes all files: everything is in parts.
    pub(crate) fn remove(&mut self) {
        for file in self.files.drain(..) {
            let _ = fs::remove_file(&file.path);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = self.folder.join(format!("wal-{}.bin", self.next));
        let file = Appender::create(path.clone())?;
        self.next += 1;
        self.files.push_back(OpenFile { path, file, configs: Vec::new(), last: BTreeMap::new() });
        if self.files.len() > FILES_MAX
            && let Some(first) = self.files.pop_front()
        {
            self.dropped += 1;
            let _ = fs::remove_file(&first.path);
        }
        Ok(())
    }
}

fn config_record(number: usize, rendition: &str, frame: &Frame) -> Option<Bytes> {
    let config = &*frame.config;
    let init = fmp4::init(config, frame.dts.scale()).ok()?;
    let about = Config {
        rendition: rendition.to_owned(),
        kind: config.codec().kind().into(),
        about: config.into(),
        init: Bytes::new(),
    };
    let json = serde_json::to_vec(&about).ok()?;
    let mut rest = Vec::with_capacity(7 + json.len() + init.len());
    rest.put_u8(CONFIG);
    rest.put_u16(u16::try_from(number).ok()?);
    rest.put_u32(u32::try_from(json.len()).ok()?);
    rest.extend_from_slice(&json);
    rest.extend_from_slice(&init);
    Some([head(&rest, &[]), rest].concat().into())
}

fn frame_record(number: usize, frame: &Frame) -> [Bytes; 2] {
    let mut rest = Vec::with_capacity(48);
    rest.put_u8(FRAME);
    rest.put_u16(u16::try_from(number).unwrap_or(u16::MAX));
    let discardable = if frame.discardable { DISCARDABLE } else { 0 };
    let keyframe = if frame.keyframe { KEYFRAME } else { 0 };
    rest.put_u8(keyframe | discardable);
    rest.put_u32(frame.epoch);
    rest.put_u32(frame.dts.scale().hz());
    rest.put_i64(frame.dts.ticks());
    rest.put_i64(frame.pts.ticks());
    rest.put_u32(frame.duration);
    [[head(&rest, &frame.data), rest].concat().into(), frame.data.clone()]
}

fn head(rest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut sum = crc32fast::Hasher::new();
    sum.update(rest);
    sum.update(data);
    let mut head = Vec::with_capacity(8);
    head.put_u32(u32::try_from(rest.len() + data.len()).unwrap_or(u32::MAX));
    head.put_u32(sum.finalize());
    head
}

/// The write-ahead files in a folder, oldest first.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix("wal-")?.strip_suffix(".bin")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The frames of one file, up to the first record that is not whole.
pub(crate) fn read(bytes: Bytes) -> Vec<Found> {
    let mut rest = bytes;
    let mut configs: Vec<Arc<Config>> = Vec::new();
    let mut frames = Vec::new();
    while let Some(record) = next_record(&mut rest) {
        let Some(()) = take(record, &mut configs, &mut frames) else { break };
    }
    frames
}

fn next_record(rest: &mut Bytes) -> Option<Bytes> {
    if rest.len() < 8 {
        return None;
    }
    let length = rest.get_u32() as usize;
    let sum = rest.get_u32();
    if length > RECORD_BYTES_MAX || length > rest.len() {
        return None;
    }
    let record = rest.split_to(length);
    (crc32fast::hash(&record) == sum).then_some(record)
}

fn take(mut record: Bytes, configs: &mut Vec<Arc<Config>>, frames: &mut Vec<Found>) -> Option<()> {
    if record.len() < 7 {
        return None;
    }
    let kind = record.get_u8();
    let number = usize::from(record.get_u16());
    if kind == CONFIG {
        let length = record.get_u32() as usize;
        if length > record.len() || number != configs.len() {
            return None;
        }
        let mut config: Config = serde_json::from_slice(&record.split_to(length)).ok()?;
        config.init = record;
        configs.push(Arc::new(config));
        return Some(());
    }
    if kind != FRAME || record.len() < 29 {
        return None;
    }
    let config = Arc::clone(configs.get(number)?);
    let flags = record.get_u8();
    let epoch = record.get_u32();
    let scale = Timescale::new(record.get_u32())?;
    let dts = MediaTime::new(record.get_i64(), scale);
    let pts = MediaTime::new(record.get_i64(), scale);
    let duration = record.get_u32();
    frames.push(Found {
        config,
        epoch,
        dts,
        pts,
        duration,
        keyframe: flags & KEYFRAME != 0,
        discardable: flags & DISCARDABLE != 0,
        data: record,
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::source::Source;

    #[test]
    fn frames_come_back_whole_and_in_order_wherever_the_file_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Source { seconds: 0.4, ..Source::default() };
        let frames = source.frames(tokio::time::Instant::now().into_std());
        let mut wal = Wal::new(folder.path());
        for (kind, frame) in &frames {
            let name = if *kind == media::Kind::Video { "video" } else { "audio" };
            wal.write(name, frame).expect("written");
        }
        let path = files(folder.path()).expect("a list").remove(0);
        let bytes = Bytes::from(fs::read(path).expect("readable"));
        let whole = read(bytes.clone());
        assert_eq!(whole.len(), frames.len());
        for (found, (_, frame)) in whole.iter().zip(&frames) {
            assert_eq!((found.dts, found.pts, found.keyframe), (frame.dts, frame.pts, frame.keyframe));
            assert_eq!(found.data, frame.data);
        }
        let mut most = 0;
        for cut in (0..bytes.len()).step_by(7) {
            let found = read(bytes.slice(..cut));
            assert!(found.len() >= most && found.len() <= whole.len());
            most = found.len();
        }
        let mut changed = bytes.to_vec();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(read(changed.into()).len() < whole.len());
    }

    #[test]
    fn files_go_when_their_frames_are_in_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Source { seconds: 30.0, audio_hz: None, ..Source::default() };
        let mut wal = Wal::new(folder.path());
        let name: Arc<str> = "video".into();
        let mut most = 0;
        for (_, frame) in source.frames(tokio::time::Instant::now().into_std()) {
            wal.write("video", &frame).expect("written");
            wal.cover(&name, frame.dts.as_micros() - 1_000_000);
            most = most.max(files(folder.path()).expect("a list").len());
        }
        assert!(most <= 3, "{most}");
        wal.remove();
        assert_eq!(files(folder.path()).expect("a list").len(), 0);
    }
}
