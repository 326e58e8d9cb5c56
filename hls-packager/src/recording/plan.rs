//! What a recording consists of, as its journal tells it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use media::Timescale;

use super::journal::{self, About, Entry, Kind};
use crate::file_name::FileName;

/// A recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) stream: String,
    pub(crate) channel: String,
    pub(crate) started_unix_us: u64,
    pub(crate) ended_unix_us: Option<u64>,
    /// TARGETDURATION of the live playlists, in seconds.
    pub(crate) target_s: Option<u32>,
    /// In the order in which they appeared.
    pub(crate) renditions: Vec<Rendition>,
    /// Lines that were torn or changed.
    pub(crate) bad_lines: usize,
}

/// One of its Renditions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendition {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) scale: Timescale,
    pub(crate) offset_ticks: i64,
    pub(crate) inits: BTreeMap<u64, Init>,
    /// In the order of time.
    pub(crate) segments: Vec<Segment>,
    pub(crate) gone: Gone,
}

/// What a playlist that listed segments from the first on must say of those that were removed while it was live. A
/// repair forgets it: then nothing is live any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Their number, holes counted as they are listed.
    pub(crate) listed: u64,
    /// DISCONTINUITY tags among them.
    pub(crate) discontinuities: u64,
    /// The init of the last of them.
    pub(crate) generation: Option<u64>,
}

/// One of its init segments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Init {
    pub(crate) about: About,
    pub(crate) bytes: Vec<u8>,
}

/// A segment, or a hole of that length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    /// `None`: a hole.
    pub(crate) msn: Option<u64>,
    pub(crate) generation: u64,
    pub(crate) at_us: i64,
    pub(crate) unix_us: u64,
    pub(crate) discontinuity: bool,
    pub(crate) independent: bool,
    /// `None` while it is open.
    pub(crate) closed: Option<Closed>,
}

/// A hole that is shorter is left out: nobody hears it.
const HOLE_MIN: Duration = Duration::from_millis(10);

/// What is known of a segment when it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) us: u64,
    /// 0: there is nothing in it.
    pub(crate) bytes: u64,
    pub(crate) frames: u32,
}

impl Segment {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_micros(self.closed.map_or(0, |closed| closed.us))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.closed.map_or(0, |closed| closed.bytes)
    }

    /// Nothing can be played in it.
    pub(crate) fn is_hole(&self) -> bool {
        self.msn.is_none() || self.bytes() == 0
    }

    /// How long it is in a playlist: a hole is listed in pieces of at most `target`, or not at all if nobody hears it.
    pub(crate) fn pieces(&self, target: Duration) -> Vec<Duration> {
        let (mut left, mut pieces) = (self.duration(), Vec::new());
        if !self.is_hole() {
            return vec![left];
        }
        while left >= HOLE_MIN || !pieces.is_empty() && !left.is_zero() {
            let piece = left.min(target);
            left -= piece;
            pieces.push(piece);
        }
        pieces
    }

    /// It is listed behind a DISCONTINUITY, if what stands before it needs the init `before`.
    pub(crate) fn breaks(&self, before: Option<u64>) -> bool {
        before.is_some_and(|before| self.discontinuity || before != self.generation)
    }
}

