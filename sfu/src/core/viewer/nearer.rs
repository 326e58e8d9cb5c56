//! What of a viewer is brought nearer before its turn comes, in steps: itself, what is behind its pointers, and what is behind
//! those. Each step is given a viewer's time to arrive. A viewer has 8 KiB: only what is needed is asked for.

use media::Kind;

use super::Viewer;
use crate::core::calm;
use crate::core::slots::Slots;
use crate::prefetch::prefetch;

/// It is the turn of the viewer at that place of `order` to get packets of a kind: prepares for those after it.
pub(crate) fn prefetch_turns(viewers: &Slots<Viewer>, order: &[u32], at: usize, kind: Kind) {
    let after = |steps: usize| order.get(at + steps).and_then(|slot| viewers.get(*slot));
    if let Some(viewer) = after(3) {
        viewer.prefetch_itself(kind);
    }
    if let Some(viewer) = after(2) {
        viewer.prefetch_parts(kind);
    }
    if let Some(viewer) = after(1) {
        viewer.prefetch_rings();
    }
}

/// A burst begins with the viewer at that place of `order`, or goes on there: nobody has prepared for it and the two after it.
/// What they need comes at the same time, where it would come line by line.
pub(crate) fn prefetch_first_turns(viewers: &Slots<Viewer>, order: &[u32], at: usize, kind: Kind) {
    let first = || order.iter().skip(at).take(3).filter_map(|slot| viewers.get(*slot));
    first().for_each(|viewer| viewer.prefetch_itself(kind));
    first().take(2).for_each(|viewer| viewer.prefetch_parts(kind));
    first().take(1).for_each(Viewer::prefetch_rings);
}

/// The viewer of that slot is looked after: prepares for those after it. Who is calm has a look together with every
/// [`calm::TICKS`]th.
pub(crate) fn prefetch_looks(viewers: &Slots<Viewer>, slot: u32) {
    if let Some(viewer) = viewers.get(slot + 2 * calm::TICKS) {
        viewer.prefetch_for_look();
    }
    if let Some(congestion) = viewers.get(slot + calm::TICKS).and_then(|viewer| viewer.congestion.as_deref())
    {
        prefetch(congestion);
    }
}

impl Viewer {
    fn prefetch_itself(&self, kind: Kind) {
        match kind {
            Kind::Audio => prefetch(&self.audio),
            Kind::Video => prefetch(&self.video),
        }
        prefetch(&self.sealer);
        prefetch(&self.congestion);
        prefetch(&self.video_feed);
        prefetch(&self.picture.target);
        self.ice.prefetch();
    }

    fn prefetch_parts(&self, kind: Kind) {
        let down = match kind {
            Kind::Audio => self.audio.as_ref(),
            Kind::Video => self.video.as_ref(),
        };
        if let Some(down) = down {
            down.prefetch();
        }
        if let Some(sealer) = self.sealer.as_deref() {
            prefetch(sealer);
        }
        if let Some(congestion) = self.congestion.as_deref() {
            congestion.prefetch();
        }
    }

    fn prefetch_rings(&self) {
        if let Some(congestion) = self.congestion.as_deref() {
            congestion.prefetch_place(self.transport_seq);
        }
    }

    fn prefetch_for_look(&self) {
        prefetch(&self.audio);
        prefetch(&self.video);
        prefetch(&self.picture);
        prefetch(&self.schedule);
        prefetch(&self.sealer);
        self.ice.prefetch();
    }
}
