//! The first start: whoever reads the log may make the first account.

use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::auth::secrets::{Secrets, random_text};

/// The fingerprint of the token that is good now.
#[derive(Debug, Default)]
pub(super) struct Setup(Mutex<Option<String>>);

impl Setup {
    pub(super) fn offer(&self, secrets: &Secrets) -> SecretString {
        let token = random_text("setup_", 20);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(secrets.fingerprint("setup", &token));
        token.into()
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn accepts(&self, secrets: &Secrets, token: &SecretString) -> bool {
        let shown = secrets.fingerprint("setup", token.expose_secret());
        let good = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().is_some_and(|good| good.as_bytes().ct_eq(shown.as_bytes()).into())
    }

    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
