//! Permissions of callers, in one table: which action, on which class of token, inside which record.
//!
//! The one thing to know: every dialect translates its own words (a role, a policy, a list of permission names) into
//! [`Grant`]s once, when it recognises the caller; after that only the engine decides. Any matching denial beats all
//! allowances, and nothing is allowed by silence.

use std::fmt;

use crate::record::RecordId;

/// What can be done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Action {
    /// Make a token.
    Issue,
    /// See a token's header, or that it exists.
    Read,
    /// See what a token stands for.
    Reveal,
    /// Change a token's header.
    Update,
    /// Change what a token stands for.
    UpdateData,
    /// Put a token out of force, away, or back.
    Revoke,
    /// Remove a token.
    Delete,
    /// See records.
    ReadRecord,
    /// Make or change records.
    WriteRecord,
    /// Remove records, and with them what hangs from them.
    DeleteRecord,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Issue,
        Self::Read,
        Self::Reveal,
        Self::Update,
        Self::UpdateData,
        Self::Revoke,
        Self::Delete,
        Self::ReadRecord,
        Self::WriteRecord,
        Self::DeleteRecord,
    ];

    /// The word in events and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Read => "read",
            Self::Reveal => "reveal",
            Self::Update => "update",
            Self::UpdateData => "update_data",
            Self::Revoke => "revoke",
            Self::Delete => "delete",
            Self::ReadRecord => "read_record",
            Self::WriteRecord => "write_record",
            Self::DeleteRecord => "delete_record",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One line of what a caller may (or may not) do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Whether it forbids instead of allowing.
    pub deny: bool,
    /// The actions it speaks of.
    pub actions: Vec<Action>,
    /// The classes of token it speaks of; `None` is all.
    pub classes: Option<Vec<String>>,
    /// The container it speaks of; `None` is all.
    pub container: Option<RecordId>,
}

/// All lines of one caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Everything.
    pub fn all() -> Self {
        Self::to(&Action::ALL)
    }

    /// These actions on everything.
    pub fn to(actions: &[Action]) -> Self {
        Self(vec![Grant {
            deny: false,
            actions: actions.to_vec(),
            classes: None,
            container: None,
        }])
    }

    /// Whether the action is allowed on this class in this container.
    pub fn allow(&self, action: Action, class: &str, container: Option<RecordId>) -> bool {
        let covers = |grant: &&Grant| {
            grant.actions.contains(&action)
                && grant
                    .classes
                    .as_ref()
                    .is_none_or(|classes| classes.iter().any(|one| one == class))
                && grant.container.is_none_or(|one| Some(one) == container)
        };
        let mut matching = self.0.iter().filter(covers).peekable();
        matching.peek().is_some() && matching.all(|grant| !grant.deny)
    }

    /// Whether the action is allowed on anything at all in this container: asked before a selection is matched, so that
    /// a caller without rights cannot tell an existing token from a missing one.
    pub fn allow_any(&self, action: Action, container: Option<RecordId>) -> bool {
        let about = |grant: &&Grant| {
            grant.actions.contains(&action)
                && grant.container.is_none_or(|one| Some(one) == container)
        };
        let denied = self
            .0
            .iter()
            .filter(about)
            .any(|grant| grant.deny && grant.classes.is_none());
        !denied && self.0.iter().filter(about).any(|grant| !grant.deny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(deny: bool, class: Option<&str>) -> Grant {
        Grant {
            deny,
            actions: vec![Action::Update],
            classes: class.map(|one| vec![one.to_owned()]),
            container: None,
        }
    }

    #[test]
    fn silence_allows_nothing() {
        assert!(!Grants::default().allow(Action::Update, "client", None));
        assert!(!Grants::to(&[Action::Read]).allow(Action::Update, "client", None));
        assert!(!Grants::default().allow_any(Action::Update, None));
    }

    #[test]
    fn a_denial_beats_every_allowance() {
        let grants = Grants(vec![grant(false, None), grant(true, Some("admin"))]);
        assert!(grants.allow(Action::Update, "client", None));
        assert!(!grants.allow(Action::Update, "admin", None));
        assert!(grants.allow_any(Action::Update, None));
        let none = Grants(vec![grant(false, Some("client")), grant(true, None)]);
        assert!(!none.allow(Action::Update, "client", None));
        assert!(!none.allow_any(Action::Update, None));
    }

    #[test]
    fn a_grant_for_one_class_says_nothing_of_others() {
        let grants = Grants(vec![grant(false, Some("client"))]);
        assert!(grants.allow_any(Action::Update, None));
        assert!(!grants.allow(Action::Update, "frontend", None));
    }
}
