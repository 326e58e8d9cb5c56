//! Settings of the SFU.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::IceServerConfig;
use crate::egress::seal::Profile;
use crate::sdp_publish::RIDS_MAX;

/// Most shards: each costs a thread and two sockets, and no machine that we know has more cores.
const SHARDS_MAX: usize = 128;

/// Below it nobody could watch anything.
const EGRESS_MIN_BPS: u64 = 128_000;

/// Settings of the SFU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The one port for all viewers and publishers, by UDP and by TCP. 0: the kernel chooses.
    pub port: u16,
    /// Whether viewers and publishers whose network lets no UDP through may come by TCP (ICE-TCP).
    pub tcp: bool,
    /// Where to listen: at most one IPv4 and one IPv6 address.
    pub bind: Vec<IpAddr>,
    /// What to tell viewers: `auto` (all addresses of this machine), IP addresses, DNS names. Behind NAT or
    /// in a container the public address must stand here.
    pub announce: Vec<String>,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<IceServerConfig>,
    /// Threads that forward media. 0: one per core.
    pub shards: usize,
    /// Most WebRTC peers of this node, viewers and publishers. Who comes later is refused.
    pub peers_max: usize,
    /// Most viewers of this node. A little less than `peers_max`, so that publishers find room beside them.
    pub viewers_max: usize,
    /// Most viewers of one Stream.
    pub viewers_per_stream_max: usize,
    /// The most that this node sends to WebRTC viewers, in bits per second: payload, without IP and UDP headers. Who
    /// would be too much is refused; if the rates of those who are here grow over it, the node sheds as under overload.
    /// None: no limit.
    pub egress_bitrate_max_bps: Option<u64>,
    /// Most simulcast Layers of a WebRTC publisher, 1 to 4. One with more is refused: encoders want all of them or none.
    pub publish_layers_max: usize,
    /// Percent of its time that a shard may work before it sheds: it takes no new viewers, then lowers Layers, then
    /// sends sound only, newest viewers first. 0: never.
    pub overload_busy_percent: u8,
    /// Most WebRTC peers of one address (IPv6: of one /64). Loopback does not count: a proxy on this machine is
    /// everybody.
    pub peers_per_address_max: usize,
    /// Send and receive buffer of each socket. The kernel may cap it (`net.core.wmem_max`, `rmem_max`).
    pub socket_buffer_bytes: usize,
    /// SRTP profiles that viewers may use, in order of preference. Without `aead_aes_128_gcm` sealing costs
    /// three times as much; without `aes128_cm_sha1_80` some players cannot connect.
    pub srtp_profiles: Vec<Profile>,
    /// How many milliseconds a browser may hold a picture back at most: 10 to 500. None: it decides for itself,
    /// and keeps sound and picture together.
    pub playout_delay_max_ms: Option<u64>,
    /// Where a WebRTC publisher's bandwidth estimate starts.
    pub start_bitrate_bps: u32,
    /// The most that a WebRTC publisher may send. None: no limit.
    pub publish_bitrate_max_bps: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 8189,
            tcp: true,
            bind: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            announce: vec!["auto".to_owned()],
            ice_servers: Vec::new(),
            shards: 0,
            peers_max: 10_000,
            viewers_max: 9900,
            viewers_per_stream_max: 5000,
            egress_bitrate_max_bps: None,
            publish_layers_max: RIDS_MAX,
            overload_busy_percent: 90,
            peers_per_address_max: 500,
            socket_buffer_bytes: 4 << 20,
            srtp_profiles: Profile::ALL.to_vec(),
            playout_delay_max_ms: None,
            start_bitrate_bps: 2_500_000,
            publish_bitrate_max_bps: None,
        }
    }
}

