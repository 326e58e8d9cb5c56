//! Whether the database can be used: reachable, whole, writable, quick, of a schema that this program knows.

use std::path::Path;
use std::time::Duration;

use control::Database;
use control::db::{Engine, Error, Look};
use secrecy::ExposeSecret;

use super::Finding;
use crate::config::Config;

/// The first version with all that is used.
const POSTGRES_MIN: i64 = 130_000;

/// A publisher waits for a handful of statements, a request of the API for one to three.
const LATENCY_MAX: Duration = Duration::from_millis(50);

/// The file grows with the audit log and the log of deliveries, and its write-ahead log by the size of a backup.
const FREE_BYTES_MIN: u64 = 1 << 30;

const WHAT: &str = "database";

/// Looks at it, without making or changing it.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let url = config.database.url.as_ref().map(ExposeSecret::expose_secret);
    let look = Database::look(url, &config.data.dir).await;
    let mut findings = judge(look);
    let file = control::db::file(url, &config.data.dir).ok().flatten();
    findings.extend(file.and_then(|file| space(file.parent()?)));
    findings
}

fn judge(look: Result<Option<Look>, Error>) -> Vec<Finding> {
    let look = match look {
        Ok(Some(look)) => look,
        Ok(None) => return vec![Finding::fine(WHAT, "SQLite: the file is made at the first start")],
        Err(error @ Error::Open(_)) => {
            let text = format!("{error}; is the database server running, does it let this user in?");
            return vec![Finding::broken(WHAT, text)];
        }
        Err(error) => return vec![Finding::broken(WHAT, error.to_string())],
    };
    let mut findings = Vec::new();
    let named = match look.engine {
        Engine::Sqlite => format!("SQLite {}", look.version),
        Engine::Postgres => format!("PostgreSQL {}", look.version),
    };
    if look.version_number.is_some_and(|number| number < POSTGRES_MIN) {
        findings.push(Finding::broken(WHAT, format!("{named} is too old: 13 or newer is needed")));
    }
    let (schema, known) = (look.schema, look.schema_known);
    let schema = match schema {
        0 => "empty: its tables are made at the first start".to_owned(),
        _ if schema == known => format!("schema {schema}"),
        _ => format!("schema {schema}, brought to {known} at the next start"),
    };
    if look.schema > known {
        let error = Error::Newer { found: look.schema, known };
        findings.push(Finding::broken(WHAT, error.to_string()));
    } else if (1..known).contains(&look.schema) {
        let text = format!("{named}, {schema}: there is no way back but a backup, so make one first");
        findings.push(Finding::warning(WHAT, text));
    }
    if let Some(why) = &look.unwritable {
        let text = format!(
            "it cannot be written: {why}; give this user the rights (PostgreSQL: GRANT CREATE ON SCHEMA, and not a \
             standby; SQLite: the file and its directory)"
        );
        findings.push(Finding::broken(WHAT, text));
    }
    if let Some(damage) = &look.damage {
        let text = format!("the file is damaged ({damage}): restore a backup, and look at the disk");
        findings.push(Finding::broken(WHAT, text));
    }
    let millis = look.latency.as_secs_f64() * 1e3;
    if look.latency > LATENCY_MAX {
        let text = format!(
            "it answers after {millis:.0} ms: publishers wait for several answers; have it nearer to this node, or look \
             at its load"
        );
        findings.push(Finding::warning(WHAT, text));
    }
    if findings.is_empty() {
        findings.push(Finding::fine(WHAT, format!("{named}, {schema}, writable, answers in {millis:.1} ms")));
    }
    findings
}

fn space(dir: &Path) -> Option<Finding> {
    // Where the directory is not there yet, `data` says so.
    let space = rustix::fs::statvfs(dir).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    (free < FREE_BYTES_MIN).then(|| {
        let text = format!(
            "{} MiB free in {}: when it is full nobody can publish or sign in; make room, or move it ([database] url)",
            free >> 20,
            dir.display()
        );
        Finding::warning(WHAT, text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn fine() -> Look {
        Look {
            engine: Engine::Postgres,
            version: "15.4".to_owned(),
            version_number: Some(150_004),
            schema: 2,
            schema_known: 2,
            unwritable: None,
            latency: Duration::from_micros(700),
            damage: None,
        }
    }

    #[test]
    fn each_trouble_is_told_with_what_to_do() {
        for (look, verdict, words) in [
            (fine(), Verdict::Fine, "PostgreSQL 15.4, schema 2, writable, answers in 0.7 ms"),
            (Look { schema: 0, ..fine() }, Verdict::Fine, "empty"),
            (Look { schema: 1, ..fine() }, Verdict::Warning, "make one first"),
            (Look { schema: 3, ..fine() }, Verdict::Broken, "start the newer program"),
            (Look { version_number: Some(120_015), ..fine() }, Verdict::Broken, "13 or newer"),
            (Look { unwritable: Some("read-only".to_owned()), ..fine() }, Verdict::Broken, "GRANT CREATE"),
            (Look { damage: Some("page 3".to_owned()), ..fine() }, Verdict::Broken, "restore a backup"),
            (Look { latency: Duration::from_millis(80), ..fine() }, Verdict::Warning, "80 ms"),
        ] {
            let findings = judge(Ok(Some(look)));
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].verdict, verdict, "{findings:?}");
            assert!(findings[0].text.contains(words), "{findings:?}");
        }
        assert_eq!(judge(Ok(None))[0].verdict, Verdict::Fine);
        assert_eq!(judge(Err(Error::Open("refused".to_owned())))[0].verdict, Verdict::Broken);
    }

    #[tokio::test]
    async fn a_file_is_looked_at_and_not_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.data.dir = dir.path().to_owned();
        assert!(look(&config).await[0].text.contains("first start"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
        Database::open(None, dir.path()).await.expect("made").close().await;
        let found = look(&config).await;
        assert!(found[0].text.contains("SQLite 3.") && found[0].text.contains("writable"), "{found:?}");
    }
}