impl Plan {
    /// Reads the journal of a recording; an empty plan if there is none.
    ///
    /// # Errors
    /// What reading says.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let bytes = match fs::read(folder.join(journal::FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (entries, bad_lines) = journal::read(&bytes);
        let mut plan = Self { bad_lines, ..Self::default() };
        for entry in entries {
            plan.take(entry);
        }
        Ok(plan)
    }

    /// The journal that tells this.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Begin {
            stream: self.stream.clone(),
            channel: self.channel.clone(),
            unix_us: self.started_unix_us,
        }];
        entries.extend(self.target_s.map(|seconds| Entry::Target { seconds }));
        for rendition in &self.renditions {
            entries.extend(rendition.entries());
        }
        entries.extend(self.ended_unix_us.map(|unix_us| Entry::End { unix_us }));
        entries
    }

    /// The longest Rendition.
    pub(crate) fn duration(&self) -> Duration {
        self.renditions.iter().map(Rendition::duration).max().unwrap_or_default()
    }

    /// Payload bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.renditions.iter().flat_map(|rendition| &rendition.segments).map(Segment::bytes).sum()
    }

    /// Renditions in which something can be played.
    pub(crate) fn playable(&self) -> impl Iterator<Item = &Rendition> {
        self.renditions.iter().filter(|it| it.segments.iter().any(|segment| !segment.is_hole()))
    }

    /// Holes of all Renditions, and how long they are in the worst of them.
    pub(crate) fn holes(&self) -> (u64, Duration) {
        let of = |rendition: &Rendition| {
            let holes = rendition.segments.iter().filter(|segment| segment.msn.is_none());
            holes.fold((0, Duration::ZERO), |(count, sum), hole| (count + 1, sum + hole.duration()))
        };
        let all: Vec<_> = self.renditions.iter().map(of).collect();
        (all.iter().map(|it| it.0).sum(), all.iter().map(|it| it.1).max().unwrap_or_default())
    }

    pub(crate) fn rendition_mut(&mut self, name: &str) -> Option<&mut Rendition> {
        self.renditions.iter_mut().find(|rendition| rendition.name == name)
    }

    /// Adds what an entry of the journal tells.
    pub(crate) fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Begin { stream, channel, unix_us } => {
                (self.stream, self.channel, self.started_unix_us) = (stream, channel, unix_us);
            }
            Entry::Init { rendition, kind, hz, offset_ticks, generation, about, hex } => {
                let (Some(scale), Some(bytes)) = (Timescale::new(hz), journal::unhex(&hex)) else {
                    self.bad_lines += 1;
                    return;
                };
                if self.rendition_mut(&rendition).is_none() {
                    self.renditions.push(Rendition {
                        name: rendition.clone(),
                        kind,
                        scale,
                        offset_ticks,
                        inits: BTreeMap::new(),
                        segments: Vec::new(),
                        gone: Gone::default(),
                    });
                }
                if let Some(found) = self.rendition_mut(&rendition) {
                    found.inits.insert(generation, Init { about, bytes });
                }
            }
            Entry::Open { rendition, msn, generation, at_us, unix_us, discontinuity, independent } => {
                let Some(found) = self.rendition_mut(&rendition) else { return };
                found.segments.push(Segment {
                    msn: Some(msn),
                    generation,
                    at_us,
                    unix_us,
                    discontinuity,
                    independent,
                    closed: None,
                });
            }
            Entry::Close { rendition, msn, us, bytes, frames } => {
                let Some(found) = self.rendition_mut(&rendition) else { return };
                let Some(at) = found.segments.iter().rposition(|it| it.msn == Some(msn)) else { return };
                if us == 0 && bytes == 0 {
                    // The disk took none of it: a hole is told in its place.
                    found.segments.remove(at);
                } else {
                    found.segments[at].closed = Some(Closed { us, bytes, frames });
                }
            }
            Entry::Lost { rendition, at_us, us } => {
                let started = self.started_unix_us.saturating_add_signed(at_us);
                let Some(found) = self.rendition_mut(&rendition) else { return };
                let last = found.segments.last();
                let unix_us =
                    last.map_or(started, |last| last.unix_us.saturating_add_signed(at_us - last.at_us));
                found.segments.push(Segment {
                    msn: None,
                    generation: last.map_or(0, |last| last.generation),
                    at_us,
                    unix_us,
                    discontinuity: false,
                    independent: false,
                    closed: Some(Closed { us, ..Closed::default() }),
                });
            }
            Entry::Removed { rendition, msn } => {
                let target = self.target_s.map(|seconds| Duration::from_secs(seconds.into()));
                let Some(found) = self.rendition_mut(&rendition) else { return };
                if let Some(at) = found.segments.iter().position(|it| it.msn == Some(msn)) {
                    let gone = &mut found.gone;
                    for segment in found.segments.drain(..=at) {
                        gone.listed += segment.pieces(target.unwrap_or(Duration::MAX)).len() as u64;
                        gone.discontinuities += u64::from(segment.breaks(gone.generation));
                        gone.generation = Some(segment.generation);
                    }
                }
            }
            Entry::Target { seconds } => self.target_s = Some(seconds),
            Entry::End { unix_us } => self.ended_unix_us = Some(unix_us),
        }
    }
}

impl Rendition {
    pub(crate) fn duration(&self) -> Duration {
        self.segments.iter().map(Segment::duration).sum()
    }

    /// The init that most of a player's decisions are made from.
    pub(crate) fn about(&self) -> Option<&About> {
        self.inits.values().next_back().map(|init| &init.about)
    }

    /// Where a file of it lies in the folder of the recording.
    pub(crate) fn path(&self, folder: &Path, file: FileName) -> PathBuf {
        folder.join(&self.name).join(file.uri())
    }

    /// From decoding times in its segments to the Stream's clock.
    pub(crate) fn micros(&self, decode_time: u64) -> i64 {
        let ticks = i64::try_from(decode_time).unwrap_or(i64::MAX).saturating_sub(self.offset_ticks);
        media::MediaTime::new(ticks, self.scale).as_micros()
    }

    /// Ticks as time.
    pub(crate) fn length(&self, ticks: u64) -> Duration {
        let hz = u64::from(self.scale.hz());
        Duration::from_micros(ticks.saturating_mul(1_000_000) / hz)
    }

    fn entries(&self) -> Vec<Entry> {
        let name = || self.name.clone();
        let mut entries: Vec<Entry> = self
            .inits
            .iter()
            .map(|(generation, init)| Entry::Init {
                rendition: name(),
                kind: self.kind,
                hz: self.scale.hz(),
                offset_ticks: self.offset_ticks,
                generation: *generation,
                about: init.about.clone(),
                hex: journal::hex(&init.bytes),
            })
            .collect();
        for segment in &self.segments {
            let Some(msn) = segment.msn else {
                let us = segment.closed.map_or(0, |closed| closed.us);
                entries.push(Entry::Lost { rendition: name(), at_us: segment.at_us, us });
                continue;
            };
            entries.push(Entry::Open {
                rendition: name(),
                msn,
                generation: segment.generation,
                at_us: segment.at_us,
                unix_us: segment.unix_us,
                discontinuity: segment.discontinuity,
                independent: segment.independent,
            });
            if let Some(Closed { us, bytes, frames }) = segment.closed {
                entries.push(Entry::Close { rendition: name(), msn, us, bytes, frames });
            }
        }
        entries
    }
}
