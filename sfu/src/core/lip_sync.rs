//! Sound and picture of a viewer, shown together.

use std::time::Duration;

use super::Core;
use super::down_track::Flow;

/// After a viewer's first check its sound waits so long, if it has a picture too. A browser opens its audio output
/// when it knows the answer; Chromium's first takes up to 350 ms. What came before that is played before what comes
/// after it, and the surplus goes by 80 ms per second: two seconds in which sound is late. Where ICE and DTLS take
/// as long as that, nothing waits.
pub(super) const SOUND_AFTER: Duration = Duration::from_millis(400);

impl Core {
    /// Lets a viewer's picture wait as long as its sound needs.
    pub(super) fn keep_in_step(&mut self, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let since = viewer.hears_since();
        let hears = viewer.audio.as_ref().is_some_and(|down| matches!(down.flow, Flow::Live { .. }));
        let audio = viewer.audio_feed.filter(|_| hears);
        if let Some(audio) = audio.and_then(|id| self.feeds.get_mut(&id)) {
            audio.lateness.weigh();
        }
        let audio = audio.and_then(|id| self.feeds.get(&id));
        let video = viewer.video_feed.and_then(|id| self.feeds.get(&id));
        let (Some(down), Some(video)) = (&mut viewer.video, video) else { return };
        match audio {
            None => down.follow_sound(None),
            // Until both are known it stays as it is.
            Some(audio) => {
                if let Some(behind) = audio.lateness.behind(&video.lateness, since) {
                    down.follow_sound(Some(behind));
                }
            }
        }
    }
}
