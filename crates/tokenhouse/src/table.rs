//! Tables for people.
//!
//! The one thing to know: a name may hold anything, and a terminal obeys what it is shown; control characters are written
//! out, never printed.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{ContentArrangement, Table};
use serde_json::Value as Json;

use crate::exit::Failure;

/// Columns of a table with wrapped cells where there is no terminal to ask.
const READABLE_WIDTH: u16 = 130;

/// A table without lines, as wide as the terminal.
pub(crate) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table
}

/// A table with lines between its rows, whose cells may wrap: as wide as the terminal, or wide enough to be read.
pub(crate) fn ruled(header: &[&str]) -> Table {
    let mut table = plain(header);
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    if !std::io::stdout().is_terminal() {
        table.set_width(READABLE_WIDTH);
    }
    table
}

/// A JSON value as a cell.
pub(crate) fn cell(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => harmless(text),
        Json::Array(items) if items.is_empty() => "-".to_owned(),
        Json::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => harmless(&other.to_string()),
    }
}

/// Text without control characters.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // The second range turns the direction of what follows.
        if character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Prints a table.
pub(crate) fn print(table: &Table) -> Result<(), Failure> {
    for line in table.lines() {
        say(line.trim_end())?;
    }
    Ok(())
}

/// Prints a line. A reader who has gone (`… | head`) is no failure, a full disk is.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message = format!("standard output cannot be written: {error}");
            Err(Failure::failed(message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_do_not_command_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\n")), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(cell(&json!("\u{202e}abc")), "\\u{202e}abc");
        assert_eq!(cell(&json!(["x", 1])), "x, 1");
        assert_eq!(cell(&json!(null)), "-");
    }
}
