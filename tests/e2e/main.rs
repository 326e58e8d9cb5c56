//! End to end without a browser: the real server, real encoders, real HTTP.

mod access;
mod accounts;
mod bframes;
mod chat;
mod connectivity;
mod contract;
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
mod person;
mod play;
mod reconnect;
mod recordings;
mod schemathesis;
mod silence;
mod vanish;
mod webhooks;
