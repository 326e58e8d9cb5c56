//! RTMP: the protocol that every encoder speaks.
//!
//! ```text
//!  Listener ── one task per TCP connection: reads, writes, asks for admission
//!     │
//!     ├─ Session      handshake, chunk stream, commands, answers         sans-I/O
//!     │    ├─ chunk   messages out of interleaved chunks
//!     │    ├─ amf     values out of commands and metadata
//!     │    └─ credentials   where encoders put the stream key
//!     └─ Publication  what an admitted encoder writes                    sans-I/O
//!          ├─ flv     codecs out of audio and video messages
//!          └─ timeline      milliseconds to the Stream's clock
//! ```

mod amf;
mod chunk;
mod connection;
mod counters;
mod credentials;
mod flv;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod listener;
mod places;
mod publication;
mod reply;
mod session;
mod timeline;

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Error;

pub use chunk::ChunkError;
pub use counters::{Snapshot, Stats};
pub use listener::Listener;

/// Settings of the RTMP listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen. Port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// TCP connections at a time, admitted or not. One more is closed at once.
    pub connections_max: usize,
    /// Of them, of one address (IPv6: of one /64). One more is refused with the reason. Loopback does not count.
    pub connections_per_address_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::UNSPECIFIED, 1935).into(),
            connections_max: 256,
            connections_per_address_max: 32,
        }
    }
}

impl Config {
    /// Checks what the type cannot say.
    ///
    /// # Errors
    /// [`Error::Config`] with the setting's name.
    pub fn validate(&self) -> Result<(), Error> {
        for (setting, value) in [
            ("rtmp.connections_max", self.connections_max),
            ("rtmp.connections_per_address_max", self.connections_per_address_max),
        ] {
            if value == 0 {
                return Err(Error::Config { setting, why: "must be at least 1" });
            }
        }
        Ok(())
    }
}
