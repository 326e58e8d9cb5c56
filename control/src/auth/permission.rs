//! Who may do what: one table for every route.

use crate::db::{ChannelRole, Role, User};

/// What can be done, to the instance, to an account or to a Channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// See the own account, what it follows, its channels.
    ReadAccount,
    /// Change the own account: password, API tokens. Not by an API token: a stolen one must not make others.
    WriteAccount,
    /// Follow channels; make a channel.
    UseAccount,
    /// Title, visibility.
    EditChannel,
    /// Stream keys, roles, subscribers, removal.
    OwnChannel,
    /// See who watches; choose a viewer's layer; send a viewer away.
    ModerateChannel,
    /// End the Stream.
    EndStream,
    /// Make grants to watch, and void them.
    GrantPlayback,
    /// Accounts, invitations, the audit log, draining.
    Administer,
}

impl Action {
    /// The scope that an API token needs for it; none will do for what tokens may not do.
    pub const fn scope(self) -> Option<&'static str> {
        match self {
            Self::ReadAccount => Some("account:read"),
            Self::WriteAccount => None,
            Self::UseAccount => Some("account:write"),
            Self::EditChannel => Some("channel:write"),
            Self::OwnChannel => Some("key:write"),
            Self::ModerateChannel => Some("stream:moderate"),
            Self::EndStream => Some("stream:write"),
            Self::GrantPlayback => Some("grant:write"),
            Self::Administer => Some("admin"),
        }
    }
}

/// Every scope there is.
pub const SCOPES: [&str; 8] = [
    "account:read",
    "account:write",
    "channel:write",
    "key:write",
    "stream:moderate",
    "stream:write",
    "grant:write",
    "admin",
];

/// What somebody is to a Channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is theirs.
    Owner,
    /// They have a role there.
    Role(ChannelRole),
    /// Nothing in particular, or there is no Channel in question.
    None,
}

/// Who asks: an account, by its session or by one of its API tokens.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account.
    pub user: User,
    /// Scopes of the API token, separated by spaces; none for a session, which may do all that its account may.
    pub scopes: Option<String>,
}

impl Actor {
    /// Whether the account may do it with this standing, and the way by which it asks lets it.
    pub fn can(&self, action: Action, standing: Standing) -> bool {
        let scoped = match (&self.scopes, action.scope()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(scopes), Some(scope)) => scopes.split(' ').any(|it| it == scope),
        };
        scoped && allows(self.user.role, standing, action)
    }
}

fn allows(role: Role, standing: Standing, action: Action) -> bool {
    use ChannelRole::{Editor, Moderator};
    match action {
        Action::ReadAccount | Action::WriteAccount | Action::UseAccount => true,
        Action::EditChannel | Action::GrantPlayback => {
            role == Role::Admin || matches!(standing, Standing::Owner | Standing::Role(Editor))
        }
        Action::OwnChannel => role == Role::Admin || standing == Standing::Owner,
        Action::ModerateChannel => {
            role >= Role::Moderator
                || matches!(standing, Standing::Owner | Standing::Role(Editor | Moderator))
        }
        Action::EndStream => {
            role >= Role::Moderator || matches!(standing, Standing::Owner | Standing::Role(Editor))
        }
        Action::Administer => role == Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Status;

    #[test]
    fn the_whole_table() {
        use Action::*;
        let standings = [
            Standing::Owner,
            Standing::Role(ChannelRole::Editor),
            Standing::Role(ChannelRole::Moderator),
            Standing::Role(ChannelRole::Vip),
            Standing::None,
        ];
        // For each instance role, one column per standing: y may, n may not.
        for (action, user, moderator, admin) in [
            (ReadAccount, "yyyyy", "yyyyy", "yyyyy"),
            (WriteAccount, "yyyyy", "yyyyy", "yyyyy"),
            (UseAccount, "yyyyy", "yyyyy", "yyyyy"),
            (EditChannel, "yynnn", "yynnn", "yyyyy"),
            (GrantPlayback, "yynnn", "yynnn", "yyyyy"),
            (OwnChannel, "ynnnn", "ynnnn", "yyyyy"),
            (ModerateChannel, "yyynn", "yyyyy", "yyyyy"),
            (EndStream, "yynnn", "yyyyy", "yyyyy"),
            (Administer, "nnnnn", "nnnnn", "yyyyy"),
        ] {
            for (role, expected) in [(Role::User, user), (Role::Moderator, moderator), (Role::Admin, admin)] {
                let seen: String =
                    standings.iter().map(|it| if allows(role, *it, action) { 'y' } else { 'n' }).collect();
                assert_eq!(seen, expected, "{action:?} as {role:?}");
            }
        }
    }

    #[test]
    fn a_token_may_what_its_scopes_say_and_never_more_than_its_account() {
        let actor = |role, scopes: &str| Actor {
            user: User {
                id: "usr_1".into(),
                login: "ana".into(),
                display_name: "Ana".into(),
                role,
                status: Status::Active,
                created_at: 0,
            },
            scopes: Some(scopes.to_owned()),
        };
        assert!(actor(Role::User, "channel:write key:write").can(Action::OwnChannel, Standing::Owner));
        assert!(!actor(Role::User, "channel:write").can(Action::OwnChannel, Standing::Owner));
        assert!(!actor(Role::User, "admin").can(Action::Administer, Standing::None));
        assert!(actor(Role::Admin, "admin").can(Action::Administer, Standing::None));
        assert!(!actor(Role::Admin, "account:write admin").can(Action::WriteAccount, Standing::None));
        for action in [Action::ReadAccount, Action::EndStream, Action::ModerateChannel] {
            assert!(SCOPES.contains(&action.scope().expect("one")), "{action:?}");
            assert!(!actor(Role::Admin, "").can(action, Standing::Owner));
        }
    }
}
