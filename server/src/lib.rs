//! The binary `swiftwater` as a library: configuration, composition, admission, HTTP, metrics, shutdown.
//!
//! [`Server::start`] is the map of the process, top to bottom; tests boot the real thing with it.
//!
//! ```text
//!   config ─► app (composition root) ─► ingest ─► admission ─► control, media::Hub
//!                                   ├─► sfu, hls-packager, transcode   (started by lifecycle per Stream)
//!                                   ├─► signaling, chat
//!                                   └─► http: api, pages, metrics
//! ```

mod admission;
#[cfg(feature = "count-allocations")]
pub mod allocations;
mod app;
mod broadcasts;
pub mod cli;
pub mod config;
pub mod demo;
mod descriptors;
mod first_run;
mod http;
mod huge_pages;
mod lifecycle;
mod metrics;
mod node;
mod notices;
mod outcomes;
mod service;
mod telemetry;
mod tls;

pub use app::{Server, StartError};
pub use config::Config;
