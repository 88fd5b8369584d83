//! From columns to nouns and back: what every table's file uses to read a row, to name what went wrong, and to lay rows
//! out as arrays.
//!
//! The one thing to know: PostgreSQL's text cannot hold U+0000, which ours may. [`text`] writes it as two characters, and
//! only [`Columns`] reads that back; a column of text that goes round them loses it.

use std::borrow::Cow;

use engine::clock::Timestamp;
use engine::store::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};
use uuid::Uuid;

/// Begins a pair that stands for one character: `ESCAPE 0` for U+0000, `ESCAPE 1` for itself. A code point that no text
/// uses, so that hardly anything is ever changed.
const ESCAPE: char = '\u{10ffff}';

/// A parameter of a statement.
pub(super) type Parameter<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// Nothing was changed.
pub(super) fn unavailable(message: impl Into<String>) -> StoreError {
    StoreError::Unavailable {
        message: message.into(),
        unknown: false,
    }
}

/// What calls get after the store was closed.
pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
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

/// A list or body as a column. JSON writes U+0000 as an escape of its own.
pub(super) fn json(content: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(content).map_err(|error| defect(format!("no JSON: {error}")))
}

/// `LIMIT` of a statement.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Text as a column.
pub(super) fn text(content: &str) -> Cow<'_, str> {
    if !content.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(content);
    }
    let mut written = String::with_capacity(content.len() + 8);
    for character in content.chars() {
        match character {
            '\0' => written.extend([ESCAPE, '0']),
            ESCAPE => written.extend([ESCAPE, '1']),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

/// The reverse of [`text`]; `None` for what it cannot have written.
pub(super) fn untext(written: String) -> Option<String> {
    if !written.contains(ESCAPE) {
        return Some(written);
    }
    let mut content = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        if character == ESCAPE {
            match characters.next() {
                Some('0') => content.push('\0'),
                Some('1') => content.push(ESCAPE),
                _ => return None,
            }
        } else {
            content.push(character);
        }
    }
    Some(content)
}

/// Bytes of a key that is stored as it is. An entry of an index has room for 2,700.
const KEY_BYTES_MAX: usize = 1_500;

/// Bytes that are kept of a longer one, so that order and prefixes mostly stay what they were.
const KEY_BYTES_KEPT: usize = KEY_BYTES_MAX + 1 - 32;

/// A key of a locator or mark as a column: a long one is cut and ends in the digest of the whole, one byte longer than any
/// that is stored as it is. So two keys are never the same column, and a key that a walk gives back, cut, is its own cursor.
pub(super) fn key(key: &[u8]) -> Cow<'_, [u8]> {
    if key.len() <= KEY_BYTES_MAX {
        return Cow::Borrowed(key);
    }
    let digest = Sha256::digest(key);
    Cow::Owned([&key[..KEY_BYTES_KEPT], &digest].concat())
}

/// Whether a column holds the beginning of a longer key, and its digest.
pub(super) fn is_cut(column: &[u8]) -> bool {
    column.len() == KEY_BYTES_MAX + 1
}

/// The key of a cursor, which was given back by a walk.
pub(super) fn cursor(bytes: &[u8]) -> Cow<'_, [u8]> {
    if is_cut(bytes) {
        return Cow::Borrowed(bytes);
    }
    key(bytes)
}

/// One column of many rows, as an array.
pub(super) fn each<'a, R, T: ToSql + Sync + Send + 'a>(
    rows: &[&'a R],
    column: impl Fn(&'a R) -> T,
) -> Parameter<'a> {
    Box::new(rows.iter().map(|row| column(row)).collect::<Vec<T>>())
}

/// The same for a column that may not be representable.
pub(super) fn try_each<'a, R, T: ToSql + Sync + Send + 'a>(
    rows: &[&'a R],
    column: impl Fn(&'a R) -> Result<T, StoreError>,
) -> Result<Parameter<'a>, StoreError> {
    let column: Result<Vec<T>, StoreError> = rows.iter().map(|row| column(row)).collect();
    Ok(Box::new(column?))
}

/// The columns of one row, taken from left to right. The first is the row's id, by which errors name it.
pub(super) struct Columns<'row> {
    row: &'row Row,
    table: &'static str,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) const fn new(row: &'row Row, table: &'static str) -> Self {
        Self {
            row,
            table,
            next: 0,
        }
    }

    /// The next column as it lies there.
    pub(super) fn take<T: FromSql<'row>>(&mut self) -> Result<T, StoreError> {
        let content = self.row.try_get(self.next);
        self.next += 1;
        // The error names the column and its type, not its content.
        content.map_err(|error| self.corrupt(&error.to_string()))
    }

    /// The next column as text.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let written = self.take()?;
        untext(written).ok_or_else(|| self.corrupt("an unknown escape"))
    }

    /// The next column as text or nothing.
    pub(super) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        let written: Option<String> = self.take()?;
        written
            .map(|written| untext(written).ok_or_else(|| self.corrupt("an unknown escape")))
            .transpose()
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

    /// The next column as a digest or nothing.
    pub(super) fn optional_digest(&mut self) -> Result<Option<[u8; 32]>, StoreError> {
        let bytes: Option<&[u8]> = self.take()?;
        bytes
            .map(|bytes| {
                bytes
                    .try_into()
                    .map_err(|_| self.corrupt("not 32 bytes long"))
            })
            .transpose()
    }

    /// The next column as JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, StoreError> {
        let text: &str = self.take()?;
        serde_json::from_str(text).map_err(|error| {
            self.corrupt(&format!(
                "unexpected JSON at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }

    /// The next column as a word that `read` knows.
    pub(super) fn word<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let word: &str = self.take()?;
        read(word).ok_or_else(|| self.corrupt("an unknown word"))
    }

    /// The row is damaged.
    pub(super) fn corrupt(&self, message: &str) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            id: self.row.try_get(0).map_or_else(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_length_differ_and_fit() {
        let short = vec![7; KEY_BYTES_MAX];
        assert_eq!(*key(&short), *short);
        let long = vec![7; KEY_BYTES_MAX + 1];
        let longer = vec![7; KEY_BYTES_MAX + 2];
        let [cut, other] = [&long, &longer].map(|whole| key(whole).into_owned());
        assert_eq!(
            (cut.len(), other.len()),
            (KEY_BYTES_MAX + 1, KEY_BYTES_MAX + 1)
        );
        assert_ne!(cut, other);
        assert_ne!(cut, long);
        assert_eq!(*cursor(&cut), *cut);
        assert_eq!(*cursor(&longer), *other);
    }

    #[test]
    fn every_text_comes_back_and_none_holds_the_forbidden_character() {
        for content in [
            "",
            "plain",
            "\0",
            "a\0b\0",
            "\u{10ffff}",
            "\u{10ffff}0",
            "\0\u{10ffff}1",
        ] {
            let written = text(content);
            assert!(!written.contains('\0'));
            assert_eq!(untext(written.into_owned()).as_deref(), Some(content));
        }
        assert_eq!(untext("\u{10ffff}".to_owned()), None);
        assert_eq!(untext("\u{10ffff}2".to_owned()), None);
    }
}
