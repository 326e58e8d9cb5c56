//! `/metrics`: Prometheus text (exposition format 0.0.4) from the counters that each crate keeps.
//!
//! A counter is a field of a crate's `Stats`. What it is called here, what kind of number it is and what it means
//! stands in [`table`], one row each; `docs/metrics.md` has the same rows and what to do about them.

mod render;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use control::hooks::{Gate, Webhooks};
use control::{Accounts, Authority, Database};
use hls_packager::{Packager, Recordings};
use media::{Hub, StreamState};
use serde_json::json;
use sfu::Sfu;
use transcode::Transcoder;

use crate::broadcasts::Broadcasts;
use crate::http::connections::Connections;
use crate::http::limit::Limit;
use render::Numbers;

/// Where the numbers come from. No label has a value that a viewer or a streamer can choose.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) http: Arc<Connections>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) publishers_refused: Arc<AtomicU64>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) broadcasts: Arc<Broadcasts>,
    pub(crate) database: Database,
    pub(crate) api: Arc<Limit>,
    pub(crate) hooks: Arc<Gate>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) sfu: Sfu,
    pub(crate) packager: Arc<Packager>,
    pub(crate) recordings: Option<Arc<Recordings>>,
    pub(crate) transcoder: Arc<Transcoder>,
    pub(crate) rtmp: Arc<ingest::rtmp::Stats>,
    pub(crate) gateway: Arc<signaling::Gateway>,
    pub(crate) whip: Arc<ingest::whip::Whip>,
    pub(crate) whep: Arc<signaling::whep::Whep>,
}

impl Metrics {
    /// The whole text.
    pub(crate) fn render(&self) -> String {
        let streams = self.hub.streams();
        let live = streams.iter().filter(|stream| stream.state() == StreamState::Live).count();
        let mut numbers = Numbers::default();
        let refused = self.publishers_refused.load(Ordering::Relaxed);
        numbers.add(
            "hub",
            &json!({ "streams": streams.len(), "streams_live": live, "publishers_refused": refused }),
        );
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            numbers.add("process", &json!({ "tasks": runtime.metrics().num_alive_tasks() }));
        }
        numbers.add("hooks", &self.hooks.stats());
        numbers.add("webhooks", &self.webhooks.stats());
        numbers.add("http", &self.http.stats());
        numbers.add("api", &json!({ "limited": self.api.refused() }));
        numbers.add("accounts", &self.accounts.stats());
        numbers.add("authority", &self.authority.stats());
        numbers.add("broadcasts", &self.broadcasts.stats());
        numbers.add("database", &json!({ "queries": self.database.queries() }));
        numbers.add("sfu", &self.sfu.stats());
        for (shard, stats) in self.sfu.shards().iter().enumerate() {
            let of_shard = json!({
                "busy": f64::from(stats.busy_percent) / 100.0,
                "overload": stats.overload as u8,
                "viewers": stats.viewers,
            });
            numbers.add_instance("shard", shard, &of_shard);
        }
        numbers.add("hls", &self.packager.stats());
        if let Some(recordings) = &self.recordings {
            numbers.add("recording", &recordings.stats());
            if let Some(stats) = recordings.storage_stats() {
                numbers.add("storage", &stats);
            }
        }
        numbers.add("transcode", &self.transcoder.stats());
        numbers.add("rtmp", &self.rtmp.snapshot());
        numbers.add("gateway", &self.gateway.stats());
        numbers.add("whip", &self.whip.stats());
        numbers.add("whep", &self.whep.stats());
        #[cfg(feature = "count-allocations")]
        numbers.add(
            "process",
            &json!({
                "allocations": crate::allocations::count(),
                "heap_bytes": crate::allocations::bytes(),
            }),
        );
        numbers.render()
    }
}
