//! The journal of a recording: what is in its files, one checksummed line per event.
//!
//! ```text
//! 8d0c7b31 {"event":"open","rendition":"video","msn":7,…}
//! ```
//! The checksum is CRC-32 (IEEE) of what stands behind the space. Reading is total: lines that were torn or changed are
//! left out and counted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::storage::disk::Appender;

/// Its name in the folder of a recording.
pub(crate) const FILE: &str = "journal.log";

/// Lines that wait for a disk that takes none: half an hour of two Renditions. At the limit the oldest are dropped; a
/// repair finds their segments on disk.
const WAITING_MAX: usize = 4096;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The first line.
    Begin { stream: String, channel: String, unix_us: u64 },
    /// An init was written. The bytes stand here too, in hexadecimal: without them no segment can be played.
    Init {
        rendition: String,
        kind: Kind,
        hz: u32,
        offset_ticks: i64,
        generation: u64,
        about: About,
        hex: String,
    },
    /// TARGETDURATION of the live playlists, in seconds.
    Target { seconds: u32 },
    /// A segment begins. `at_us`: presentation time of its first frame on the Stream's clock.
    Open {
        rendition: String,
        msn: u64,
        generation: u64,
        at_us: i64,
        unix_us: u64,
        discontinuity: bool,
        independent: bool,
    },
    /// A segment is complete. Without bytes it is a gap. A later line for the same segment is the true one.
    Close { rendition: String, msn: u64, us: u64, bytes: u64, frames: u32 },
    /// Media that should be here and is not: the disk was full or too slow.
    Lost { rendition: String, at_us: i64, us: u64 },
    /// A segment was removed, and all before it: the recording was too large.
    Removed { rendition: String, msn: u64 },
    /// The last line.
    End { unix_us: u64 },
}

/// [`media::Kind`], as it stands in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Video,
    Audio,
}

impl From<media::Kind> for Kind {
    fn from(kind: media::Kind) -> Self {
        match kind {
            media::Kind::Video => Self::Video,
            media::Kind::Audio => Self::Audio,
        }
    }
}

impl From<Kind> for media::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Video => Self::Video,
            Kind::Audio => Self::Audio,
        }
    }
}

/// What a Multivariant Playlist says about an init.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// RFC 6381.
    pub(crate) codecs: String,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) channels: Option<u8>,
}

impl From<&media::CodecConfig> for About {
    fn from(config: &media::CodecConfig) -> Self {
        let channels = match config {
            media::CodecConfig::Aac(config) => Some(config.channels),
            media::CodecConfig::Opus(config) => Some(config.channels),
            _ => None,
        };
        Self { codecs: config.rfc6381(), size: config.size(), channels }
    }
}

/// A journal that is written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Option<Appender>,
    waiting: Vec<String>,
}

impl Journal {
    /// An empty journal in this folder. It appears with its first line.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE), file: None, waiting: Vec::new() }
    }

    /// Appends a line, and those before it that the disk did not take.
    pub(crate) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.remove(0);
        }
        self.waiting.push(line(entry));
        self.flush()
    }

    /// The file, to be synced; `None` before the first line.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref().map(Appender::file)
    }

    fn flush(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Appender::create(self.path.clone())?),
        };
        file.append(&[Bytes::from(self.waiting.concat())])?;
        self.waiting.clear();
        Ok(())
    }
}

/// An entry as a line.
pub(crate) fn line(entry: &impl Serialize) -> String {
    // Plain data: it always has a form as JSON.
    let text = serde_json::to_string(entry).unwrap_or_default();
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

/// Every line that is whole, and how many are not.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> (Vec<T>, usize) {
    let mut entries = Vec::new();
    let mut bad = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse(line) {
            Some(entry) => entries.push(entry),
            None => bad += 1,
        }
    }
    (entries, bad)
}

/// The entries that were appended to the journal in `folder` behind `offset`, which moves on. Of a line that is being
/// written nothing is read.
pub(crate) fn read_on(folder: &Path, offset: &mut u64) -> io::Result<Vec<Entry>> {
    let mut file = File::open(folder.join(FILE))?;
    file.seek(SeekFrom::Start(*offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    *offset += whole as u64;
    Ok(read(&bytes[..whole]).0)
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, text) = line.split_at_checked(8)?;
    let text = text.strip_prefix(b" ")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (crc32fast::hash(text) == sum).then(|| serde_json::from_slice(text).ok())?
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads [`hex`].
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_and_changed_lines_are_left_out() {
        let entries = [
            Entry::Begin { stream: "s1".into(), channel: "ana".into(), unix_us: 5 },
            Entry::Close { rendition: "video".into(), msn: 3, us: 2_000_000, bytes: 7, frames: 60 },
            Entry::End { unix_us: 9 },
        ];
        let text: String = entries.iter().map(line).collect();
        assert_eq!(read(text.as_bytes()), (entries.to_vec(), 0));
        for cut in 0..text.len() {
            let whole = text[..cut].matches('\n').count();
            let (found, _) = read::<Entry>(&text.as_bytes()[..cut]);
            // A line without its end is whole if its checksum says so.
            assert!(found.len() == whole || found.len() == whole + 1, "{cut}");
            assert_eq!(found, entries[..found.len()]);
        }
        let mut changed = text.clone().into_bytes();
        changed[20] ^= 1;
        assert_eq!(read(&changed), (entries[1..].to_vec(), 1));
        let folder = tempfile::tempdir().expect("a folder");
        let mut offset = 0;
        for cut in 0..=text.len() {
            std::fs::write(folder.path().join(FILE), &text[..cut]).expect("written");
            let found = read_on(folder.path(), &mut offset).expect("readable");
            let ends = cut > 0 && text.as_bytes()[cut - 1] == b'\n';
            assert_eq!((found.len(), offset == cut as u64), (usize::from(ends), ends || cut == 0), "{cut}");
        }
        assert_eq!(unhex(&hex(&[0, 1, 0xfe])), Some(vec![0, 1, 0xfe]));
        assert_eq!((unhex("0"), unhex("zz")), (None, None));
    }
}
