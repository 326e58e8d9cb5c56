//! The one secret of an instance, and what is made of it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

/// Why the secret cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct SecretsError {
    path: PathBuf,
    why: String,
}

/// Keys for every purpose, derived from one root. Nodes of a cluster have the same root. `Debug` shows nothing.
#[derive(Clone)]
pub struct Secrets {
    root: [u8; 32],
}

impl Secrets {
    /// Reads the root from a file of 64 hex digits, or makes it at the first start, readable by its owner only.
    ///
    /// # Errors
    /// [`SecretsError`] if the file cannot be read or made, holds something else, or others may read it.
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        let failed = |why: String| SecretsError { path: path.to_owned(), why };
        if !path.exists() {
            let fresh = Self::random();
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| failed(error.to_string()))?;
            }
            // Written beside it and linked, so that of two servers that start at once one makes it and both read it.
            let draft = path.with_extension(format!("new{}", std::process::id()));
            fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)
                .and_then(|mut file| {
                    writeln!(file, "{}", hex(&fresh.root))?;
                    file.sync_all()
                })
                .and_then(|()| match fs::hard_link(&draft, path) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                    result => result,
                })
                .map_err(|error| failed(error.to_string()))?;
            let _ = fs::remove_file(&draft);
        }
        let mode = fs::metadata(path).map_err(|error| failed(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(format!("others may read it (mode {:o}): chmod 600", mode & 0o777)));
        }
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let root = unhex(text.trim()).ok_or_else(|| failed("expected 64 hex digits".to_owned()))?;
        Ok(Self { root })
    }

    /// Fresh secrets, for what need not outlive the process.
    pub fn random() -> Self {
        let mut root = [0u8; 32];
        rand::rng().fill_bytes(&mut root);
        Self { root }
    }

    /// A key for one purpose: HKDF-Expand (RFC 5869) with one block of output, since the root is uniform already.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        hmac(&self.root, &[purpose.as_bytes(), &[1]])
    }

    /// What is stored of a random secret, and looked up: an HMAC tells nothing by the time of the look-up, since an
    /// attacker cannot choose it, and a stolen database is of no use without the root.
    pub(crate) fn fingerprint(&self, purpose: &str, secret: &str) -> String {
        hex(&hmac(&self.derive(purpose), &[secret.as_bytes()]))
    }

    /// Encrypts what must be read again, for `purpose` (AES-256-GCM).
    pub fn seal(&self, purpose: &str, text: &str) -> String {
        let mut nonce = [0u8; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = text.as_bytes().to_vec();
        #[expect(clippy::expect_used, reason = "sealing a short text with a fresh nonce cannot fail")]
        self.sealing_key(purpose)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("short text");
        let mut all = nonce.to_vec();
        all.extend_from_slice(&sealed);
        STANDARD_NO_PAD.encode(all)
    }

    /// Reads what [`Secrets::seal`] made for the same purpose; none if it was changed, or made with another root.
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Option<String> {
        let mut all = STANDARD_NO_PAD.decode(sealed).ok()?;
        if all.len() < NONCE_LEN {
            return None;
        }
        let mut rest = all.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&all).ok()?;
        let text = self.sealing_key(purpose).open_in_place(nonce, Aad::empty(), &mut rest).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn sealing_key(&self, purpose: &str) -> LessSafeKey {
        let key = self.derive(&format!("seal {purpose}"));
        #[expect(clippy::expect_used, reason = "the key has the length of the algorithm")]
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// A random secret for people and programs to carry: `prefix` and base-32 digits of so many random bytes.
pub(crate) fn random_text(prefix: &str, bytes: usize) -> String {
    let mut random = vec![0u8; bytes];
    rand::rng().fill_bytes(&mut random);
    let mut text = prefix.to_owned();
    for chunk in random.chunks_exact(5) {
        let mut word = chunk.iter().fold(0u64, |word, byte| (word << 8) | u64::from(*byte));
        for _ in 0..8 {
            text.push(char::from(BASE32[(word & 31) as usize]));
            word >>= 5;
        }
    }
    text
}

/// The last characters of a secret: its owner tells several apart by them.
pub(crate) fn hint(secret: &str) -> &str {
    secret.get(secret.len().saturating_sub(4)..).unwrap_or_default()
}

/// Crockford's base 32, lower case: no letters that are mistaken for digits.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0u8; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_kept_and_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/secret.key");
        let (made, read) = (Secrets::load(&path).expect("made"), Secrets::load(&path).expect("read"));
        assert_eq!(made.root, read.root);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("deep")).expect("there").count(), 1, "no draft is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("own file");
        assert!(Secrets::load(&path).expect_err("too open").to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
        fs::write(&path, "nonsense").expect("own file");
        assert!(Secrets::load(&path).is_err());
    }

    #[test]
    fn what_is_sealed_is_read_with_the_same_root_and_purpose_only() {
        let secrets = Secrets::random();
        let sealed = secrets.seal("hook", "whsec_x");
        assert!(!sealed.contains("whsec"));
        assert_ne!(sealed, secrets.seal("hook", "whsec_x"), "a fresh nonce");
        assert_eq!(secrets.unseal("hook", &sealed).as_deref(), Some("whsec_x"));
        assert_eq!(secrets.unseal("other", &sealed), None);
        assert_eq!(Secrets::random().unseal("hook", &sealed), None);
        assert_eq!(secrets.unseal("hook", "AAAA"), None);
        assert_ne!(secrets.fingerprint("a", "x"), secrets.fingerprint("b", "x"));
    }
}
