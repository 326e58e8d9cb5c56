//! Why something about an account cannot be done.

use crate::db;

/// The texts go to the user: they say what to do and name no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Login or password is wrong. Which of them is not said.
    #[error("login or password is wrong")]
    Credentials,
    /// The policy says no.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A value cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Too many failures.
    #[error("too many failed attempts: try again in {seconds} s")]
    TooMany {
        /// When.
        seconds: u64,
    },
    /// Too many passwords wait to be checked.
    #[error("too many people sign in at the moment: try again in some seconds")]
    Busy,
    /// The database said no, or nothing.
    #[error(transparent)]
    Database(#[from] db::Error),
}
