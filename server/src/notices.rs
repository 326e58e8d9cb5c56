//! What a streamer should change in the encoder, as said by log, page and API.

use media::{Kind, Reordering, Stream};
use serde::Serialize;
use utoipa::ToSchema;

/// A keyframe interval beyond this is worth a notice: new viewers and HLS wait for keyframes, and two
/// seconds is what every platform asks for. Half a second of tolerance for encoders that round.
const KEYFRAME_INTERVAL_MICROS_MAX: i64 = 2_500_000;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Notice {
    /// Stable name.
    pub(crate) code: &'static str,
    /// What happens, and which setting to change.
    pub(crate) message: String,
}

/// The advice for a live Stream, from what its Tracks say now.
pub(crate) fn of(stream: &Stream) -> Vec<Notice> {
    let mut notices = Vec::new();
    let Some(video) = stream.source(Kind::Video) else { return notices };
    for layer in video.layers() {
        let info = layer.info();
        match info.reordering {
            Reordering::None => {}
            Reordering::DropDiscardable => notices.push(Notice {
                code: "b_frames_dropped",
                message:
                    "The encoder sends B-frames. WebRTC viewers get a lower frame rate, because B-frames \
                          must be left out for them. Set B-frames to 0 (OBS: Output, Advanced, \
                          \"Max B-frames\"; ffmpeg: -bf 0)."
                        .to_owned(),
            }),
            Reordering::Unplayable => notices.push(Notice {
                code: "b_frames",
                message: "The encoder sends reordered B-frames, which WebRTC cannot carry: viewers watch by \
                          HLS, with more delay. Set B-frames to 0 (OBS: Output, Advanced, \"Max B-frames\"; \
                          ffmpeg: -bf 0 or -tune zerolatency)."
                    .to_owned(),
            }),
        }
        if let Some(interval) = info.keyframe_interval_micros.filter(|&it| it > KEYFRAME_INTERVAL_MICROS_MAX)
        {
            notices.push(Notice {
                code: "keyframe_interval",
                message: format!(
                    "Keyframe interval is {:.1} s. Set it to 2 s or less (OBS: Output, \"Keyframe Interval\"; \
                     ffmpeg: -g with twice the frame rate): HLS starts slower and cannot cut cleanly.",
                    interval as f64 / 1e6
                ),
            });
        }
    }
    notices
}
