//! `[chat]`.

use serde::{Deserialize, Serialize};

/// Limits of a Room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Messages that one person may send in one window.
    pub messages_max: usize,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// Longest message in characters.
    pub text_chars_max: usize,
    /// Messages kept per Room for those who join or come back.
    pub history_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { messages_max: 20, window_ms: 5000, text_chars_max: 500, history_max: 1000 }
    }
}

/// A value that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key} must be between {min} and {max}")]
pub struct Invalid {
    key: &'static str,
    min: u64,
    max: u64,
}

impl Config {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Invalid`] names the key and its bounds.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (key, value, min, max) in [
            ("messages_max", self.messages_max as u64, 1, 1000),
            ("window_ms", self.window_ms, 100, 3_600_000),
            ("text_chars_max", self.text_chars_max as u64, 1, 4000),
            ("history_max", self.history_max as u64, 0, 10_000),
        ] {
            if !(min..=max).contains(&value) {
                return Err(Invalid { key, min, max });
            }
        }
        Ok(())
    }
}
