//! Guards: under which condition a change of a row happens.
//!
//! The one thing a newcomer would get wrong: a condition that is asked before the call is no condition, because somebody
//! else may change the row in between. A guard is judged inside the transaction, on the row that is about to change.

use std::fmt;
use std::sync::Arc;

use crate::error::{Conflict, Error};
use crate::token::Token;

/// A condition on rows of one kind. It is asked after the caller's rights, once for each row that the change is about.
#[derive(Default)]
pub enum Guard<T = Token> {
    /// None.
    #[default]
    Nothing,
    /// Every row that matches has this version.
    Version(u64),
    /// Every row that matches passes this; see [`Guard::check`].
    Check(Check<T>),
}

/// What a row is asked. It may be asked again, with the row as it is then.
pub type Check<T> = Arc<dyn Fn(&T) -> Result<(), Error> + Send + Sync>;

impl<T> Guard<T> {
    /// A question about the row itself, in the words of whoever asks. It must be pure; what it says is what the verb says.
    pub fn check(check: impl Fn(&T) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self::Check(Arc::new(check))
    }

    /// Refuses unless a row of this version meets the condition.
    pub(crate) fn judge(&self, version: u64, row: &T) -> Result<(), Error> {
        match self {
            Self::Version(expected) if *expected != version => {
                Err(Error::Conflict(Conflict::Version { current: version }))
            }
            Self::Nothing | Self::Version(_) => Ok(()),
            Self::Check(check) => check(row),
        }
    }
}

// By hand, because a derive would ask the same of the row, which is only looked at.
impl<T> Clone for Guard<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Version(version) => Self::Version(*version),
            Self::Check(check) => Self::Check(Arc::clone(check)),
        }
    }
}

impl<T> fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Version(version) => f.debug_tuple("Version").field(version).finish(),
            Self::Check(_) => f.write_str("Check"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_what_was_asked() {
        let stale = Error::Conflict(Conflict::Version { current: 2 });
        assert_eq!(Guard::Nothing.judge(2, &"row"), Ok(()));
        assert_eq!(Guard::Version(2).judge(2, &"row"), Ok(()));
        assert_eq!(Guard::Version(1).judge(2, &"row"), Err(stale));
        let short = Guard::check(|row: &&str| {
            let long = row.len() > 3;
            if long { Err(Error::Gone) } else { Ok(()) }
        });
        assert_eq!(short.judge(2, &"row"), Ok(()));
        assert_eq!(short.clone().judge(2, &"rows"), Err(Error::Gone));
    }

    #[test]
    fn debug_shows_no_closure() {
        assert_eq!(format!("{:?}", Guard::<Token>::Version(3)), "Version(3)");
        assert_eq!(format!("{:?}", Guard::check(|_: &Token| Ok(()))), "Check");
    }
}
