//! Maps the RTP timestamps of one source onto the Stream's clock.

/// One RTP source (SSRC) of a Publisher.
#[derive(Debug)]
pub struct SourceClock {}
