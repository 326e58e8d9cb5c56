//! Authentication and authorisation.

pub(crate) mod attempts;
pub(crate) mod authority;
pub(crate) mod grant;
pub(crate) mod password;
pub(crate) mod permission;
pub(crate) mod secrets;
pub(crate) mod signing_key;
pub(crate) mod stream_key;
pub(crate) mod token;
