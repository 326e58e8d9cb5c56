//! `swiftwater user|channel|key|token|backup`: accounts from the command line, beside a running server.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use control::db::{ChannelChange, Database, NewChannel, Page, Role, Status, Visibility};
use control::{Accounts, Secrets, StreamKey};
use media::ChannelName;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, RESERVED_NAMES};
use crate::http::v1::now_ms;

/// Where the database is: as for `serve`.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Configuration file; see swiftwater.example.toml.
    #[arg(long, short, env = "SWIFTWATER_CONFIG")]
    config: Option<PathBuf>,
    /// Directory for everything that is kept.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Accounts.
#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make an account. Its password is made too and printed, or read from a line of the standard input.
    Add {
        login: String,
        /// `user`, `moderator` or `admin`.
        #[arg(long, default_value = "user")]
        role: String,
        /// Read the password from the standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Print all accounts.
    List,
    /// Set a new password. All sessions of the account end.
    Password {
        login: String,
        /// Read the password from the standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change the role: `user`, `moderator` or `admin`.
    Role { login: String, role: String },
    /// Suspend an account: no login, and its keys and tokens do not work. Who is live is cut off.
    Suspend { login: String },
    /// End a suspension.
    Resume { login: String },
}

/// Channels.
#[derive(Debug, Subcommand)]
pub(super) enum Channel {
    /// Make a channel for an account.
    Add {
        name: String,
        /// The login of its owner.
        #[arg(long)]
        owner: String,
        #[arg(long, default_value = "")]
        title: String,
        /// `public`, `unlisted`, `followers`, `subscribers` or `signed`.
        #[arg(long, default_value = "public")]
        visibility: String,
    },
    /// Print all channels.
    List,
    /// Change who may watch.
    Visibility { name: String, visibility: String },
    /// Remove a channel with its keys.
    Remove { name: String },
}

/// Stream keys.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a stream key and print it, this once.
    Add {
        channel: String,
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Print the keys of a channel, without the secrets.
    List { channel: String },
    /// Put a new key in place of an old one, which works for some time more.
    Rotate {
        channel: String,
        id: String,
        /// Seconds for which both work.
        #[arg(long, default_value_t = 86_400)]
        overlap: i64,
    },
    /// Revoke a key. Who is live with it is cut off.
    Revoke { channel: String, id: String },
}

/// API tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it, this once.
    Add {
        login: String,
        #[arg(long, default_value = "")]
        name: String,
        /// What it may be used for. Repeatable.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// How long it is good, in days. Without it: for good.
        #[arg(long)]
        days: Option<i64>,
    },
    /// Print the tokens of an account, without the secrets.
    List { login: String },
    /// Revoke a token.
    Revoke { login: String, id: String },
}

/// What a command ends with if it fails.
pub(super) type Failure = Box<dyn std::error::Error>;

/// The audit log's name for whoever has a shell on the server.
const ACTOR: &str = "command line";

impl Place {
    async fn open(self) -> Result<std::sync::Arc<Accounts>, Failure> {
        accounts(self.load()?).await
    }

    /// The database, and the secret under which keys are kept in it.
    pub(super) async fn database(self) -> Result<(Database, Secrets), Failure> {
        Ok(crate::app::open(&self.load()?).await?)
    }

    fn load(self) -> Result<Config, Failure> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(data) = self.data {
            config.data.dir = data;
        }
        config.validate()?;
        Ok(config)
    }
}

async fn accounts(config: Config) -> Result<std::sync::Arc<Accounts>, Failure> {
    let (database, secrets) = crate::app::open(&config).await?;
    Ok(Accounts::new(database, secrets, config.accounts))
}

pub(super) async fn user(place: Place, command: User) -> Result<(), Failure> {
    let accounts = place.open().await?;
    let database = accounts.database();
    match command {
        User::Add { login, role, password_stdin } => {
            let role = Role::parse(&role).ok_or("role is user, moderator or admin")?;
            let password = password(password_stdin)?;
            let user = accounts.add_user(&login, "", password.clone(), role).await?;
            audit(database, "user.create", &user.login).await?;
            say(&format!("made {} ({})", user.login, user.role.as_str()))?;
            if !password_stdin {
                say(&format!("password: {}", password.expose_secret()))?;
            }
        }
        User::List => {
            let mut page = Page::first(100);
            loop {
                let users = database.users(&page).await?;
                for user in &users {
                    say(&format!("{}\t{}\t{}", user.login, user.role.as_str(), user.status.as_str()))?;
                }
                page.after = users.last().map(|user| user.login.clone());
                if users.len() < 100 {
                    break;
                }
            }
        }
        User::Password { login, password_stdin } => {
            let user = database.user(&login).await?;
            let password = password(password_stdin)?;
            accounts.set_password(&user, password.clone()).await?;
            audit(database, "user.password", &login).await?;
            if !password_stdin {
                say(&format!("password: {}", password.expose_secret()))?;
            }
        }
        User::Role { login, role } => {
            let user = database.user(&login).await?;
            let role = Role::parse(&role).ok_or("role is user, moderator or admin")?;
            database.set_user(&user.id, role, user.status, now_ms()).await?;
            audit(database, "user.change", &format!("{login} {}", role.as_str())).await?;
        }
        User::Suspend { login } => set_status(database, &login, Status::Suspended).await?,
        User::Resume { login } => set_status(database, &login, Status::Active).await?,
    }
    database.close().await;
    Ok(())
}

async fn set_status(database: &Database, login: &str, status: Status) -> Result<(), Failure> {
    let user = database.user(login).await?;
    database.set_user(&user.id, user.role, status, now_ms()).await?;
    audit(database, "user.change", &format!("{login} {}", status.as_str())).await
}

