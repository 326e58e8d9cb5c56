//! Reads a Track, writes another: AAC to Opus, Opus to AAC, pictures to H.264.
