//! What lies in a row, and how rows are laid out as arrays.
//!
//! The one thing to know: PostgreSQL's text cannot hold U+0000, which ours may. [`text`] writes it as two characters, and
//! only [`Columns`](crate::columns::Columns) reads that back; a column of text that goes round them loses it.

use std::borrow::Cow;

use engine::store::StoreError;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::columns::{Cell, Cells, unavailable};

/// Begins a pair that stands for one character: `ESCAPE 0` for U+0000, `ESCAPE 1` for itself. A code point that no text
/// uses, so that hardly anything is ever changed.
const ESCAPE: char = '\u{10ffff}';

/// A parameter of a statement.
pub(super) type Parameter<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// What calls get after the store was closed.
pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
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

impl Cells for Row {
    fn id(&self, column: usize) -> Cell<Uuid> {
        self.try_get(column).map_err(shown)
    }

    fn integer(&self, column: usize) -> Cell<i64> {
        self.try_get(column).map_err(shown)
    }

    fn flag(&self, column: usize) -> Cell<bool> {
        self.try_get(column).map_err(shown)
    }

    fn bytes(&self, column: usize) -> Cell<&[u8]> {
        self.try_get(column).map_err(shown)
    }

    fn text(&self, column: usize) -> Cell<&str> {
        self.try_get(column).map_err(shown)
    }

    fn content(written: &str) -> Option<String> {
        untext(written.to_owned())
    }
}

/// The error names the column and its type, not its content.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn shown(error: tokio_postgres::Error) -> String {
    error.to_string()
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
