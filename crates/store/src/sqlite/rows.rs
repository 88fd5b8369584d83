//! What an error of SQLite means, and what lies in a row of its.
//!
//! The one thing to know: how columns become nouns is the same for every backend and stands beside this folder; here is
//! only how SQLite says what lies in one.

use engine::store::StoreError;
use rusqlite::{ErrorCode, Row};
use uuid::Uuid;

use crate::columns::{Cell, Cells, unavailable};

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

impl Cells for Row<'_> {
    fn id(&self, column: usize) -> Cell<Uuid> {
        self.get(column).map_err(shown)
    }

    fn integer(&self, column: usize) -> Cell<i64> {
        self.get(column).map_err(shown)
    }

    fn flag(&self, column: usize) -> Cell<bool> {
        self.get(column).map_err(shown)
    }

    fn bytes(&self, column: usize) -> Cell<&[u8]> {
        let lies = self.get_ref(column).map_err(shown)?;
        lies.as_blob_or_null().map_err(|error| error.to_string())
    }

    fn text(&self, column: usize) -> Cell<&str> {
        let lies = self.get_ref(column).map_err(shown)?;
        lies.as_str_or_null().map_err(|error| error.to_string())
    }

    fn content(written: &str) -> Option<String> {
        Some(written.to_owned())
    }
}

/// The error of rusqlite names the column and its type, not its content.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn shown(error: rusqlite::Error) -> String {
    error.to_string()
}
