//! A publisher that needs no encoder: a moving picture with sound, pushed through the real RTMP port.
//!
//! A newcomer sees the whole path with it, and the tests measure with it: each picture carries a
//! machine-readable [`strip`] with its number and the time it was made, and at each whole second of the wall
//! clock a white square flashes while a beep is heard.
//!
//! ```text
//!  Scene ─ I420 ─► H.264 ─ Camera ─────┐
//!                                      ├─ FLV tags ─► RTMP push ─ TCP ─► any RTMP server
//!  Sound ─ PCM ──► AAC ─── Microphone ─┘  (each when it is due)
//!                  (no I/O, no clock)
//! ```

mod font;
mod push;
pub mod scene;
mod sound;
pub mod strip;
mod studio;

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// First wait before it connects again; doubled up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest wait: a server that came back is found within 10 s, the reconnect grace of a Stream.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The channel of the demo that `swiftwater serve --demo` runs.
pub const CHANNEL: &str = "demo";

/// What to publish, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// `rtmp://host[:port]/app`.
    pub url: String,
    /// The stream key.
    pub key: SecretString,
    /// Seconds between keyframes.
    pub gop_seconds: u32,
    /// Pictures per second.
    pub fps: u32,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// Bits per second of the picture.
    pub bitrate_bps: u32,
    /// Samples per second of the sound: 44100 or 48000.
    pub audio_rate: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "rtmp://127.0.0.1/live".to_owned(),
            key: SecretString::from(String::new()),
            gop_seconds: 2,
            fps: 30,
            size: (1280, 720),
            bitrate_bps: 2_500_000,
            audio_rate: 48_000,
        }
    }
}

impl Options {
    /// Checks what can be checked before connecting.
    ///
    /// # Errors
    /// [`Error::Option`] names the option and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        let (width, height) = self.size;
        let checks = [
            ((1..=600).contains(&self.gop_seconds), "gop_seconds", "use 1 to 600"),
            ((1..=120).contains(&self.fps), "fps", "use 1 to 120"),
            (
                (160..=3840).contains(&width) && (90..=2160).contains(&height),
                "size",
                "use 160x90 to 3840x2160",
            ),
            ((100_000..=50_000_000).contains(&self.bitrate_bps), "bitrate_bps", "use 100000 to 50000000"),
            (matches!(self.audio_rate, 44_100 | 48_000), "audio_rate", "use 44100 or 48000"),
        ];
        if let Some((_, option, why)) = checks.into_iter().find(|(good, _, _)| !good) {
            return Err(Error::Option { option, why });
        }
        push::Target::parse(&self.url).map(drop)
    }
}

/// Why the demo does not publish, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option that cannot work.
    #[error("{option}: {why}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it may be.
        why: &'static str,
    },
    /// Nobody listens there.
    #[error(
        "cannot connect to {address}: {source}. Start the server (`swiftwater serve`) or give its RTMP address"
    )]
    Connect {
        /// Where to.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server refused to publish.
    #[error(
        "the server refused to publish ({code}): check the stream key, and that nobody else publishes with it"
    )]
    Refused {
        /// What it said.
        code: String,
    },
    /// The server went away.
    #[error("the connection ended: {why}")]
    Ended {
        /// How.
        why: String,
    },
    /// Something that is not RTMP answered.
    #[error("what answers at {address} does not speak RTMP ({why}): is it the RTMP port?")]
    NotRtmp {
        /// Where.
        address: String,
        /// What broke.
        why: String,
    },
    /// A codec failed.
    #[error(transparent)]
    Codec(#[from] transcode::Error),
}

/// Publishes until `shutdown`; connects again when the connection ends.
///
/// # Errors
/// Only for options that can never work; what may pass is logged and tried again.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    options.validate()?;
    let mut backoff = BACKOFF_MIN;
    let mut counter = 0;
    loop {
        let mut publication = push::Publication::new(&options, counter);
        let ended = publication.run(&shutdown).await;
        counter = publication.counter();
        if publication.published() {
            backoff = BACKOFF_MIN;
        }
        match ended {
            Ok(()) => return Ok(()),
            Err(error @ Error::Codec(_)) => return Err(error),
            Err(error) => {
                warn!(%error, retry_in = %Seconds(backoff), "demo");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
        info!(url = options.url, "demo connects again");
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_say_what_is_wrong() {
        assert!(Options::default().validate().is_ok());
        for (broken, says) in [
            (Options { fps: 0, ..Options::default() }, "fps"),
            (Options { size: (10, 10), ..Options::default() }, "size"),
            (Options { audio_rate: 22_050, ..Options::default() }, "audio_rate"),
            (Options { url: "http://host/live".to_owned(), ..Options::default() }, "rtmp://"),
        ] {
            let error = broken.validate().expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
