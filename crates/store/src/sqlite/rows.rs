//! From columns to nouns: what every table's file uses to read a row and to name what went wrong.
//!
//! The one thing to know: a row that cannot be read is [`StoreError::Corrupt`] with its table and id, never a panic, and
//! its content never stands in the message – it may be a person's tag.

use engine::clock::Timestamp;
use engine::store::StoreError;
use rusqlite::types::FromSql;
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// What an error of SQLite means to the engine. Whether a *commit* that failed has left something behind is decided
/// where it is known, by the writer; everything else that fails has changed nothing.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Internal {
            message: error.to_string(),
        };
    };
    match code {
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::CannotOpen
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::FileLockingProtocolFailed => unavailable(error.to_string()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt {
            table: "file",
            id: "of the store".to_owned(),
            message: error.to_string(),
        },
        _ => StoreError::Internal {
            message: error.to_string(),
        },
    }
}

/// Nothing was changed.
pub(super) fn unavailable(message: impl Into<String>) -> StoreError {
    StoreError::Unavailable {
        message: message.into(),
        unknown: false,
    }
}

/// The engine broke the contract.
pub(super) fn defect(message: impl Into<String>) -> StoreError {
    StoreError::Internal {
        message: message.into(),
    }
}

/// A version or count as a column; beyond 2^63 nothing real counts.
pub(super) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| defect(format!("{number} does not fit a column")))
}

/// A list or body as a column.
pub(super) fn json(content: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(content).map_err(|error| defect(format!("no JSON: {error}")))
}

/// `LIMIT` of a statement.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The columns of one row, taken from left to right. The first is the row's id, by which errors name it.
pub(super) struct Columns<'row, 'statement> {
    row: &'row Row<'statement>,
    table: &'static str,
    next: usize,
}

impl<'row, 'statement> Columns<'row, 'statement> {
    pub(super) fn new(row: &'row Row<'statement>, table: &'static str) -> Self {
        Self {
            row,
            table,
            next: 0,
        }
    }

    /// The next column as it lies there.
    pub(super) fn take<T: FromSql>(&mut self) -> Result<T, StoreError> {
        let content = self.row.get(self.next);
        self.next += 1;
        // The error of rusqlite names the column and its type, not its content.
        content.map_err(|error| self.corrupt(&error.to_string()))
    }

    /// The next column as an instant.
    pub(super) fn instant(&mut self) -> Result<Timestamp, StoreError> {
        let micros = self.take()?;
        self.to_instant(micros)
    }

    /// The next column as an instant or nothing.
    pub(super) fn optional_instant(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self.take()?;
        micros.map(|micros| self.to_instant(micros)).transpose()
    }

    /// The next column as a version or count.
    pub(super) fn count(&mut self) -> Result<u64, StoreError> {
        let number: i64 = self.take()?;
        u64::try_from(number).map_err(|_| self.corrupt("a negative count"))
    }

    /// The next column as a count or nothing.
    pub(super) fn optional_count(&mut self) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> = self.take()?;
        number
            .map(|number| u64::try_from(number).map_err(|_| self.corrupt("a negative count")))
            .transpose()
    }

    /// The next column as JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let text: String = self.take()?;
        self.to_json(&text)
    }

    /// The next column as a word that `read` knows.
    pub(super) fn word<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let word: String = self.take()?;
        read(&word).ok_or_else(|| self.corrupt("an unknown word"))
    }

    /// JSON that was taken as text.
    pub(super) fn to_json<T: DeserializeOwned>(&self, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|error| {
            self.corrupt(&format!(
                "unexpected JSON at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The row is damaged.
    pub(super) fn corrupt(&self, message: &str) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            id: self.row.get(0).map_or_else(
                |_| "with an unreadable id".to_owned(),
                |id: Uuid| id.to_string(),
            ),
            message: match self.next.checked_sub(1) {
                Some(column) => format!("column {column}: {message}"),
                None => message.to_owned(),
            },
        }
    }

    fn to_instant(&self, micros: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_micros(micros)
            .ok_or_else(|| self.corrupt("an instant outside the years 1 to 9999"))
    }
}
