//! Roles and what they permit: the whole permission model of this dialect in one table.
//!
//! The one thing a newcomer would get wrong: a call asks twice. First for the plain permission, then, where it would give
//! a credential or a role away, for the action itself at the *privilege boundary*; the two refusals look different. So a
//! member may edit an identity and still not make a token for it.

use engine::permission::{Action, Grants};

use super::error::{self, WireError};

/// What can be done to identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// See them, their configuration and their tokens' headers.
    Read,
    /// Make them.
    Create,
    /// Change them; revoke tokens.
    Edit,
    /// Remove them.
    Delete,
    /// Give them a role.
    GrantPrivileges,
    /// Detach a way to authenticate.
    RevokeAuth,
    /// Make tokens, and rename them.
    CreateToken,
    /// Attach or change a way to authenticate.
    EditAuth,
}

impl Permission {
    /// The product's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::GrantPrivileges => "grant-privileges",
            Self::RevokeAuth => "revoke-auth",
            Self::CreateToken => "create-token",
            Self::EditAuth => "edit-auth",
        }
    }
}

/// What an identity is in its organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Admin,
    /// Identities, but no credentials and no roles.
    Member,
    /// Nothing but to know the own organization.
    NoAccess,
}

impl Role {
    /// The product's word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::NoAccess => "no-access",
        }
    }

    /// The reverse.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Admin, Self::Member, Self::NoAccess]
            .into_iter()
            .find(|role| role.word() == word)
    }

    /// The table.
    const fn permits(self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Admin, _)
            | (
                Self::Member,
                Permission::Read | Permission::Create | Permission::Edit | Permission::Delete,
            ) => true,
            (
                Self::Member,
                Permission::GrantPrivileges
                | Permission::RevokeAuth
                | Permission::CreateToken
                | Permission::EditAuth,
            )
            | (Self::NoAccess, _) => false,
        }
    }

    /// Refuses what the role does not permit.
    pub(super) fn require(self, permission: Permission) -> Result<(), WireError> {
        if self.permits(permission) {
            Ok(())
        } else {
            Err(error::permission_denied(permission))
        }
    }

    /// Refuses at the privilege boundary; `what` is what could not be done.
    pub(super) fn reach(self, permission: Permission, what: &'static str) -> Result<(), WireError> {
        if self.permits(permission) {
            Ok(())
        } else {
            Err(error::boundary(what, permission))
        }
    }

    /// The same in the engine's words: a second lock behind the table. Records are both identities and their ways to
    /// authenticate; the table tells these apart, the engine does not.
    pub(super) fn grants(self) -> Grants {
        match self {
            Self::Admin => Grants::all(),
            Self::Member => Grants::to(&[
                Action::Read,
                Action::Revoke,
                Action::ReadRecord,
                Action::WriteRecord,
                Action::DeleteRecord,
            ]),
            Self::NoAccess => Grants::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Permission; 8] = [
        Permission::Read,
        Permission::Create,
        Permission::Edit,
        Permission::Delete,
        Permission::GrantPrivileges,
        Permission::RevokeAuth,
        Permission::CreateToken,
        Permission::EditAuth,
    ];

    #[test]
    fn members_have_four_of_eight() {
        let count = |role: Role| ALL.into_iter().filter(|one| role.permits(*one)).count();
        assert_eq!(count(Role::Admin), 8);
        assert_eq!(count(Role::Member), 4);
        assert_eq!(count(Role::NoAccess), 0);
        assert!(!Role::Member.permits(Permission::CreateToken));
    }

    #[test]
    fn the_engine_knows_nothing_wider() {
        assert!(
            !Role::Member
                .grants()
                .allow(Action::Issue, "token-auth", None)
        );
        assert!(
            !Role::Member
                .grants()
                .allow(Action::Update, "token-auth", None)
        );
        assert!(!Role::NoAccess.grants().allow_any(Action::ReadRecord, None));
    }

    #[test]
    fn words_are_read_back() {
        for role in [Role::Admin, Role::Member, Role::NoAccess] {
            assert_eq!(Role::from_word(role.word()), Some(role));
        }
        assert_eq!(Role::from_word("Admin"), None);
    }
}