pub(super) async fn channel(place: Place, command: Channel) -> Result<(), Failure> {
    let accounts = place.open().await?;
    let database = accounts.database();
    let known = |text: &str| {
        Visibility::parse(text).ok_or("visibility is public, unlisted, followers, subscribers or signed")
    };
    match command {
        Channel::Add { name, owner, title, visibility } => {
            let name = ChannelName::parse(&name)?;
            if RESERVED_NAMES.contains(&name.as_str()) {
                return Err(format!("{name} is an address of the server itself: choose another name").into());
            }
            let owner = database.user(&owner).await?;
            let visibility = known(&visibility)?;
            let new = NewChannel { owner_id: &owner.id, name: name.as_str(), title: &title, visibility };
            database.add_channel(new, now_ms()).await?;
            audit(database, "channel.create", name.as_str()).await?;
            say(&format!("made {name} for {}", owner.login))?;
        }
        Channel::List => {
            let mut page = Page::first(100);
            loop {
                let channels = database.channels(None, &page).await?;
                for it in &channels {
                    let owner = it.owner_id.as_deref().unwrap_or("configuration");
                    say(&format!("{}\t{}\t{owner}\t{}", it.name, it.visibility.as_str(), it.title))?;
                }
                page.after = channels.last().map(|it| it.name.clone());
                if channels.len() < 100 {
                    break;
                }
            }
        }
        Channel::Visibility { name, visibility } => {
            let (found, visibility) = (find(database, &name).await?, known(&visibility)?);
            let change = ChannelChange { visibility: Some(visibility), ..ChannelChange::default() };
            database.change_channel(&found.id, change, now_ms()).await?;
            audit(database, "channel.change", &name).await?;
        }
        Channel::Remove { name } => {
            let found = find(database, &name).await?;
            if found.owner_id.is_none() {
                return Err("this channel stands in the configuration file: remove it there".into());
            }
            database.remove_channel(&found.id, now_ms()).await?;
            audit(database, "channel.remove", &name).await?;
        }
    }
    database.close().await;
    Ok(())
}

pub(super) async fn key(place: Place, command: Key) -> Result<(), Failure> {
    let config = place.load()?;
    let rtmp_port = config.rtmp.listen.port();
    let accounts = accounts(config).await?;
    let database = accounts.database();
    match command {
        Key::Add { channel, name } => {
            let channel = find(database, &channel).await?;
            let (row, key) = accounts.add_stream_key(&channel.id, &name, None).await?;
            audit(database, "key.create", &row.id).await?;
            say_key(&row.id, &key, rtmp_port)?;
        }
        Key::List { channel } => {
            for key in database.stream_keys(&find(database, &channel).await?.id).await? {
                say(&format!("{}\t{}\t…{}", key.id, key.name, key.hint))?;
            }
        }
        Key::Rotate { channel, id, overlap } => {
            let channel = find(database, &channel).await?;
            let (row, key) = accounts.rotate_stream_key(&channel.id, &id, overlap).await?;
            audit(database, "key.rotate", &id).await?;
            say_key(&row.id, &key, rtmp_port)?;
        }
        Key::Revoke { channel, id } => {
            let channel = find(database, &channel).await?;
            database.revoke_stream_key(&channel.id, &id, now_ms()).await?;
            audit(database, "key.revoke", &id).await?;
        }
    }
    database.close().await;
    Ok(())
}

fn say_key(id: &str, key: &StreamKey, rtmp_port: u16) -> Result<(), Failure> {
    say(&format!("{id}\nstream key, shown this once: {}", key.expose()))?;
    say(&format!(
        "OBS server: rtmp://localhost:{rtmp_port}/live, with this server's name for localhost from elsewhere"
    ))
}

pub(super) async fn token(place: Place, command: Token) -> Result<(), Failure> {
    let accounts = place.open().await?;
    let database = accounts.database();
    match command {
        Token::Add { login, name, scopes, days } => {
            let user = database.user(&login).await?;
            let seconds = days.map(|days| days.saturating_mul(24 * 60 * 60));
            let (row, token) = accounts.add_token(&user, &name, &scopes, seconds).await?;
            audit(database, "token.create", &row.id).await?;
            say(&format!("{}\nAPI token, shown this once: {}", row.id, token.expose_secret()))?;
        }
        Token::List { login } => {
            for token in database.api_tokens(&database.user(&login).await?.id).await? {
                say(&format!("{}\t{}\t…{}\t{}", token.id, token.name, token.hint, token.scopes))?;
            }
        }
        Token::Revoke { login, id } => {
            let user = database.user(&login).await?;
            database.revoke_api_token(&user.id, &id, now_ms()).await?;
            audit(database, "token.revoke", &id).await?;
        }
    }
    database.close().await;
    Ok(())
}

pub(super) async fn backup(place: Place, to: PathBuf) -> Result<(), Failure> {
    let accounts = place.open().await?;
    accounts.database().backup(&to).await?;
    say(&format!("everything in the database is in {}; keep secret.key with it", to.display()))?;
    accounts.database().close().await;
    Ok(())
}

/// A channel by its name, without the limits of a viewer.
async fn find(database: &Database, name: &str) -> Result<control::db::Channel, Failure> {
    let name = ChannelName::parse(name)?;
    Ok(database.channel(name.as_str()).await?)
}

pub(super) async fn audit(database: &Database, action: &str, target: &str) -> Result<(), Failure> {
    Ok(database.audit(ACTOR, action, target, None, now_ms()).await?)
}

fn password(from_stdin: bool) -> Result<SecretString, Failure> {
    if !from_stdin {
        // As long as a stream key, and as hard to guess.
        return Ok(StreamKey::generate().expose().trim_start_matches("live_").to_owned().into());
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}

pub(super) fn say(line: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
