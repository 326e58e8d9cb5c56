//! Clock, descriptors, disk, socket buffers, ffmpeg, and the data directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::config::Config;
use crate::descriptors;

/// Descriptors beside connections: sockets of shards, files of recordings, the database, epoll.
const DESCRIPTORS_BESIDES: u64 = 256;

/// Less free space than this is a day of one stream.
const DISK_BYTES_MIN: u64 = 20 << 30;

/// This program did not exist before.
const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600);

/// What time services leave where they run.
const TIME_SERVICES: [&str; 4] =
    ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid"];

/// Looks at all of it.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![clock(), files(config), ffmpeg(), data(&config.data.dir), disk(&config.data.dir)];
    findings.extend(buffers(config));
    findings.extend(secrets(&config.data.dir));
    findings
}

#[expect(clippy::disallowed_methods, reason = "it is the clock that is looked at")]
fn clock() -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if now < CLOCK_MIN {
        let text = "the clock is years behind: certificates and tokens will not be valid; set it";
        return Finding::broken("clock", text);
    }
    if TIME_SERVICES.iter().any(|path| Path::new(path).exists()) {
        return Finding::fine("clock", "a time service runs");
    }
    let text = "no time service was seen (in a container that is the host's business): tokens, PROGRAM-DATE-TIME and \
                measured latency need the right time";
    Finding::warning("clock", text)
}

fn files(config: &Config) -> Finding {
    let wanted =
        config.http.connections_max as u64 + config.rtmp.connections_max as u64 + DESCRIPTORS_BESIDES;
    match descriptors::limits() {
        (_, None) => Finding::fine("descriptors", "as many as wanted"),
        (_, Some(hard)) if hard >= wanted => {
            Finding::fine("descriptors", format!("{hard} allowed, {wanted} wanted at most"))
        }
        (_, Some(hard)) => Finding::warning(
            "descriptors",
            format!(
                "{hard} allowed, {wanted} wanted at most: raise the hard limit (systemd: LimitNOFILE=, Docker: \
                 --ulimit nofile=), or lower [http] connections_max"
            ),
        ),
    }
}

fn ffmpeg() -> Finding {
    let found = Command::new("ffmpeg").arg("-version").stdin(Stdio::null()).output();
    let version = found.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    });
    match version {
        Some(version) => Finding::fine("ffmpeg", version),
        None => Finding::fine("ffmpeg", "not installed; the server needs none"),
    }
}

fn data(dir: &Path) -> Finding {
    let probe = dir.join(".doctor");
    let written =
        fs::create_dir_all(dir).and_then(|()| fs::write(&probe, b"x")).and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => Finding::fine("data", format!("{} can be written", dir.display())),
        Err(error) => Finding::broken(
            "data",
            format!(
                "{}: {error}; choose another directory with --data, or give it to this user",
                dir.display()
            ),
        ),
    }
}

fn disk(dir: &Path) -> Finding {
    let Ok(space) = rustix::fs::statvfs(dir) else {
        return Finding::warning("disk", format!("{}: its space cannot be seen", dir.display()));
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let text = format!("{} GiB free in {}", free >> 30, dir.display());
    if free < DISK_BYTES_MIN {
        return Finding::warning(
            "disk",
            format!("{text}: recordings will fill it; an hour at 6 Mbit/s is 2.5 GiB"),
        );
    }
    Finding::fine("disk", text)
}

fn buffers(config: &Config) -> Option<Finding> {
    let wanted = config.rtc.socket_buffer_bytes;
    let limit = |name: &str| -> Option<usize> {
        fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok()
    };
    // The smaller one; a container may not see them.
    let least = limit("wmem_max")?.min(limit("rmem_max")?);
    if least >= wanted {
        return Some(Finding::fine("buffers", format!("the kernel allows socket buffers of {least} bytes")));
    }
    Some(Finding::warning(
        "buffers",
        format!(
            "the kernel allows socket buffers of {least} bytes, [rtc] socket_buffer_bytes wants {wanted}: bursts may be \
             lost; sysctl -w net.core.wmem_max={wanted} net.core.rmem_max={wanted}"
        ),
    ))
}

/// Files with secrets must be their owner's only.
fn secrets(dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return findings };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let secret = name.ends_with(".toml") || name.contains(".db") || name.ends_with(".key");
        let mode = entry.metadata().map(|meta| meta.permissions().mode() & 0o777).unwrap_or(0o600);
        if secret && entry.path().is_file() && mode & 0o077 != 0 {
            let path = entry.path();
            findings.push(Finding::warning(
                "secrets",
                format!(
                    "{} can be read by others (mode {mode:o}): chmod 600 {}",
                    path.display(),
                    path.display()
                ),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_data_directory_is_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(data(&dir.path().join("new")).verdict, Verdict::Fine);
        let file = dir.path().join("file");
        fs::write(&file, b"").expect("written");
        assert_eq!(data(&file.join("below")).verdict, Verdict::Broken);
        assert!(disk(dir.path()).text.contains("GiB free"));
    }

    #[test]
    fn a_secret_that_others_can_read_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, mode) in [("channels.toml", 0o644), ("swiftwater.db", 0o600), ("notes.txt", 0o644)] {
            let path = dir.path().join(name);
            fs::write(&path, b"").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        }
        let findings = secrets(dir.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].text.contains("channels.toml"), "{findings:?}");
    }
}
