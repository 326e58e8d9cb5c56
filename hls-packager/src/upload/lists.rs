//! The playlists of a recording in the bucket: they list what the bucket has confirmed.

use std::collections::HashSet;

use bytes::Bytes;

use super::ledger::{Confirmed, Ledger};
use super::object;
use crate::bucket::Headers;
use crate::file_name::FileName;
use crate::recording::{Plan, Segment};
use crate::vod;

/// A playlist that grows: caches before the bucket ask again as often as players do.
const GROWING: &str = "public, max-age=2";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// The Multivariant Playlist.
pub(super) const MASTER: &str = "master.m3u8";

/// A playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) name: String,
    pub(crate) text: Bytes,
    pub(crate) headers: Headers,
}

impl List {
    /// What stands in the ledger once the bucket has it.
    pub(super) fn confirmed(&self) -> Confirmed {
        // A playlist that grew to the end says so, and its lifetime is another one.
        let sum = crc32fast::hash(&self.text) ^ crc32fast::hash(self.headers.cache.as_bytes());
        Confirmed { bytes: self.text.len() as u64, sum }
    }
}

/// The playlists that the bucket does not have like this, the Multivariant Playlist last.
pub(super) fn of(plan: &Plan, ledger: &Ledger, ended: bool) -> Vec<List> {
    let cache = if ended { vod::LISTED } else { GROWING };
    let headers = Headers { content_type: PLAYLIST, cache, disposition: None };
    let list = |name: String, text: String| List { name, text: text.into(), headers: headers.clone() };
    let has = |rendition: &str, file: FileName| ledger.get(&object(rendition, file)).is_some();
    let mut lists = Vec::new();
    let mut listed = HashSet::new();
    for rendition in plan.playable() {
        let name = rendition.name.as_str();
        let confirmed = |segment: &Segment| {
            let there = || segment.msn.is_some_and(|msn| has(name, FileName::Segment(msn)));
            segment.closed.is_some() && (segment.is_hole() || there())
        };
        let segments = rendition.segments.iter().take_while(|it| confirmed(it)).count();
        let inits = rendition.inits.keys().all(|it| has(name, FileName::Init(*it)));
        if inits && rendition.segments[..segments].iter().any(|it| !it.is_hole()) {
            let extent = vod::Extent { target_s: plan.target_s, segments, ended };
            lists.push(list(format!("{name}/index.m3u8"), vod::media(rendition, &extent)));
            listed.insert(name);
        }
    }
    if !listed.is_empty() {
        let master = vod::multivariant(plan, &|it| listed.contains(it.name.as_str()));
        lists.push(list(MASTER.to_owned(), master.to_string()));
    }
    lists.retain(|it| ledger.get(&it.name) != Some(it.confirmed()));
    lists
}
