//! A source that plays what a viewer once got.

use std::time::Duration;

use rtc::rtp;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};

/// What header and tag take of a packet on the wire.
const OVERHEAD_BYTES: usize = 36;
/// Between the last packet and the repetition.
const PAUSE: Duration = Duration::from_millis(20);

/// A packet for everybody.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) video: bool,
    pub(crate) rtp: rtp::Packet,
}

/// Packets of one viewer: when, how large, of what.
pub(crate) struct Trace(Vec<(Duration, usize, bool)>);

impl Trace {
    /// Reads lines of microseconds, bytes, and `audio` or `video`.
    pub(crate) fn read(text: &str) -> Self {
        let packets = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [micros, bytes, of] = words[..] else { panic!("a line of a trace: {line}") };
            let at = Duration::from_micros(micros.parse().expect("a number"));
            (at, bytes.parse().expect("a number"), of == "video")
        });
        let packets: Vec<_> = packets.collect();
        assert!(!packets.is_empty(), "a trace with packets");
        Self(packets)
    }

    /// Plays it again and again.
    #[expect(clippy::disallowed_methods, reason = "a live source runs by the clock")]
    pub(crate) async fn play(self, to: broadcast::Sender<Packet>) {
        let first = Instant::now();
        let mut start = first;
        let mut numbers = [1_u16, 1];
        loop {
            for (at, bytes, video) in &self.0 {
                sleep_until(start + *at).await;
                let number = &mut numbers[usize::from(*video)];
                *number = number.wrapping_add(1);
                let clock: u128 = if *video { 90_000 } else { 48_000 };
                let header = rtp::Header {
                    version: 2,
                    payload_type: if *video { 96 } else { 111 },
                    sequence_number: *number,
                    timestamp: ((start + *at - first).as_micros() * clock / 1_000_000) as u32,
                    ..Default::default()
                };
                let payload = vec![0x5a; bytes.saturating_sub(OVERHEAD_BYTES)].into();
                // Nobody watches yet.
                let _nobody = to.send(Packet { video: *video, rtp: rtp::Packet { header, payload } });
            }
            start += self.0.last().map_or(PAUSE, |(at, ..)| *at + PAUSE);
        }
    }
}
