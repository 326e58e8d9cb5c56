//! The Multivariant Playlist of a Presentation: a variant per video Rendition, and an audio group.

use media::{ChannelName, CodecConfig, StreamId};

use crate::name::Name;
use crate::playlist::Multivariant;
use crate::playlist::multivariant::{AudioMedia, StreamInf};
use crate::presentation::Presentation;
use crate::rendition::Rendition;

/// The one audio group.
const AUDIO_GROUP: &str = "audio";

/// BANDWIDTH over the measured peak, in percent: a live peak must stay under 125 % of it (rule 1.29).
const HEADROOM_PERCENT: u64 = 110;

/// The variant that comes next to this stands first, where players start (rule 1.32), in bits per second.
const FIRST_BPS: u64 = 2_000_000;

/// Lists what of `presentation` can be played now. URIs are relative to `/hls/{channel}/`.
pub(crate) fn multivariant(presentation: &Presentation, stream: StreamId) -> Multivariant {
    let uri = |name: Name| format!("{stream}/{}/index.m3u8", name.as_str());
    let audio = presentation.rendition(Name::Audio).filter(|rendition| rendition.is_ready());
    let mut variants: Vec<StreamInf> =
        offered(presentation).map(|(name, video)| variant(video, audio, uri(name))).collect();
    let with_video = !variants.is_empty();
    if let Some(sound) = audio.filter(|_| !with_video) {
        variants.push(variant(sound, None, uri(Name::Audio)));
    }
    variants.sort_by_key(|variant| std::cmp::Reverse(variant.bandwidth));
    // The others follow from the largest down.
    let first = (0..variants.len()).min_by_key(|at| variants[*at].bandwidth.abs_diff(FIRST_BPS));
    variants[..first.map_or(0, |at| at + 1)].rotate_right(usize::from(first.is_some()));
    // Not every player decodes what is not H.264: then it plays this, or nothing.
    let h264 = |variant: &StreamInf| variant.codecs.iter().any(|codec| codec.starts_with("avc1."));
    if let Some(sound) = audio.filter(|_| with_video && !variants.iter().any(h264)) {
        variants.push(variant(sound, None, uri(Name::Audio)));
    }
    Multivariant {
        independent_segments: !variants.is_empty() && presentation.all_independent(),
        media: audio
            .filter(|_| with_video)
            .map(|audio| AudioMedia {
                group_id: AUDIO_GROUP,
                name: "Audio",
                channels: channels(audio),
                uri: uri(Name::Audio),
            })
            .into_iter()
            .collect(),
        variants,
    }
}

/// The video Renditions that go on; all of them while none does.
fn offered(presentation: &Presentation) -> impl Iterator<Item = (Name, &Rendition)> {
    let ready = || {
        let videos = presentation.renditions().filter(|(name, _)| *name != Name::Audio);
        videos.filter(|(_, rendition)| rendition.is_ready())
    };
    let any = ready().any(|(_, rendition)| rendition.is_fresh());
    ready().filter(move |(_, rendition)| !any || rendition.is_fresh())
}

/// What can be played at `uri`, with `audio` beside it.
fn variant(lead: &Rendition, audio: Option<&Rendition>, uri: String) -> StreamInf {
    let playable = [Some(lead), audio];
    let (peak, average) = playable
        .iter()
        .flatten()
        .map(|rendition| rendition.bandwidth())
        .fold((0_u64, 0_u64), |sum, bandwidth| {
            (sum.0.saturating_add(bandwidth.0), sum.1.saturating_add(bandwidth.1))
        });
    let config = lead.config().map(|config| &**config);
    let declared_rate = match config {
        Some(CodecConfig::H264(config)) => config.frame_rate,
        _ => None,
    };
    let resolution = config.and_then(CodecConfig::size);
    StreamInf {
        bandwidth: (peak.saturating_mul(HEADROOM_PERCENT) / 100).max(1),
        average_bandwidth: average.max(1),
        codecs: playable
            .iter()
            .flatten()
            .filter_map(|rendition| rendition.config())
            .map(|config| config.rfc6381())
            .collect(),
        resolution,
        frame_rate: resolution.and_then(|_| declared_rate.or(lead.frame_rate())),
        audio: audio.map(|_| AUDIO_GROUP),
        uri,
    }
}

/// The path of a Channel's Multivariant Playlist.
pub fn path(channel: &ChannelName) -> String {
    format!("/hls/{channel}/master.m3u8")
}

fn channels(audio: &Rendition) -> u8 {
    match audio.config().map(|config| &**config) {
        Some(CodecConfig::Aac(config)) => config.channels,
        Some(CodecConfig::Opus(config)) => config.channels,
        _ => 2,
    }
}
