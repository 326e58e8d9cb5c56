//! What an operator chooses about accounts.

use serde::{Deserialize, Serialize};

/// Who may make an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignUp {
    /// Everybody.
    Open,
    /// Who has an invitation of an administrator.
    Invite,
    /// Nobody: the operator makes them.
    #[default]
    Closed,
}

impl SignUp {
    /// `open`, `invite` or `closed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// `[accounts]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who may make an account.
    pub sign_up: SignUp,
    /// A browser that does not come for so long must sign in again.
    pub session_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { sign_up: SignUp::default(), session_days: 30 }
    }
}

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// A text that says what to change.
    pub fn validate(&self) -> Result<(), String> {
        match self.session_days {
            1..=365 => Ok(()),
            _ => Err("session_days must be 1 to 365".to_owned()),
        }
    }

    pub(super) fn session_ms(&self) -> i64 {
        i64::from(self.session_days) * 24 * 60 * 60 * 1000
    }
}
