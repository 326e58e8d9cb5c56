//! End-to-end tests, harness, load generator.
