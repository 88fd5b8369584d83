//! The keyring's file: read only if nobody but its owner can, made once, never replaced.
//!
//! The one thing to know: it may lie where several nodes reach it, and they may start at the same time on a new store. So
//! it appears under its name whole or not at all, and who comes second takes what is there.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use engine::keyring::Keyring;
use zeroize::Zeroizing;

use crate::new_file::appear;

/// Where the keyring is, or is to be.
#[derive(Debug, Clone)]
pub struct KeyringFile {
    path: PathBuf,
}

/// Why it cannot be used.
#[derive(Debug)]
pub struct KeyringFileError {
    path: PathBuf,
    message: String,
}

impl fmt::Display for KeyringFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "the keyring {path} cannot be used: {}", self.message)
    }
}

impl std::error::Error for KeyringFileError {}

impl KeyringFile {
    /// At this path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn refuse(&self, message: impl fmt::Display) -> KeyringFileError {
        KeyringFileError {
            path: self.path.clone(),
            message: message.to_string(),
        }
    }

    /// The keyring, or `None` if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, is no keyring, or others than its owner may read it.
    pub fn read(&self) -> Result<Option<Keyring>, KeyringFileError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.refuse(error)),
        };
        let about = file.metadata().map_err(|error| self.refuse(error))?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(self.refuse(format!(
                "its mode is {mode:04o}, so that others than its owner may read it; make it 0600"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)
            .map_err(|error| self.refuse(error))?;
        let keyring = Keyring::from_text(&text).map_err(|error| self.refuse(error))?;
        Ok(Some(keyring))
    }

    /// Writes a new keyring, on disk when this returns; `false` if there is one by now, which stays as it is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, keyring: &Keyring) -> Result<bool, KeyringFileError> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let unfinished = self.path.with_file_name(name);
        let text = keyring.to_text();
        appear(&self.path, &unfinished, text.as_bytes()).map_err(|error| self.refuse(error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use engine::entropy::SeededEntropy;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_written_once_and_read_only_by_its_owner() {
        let above = tempfile::tempdir().unwrap();
        let file = KeyringFile::at(above.path().join("keyring.json"));
        assert!(file.read().unwrap().is_none());
        let keyring = Keyring::generate(&SeededEntropy::new(1));
        assert!(file.write(&keyring).unwrap());
        assert_eq!(mode(file.path()), 0o600);
        let second = Keyring::generate(&SeededEntropy::new(2));
        assert!(!file.write(&second).unwrap(), "never replaced");
        let again = file.read().unwrap().unwrap();
        assert_eq!(again.fingerprint(), keyring.fingerprint());
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(file.path(), open).unwrap();
        let message = file.read().unwrap_err().to_string();
        assert!(message.contains("0600"), "{message}");
        let there: Vec<_> = std::fs::read_dir(above.path()).unwrap().collect();
        assert_eq!(there.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_crash_left_unfinished_is_no_keyring_and_in_nobodys_way() {
        let above = tempfile::tempdir().unwrap();
        let file = KeyringFile::at(above.path().join("keyring.json"));
        let name = format!("keyring.json.{}.new", std::process::id());
        std::fs::write(above.path().join(&name), "{").unwrap();
        assert!(file.read().unwrap().is_none());
        assert!(
            file.write(&Keyring::generate(&SeededEntropy::new(1)))
                .unwrap()
        );
        assert!(file.read().unwrap().is_some());
        assert_eq!(mode(file.path()), 0o600);
        assert!(!above.path().join(name).exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let above = tempfile::tempdir().unwrap();
        let file = KeyringFile::at(above.path().join("nowhere/keyring.json"));
        assert!(file.read().unwrap().is_none());
        let refused = file.write(&Keyring::generate(&SeededEntropy::new(1)));
        assert!(refused.unwrap_err().to_string().contains("nowhere"));
    }
}
