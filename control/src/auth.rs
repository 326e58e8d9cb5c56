//! Authentication and authorisation.

pub(crate) mod authority;
pub(crate) mod grant;
pub(crate) mod stream_key;
