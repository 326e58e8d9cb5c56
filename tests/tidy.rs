//! The invariants of ARCHITECTURE.md that a compiler does not check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Largest source file. At 400 lines look for a second noun; at 800 there is one.
const FILE_LINES_MAX: usize = 800;

/// Which crate may use which: the graph of ARCHITECTURE.md. `server` sees everything.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("media", &[]),
    ("transcode", &["media"]),
    ("sfu", &["media"]),
    ("ingest", &["media", "sfu"]),
    ("hls-packager", &["media"]),
    ("control", &["media"]),
    ("chat", &["control"]),
    ("signaling", &["media", "sfu", "chat", "control", "ingest"]),
];

/// Crates that carry media: they know neither people nor databases.
const DATA_PLANE: &[&str] = &["media", "transcode", "sfu", "ingest", "hls-packager"];

/// What the data plane may not use.
const CONTROL_ONLY: &[&str] = &["control", "chat", "signaling", "sqlx", "redis"];

/// Files and folders without clock, socket, task or random numbers: time and bytes come in as arguments.
const SANS_IO: &[&str] = &[
    "media/src",
    "sfu/src/bwe.rs",
    "sfu/src/bwe",
    "sfu/src/core",
    "sfu/src/core.rs",
    "sfu/src/forward",
    "sfu/src/egress",
    "sfu/src/sdp.rs",
    "ingest/src/rtmp/chunk.rs",
    "ingest/src/rtmp/session.rs",
    "ingest/src/rtmp/flv.rs",
    "ingest/src/rtmp/timeline.rs",
    "hls-packager/src/segmenter.rs",
    "hls-packager/src/playlist",
    "hls-packager/src/fmp4",
    "chat/src/room.rs",
    "chat/src/message.rs",
    "signaling/src/protocol.rs",
    "signaling/src/gateway/lanes.rs",
];

/// What a sans-I/O file may not say.
const IO_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "tokio::spawn",
    "thread::spawn",
    "tokio::time",
    "rand::rng",
    "std::fs",
    "tokio::net",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

fn crates() -> Vec<&'static str> {
    MAY_DEPEND_ON.iter().map(|(name, _)| *name).chain(["server", "tests"]).collect()
}

/// All files below `path` with one of the endings.
fn files(path: &Path, endings: &[&str]) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(path) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if !["node_modules", "dist", "target"].iter().any(|skip| name == *skip) {
                found.extend(files(&path, endings));
            }
        } else if endings.iter().any(|ending| path.extension().is_some_and(|it| it == *ending)) {
            found.push(path);
        }
    }
    found
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest =
        fs::read_to_string(root().join(name).join("Cargo.toml")).expect("every crate has a manifest");
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some((key, _)) = line.split_once(['.', ' ', '=']) {
            found.insert(key.to_owned());
        }
    }
    found
}

/// The part of a Rust file before its tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn crates_depend_only_on_what_the_plan_allows() {
    let known: BTreeSet<&str> = crates().into_iter().collect();
    for (name, allowed) in MAY_DEPEND_ON {
        for dependency in dependencies(name).iter().filter(|it| known.contains(it.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn the_data_plane_knows_neither_people_nor_databases() {
    for name in DATA_PLANE {
        let found = dependencies(name);
        for forbidden in CONTROL_ONLY {
            assert!(!found.contains(*forbidden), "{name} depends on {forbidden}");
        }
    }
}

#[test]
fn every_version_stands_once() {
    for name in crates() {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("a manifest");
        let versioned = manifest.lines().find(|line| line.contains("version = \"") || line.contains("= \"="));
        assert_eq!(versioned, None, "{name}/Cargo.toml: versions stand in the workspace manifest");
    }
}

#[test]
fn sans_io_files_hold_no_clock_socket_task_or_random_numbers() {
    for place in SANS_IO {
        let path = root().join(place);
        assert!(path.exists(), "{place} is gone: change the list");
        for file in files(&path, &["rs"]) {
            let text = fs::read_to_string(&file).expect("readable");
            for (number, line) in product(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or(line);
                for word in IO_WORDS {
                    assert!(!code.contains(word), "{}:{}: {word}", file.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let mut long = BTreeMap::new();
    for file in files(&root(), &["rs", "ts", "svelte", "mjs"]) {
        let lines = fs::read_to_string(&file).unwrap_or_default().lines().count();
        if lines > FILE_LINES_MAX {
            long.insert(file, lines);
        }
    }
    assert!(long.is_empty(), "look for a second noun in {long:?}");
}

#[test]
fn every_crate_begins_with_its_first_chapter() {
    for name in crates() {
        let text = fs::read_to_string(root().join(name).join("src/lib.rs")).expect("a crate has src/lib.rs");
        let chapter = text.lines().take_while(|line| line.starts_with("//!")).count();
        assert!(chapter >= 3, "{name}/src/lib.rs begins with crate docs");
    }
}

/// `missing_docs` sees reachable items only; this sees every `pub` in the product.
#[test]
fn every_public_item_is_documented() {
    let starts =
        ["pub fn ", "pub async fn ", "pub const fn ", "pub struct ", "pub enum ", "pub trait ", "pub type "];
    let mut bare = Vec::new();
    for name in crates() {
        for file in files(&root().join(name).join("src"), &["rs"]) {
            let text = fs::read_to_string(&file).expect("readable");
            let lines: Vec<&str> = product(&text).lines().collect();
            for (number, line) in lines.iter().enumerate() {
                if !starts.iter().any(|start| line.trim_start().starts_with(start)) {
                    continue;
                }
                let above = lines[..number].iter().rev().find(|line| !is_attribute(line.trim_start()));
                if !above.is_some_and(|line| line.trim_start().starts_with("///")) {
                    bare.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(bare.is_empty(), "undocumented: {bare:#?}");
}

/// Attributes stand between a doc comment and its item, also over several lines.
fn is_attribute(line: &str) -> bool {
    line.starts_with("#[") || line.starts_with(')') || line.ends_with(")]") || line.starts_with("reason")
}

#[test]
fn nothing_is_left_for_later_in_silence() {
    for name in crates() {
        for file in files(&root().join(name).join("src"), &["rs"]) {
            let text = fs::read_to_string(&file).expect("readable");
            for word in ["todo!(", "unimplemented!(", "dbg!(", "unbounded_channel", "#[ignore"] {
                assert!(!product(&text).contains(word), "{}: {word}", file.display());
            }
        }
    }
}

/// What is routed past the document would be tried by nobody: neither by the table of who may do what
/// (`tests/e2e/access.rs`), which looks for every operation of the document, nor by schemathesis.
#[test]
fn every_route_of_the_api_is_in_its_document() {
    let mut bare = Vec::new();
    for name in crates() {
        for file in files(&root().join(name).join("src"), &["rs"]) {
            let text = fs::read_to_string(&file).expect("readable");
            let routes = product(&text).split(".route(").skip(1);
            let path =
                |route: &str| route.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned);
            bare.extend(routes.filter_map(path).filter(|path| path.starts_with("/api")));
        }
    }
    bare.sort_unstable();
    // The gateway has a document of its own, docs/protocol.md.
    let known = ["/api/docs", "/api/docs.js", "/api/v1/openapi.json", "/api/v1/ws"];
    assert_eq!(bare, known, "use `OpenApiRouter::routes`");
}
