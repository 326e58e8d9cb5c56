//! A Presentation in virtual time. Every playlist that it makes is read back and checked.

use std::time::Instant;

use media::{Frame, Kind, NtpTime, StreamClock};

use super::reader::List;
use super::rules;
use super::source::Source;
use crate::Config;
use crate::directives::Directives;
use crate::file_name::FileName;
use crate::fmp4::Slices;
use crate::name::Name;
use crate::presentation::Presentation;
use crate::probe::Expected;
use crate::rendition::Resource;

/// 2026-11-22 12:00:00 UTC.
pub(super) const NOON_UNIX_MICROS: u64 = 1_795_348_800_000_000;

pub(super) struct Sim {
    pub(super) presentation: Presentation,
    pub(super) origin: Instant,
    pub(super) now: Instant,
    versions: [u64; Name::COUNT],
    last: [Option<List>; Name::COUNT],
    /// Every snapshot: when, which, what.
    pub(super) snapshots: Vec<(Instant, Name, List)>,
    /// And as text, for other judges.
    pub(super) texts: Vec<String>,
    /// Every part, fetched when it was first listed: which, URI, bytes.
    pub(super) parts: Vec<(Name, String, Slices)>,
    pub(super) clipped: bool,
    pub(super) keyframe_requests: u32,
}

impl Sim {
    pub(super) fn new(expected: Expected) -> Self {
        Self::with(Config::default(), expected)
    }

    pub(super) fn with(config: Config, expected: Expected) -> Self {
        config.validate().expect("a valid configuration");
        let origin = tokio::time::Instant::now().into_std();
        let clock = StreamClock::new(origin, NtpTime::from_unix_micros(NOON_UNIX_MICROS));
        let mut presentation = Presentation::new(config, clock);
        presentation.expect(expected, origin);
        Self {
            presentation,
            origin,
            now: origin,
            versions: [0; Name::COUNT],
            last: [const { None }; Name::COUNT],
            snapshots: Vec::new(),
            texts: Vec::new(),
            parts: Vec::new(),
            clipped: false,
            keyframe_requests: 0,
        }
    }

    /// Runs a whole source through a new Sim.
    pub(super) fn run(source: &Source) -> Self {
        let mut sim = Self::new(expected(source));
        sim.feed(source);
        sim
    }

    pub(super) fn feed(&mut self, source: &Source) {
        self.feed_frames(source.frames(self.origin));
    }

    pub(super) fn feed_frames(&mut self, frames: Vec<(Kind, Frame)>) {
        let name = |kind| if kind == Kind::Video { Name::VIDEO } else { Name::Audio };
        self.feed_named(frames.into_iter().map(|(kind, frame)| (name(kind), frame)));
    }

    pub(super) fn feed_named(&mut self, frames: impl IntoIterator<Item = (Name, Frame)>) {
        for (name, frame) in frames {
            self.feed_one(name, frame);
            self.keyframe_requests += u32::from(self.presentation.poll_keyframe_request(Name::VIDEO));
        }
    }

    pub(super) fn feed_one(&mut self, name: Name, frame: Frame) {
        self.advance(frame.arrival);
        self.presentation.handle_frame(name, frame, self.now);
        self.look();
    }

    pub(super) fn finish(&mut self) {
        self.presentation.finish(self.now);
        self.look();
    }

    pub(super) fn list(&mut self, name: Name) -> List {
        List::read(&self.text(name, &Directives::default()))
    }

    pub(super) fn text(&mut self, name: Name, directives: &Directives) -> String {
        let rendered = self.presentation.playlist(name, directives).expect("there is such a rendition");
        String::from_utf8(rendered.plain.to_vec()).expect("P01: UTF-8")
    }

    pub(super) fn file(&self, name: Name, file: &str) -> Option<Vec<Slices>> {
        match self.presentation.file(name, FileName::parse(file)?) {
            Resource::Found(slices) => Some(slices),
            Resource::Hinted | Resource::Recorded | Resource::Missing => None,
        }
    }

    /// The snapshots of one Rendition.
    pub(super) fn lists(&self, name: Name) -> impl Iterator<Item = &List> {
        self.snapshots.iter().filter(move |(_, of, _)| *of == name).map(|(_, _, list)| list)
    }

    pub(super) fn advance(&mut self, to: Instant) {
        while let Some(due) = self.presentation.poll_timeout()
            && due <= to
            && due > self.now
        {
            self.now = due;
            self.presentation.handle_timeout(due);
            self.look();
        }
        self.now = self.now.max(to);
    }

    fn look(&mut self) {
        for name in Name::all() {
            let slot = name.slot();
            let version = self.presentation.rendition(name).map_or(0, |rendition| rendition.version());
            if version == self.versions[slot] {
                continue;
            }
            self.versions[slot] = version;
            let text = self.text(name, &Directives::default());
            let list = List::read(&text);
            self.texts.push(text);
            rules::check(&list, self.clipped);
            if let Some(prev) = &self.last[slot] {
                rules::check_step(prev, &list);
            }
            for part in list.segments.iter().flat_map(|segment| &segment.parts) {
                if !self.parts.iter().rev().take(64).any(|(of, uri, _)| *of == name && *uri == part.uri) {
                    let bytes = self.file(name, &part.uri).expect("M10: listed is downloadable").remove(0);
                    self.parts.push((name, part.uri.clone(), bytes));
                }
            }
            self.last[slot] = Some(list.clone());
            self.snapshots.push((self.now, name, list));
        }
    }
}

pub(super) fn expected(source: &Source) -> Expected {
    Expected {
        video: source.video,
        audio: source.audio_hz.is_some(),
        settled: true,
        keyframes_on_request: false,
    }
}
