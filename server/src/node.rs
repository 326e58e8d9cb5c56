//! Which node this is: a name that outlives the process, so that a node knows what it left behind.

use std::fs;
use std::io;
use std::path::Path;

/// In the data directory.
const FILE: &str = "node.id";

/// Reads the node's name, or makes one at the first start.
pub(crate) fn id(data: &Path) -> io::Result<String> {
    let path = data.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(data)?;
    let id = format!("nod_{:016x}", rand::random::<u64>());
    fs::write(&path, format!("{id}\n"))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name() {
        let data = tempfile::tempdir().expect("a directory");
        let first = id(data.path()).expect("made");
        assert_eq!(id(data.path()).expect("read"), first);
        fs::write(data.path().join(FILE), "").expect("own file");
        assert_ne!(id(data.path()).expect("made"), first, "an empty file is no name");
    }
}
