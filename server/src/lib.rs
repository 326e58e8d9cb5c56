//! The binary swiftwater: config, composition, admission, HTTP, metrics, shutdown.
