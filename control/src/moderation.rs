//! Who may speak in the chat of a Channel: its bans and settings, from the database.
//!
//! A message costs no query as long as what is known of its author is fresh; what another node changes counts here
//! within [`FRESH`], what this one changes at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::clock;
use crate::db::{Ban, Channel, ChannelRole, ChatSettings, ChatStanding, Database, Error, Role};

/// How long what was read counts. Who was banned on another node speaks for so long at most.
const FRESH: Duration = Duration::from_secs(5);

/// Accounts by Channel, and Channels, that are remembered: those who spoke within [`FRESH`]. Each has some hundred bytes.
/// Beyond it the stale ones are forgotten, then all, which costs queries and nothing else.
const KNOWN_MAX: usize = 16_384;

/// Why somebody may not speak. The texts go to them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Silenced {
    /// The account is suspended, or gone. A socket that was signed in before does not know.
    #[error("this account is suspended or gone: it cannot speak here")]
    Closed,
    /// The account's password, status or role was changed since: whoever it is has to sign in again.
    #[error("your sign-in is over: sign in again")]
    SignedOut,
    /// A moderator said so.
    #[error("{}", banned(.0))]
    Banned(Ban),
    /// The chat is for those who have followed for so many minutes.
    #[error("this chat is for those who have followed the channel for {minutes} min")]
    FollowersOnly {
        /// How long.
        minutes: i64,
    },
    /// The chat is for subscribers.
    #[error("this chat is for subscribers of the channel")]
    SubscribersOnly,
}

fn banned(ban: &Ban) -> String {
    let why = if ban.reason.is_empty() { String::new() } else { format!(": {}", ban.reason) };
    match ban.until {
        None => format!("you are banned from this chat{why}"),
        Some(_) => format!("you are banned from this chat for some time{why}"),
    }
}

/// Somebody who may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// Milliseconds between two messages of theirs.
    pub slow_ms: u64,
}

/// What is known of a key, and since when.
type Known<K, V> = Mutex<HashMap<K, (Instant, V)>>;

/// Knows the bans and settings of chats.
pub struct Moderation {
    database: Database,
    settings: Known<String, ChatSettings>,
    standings: Known<(String, String), ChatStanding>,
}

impl Moderation {
    /// Reads from there.
    pub fn new(database: Database) -> Arc<Self> {
        Arc::new(Self { database, settings: Mutex::default(), standings: Mutex::default() })
    }

    /// Whether an account that signed in at `since` (unix seconds), or a guest, may speak in the chat of a Channel. While the database does not answer, what was
    /// known last counts, and where nothing is known there are no rules: a chat that falls silent is no help.
    ///
    /// # Errors
    /// [`Silenced`] says why not.
    pub async fn may_speak(
        &self,
        channel: &Channel,
        account: Option<(&str, i64)>,
    ) -> Result<Speaker, Silenced> {
        let settings = self.settings(&channel.id).await;
        let standing = match account {
            Some((account, since)) => {
                let standing = self.standing(&channel.id, account).await;
                // To the end of that second: who signs in right after a change must not be taken for one from before.
                if !standing.closed && since.saturating_mul(1000).saturating_add(999) < standing.changed_at {
                    return Err(Silenced::SignedOut);
                }
                standing
            }
            None => ChatStanding::default(),
        };
        decide(settings, standing, clock::unix_ms())
    }

    /// The settings of a chat were changed here: they are read again.
    pub fn settings_changed(&self, channel_id: &str) {
        lock(&self.settings).remove(channel_id);
    }

    /// What an account is to a Channel was changed here: a ban, a role, that it follows.
    pub fn account_changed(&self, channel_id: &str, user_id: &str) {
        lock(&self.standings).remove(&(channel_id.to_owned(), user_id.to_owned()));
    }

    /// An account was suspended here, or may be used again, or has another password or role on the instance.
    pub fn account_changed_everywhere(&self, user_id: &str) {
        lock(&self.standings).retain(|(_, known), _| known != user_id);
    }

    async fn settings(&self, channel_id: &str) -> ChatSettings {
        let key = channel_id.to_owned();
        if let Some(fresh) = fresh(&self.settings, &key) {
            return fresh;
        }
        let read = self.database.chat_settings(channel_id).await;
        keep(&self.settings, key, read)
    }

    async fn standing(&self, channel_id: &str, account: &str) -> ChatStanding {
        let key = (channel_id.to_owned(), account.to_owned());
        if let Some(fresh) = fresh(&self.standings, &key) {
            return fresh;
        }
        let read = self.database.chat_standing(channel_id, account, clock::unix_ms()).await;
        keep(&self.standings, key, read)
    }
}

