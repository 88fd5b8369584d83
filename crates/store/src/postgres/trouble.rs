//! What an error of PostgreSQL means, told by its SQLSTATE alone, and the one wrapper that repeats what may be repeated.
//!
//! The one thing to know: an error of a statement before COMMIT has changed nothing, so it may be repeated freely; an error
//! *at* COMMIT says nothing about the outcome, whatever its code. Who repeats then must be able to find out, and is
//! [`Attempt::in_doubt`] until it has.

use std::error::Error as _;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use deadpool_postgres::{HookError, PoolError};
use engine::store::StoreError;
use tokio_postgres::error::{Error, SqlState};

use super::rows::closed;
use crate::columns::{defect, unavailable};

/// The first pause before a repetition; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(10);

/// No pause is longer, so that a server that comes back is noticed soon.
const PAUSE_MAX: Duration = Duration::from_millis(320);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A repetition may succeed.
    Again(String),
    /// No server was found that writes. A repetition may succeed, but there is no reason to expect it soon.
    Unreachable(String),
    /// A repetition would end the same way.
    Refused(StoreError),
}

/// Something that can be tried repeatedly.
pub(super) trait Attempt: Send {
    type Output: Send;

    /// Once.
    fn attempt(&mut self) -> impl Future<Output = Result<Self::Output, Trouble>> + Send;

    /// Whether an earlier attempt may have been committed after all.
    fn in_doubt(&self) -> bool;
}

/// Repeats an attempt until its outcome is certain or `deadline` has passed.
///
/// If the store cannot be reached and nothing is in doubt, the caller learns it at once.
pub(super) async fn until_certain<A: Attempt>(
    attempt: &mut A,
    deadline: Duration,
) -> Result<A::Output, StoreError> {
    let mut message = "the store does not answer in time".to_owned();
    let tries = async {
        let mut pause = PAUSE;
        loop {
            match attempt.attempt().await {
                Ok(done) => return Ok(done),
                Err(Trouble::Refused(error)) => return Err(error),
                Err(Trouble::Unreachable(cause)) if !attempt.in_doubt() => {
                    return Err(unavailable(cause));
                }
                Err(Trouble::Again(cause) | Trouble::Unreachable(cause)) => {
                    tracing::debug!(cause, "a transaction is repeated");
                    metrics::counter!("tokenhouse_store_repetitions_total").increment(1);
                    message = cause;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    };
    let outcome = tokio::time::timeout(deadline, tries).await;
    outcome.unwrap_or_else(|_| {
        Err(StoreError::Unavailable {
            message,
            unknown: attempt.in_doubt(),
        })
    })
}

/// What the server or the network says, for the operator. Neither holds a password, nor the content of a row: that would
/// stand in the detail, which is left out.
pub(super) fn shown(error: &Error) -> String {
    if let Some(database) = error.as_db_error() {
        return format!("{} ({})", database.message(), database.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Whether the connection is gone, or the server is about to end it or refuses new ones.
fn is_lost(error: &Error) -> bool {
    let Some(code) = error.code() else {
        // Not from the server: closed, or an error of the network. What this program does wrong (a parameter of the
        // wrong type) has a cause of its own.
        return error.is_closed() || caused_by_io(error);
    };
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            // A leader that has become a follower.
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(code)
}

fn caused_by_io(error: &Error) -> bool {
    cause_of::<std::io::Error>(error).is_some()
}

/// The first cause of a kind. What an error of the system wraps is none of its sources, and is looked into.
pub(super) fn cause_of<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>();
        cause = match wrapped.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// An error of a statement before COMMIT, or of a read.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
pub(super) fn of_statement(error: Error) -> Trouble {
    if is_lost(&error) {
        return Trouble::Again(shown(&error));
    }
    let Some(code) = error.code() else {
        return Trouble::Refused(defect(shown(&error)));
    };
    let repeatable = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    if repeatable.contains(code) {
        return Trouble::Again(shown(&error));
    }
    // Resources, limits an administrator set, operator's intervention, the system below the server.
    let passing = ["53", "57", "58"];
    Trouble::Refused(
        if passing.iter().any(|class| code.code().starts_with(class)) {
            unavailable(shown(&error))
        } else if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
            StoreError::Corrupt {
                table: "database",
                id: "of the store".to_owned(),
                message: shown(&error),
            }
        } else {
            defect(shown(&error))
        },
    )
}

/// An error while a connection is being opened.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
pub(super) fn of_connection(error: Error) -> Trouble {
    Trouble::Unreachable(shown(&error))
}

/// An error on the way to a connection.
pub(super) fn of_pool(error: PoolError) -> Trouble {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            Trouble::Unreachable(shown(&error))
        }
        PoolError::Closed => Trouble::Refused(closed()),
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => {
            Trouble::Refused(unavailable("too many calls are waiting for the store"))
        }
        PoolError::Timeout(_) => Trouble::Unreachable("the database does not answer".to_owned()),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            Trouble::Refused(defect(error.to_string()))
        }
    }
}
