//! The channel that a server without configuration starts with.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use control::{ChannelConfig, StreamKey};
use serde::Deserialize;

/// Where the first channel and its key are kept, under the data directory. Readable by the owner only.
const FILE: &str = "channels.toml";

/// Why the first channel cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    channels: Vec<ChannelConfig>,
}

/// Reads the kept channels, or makes one called `main` with a fresh key.
pub(crate) fn channels(data: &Path) -> Result<Vec<ChannelConfig>, Error> {
    let path = data.join(FILE);
    let failed = |why: String| Error { path: path.clone(), why };
    if !path.exists() {
        let key = StreamKey::generate();
        let text = format!(
            "# Made at the first start, because the configuration names no channels.\n\
             # Move it into your configuration file to add channels of your own.\n\
             [[channels]]\nname = \"main\"\ntitle = \"Main\"\nkeys = [\"{}\"]\n",
            key.expose()
        );
        fs::create_dir_all(data)
            .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path))
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| failed(error.to_string()))?;
    }
    let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| failed(error.to_string()))?;
    Ok(file.channels)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_first_channel_is_kept_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let data = tempfile::tempdir().expect("a directory");
        let first = channels(data.path()).expect("made");
        let again = channels(data.path()).expect("read");
        assert_eq!(first[0].name, again[0].name);
        assert_eq!(first[0].keys[0].expose_secret(), again[0].keys[0].expose_secret());
        let mode = fs::metadata(data.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