impl std::fmt::Debug for Moderation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moderation").field("known", &lock(&self.standings).len()).finish_non_exhaustive()
    }
}

fn decide(settings: ChatSettings, standing: ChatStanding, now: i64) -> Result<Speaker, Silenced> {
    // Before any right: a moderator who was suspended has none.
    if standing.closed {
        return Err(Silenced::Closed);
    }
    let works_here = standing.owner
        || matches!(standing.role, Some(ChannelRole::Editor | ChannelRole::Moderator))
        || standing.instance_role.is_some_and(|role| role >= Role::Moderator);
    if works_here {
        return Ok(Speaker::default());
    }
    if let Some(ban) = standing.ban.filter(|ban| ban.until.is_none_or(|until| until > now)) {
        return Err(Silenced::Banned(ban));
    }
    let guest_of_honour = standing.role == Some(ChannelRole::Vip);
    let subscribed = guest_of_honour || standing.subscribed_until.is_some_and(|until| until > now);
    if settings.subscribers_only && !subscribed {
        return Err(Silenced::SubscribersOnly);
    }
    if let Some(minutes) = settings.followers_only_min.filter(|_| !subscribed) {
        let long_enough = |since: i64| now.saturating_sub(since) >= minutes.saturating_mul(60_000);
        if !standing.follows_since.is_some_and(long_enough) {
            return Err(Silenced::FollowersOnly { minutes });
        }
    }
    let slow_ms = if guest_of_honour { 0 } else { settings.slow_ms };
    Ok(Speaker { slow_ms: u64::try_from(slow_ms).unwrap_or(0) })
}

fn fresh<K: Hash + Eq, V: Clone>(known: &Known<K, V>, key: &K) -> Option<V> {
    let known = lock(known);
    let (since, value) = known.get(key)?;
    (clock::now().saturating_duration_since(*since) < FRESH).then(|| value.clone())
}

