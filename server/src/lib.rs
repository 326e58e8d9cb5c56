//! The binary swiftwater: config, composition, admission, HTTP, metrics, shutdown.

pub mod demo;
