//! Sound and picture of a viewer, shown together.

use super::Core;
use super::down_track::Flow;

impl Core {
    /// Lets a viewer's picture wait as long as its sound needs.
    pub(super) fn keep_in_step(&mut self, slot: u32) {
        let Some(viewer) = self.viewers.get_mut(slot) else { return };
        let hears = viewer.audio.as_ref().is_some_and(|down| matches!(down.flow, Flow::Live { .. }));
        let audio = viewer.audio_feed.filter(|_| hears).and_then(|id| self.feeds.get(&id));
        let video = viewer.video_feed.and_then(|id| self.feeds.get(&id));
        let (Some(down), Some(video)) = (&mut viewer.video, video) else { return };
        match audio {
            None => down.follow_sound(None),
            // Until both are known it stays as it is.
            Some(audio) => {
                if let Some(behind) = audio.lateness.behind(&video.lateness) {
                    down.follow_sound(Some(behind));
                }
            }
        }
    }
}
