//! How much this node takes on: who is refused, why, and how often that happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::StreamId;
use serde::Serialize;
use tracing::warn;

use crate::audience::{Audience, Seat};
use crate::core::overload::OverloadLevel;
use crate::{Config, Error};

/// One log line per limit and this long; the counters have the rest.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Over which the bit rate of the node is measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// A limit of this node that somebody met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `viewers_per_stream_max`.
    ViewersOfStream,
    /// `viewers_max`.
    Viewers,
    /// `egress_bitrate_max_bps`.
    Egress,
    /// `peers_max`, or too many that negotiate at once.
    Peers,
    /// Every shard is overloaded.
    Overload,
    /// `peers_per_address_max`.
    Address,
}

impl Limit {
    /// All of them.
    const ALL: [Self; 6] =
        [Self::ViewersOfStream, Self::Viewers, Self::Egress, Self::Peers, Self::Overload, Self::Address];

    /// For whoever was refused: what is the matter, and what to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ViewersOfStream => {
                "this channel has no room for another WebRTC viewer: play it by HLS, or try again in a minute"
            }
            Self::Viewers | Self::Egress => {
                "this server has no room for another WebRTC viewer: play by HLS, or try again in a minute"
            }
            Self::Peers => "this server has no room for another WebRTC peer: try again in a minute",
            Self::Overload => "this server is overloaded: play by HLS, or try again in half a minute",
            Self::Address => "too many WebRTC peers from this address: close one and try again",
        }
    }

    /// For the operator: the setting, and what speaks for changing it.
    const fn setting(self) -> &'static str {
        match self {
            Self::ViewersOfStream => "[rtc] viewers_per_stream_max",
            Self::Viewers => "[rtc] viewers_max",
            Self::Egress => "[rtc] egress_bitrate_max_bps",
            Self::Peers => "[rtc] peers_max, or 4096 that negotiate at once",
            Self::Overload => "[rtc] overload_busy_percent on every shard",
            Self::Address => "[rtc] peers_per_address_max",
        }
    }
}

/// Who was refused, by the limit that was met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The Stream had as many viewers as it may.
    pub viewers_of_stream: u64,
    /// The node had as many viewers as it may.
    pub viewers: u64,
    /// The node sent as much as it may.
    pub egress: u64,
    /// The node had as many Peers as it may, or too many negotiated at once.
    pub peers: u64,
    /// Every shard was overloaded.
    pub overload: u64,
    /// Their address had as many Peers as it may.
    pub address: u64,
}

/// The limits of a node, and who met them. Asked when somebody comes, never per packet.
#[derive(Debug)]
pub(crate) struct Capacity {
    viewers_per_stream_max: u64,
    viewers_max: u64,
    egress_max_bps: Option<u64>,
    /// What the node sends, as its first shard measured last.
    egress_bps: AtomicU64,
    /// What was promised to viewers who came since, and in the window before: they are not in what was measured, or not
    /// with all they will get. Without it everybody who comes within a second would find the same room.
    promised_bps: [AtomicU64; 2],
    refused: [AtomicU64; Limit::ALL.len()],
    logged: Mutex<[Option<Instant>; Limit::ALL.len()]>,
}

impl Capacity {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            viewers_per_stream_max: config.viewers_per_stream_max as u64,
            viewers_max: config.viewers_max as u64,
            egress_max_bps: config.egress_bitrate_max_bps,
            egress_bps: AtomicU64::new(0),
            promised_bps: Default::default(),
            refused: Default::default(),
            logged: Mutex::default(),
        }
    }

    /// A seat for a viewer. `needs_bps`: what it will be sent, as far as that is known; `levels`: of the shards.
    ///
    /// # Errors
    /// [`Error::Capacity`]; it is counted and logged.
    pub(crate) fn seat(
        &self,
        now: Instant,
        audience: &Arc<Audience>,
        stream: StreamId,
        needs_bps: u64,
        mut levels: impl Iterator<Item = OverloadLevel>,
    ) -> Result<Seat, Error> {
        let limit = if levels.all(|level| level >= OverloadLevel::NoNewViewers) {
            Limit::Overload
        } else if self.egress_max_bps.is_some_and(|max| self.expected_bps() + needs_bps > max) {
            Limit::Egress
        } else {
            match audience.seat(stream, self.viewers_per_stream_max, self.viewers_max) {
                Ok(seat) => {
                    self.promised_bps[0].fetch_add(needs_bps, Ordering::Relaxed);
                    return Ok(seat);
                }
                Err(limit) => limit,
            }
        };
        Err(self.refuse(now, limit))
    }

    /// Counts a refusal, and says so to the operator now and then.
    pub(crate) fn refuse(&self, now: Instant, limit: Limit) -> Error {
        let index = limit as usize;
        let refused = self.refused[index].fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged[index].is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY) {
            logged[index] = Some(now);
            drop(logged);
            warn!(limit = limit.setting(), refused, "a WebRTC peer was refused: the limit is reached");
        }
        Error::Capacity(limit)
    }

    /// What the node sends, in bits per second.
    pub(crate) fn egress_bps(&self) -> u64 {
        self.egress_bps.load(Ordering::Relaxed)
    }

    /// What it will send once those who have just come get all they came for.
    fn expected_bps(&self) -> u64 {
        self.promised_bps.iter().map(|promised| promised.load(Ordering::Relaxed)).sum::<u64>()
            + self.egress_bps()
    }

    /// A window was measured.
    pub(crate) fn set_egress_bps(&self, bps: u64) {
        self.egress_bps.store(bps, Ordering::Relaxed);
        let newest = self.promised_bps[0].swap(0, Ordering::Relaxed);
        self.promised_bps[1].store(newest, Ordering::Relaxed);
    }

    /// The node sends more than it may: rates have grown since its viewers were let in.
    pub(crate) fn over_budget(&self) -> bool {
        self.egress_max_bps.is_some_and(|max| self.egress_bps() > max)
    }

    pub(crate) fn refused(&self) -> Refused {
        let count = |limit: Limit| self.refused[limit as usize].load(Ordering::Relaxed);
        Refused {
            viewers_of_stream: count(Limit::ViewersOfStream),
            viewers: count(Limit::Viewers),
            egress: count(Limit::Egress),
            peers: count(Limit::Peers),
            overload: count(Limit::Overload),
            address: count(Limit::Address),
        }
    }
}

/// Measures a bit rate from a count of bytes that only grows.
#[derive(Debug)]
pub(crate) struct EgressMeter {
    at: Instant,
    bytes: u64,
}

impl EgressMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, bytes: 0 }
    }

    /// Bits per second since the last answer, once a window has passed.
    pub(crate) fn measure(&mut self, now: Instant, bytes: u64) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed < RATE_WINDOW {
            return None;
        }
        let bits = bytes.saturating_sub(self.bytes) * 8;
        (self.at, self.bytes) = (now, bytes);
        Some(bits * 1000 / elapsed.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests;
