//! The columns of a row, taken from left to right, whatever backend the row is from; and what every backend lays a row
//! out with.
//!
//! The one thing to know: a row that cannot be read is [`StoreError::Corrupt`] with its table and id, never a panic, and
//! its content never stands in the message – it may be a person's tag.

use engine::clock::Timestamp;
use engine::store::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// What lies in a column, or what is wrong with it: its place and type, not its content.
pub(crate) type Cell<T> = Result<Option<T>, String>;

/// One row of a backend. Columns count from 0.
pub(crate) trait Cells {
    fn id(&self, column: usize) -> Cell<Uuid>;
    fn integer(&self, column: usize) -> Cell<i64>;
    fn flag(&self, column: usize) -> Cell<bool>;
    fn bytes(&self, column: usize) -> Cell<&[u8]>;
    /// As it is written.
    fn text(&self, column: usize) -> Cell<&str>;
    /// What a written text that is not JSON stands for; `None` for what the backend cannot have written.
    fn content(written: &str) -> Option<String>;
}

/// The columns of one row, taken from left to right. The first is the row's id, by which errors name it.
pub(crate) struct Columns<'row, R> {
    row: &'row R,
    table: &'static str,
    next: usize,
}

impl<'row, R: Cells> Columns<'row, R> {
    pub(crate) const fn new(row: &'row R, table: &'static str) -> Self {
        Self {
            row,
            table,
            next: 0,
        }
    }

    fn take<T>(
        &mut self,
        read: impl FnOnce(&'row R, usize) -> Cell<T>,
    ) -> Result<Option<T>, StoreError> {
        let cell = read(self.row, self.next);
        self.next += 1;
        cell.map_err(|message| self.corrupt(&message))
    }

    fn there<T>(&self, content: Option<T>) -> Result<T, StoreError> {
        content.ok_or_else(|| self.corrupt("nothing is there"))
    }

    /// The next column as an id.
    pub(crate) fn id(&mut self) -> Result<Uuid, StoreError> {
        let id = self.optional_id()?;
        self.there(id)
    }

    /// The next column as an id or nothing.
    pub(crate) fn optional_id(&mut self) -> Result<Option<Uuid>, StoreError> {
        self.take(R::id)
    }

    /// The next column as a flag or nothing.
    pub(crate) fn optional_flag(&mut self) -> Result<Option<bool>, StoreError> {
        self.take(R::flag)
    }

    /// The next column as text.
    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        let text = self.optional_text()?;
        self.there(text)
    }

    /// The next column as text or nothing.
    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        let written = self.take(R::text)?;
        written
            .map(|written| R::content(written).ok_or_else(|| self.corrupt("an unknown escape")))
            .transpose()
    }

    /// The next column as bytes or nothing.
    pub(crate) fn optional_bytes(&mut self) -> Result<Option<&'row [u8]>, StoreError> {
        self.take(R::bytes)
    }

    /// The next column as a digest or nothing.
    pub(crate) fn optional_digest(&mut self) -> Result<Option<[u8; 32]>, StoreError> {
        let bytes = self.optional_bytes()?;
        bytes
            .map(|bytes| {
                bytes
                    .try_into()
                    .map_err(|_| self.corrupt("not 32 bytes long"))
            })
            .transpose()
    }

    /// The next column as an instant.
    pub(crate) fn instant(&mut self) -> Result<Timestamp, StoreError> {
        let instant = self.optional_instant()?;
        self.there(instant)
    }

    /// The next column as an instant or nothing.
    pub(crate) fn optional_instant(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let micros = self.take(R::integer)?;
        micros
            .map(|micros| {
                Timestamp::from_micros(micros)
                    .ok_or_else(|| self.corrupt("an instant outside the years 1 to 9999"))
            })
            .transpose()
    }

    /// The next column as a version or count.
    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        let count = self.optional_count()?;
        self.there(count)
    }

    /// The next column as a count or nothing.
    pub(crate) fn optional_count(&mut self) -> Result<Option<u64>, StoreError> {
        let number = self.take(R::integer)?;
        number
            .map(|number| u64::try_from(number).map_err(|_| self.corrupt("a negative count")))
            .transpose()
    }

    /// The next column as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let text = self.take(R::text)?;
        let text = self.there(text)?;
        serde_json::from_str(text).map_err(|error| {
            self.corrupt(&format!(
                "unexpected JSON at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The next column as a word that `read` knows.
    pub(crate) fn word<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let word = self.take(R::text)?;
        let word = self.there(word)?;
        read(word).ok_or_else(|| self.corrupt("an unknown word"))
    }

    /// The row is damaged.
    pub(crate) fn corrupt(&self, message: &str) -> StoreError {
        let id = self.row.id(0).ok().flatten();
        StoreError::Corrupt {
            table: self.table,
            id: id.map_or_else(|| "with an unreadable id".to_owned(), |id| id.to_string()),
            message: match self.next.checked_sub(1) {
                Some(column) => format!("column {column}: {message}"),
                None => message.to_owned(),
            },
        }
    }
}

/// Nothing was changed.
pub(crate) fn unavailable(message: impl Into<String>) -> StoreError {
    StoreError::Unavailable {
        message: message.into(),
        unknown: false,
    }
}

/// The engine broke the contract.
pub(crate) fn defect(message: impl Into<String>) -> StoreError {
    StoreError::Internal {
        message: message.into(),
    }
}

/// A version or count as a column; beyond 2^63 nothing real counts.
pub(crate) fn integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| defect(format!("{number} does not fit a column")))
}

/// A list or body as a column. JSON writes U+0000 as an escape of its own.
pub(crate) fn json(content: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(content).map_err(|error| defect(format!("no JSON: {error}")))
}

/// `LIMIT` of a statement.
pub(crate) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
