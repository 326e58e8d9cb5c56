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

/// The playlists of a recording, rendered.
#[derive(Debug)]
pub(crate) struct Vod {
    multivariant: Rendered,
    media: BTreeMap<String, Rendered>,
}

impl Vod {
    pub(crate) fn new(plan: &Plan) -> Self {
        let whole = Extent::whole();
        let media = plan.playable().map(|it| (it.name.clone(), Rendered::new(media(it, &whole)))).collect();
        Self { multivariant: Rendered::new(multivariant(plan, &|_| true).to_string()), media }
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

/// How much of a recording a playlist is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// TARGETDURATION in seconds, if players followed it under this address while it was live: it may not change, and
    /// what was removed meanwhile counts.
    pub(crate) target_s: Option<u32>,
    /// Segments that are listed, from the first on.
    pub(crate) segments: usize,
    /// Nothing more will come.
    pub(crate) ended: bool,
}

impl Extent {
    /// All of a recording that is over.
    fn whole() -> Self {
        Self { target_s: None, segments: usize::MAX, ended: true }
    }
}

/// The Multivariant Playlist of those Renditions that are `listed`. URIs are relative to the folder of the recording.
pub(crate) fn multivariant(plan: &Plan, listed: &dyn Fn(&Rendition) -> bool) -> Multivariant {
    let is = |kind| move |it: &&Rendition| media::Kind::from(it.kind) == kind && listed(it);
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

/// The Media Playlist of a Rendition.
pub(crate) fn media(rendition: &Rendition, extent: &Extent) -> String {
    let segments = &rendition.segments[..extent.segments.min(rendition.segments.len())];
    let longest = segments.iter().filter(|it| !it.is_hole()).map(Segment::duration).max();
    // Rounded to the nearest second (section 4.4.3.1).
    let target = (longest.unwrap_or_default() + Duration::from_millis(500)).as_secs().max(1);
    let target = target.max(extent.target_s.unwrap_or(0).into());
    let gone = extent.target_s.map(|_| rendition.gone).unwrap_or_default();
    // What is listed stays listed, or the type must not be said (section 4.4.3.5).
    let kind = match (extent.ended, gone.listed) {
        (true, 0) => "#EXT-X-PLAYLIST-TYPE:VOD\n",
        (false, 0) => "#EXT-X-PLAYLIST-TYPE:EVENT\n",
        _ => "",
    };
    let mut out = format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n{kind}#EXT-X-MEDIA-SEQUENCE:{}\n",
        gone.listed
    );
    if gone.discontinuities > 0 {
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", gone.discontinuities);
    }
    let (mut map, mut before) = (None, gone.generation);
    for segment in segments {
        if !rendition.inits.contains_key(&segment.generation) {
            continue;
        }
        if segment.breaks(before) {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if map != Some(segment.generation) {
            let uri = FileName::Init(segment.generation).uri();
            let _ = writeln!(out, "{}", Map { uri });
        }
        (map, before) = (Some(segment.generation), Some(segment.generation));
        let starts = ProgramDateTime(NtpTime::from_unix_micros(segment.unix_us));
        let pieces = segment.pieces(Duration::from_secs(target));
        if !pieces.is_empty() {
            let _ = writeln!(out, "{starts}");
        }
        for piece in pieces {
            let _ = match segment.msn.filter(|_| !segment.is_hole()) {
                Some(msn) => writeln!(out, "#EXTINF:{},\n{}", Seconds(piece), FileName::Segment(msn).uri()),
                None => writeln!(out, "#EXT-X-GAP\n#EXTINF:{},\ngap.m4s", Seconds(piece)),
            };
        }
    }
    if extent.ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}
