//! What can go wrong, in the engine's words: nine cases, each mapped by every dialect with one `match`.
//!
//! The one thing to know: an [`Error`] is made for callers and holds nothing secret. What an operator needs to find the
//! cause is logged once, where a [`StoreError`] becomes `Error::Internal` or `Error::Unavailable`.

use std::borrow::Cow;

use crate::permission::Action;
use crate::store::StoreError;

/// Why a verb did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The credential is not good for anything.
    #[error("not authenticated: {0}")]
    Unauthenticated(Unauthenticated),
    /// The caller is known but may not do this.
    #[error("forbidden: {0}")]
    Forbidden(Forbidden),
    /// What the call is about does not exist (or must look so).
    #[error("not found: {0}")]
    NotFound(Missing),
    /// The input breaks a rule.
    #[error("invalid {field}: {message}")]
    Invalid {
        /// Which input, in the engine's words (`tags`, `expires_at`, `data`…).
        field: &'static str,
        /// Which rule and what to do about it; never the refused content itself.
        message: Cow<'static, str>,
    },
    /// The state of what exists forbids it.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// It was there, and is no more.
    #[error("gone")]
    Gone,
    /// A limit of one call would be exceeded.
    #[error("too many {what}: at most {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The store cannot be reached or did not answer in time; trying again may help.
    #[error("the store is unavailable")]
    Unavailable,
    /// The store did not say in time whether the write was done. It may have been: look before trying again.
    #[error("the store did not say whether this was done: look before trying again")]
    OutcomeUnknown,
    /// A defect or damaged data; logged with its cause.
    #[error("internal error")]
    Internal,
}

/// Why a credential is no good. Callers of a product see one answer; logs and metrics tell the cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// No credential was sent.
    #[error("no credential")]
    Absent,
    /// The credential has no possible shape.
    #[error("malformed credential")]
    Malformed,
    /// Nobody has this secret.
    #[error("unknown credential")]
    Unknown,
    /// Its time has passed.
    #[error("expired credential")]
    Expired,
    /// It was revoked, archived or suspended.
    #[error("revoked credential")]
    Revoked,
    /// It has been used as often as it may.
    #[error("exhausted credential")]
    Exhausted,
    /// A record above it is gone. (One that has expired or is inactive counts as if the token itself were.)
    #[error("orphaned credential")]
    Orphaned,
}

/// What was not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// No grant of the caller covers this action on this class of token.
    #[error("the caller may not {action} {}", class.as_deref().unwrap_or("tokens"))]
    Action {
        /// What was tried.
        action: Action,
        /// On which class; `None` if the caller may not do it on any.
        class: Option<String>,
    },
    /// A token of another tenant than those the request is restricted to.
    #[error("the tenant is not among those of the request")]
    Tenant,
    /// A token would widen what it may do, or for how long.
    #[error("a token does not widen itself")]
    Itself,
    /// The caller's address is not on the credential's list (or on one above it).
    #[error("the address is not allowed")]
    Address,
}

/// What was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No token matched.
    #[error("no token matches")]
    Token,
    /// A record of this kind.
    #[error("no such {kind}")]
    Record {
        /// Its kind, a word of the dialect that asked.
        kind: Cow<'static, str>,
    },
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The expected version is not the present one.
    #[error("the version is {current}")]
    Version {
        /// The present version.
        current: u64,
    },
    /// A unique key is held by something alive.
    #[error("{space} is taken")]
    Taken {
        /// Which kind of key.
        space: Cow<'static, str>,
    },
    /// Concurrent writers kept taking what this call read; nothing was changed.
    #[error("concurrent writers, try again")]
    Busy,
}

impl Error {
    /// Shorthand for a broken rule.
    pub fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field,
            message: message.into(),
        }
    }

    /// Shorthand for a missing record.
    pub fn no_record(kind: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound(Missing::Record { kind: kind.into() })
    }
}

impl From<StoreError> for Error {
    /// The border between store and engine: the cause goes to the log, the caller gets the case.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken { space } => Self::Conflict(Conflict::Taken {
                space: space.into(),
            }),
            StoreError::Stale => Self::Conflict(Conflict::Busy),
            StoreError::TooMany { max } => Self::TooMany {
                what: "tokens",
                max,
            },
            StoreError::Unavailable { unknown, .. } => {
                tracing::error!(%error, "the store is unavailable");
                if unknown {
                    Self::OutcomeUnknown
                } else {
                    Self::Unavailable
                }
            }
            StoreError::Corrupt { .. } | StoreError::Internal { .. } => {
                tracing::error!(%error, "the store failed");
                Self::Internal
            }
        }
    }
}