/// What counts from now on: what was read, or else what was known before.
fn keep<K: Hash + Eq, V: Clone + Default>(known: &Known<K, V>, key: K, read: Result<V, Error>) -> V {
    let now = clock::now();
    let mut known = lock(known);
    let value = read.unwrap_or_else(|error| {
        warn!(%error, "the rules of a chat cannot be read: what was known last counts");
        known.get(&key).map(|(_, value)| value.clone()).unwrap_or_default()
    });
    if known.len() >= KNOWN_MAX {
        known.retain(|_, (since, _)| now.saturating_duration_since(*since) < FRESH);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
    }
    known.insert(key, (now, value.clone()));
    value
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{NewUser, Status};

    const NOW: i64 = 1_700_000_000_000;

    /// The same in seconds.
    const SINCE: i64 = NOW / 1000;

    #[test]
    fn the_rules_of_a_chat() {
        let open = ChatSettings::default();
        let slow = ChatSettings { slow_ms: 5000, ..open };
        let followers = ChatSettings { followers_only_min: Some(10), ..open };
        let subscribers = ChatSettings { subscribers_only: true, ..open };
        let guest = ChatStanding::default();
        let follows =
            |minutes: i64| ChatStanding { follows_since: Some(NOW - minutes * 60_000), ..guest.clone() };
        let subscribed = |until: i64| ChatStanding { subscribed_until: Some(until), ..guest.clone() };
        let role = |role| ChatStanding { role: Some(role), ..guest.clone() };
        let owner = ChatStanding { owner: true, ..guest.clone() };
        let admin = ChatStanding { instance_role: Some(Role::Admin), ..guest.clone() };
        let closed = |standing| ChatStanding { closed: true, ..standing };
        let ban = |until| Ban { until, reason: "spam".to_owned() };
        let banned = |until| ChatStanding { ban: Some(ban(until)), ..follows(60) };
        let may = |slow_ms| Ok(Speaker { slow_ms });
        let too_new = || Err(Silenced::FollowersOnly { minutes: 10 });
        for (settings, standing, expected) in [
            (open, guest.clone(), may(0)),
            (slow, guest.clone(), may(5000)),
            (slow, role(ChannelRole::Vip), may(0)),
            (slow, owner.clone(), may(0)),
            (open, banned(None), Err(Silenced::Banned(ban(None)))),
            (open, banned(Some(NOW + 1)), Err(Silenced::Banned(ban(Some(NOW + 1))))),
            (open, banned(Some(NOW)), may(0)),
            (open, ChatStanding { ban: Some(ban(None)), ..admin.clone() }, may(0)),
            (followers, guest.clone(), too_new()),
            (followers, follows(9), too_new()),
            (followers, follows(10), may(0)),
            (followers, subscribed(NOW + 1), may(0)),
            (followers, role(ChannelRole::Moderator), may(0)),
            (followers, role(ChannelRole::Vip), may(0)),
            (followers, owner.clone(), may(0)),
            (subscribers, follows(60), Err(Silenced::SubscribersOnly)),
            (subscribers, subscribed(NOW), Err(Silenced::SubscribersOnly)),
            (subscribers, subscribed(NOW + 1), may(0)),
            (subscribers, admin.clone(), may(0)),
            (open, closed(guest.clone()), Err(Silenced::Closed)),
            (open, closed(owner), Err(Silenced::Closed)),
            (open, closed(admin), Err(Silenced::Closed)),
            (open, closed(role(ChannelRole::Moderator)), Err(Silenced::Closed)),
        ] {
            assert_eq!(decide(settings, standing.clone(), NOW), expected, "{settings:?} {standing:?}");
        }
        assert_eq!(Silenced::Banned(ban(None)).to_string(), "you are banned from this chat: spam");
    }

    #[tokio::test]
    async fn who_is_suspended_falls_silent_at_once_whatever_his_role() {
        let data = tempfile::tempdir().expect("a directory");
        let database = Database::open(None, data.path()).await.expect("opens");
        database.import_channel("ana", "", crate::Rewind::default(), NOW).await.expect("made");
        let channel = database.channel("ana").await.expect("there");
        let new = NewUser { login: "mo", display_name: "Mo", password_hash: "", role: Role::Moderator };
        let mo = database.add_user(new, NOW).await.expect("added");
        let moderation = Moderation::new(database.clone());
        for (status, expected) in [
            (Status::Active, Ok(Speaker::default())),
            (Status::Suspended, Err(Silenced::Closed)),
            (Status::Active, Ok(Speaker::default())),
        ] {
            database.set_user(&mo.id, mo.role, status, NOW).await.expect("set");
            moderation.account_changed_everywhere(&mo.id);
            assert_eq!(moderation.may_speak(&channel, Some((&mo.id, SINCE))).await, expected, "{status:?}");
        }
        // A new password ends what came before it, and nothing else.
        let changed = (SINCE + 60) * 1000 + 500;
        database.set_password(&mo.id, "another", changed).await.expect("set");
        moderation.account_changed_everywhere(&mo.id);
        for (since, expected) in [
            (SINCE, Err(Silenced::SignedOut)),
            (SINCE + 59, Err(Silenced::SignedOut)),
            (SINCE + 60, Ok(Speaker::default())),
            (SINCE + 61, Ok(Speaker::default())),
        ] {
            assert_eq!(moderation.may_speak(&channel, Some((&mo.id, since))).await, expected, "{since}");
        }
    }

    #[tokio::test]
    async fn a_message_costs_no_query_and_a_change_counts_at_once() {
        let data = tempfile::tempdir().expect("a directory");
        let database = Database::open(None, data.path()).await.expect("opens");
        database.import_channel("ana", "", crate::Rewind::default(), NOW).await.expect("made");
        let channel = database.channel("ana").await.expect("there");
        let moderation = Moderation::new(database.clone());
        let before = database.queries();
        for _ in 0..100 {
            assert_eq!(moderation.may_speak(&channel, None).await, Ok(Speaker::default()));
        }
        assert_eq!(database.queries() - before, 1);
        let slow = ChatSettings { slow_ms: 3000, ..ChatSettings::default() };
        database.set_chat_settings(&channel.id, slow, NOW).await.expect("set");
        moderation.settings_changed(&channel.id);
        assert_eq!(moderation.may_speak(&channel, None).await, Ok(Speaker { slow_ms: 3000 }));
        // What is remembered is bounded.
        for n in 0..KNOWN_MAX + 10 {
            keep(&moderation.settings, n.to_string(), Ok(slow));
        }
        assert!(lock(&moderation.settings).len() <= KNOWN_MAX);
        // Without the database, what was known.
        moderation.settings_changed(&channel.id);
        assert_eq!(moderation.may_speak(&channel, Some(("usr_1", SINCE))).await, Err(Silenced::Closed));
        moderation.account_changed_everywhere("usr_1");
        database.close().await;
        *lock(&moderation.settings) = HashMap::from([(channel.id.clone(), (clock::now() - FRESH, slow))]);
        assert_eq!(
            moderation.may_speak(&channel, Some(("usr_1", SINCE))).await,
            Ok(Speaker { slow_ms: 3000 })
        );
    }
}
