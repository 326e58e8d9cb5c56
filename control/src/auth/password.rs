//! Passwords: argon2id, a few at a time, never on a thread that serves others.

use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// Hashes at a time: each takes 19 MiB and 30 ms of a core (OWASP's first choice for argon2id: m = 19 MiB, t = 2, p = 1),
/// and media must not feel it.
const AT_ONCE: usize = 2;

/// Who may wait for one: two seconds' worth. One more is told to come back, so that a flood of logins holds no memory.
const WAITING_MAX: usize = 64;

/// Shortest password (NIST SP 800-63B asks for 8), and longest: a hash reads all of it.
pub(crate) const LENGTHS: std::ops::RangeInclusive<usize> = 8..=256;

/// There is too much to do.
#[derive(Debug)]
pub(crate) struct Busy;

/// Hashes and verifies.
#[derive(Debug)]
pub(crate) struct Passwords {
    permits: Semaphore,
    waiting: AtomicUsize,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { permits: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0) }
    }

    /// The PHC string to keep.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Busy> {
        let hashed = self.run(move || {
            let hash: Result<PasswordHash, _> =
                Argon2::default().hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|_| Busy)
    }

    /// Whether it is this password. With no hash to compare with it takes as long as with one: whether a login exists
    /// must not show.
    pub(crate) async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Busy> {
        self.run(move || {
            let known = hash.is_some();
            // Of a password that nobody knows.
            let hash = hash.unwrap_or_else(|| NOBODYS.to_owned());
            let bytes = password.expose_secret().as_bytes();
            let fits: Result<(), _> = Argon2::default().verify_password(bytes, hash.as_str());
            fits.is_ok() && known
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _place = Place::take(&self.waiting)?;
        let _permit = self.permits.acquire().await.map_err(|_| Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }
}

/// One of those that wait or are served; given up also when the request is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Busy> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX { Err(Busy) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// With the parameters of all others.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Vn5YxuHgLVTLFW0/eFqkB2kbrdXbkPq7vRNp6YvY8yI";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_nobodys_is_of_nobody() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned().into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(PasswordHash::new(NOBODYS).is_ok(), "it takes as long as a real one");
        assert!(
            passwords.verify("correct horse".to_owned().into(), Some(hash.clone())).await.expect("asked")
        );
        assert!(!passwords.verify("correct house".to_owned().into(), Some(hash)).await.expect("asked"));
        assert!(!passwords.verify("correct horse".to_owned().into(), None).await.expect("asked"));
    }

    #[tokio::test]
    async fn a_flood_is_told_to_come_back() {
        let passwords = Passwords::new();
        let places: Vec<_> =
            (0..WAITING_MAX).map(|_| Place::take(&passwords.waiting).expect("room")).collect();
        assert!(passwords.hash("correct horse".to_owned().into()).await.is_err());
        drop(places);
        assert!(passwords.hash("correct horse".to_owned().into()).await.is_ok());
    }
}
