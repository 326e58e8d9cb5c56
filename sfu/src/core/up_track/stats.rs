//! How a Track of a publisher arrives.

use std::time::Instant;

use super::{UpLayer, UpTrack, timescale};
use crate::peer_stats::{UpLayerStats, UpTrackStats};

impl UpTrack {
    /// Its numbers. Takes the locks of its Layers.
    pub(in crate::core) fn stats(&self, now: Instant) -> UpTrackStats {
        UpTrackStats {
            codec: self.spec.codec.name(),
            layers: self.layers.iter().map(|layer| self.layer_stats(now, layer)).collect(),
        }
    }

    fn layer_stats(&self, now: Instant, layer: &UpLayer) -> UpLayerStats {
        let written = self.writer.track().layer(&layer.rid);
        let info = written.map(|written| written.info()).unwrap_or_default();
        let (rates, counters) = (info.rates(now), &layer.counters);
        UpLayerStats {
            rid: layer.rid.to_string(),
            bitrate_bps: rates.map(|(bps, _)| bps),
            fps: rates.map(|(_, fps)| fps),
            width: info.size.map(|(width, _)| width),
            height: info.size.map(|(_, height)| height),
            keyframe_interval_ms: info.keyframe_interval_micros.map(|micros| micros / 1000),
            packets: counters.packets,
            lost: counters.lost,
            recovered: counters.repaired,
            nacks: counters.nacks,
            keyframe_requests: counters.plis + counters.firs,
            jitter_ms: f64::from(counters.jitter_ticks) * 1000.0 / f64::from(timescale(self.spec.codec).hz()),
        }
    }
}
