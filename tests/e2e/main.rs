//! End to end without a browser: the real server, real encoders, real HTTP.

mod accounts;
mod bframes;
mod chat;
mod connectivity;
mod flood;
mod garbage;
mod gateway;
mod hls;
mod hooks;
mod hostile;
mod http;
mod keys;
mod limits;
mod load;
mod observe;
mod play;
mod reconnect;
mod recordings;
mod silence;
mod vanish;
