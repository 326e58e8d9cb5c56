//! HTTPS: certificates from files, or a self-signed one that is kept between starts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum_server::tls_rustls::RustlsConfig;

use crate::config::{Http, Tls};

/// Why HTTPS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("TLS: {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate could not be made.
    #[error("TLS: cannot make a self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The rustls configuration that `http` asks for; `None` for plain HTTP.
pub(crate) async fn load(http: &Http, data: &Path) -> Result<Option<RustlsConfig>, Error> {
    // Several crates bring a crypto provider; the process must name one. A second call keeps the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (certificate, private_key) = match (http.tls, &http.certificate, &http.private_key) {
        (Tls::Off, _, _) => return Ok(None),
        (Tls::SelfSigned, _, _) => self_signed(&data.join("tls"))?,
        (Tls::Files, Some(certificate), Some(private_key)) => (certificate.clone(), private_key.clone()),
        // Refused by Config::validate.
        (Tls::Files, _, _) => return Ok(None),
    };
    match RustlsConfig::from_pem_file(&certificate, &private_key).await {
        Ok(config) => Ok(Some(config)),
        Err(source) => Err(Error::File { path: certificate, source }),
    }
}

/// The kept pair in `dir`, made at the first call. Kept, so that a browser's exception stays valid.
fn self_signed(dir: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let (certificate, private_key) = (dir.join("self-signed.crt"), dir.join("self-signed.key"));
    if certificate.exists() && private_key.exists() {
        return Ok((certificate, private_key));
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        names.push(host.trim().to_owned());
    }
    let made = rcgen::generate_simple_self_signed(names)?;
    let write = |path: &PathBuf, mode: u32, text: &str| {
        fs::create_dir_all(dir)
            .and_then(|()| {
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)
            })
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| Error::File { path: path.clone(), source })
    };
    write(&private_key, 0o600, &made.signing_key.serialize_pem())?;
    write(&certificate, 0o644, &made.cert.pem())?;
    Ok((certificate, private_key))
}
