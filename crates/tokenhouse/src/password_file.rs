//! A password of the database's user in a file.
//!
//! The one thing to know: it is the first line, without its end; an empty one is refused, because nobody means it and what
//! the database says of it sounds like a wrong password.

use std::path::Path;

use zeroize::Zeroizing;

/// The first line; otherwise what is wrong with the file.
pub(crate) fn read(file: &Path) -> Result<Zeroizing<String>, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|error| {
        format!("{shown}, the file of the store's password, cannot be read: {error}")
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!(
            "{shown}, the file of the store's password, has nothing in its first line: write the password there"
        ));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, password) in [("hunter2\nnot this\n", "hunter2"), ("a b\r\n", "a b")] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(read(file.path()).unwrap().as_str(), password);
        }
    }

    #[test]
    fn a_file_without_one_is_refused_by_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "\n", "\nhunter2\n"] {
            std::fs::write(file.path(), text).unwrap();
            let error = read(file.path()).unwrap_err();
            assert!(error.contains(file.path().to_str().unwrap()), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(
            read(Path::new("/nowhere/at/all"))
                .unwrap_err()
                .contains("/nowhere/at/all")
        );
    }
}
