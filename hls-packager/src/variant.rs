//! The Multivariant Playlist of a Presentation: one video Rendition and an audio group.

use media::{ChannelName, CodecConfig, StreamId};

use crate::playlist::Multivariant;
use crate::playlist::multivariant::{AudioMedia, StreamInf};
use crate::presentation::{Name, Presentation};
use crate::rendition::Rendition;

/// The one audio group.
const AUDIO_GROUP: &str = "audio";

/// BANDWIDTH over the measured peak, in percent: a live peak must stay under 125 % of it (rule 1.29).
const HEADROOM_PERCENT: u64 = 110;

/// Lists what of `presentation` can be played now. URIs are relative to `/hls/{channel}/`.
pub(crate) fn multivariant(presentation: &Presentation, stream: StreamId) -> Multivariant {
    let ready = |name| presentation.rendition(name).filter(|rendition| rendition.is_ready());
    let (video, audio) = (ready(Name::Video), ready(Name::Audio));
    let uri = |name: Name| format!("{stream}/{}/index.m3u8", name.as_str());
    let lead = video.map(|found| (Name::Video, found)).or(audio.map(|found| (Name::Audio, found)));
    let Some((name, rendition)) = lead else { return Multivariant::default() };
    let with_group = audio.filter(|_| name == Name::Video);
    let playable = [Some(rendition), with_group];
    let (peak, average) = playable
        .iter()
        .flatten()
        .map(|rendition| rendition.bandwidth())
        .fold((0_u64, 0_u64), |sum, bandwidth| {
            (sum.0.saturating_add(bandwidth.0), sum.1.saturating_add(bandwidth.1))
        });
    let config = rendition.config().map(|config| &**config);
    let declared_rate = match config {
        Some(CodecConfig::H264(config)) => config.frame_rate,
        _ => None,
    };
    Multivariant {
        independent_segments: presentation.all_independent(),
        media: with_group
            .map(|audio| AudioMedia {
                group_id: AUDIO_GROUP,
                name: "Audio",
                channels: channels(audio),
                uri: uri(Name::Audio),
            })
            .into_iter()
            .collect(),
        variants: vec![StreamInf {
            bandwidth: (peak.saturating_mul(HEADROOM_PERCENT) / 100).max(1),
            average_bandwidth: average.max(1),
            codecs: playable
                .iter()
                .flatten()
                .filter_map(|rendition| rendition.config())
                .map(|config| config.rfc6381())
                .collect(),
            resolution: config.and_then(CodecConfig::size),
            frame_rate: (name == Name::Video).then(|| declared_rate.or(presentation.frame_rate())).flatten(),
            audio: with_group.map(|_| AUDIO_GROUP),
            uri: uri(name),
        }],
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