impl Config {
    /// Says what is wrong with it, in words for whoever wrote it.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn validate(&self) -> Result<(), String> {
        let v4 = self.bind.iter().filter(|ip| ip.is_ipv4()).count();
        if self.bind.is_empty() || v4 > 1 || self.bind.len() - v4 > 1 {
            return Err("bind: give one IPv4 address, one IPv6 address, or one of each".to_owned());
        }
        if self.announce.is_empty() || self.announce.iter().any(|name| name.trim().is_empty()) {
            return Err("announce: give \"auto\", IP addresses or DNS names".to_owned());
        }
        self.ice_servers.iter().try_for_each(IceServerConfig::validate)?;
        if self.shards > SHARDS_MAX {
            return Err(format!("shards: at most {SHARDS_MAX}"));
        }
        if self.peers_max == 0 {
            return Err("peers_max: 0 would refuse everybody".to_owned());
        }
        if self.viewers_max == 0 {
            return Err("viewers_max: 0 would refuse everybody".to_owned());
        }
        if self.viewers_per_stream_max == 0 {
            return Err("viewers_per_stream_max: 0 would refuse everybody".to_owned());
        }
        if self.peers_per_address_max == 0 {
            return Err("peers_per_address_max: 0 would refuse everybody".to_owned());
        }
        if self.egress_bitrate_max_bps.is_some_and(|max| max < EGRESS_MIN_BPS) {
            return Err(format!(
                "egress_bitrate_max_bps: at least {EGRESS_MIN_BPS}, which is one viewer's sound"
            ));
        }
        if !(1..=RIDS_MAX).contains(&self.publish_layers_max) {
            return Err(format!("publish_layers_max: 1 to {RIDS_MAX}"));
        }
        if self.overload_busy_percent > 100 {
            return Err("overload_busy_percent: at most 100; 0 turns shedding off".to_owned());
        }
        if !(64 << 10..=256 << 20).contains(&self.socket_buffer_bytes) {
            return Err("socket_buffer_bytes: between 64 KiB and 256 MiB".to_owned());
        }
        if self.srtp_profiles.is_empty() {
            return Err("srtp_profiles: with none, no viewer could connect".to_owned());
        }
        if self.playout_delay_max_ms.is_some_and(|ms| !(10..=500).contains(&ms)) {
            return Err("playout_delay_max_ms: between 10 and 500, or not at all".to_owned());
        }
        if self.publish_bitrate_max_bps.is_some_and(|max| max < self.start_bitrate_bps) {
            return Err("publish_bitrate_max_bps: below start_bitrate_bps".to_owned());
        }
        Ok(())
    }

    /// How many shards to run.
    pub(crate) fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
            shards => shards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_survives_serde() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"prot": 1}"#).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        type Spoil = fn(&mut Config);
        let table: [(&str, Spoil); 17] = [
            ("bind", |c| c.bind.clear()),
            ("bind", |c| c.bind = vec![Ipv4Addr::LOCALHOST.into(); 2]),
            ("announce", |c| c.announce = vec![" ".to_owned()]),
            ("shards", |c| c.shards = 1000),
            ("peers_max", |c| c.peers_max = 0),
            ("viewers_max", |c| c.viewers_max = 0),
            ("viewers_per_stream_max", |c| c.viewers_per_stream_max = 0),
            ("egress_bitrate_max_bps", |c| c.egress_bitrate_max_bps = Some(1000)),
            ("publish_layers_max", |c| c.publish_layers_max = 0),
            ("publish_layers_max", |c| c.publish_layers_max = 5),
            ("overload_busy_percent", |c| c.overload_busy_percent = 101),
            ("peers_per_address_max", |c| c.peers_per_address_max = 0),
            ("socket_buffer_bytes", |c| c.socket_buffer_bytes = 1),
            ("srtp_profiles", |c| c.srtp_profiles.clear()),
            // Browsers take 0 for "as soon as decoded", which stutters.
            ("playout_delay_max_ms", |c| c.playout_delay_max_ms = Some(0)),
            ("playout_delay_max_ms", |c| c.playout_delay_max_ms = Some(501)),
            ("publish_bitrate_max_bps", |c| c.publish_bitrate_max_bps = Some(1)),
        ];
        for (field, spoil) in table {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
