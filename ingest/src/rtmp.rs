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
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::UNSPECIFIED, 1935).into(), connections_max: 256 }
    }
}

impl Config {
    /// Checks what the type cannot say.
    ///
    /// # Errors
    /// [`Error::Config`] with the setting's name.
    pub fn validate(&self) -> Result<(), Error> {
        if self.connections_max == 0 {
            return Err(Error::Config { setting: "rtmp.connections_max", why: "must be at least 1" });
        }
        Ok(())
    }
}
