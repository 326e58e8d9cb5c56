//! End to end without a browser: the real server, real encoders, real HTTP.

mod hls;
