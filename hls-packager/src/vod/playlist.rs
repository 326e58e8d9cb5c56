//! The playlists of a recording: the segments of the live stream, listed once and for all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use media::NtpTime;

use crate::file_name::FileName;
use crate::playlist::multivariant::{AudioMedia, StreamInf};
use crate::playlist::tag::{Map, ProgramDateTime, Seconds};
use crate::playlist::{Multivariant, Rendered};
use crate::recording::{Plan, Rendition, Segment};

/// `EXT-X-VERSION`: EXT-X-MAP without I-FRAMES-ONLY needs 6 (section 8).
const VERSION: u8 = crate::playlist::media::VERSION;

/// The one audio group.
const AUDIO_GROUP: &str = "audio";

/// A hole that is shorter is left out: nobody hears it.
const HOLE_MIN: Duration = Duration::from_millis(10);

/// The playlists of a recording, rendered.
#[derive(Debug)]
pub(crate) struct Vod {
    multivariant: Rendered,
    media: BTreeMap<String, Rendered>,
}

impl Vod {
    pub(crate) fn new(plan: &Plan) -> Self {
        let media = plan.playable().map(|it| (it.name.clone(), Rendered::new(media(it)))).collect();
        Self { multivariant: Rendered::new(multivariant(plan).to_string()), media }
    }

    /// The Multivariant Playlist. URIs are relative to the folder of the recording.
    pub(crate) fn multivariant(&self) -> &Rendered {
        &self.multivariant
    }

    /// The Media Playlist of a Rendition.
    pub(crate) fn media(&self, rendition: &str) -> Option<&Rendered> {
        self.media.get(rendition)
    }
}

fn multivariant(plan: &Plan) -> Multivariant {
    let is = |kind| move |it: &&Rendition| media::Kind::from(it.kind) == kind;
    let videos: Vec<&Rendition> = plan.playable().filter(is(media::Kind::Video)).collect();
    let audio = plan.playable().find(is(media::Kind::Audio));
    let group = audio.filter(|_| !videos.is_empty());
    let leads = if videos.is_empty() { audio.into_iter().collect() } else { videos };
    Multivariant {
        independent_segments: leads.iter().all(|it| all_independent(it)),
        media: group
            .map(|audio| AudioMedia {
                group_id: AUDIO_GROUP,
                name: "Audio",
                channels: audio.about().and_then(|about| about.channels).unwrap_or(2),
                uri: uri(audio),
            })
            .into_iter()
            .collect(),
        variants: leads.iter().map(|lead| variant(lead, group)).collect(),
    }
}

fn variant(lead: &Rendition, group: Option<&Rendition>) -> StreamInf {
    let (peak, average) = [Some(lead), group]
        .into_iter()
        .flatten()
        .map(bandwidth)
        .fold((0, 0), |sum: (u64, u64), it| (sum.0 + it.0, sum.1 + it.1));
    let about = lead.about();
    let frames: u64 = lead.segments.iter().filter_map(|it| it.closed).map(|it| u64::from(it.frames)).sum();
    let played: Duration = lead.segments.iter().filter(|it| !it.is_hole()).map(Segment::duration).sum();
    let video = media::Kind::from(lead.kind) == media::Kind::Video && !played.is_zero();
    StreamInf {
        bandwidth: peak.max(1),
        average_bandwidth: average.max(1),
        codecs: [Some(lead), group]
            .into_iter()
            .flatten()
            .filter_map(|it| Some(it.about()?.codecs.clone()))
            .collect(),
        resolution: about.and_then(|about| about.size),
        frame_rate: video.then(|| frames as f64 / played.as_secs_f64()),
        audio: group.map(|_| AUDIO_GROUP),
        uri: uri(lead),
    }
}

fn uri(rendition: &Rendition) -> String {
    format!("{}/index.m3u8", rendition.name)
}

fn all_independent(rendition: &Rendition) -> bool {
    let video = media::Kind::from(rendition.kind) == media::Kind::Video;
    !video || rendition.segments.iter().filter(|it| !it.is_hole()).all(|it| it.independent)
}

/// Bits per second of the largest segment, and on average.
fn bandwidth(rendition: &Rendition) -> (u64, u64) {
    let rate = |bytes: u64, duration: Duration| {
        let micros = duration.as_micros().max(1);
        u64::try_from(u128::from(bytes) * 8_000_000 / micros).unwrap_or(u64::MAX)
    };
    let played = || rendition.segments.iter().filter(|it| !it.is_hole());
    // What is much shorter than a segment is no measure of its rate.
    let whole = |it: &&Segment| it.duration() >= Duration::from_millis(500);
    let peak = played().filter(whole).map(|it| rate(it.bytes(), it.duration())).max();
    let average = rate(played().map(Segment::bytes).sum(), played().map(Segment::duration).sum());
    (peak.unwrap_or(average).max(average), average)
}

fn media(rendition: &Rendition) -> String {
    let played = rendition.segments.iter().filter(|it| !it.is_hole());
    let longest = played.map(Segment::duration).max().unwrap_or_default();
    // Rounded to the nearest second (section 4.4.3.1).
    let target = (longest + Duration::from_millis(500)).as_secs().max(1);
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-MEDIA-SEQUENCE:0\n"
    );
    let mut map = None;
    for segment in &rendition.segments {
        if !rendition.inits.contains_key(&segment.generation) {
            continue;
        }
        if map.is_some() && (segment.discontinuity || map != Some(segment.generation)) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if map != Some(segment.generation) {
            let uri = FileName::Init(segment.generation).uri();
            let _ = writeln!(out, "{}", Map { uri });
            map = Some(segment.generation);
        }
        let starts = ProgramDateTime(NtpTime::from_unix_micros(segment.unix_us));
        if !segment.is_hole() {
            let uri = FileName::Segment(segment.msn.unwrap_or(0)).uri();
            let _ = writeln!(out, "{starts}\n#EXTINF:{},\n{uri}", Seconds(segment.duration()));
        } else if segment.duration() >= HOLE_MIN {
            let _ = writeln!(out, "{starts}");
            put_hole(&mut out, segment.duration(), Duration::from_secs(target));
        }
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// Media that is missing, in pieces of at most TARGETDURATION.
fn put_hole(out: &mut String, mut left: Duration, target: Duration) {
    while !left.is_zero() {
        let piece = left.min(target);
        left -= piece;
        let _ = writeln!(out, "#EXT-X-GAP\n#EXTINF:{},\ngap.m4s", Seconds(piece));
    }
}
