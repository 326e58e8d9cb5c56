//! Reads a playlist back with `quick-m3u8`: a second opinion about every tag that we write.

use quick_m3u8::config::ParsingOptionsBuilder;
use quick_m3u8::tag::KnownTag;
use quick_m3u8::tag::hls::Tag;
use quick_m3u8::{HlsLine, Reader};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct List {
    pub(crate) version: u64,
    pub(crate) target_duration: u64,
    pub(crate) part_target: f64,
    pub(crate) hold_back: f64,
    pub(crate) part_hold_back: f64,
    pub(crate) skip_until: f64,
    pub(crate) can_block: bool,
    pub(crate) media_sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) skipped: Option<u64>,
    pub(crate) date_ranges: bool,
    pub(crate) segments: Vec<Listed>,
    pub(crate) hint: Option<String>,
    pub(crate) reports: Vec<(String, u64, Option<u64>)>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listed {
    pub(crate) discontinuity: bool,
    pub(crate) map: Option<String>,
    /// Milliseconds of the day.
    pub(crate) date: Option<i64>,
    pub(crate) gap: bool,
    pub(crate) parts: Vec<ListedPart>,
    pub(crate) duration: Option<f64>,
    pub(crate) uri: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListedPart {
    pub(crate) uri: String,
    pub(crate) duration: f64,
    pub(crate) independent: bool,
}

impl Listed {
    pub(crate) fn length(&self) -> f64 {
        self.duration.unwrap_or_else(|| self.parts.iter().map(|part| part.duration).sum())
    }
}

impl List {
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.starts_with("#EXTM3U\n"), "P01");
        assert!(text.bytes().all(|byte| byte == b'\n' || byte >= b' '), "P01: control characters");
        let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
        let mut reader = Reader::from_str(text, options);
        let mut list = Self::default();
        let mut segment = Listed::default();
        let mut dates = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"));
        while let Some(line) = reader.read_line().expect("a readable line") {
            match line {
                HlsLine::Uri(uri) => {
                    assert!(!uri.contains("_HLS_"), "D15");
                    segment.uri = Some(uri.into_owned());
                    list.segments.push(std::mem::take(&mut segment));
                }
                HlsLine::KnownTag(KnownTag::Hls(tag)) => list.take(tag, &mut segment, &mut dates),
                other => panic!("unknown line {other:?}"),
            }
        }
        if segment != Listed::default() {
            assert!(!segment.parts.is_empty(), "tags of no segment at the end: {segment:?}");
            list.segments.push(segment);
        }
        list
    }

    fn take<'a>(&mut self, tag: Tag<'_>, segment: &mut Listed, dates: &mut impl Iterator<Item = &'a str>) {
        let before_parts = |segment: &Listed| assert!(segment.parts.is_empty(), "L12: {segment:?}");
        match tag {
            Tag::M3u(_) => {}
            Tag::Version(tag) => self.version = tag.version(),
            Tag::Targetduration(tag) => self.target_duration = tag.target_duration(),
            Tag::ServerControl(tag) => {
                self.can_block = tag.can_block_reload();
                self.hold_back = tag.hold_back().expect("HOLD-BACK");
                self.part_hold_back = tag.part_hold_back().expect("L03");
                self.skip_until = tag.can_skip_until().expect("CAN-SKIP-UNTIL");
            }
            Tag::PartInf(tag) => self.part_target = tag.part_target(),
            Tag::MediaSequence(tag) => {
                assert!(self.segments.is_empty(), "M03");
                self.media_sequence = tag.media_sequence();
            }
            Tag::DiscontinuitySequence(tag) => {
                assert!(self.segments.is_empty() && !segment.discontinuity, "M04");
                self.discontinuity_sequence = tag.discontinuity_sequence();
            }
            Tag::Skip(tag) => {
                self.skipped = Some(tag.skipped_segments());
                self.date_ranges = tag.recently_removed_dateranges().is_some();
            }
            Tag::Discontinuity(_) => {
                before_parts(segment);
                segment.discontinuity = true;
            }
            Tag::Map(tag) => {
                before_parts(segment);
                segment.map = Some(tag.uri().to_owned());
            }
            Tag::ProgramDateTime(_) => {
                before_parts(segment);
                segment.date = Some(millis_of_day(dates.next().expect("the same tag as text")));
            }
            Tag::Gap(_) => segment.gap = true,
            Tag::Part(tag) => segment.parts.push(ListedPart {
                uri: tag.uri().to_owned(),
                duration: tag.duration(),
                independent: tag.independent(),
            }),
            Tag::Inf(tag) => segment.duration = Some(tag.duration()),
            Tag::PreloadHint(tag) => {
                assert!(self.hint.is_none(), "L14: one hint");
                self.hint = Some(tag.uri().to_owned());
            }
            Tag::RenditionReport(tag) => {
                self.reports.push((tag.uri().to_owned(), tag.last_msn(), tag.last_part()));
            }
            Tag::Endlist(_) => self.ended = true,
            other => panic!("a tag that does not belong here: {other:?}"),
        }
    }
}

/// `2026-11-22T23:00:00.123Z`.
fn millis_of_day(date: &str) -> i64 {
    let time = date.split_once('T').and_then(|(_, time)| time.strip_suffix('Z')).expect("UTC with a zone");
    assert_eq!(time.len(), "23:00:00.123".len(), "M08: milliseconds");
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().expect("digits");
    ((number(0..2) * 60 + number(3..5)) * 60 + number(6..8)) * 1000 + number(9..12)
}
