//! `swiftwater grant-key`: the keys that sign grants, beside a running server.

use clap::Subcommand;
use control::Authority;

use super::accounts::{Failure, Place, audit, say};

/// The keys that sign grants.
#[derive(Debug, Subcommand)]
pub(super) enum GrantKey {
    /// Print the keys by which grants are good: id, whether it signs, from when, until when (Unix milliseconds).
    List,
    /// Make a new key. What the old one signed is good until it expires.
    Rotate {
        /// Seconds until the new key signs: those who check grants elsewhere read it meanwhile.
        #[arg(long, default_value_t = 600)]
        delay: i64,
    },
    /// Make void at once what a key signed that was rotated.
    Revoke { id: String },
}

pub(super) async fn run(place: Place, command: GrantKey) -> Result<(), Failure> {
    let (database, secrets) = place.database().await?;
    // Channels are of no interest here: none is read from the configuration.
    let authority = Authority::with_database(&[], database.clone(), secrets).await?;
    match command {
        GrantKey::List => {}
        GrantKey::Rotate { delay } => {
            authority.rotate_grant_keys(delay).await?;
            audit(&database, "grant_key.rotate", &format!("{delay} s")).await?;
        }
        GrantKey::Revoke { id } => {
            authority.revoke_grant_key(&id).await?;
            audit(&database, "grant_key.revoke", &id).await?;
        }
    }
    for key in authority.grant_keys() {
        let until = key.retires_at.map_or_else(|| "for good".to_owned(), |at| format!("until {at}"));
        let signs = if key.signs { "signs" } else { "checks" };
        say(&format!("{}\t{signs}\tfrom {}\t{until}", key.id, key.signs_from))?;
    }
    database.close().await;
    Ok(())
}
