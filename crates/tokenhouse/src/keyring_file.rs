//! The keyring's file: read only if nobody but its owner can, made once, and replaced only by itself with more keys.
//!
//! The one thing to know: it may lie where several nodes reach it, and they may start at the same time on a new store. So
//! it appears under its name whole or not at all, and who comes second takes what is there. Who adds keys locks the file
//! that they are added to, and looks again whether that is still the one under the name.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use engine::entropy::Entropy;
use engine::keyring::Keyring;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::new_file::{appear, replace};

/// Bytes of a file. As many keys as a keyring may hold need a quarter of it.
const BYTES_MAX: u64 = 64 * 1024;

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
        match File::open(&self.path) {
            Ok(file) => self.read_from(&file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn read_from(&self, file: &File) -> Result<Keyring, KeyringFileError> {
        let about = file.metadata().map_err(|error| self.refuse(error))?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(self.refuse(format!(
                "its mode is {mode:04o}, so that others than its owner may read it; make it 0600"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| self.refuse(error))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(self.refuse(format!("it has more than {BYTES_MAX} bytes")));
        }
        Keyring::from_text(&text).map_err(|error| self.refuse(error))
    }

    /// Adds one new key of each kind, on disk when this returns, and gives the keyring with them; `None` if there is no such
    /// file. Others that add at the same time come one after the other, and readers see the file before or after.
    ///
    /// # Errors
    /// When the file cannot be used, holds as many keys as it may, or the system refuses.
    pub fn add_keys(&self, entropy: &dyn Entropy) -> Result<Option<Keyring>, KeyringFileError> {
        // What is behind a link is replaced, not the link.
        let path = match std::fs::canonicalize(&self.path) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.refuse(error)),
        };
        let refused = |error| self.refuse(error);
        loop {
            let file = File::open(&path).map_err(refused)?;
            flock(&file, FlockOperation::LockExclusive).map_err(|error| self.refuse(error))?;
            let former = file.metadata().map_err(refused)?;
            let present = std::fs::metadata(&path).map_err(refused)?;
            if (former.dev(), former.ino()) != (present.dev(), present.ino()) {
                // Somebody has added keys meanwhile; they are in another file.
                continue;
            }
            let keyring = self.read_from(&file)?;
            let more = keyring
                .with_new_keys(entropy)
                .map_err(|error| self.refuse(error))?;
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".new");
            let text = more.to_text();
            replace(&path, &path.with_file_name(name), text.as_bytes(), &former)
                .map_err(refused)?;
            return Ok(Some(more));
        }
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
    fn keys_are_added_and_nothing_is_left_beside_the_file() {
        let above = tempfile::tempdir().unwrap();
        let file = KeyringFile::at(above.path().join("keyring.json"));
        let entropy = SeededEntropy::new(1);
        assert!(file.add_keys(&entropy).unwrap().is_none());
        let first = Keyring::generate(&entropy);
        assert!(file.write(&first).unwrap());
        // Of one that was killed between writing and renaming: nobody's keys.
        let unfinished = above.path().join("keyring.json.new");
        std::fs::write(&unfinished, "{").unwrap();
        let added = file.add_keys(&entropy).unwrap().unwrap();
        let read = file.read().unwrap().unwrap();
        assert_eq!(read.keys(), added.keys());
        assert_eq!(read.keys().digest[0], first.keys().digest[0]);
        assert_eq!(read.keys().sealing[0], first.keys().sealing[0]);
        assert_eq!(
            (read.keys().digest.len(), read.keys().sealing.len()),
            (2, 2)
        );
        assert_eq!(mode(file.path()), 0o600);
        let there: Vec<_> = std::fs::read_dir(above.path()).unwrap().collect();
        assert_eq!(there.len(), 1);
        // One that others may read is not made worse.
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.add_keys(&entropy).is_err());
        assert_eq!(mode(file.path()), 0o644);
    }

    #[test]
    fn the_file_behind_a_link_is_replaced_and_the_link_stays() {
        let above = tempfile::tempdir().unwrap();
        let real = KeyringFile::at(above.path().join("real.json"));
        let entropy = SeededEntropy::new(1);
        assert!(real.write(&Keyring::generate(&entropy)).unwrap());
        let link = above.path().join("keyring.json");
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        assert!(
            KeyringFile::at(link.clone())
                .add_keys(&entropy)
                .unwrap()
                .is_some()
        );
        assert!(std::fs::symlink_metadata(link).unwrap().is_symlink());
        assert_eq!(real.read().unwrap().unwrap().keys().digest.len(), 2);
    }

    #[test]
    fn those_who_add_at_the_same_time_lose_nothing_and_readers_see_whole_files() {
        const ADDERS: usize = 8;
        let above = tempfile::tempdir().unwrap();
        let file = KeyringFile::at(above.path().join("keyring.json"));
        assert!(
            file.write(&Keyring::generate(&SeededEntropy::new(1)))
                .unwrap()
        );
        std::thread::scope(|scope| {
            let adders: Vec<_> = (2..)
                .take(ADDERS)
                .map(|seed| {
                    let file = &file;
                    scope.spawn(move || file.add_keys(&SeededEntropy::new(seed)).unwrap().unwrap())
                })
                .collect();
            while !adders
                .iter()
                .all(std::thread::ScopedJoinHandle::is_finished)
            {
                file.read().unwrap().unwrap();
            }
            let keys = file.read().unwrap().unwrap().keys();
            assert_eq!(keys.digest.len(), 1 + ADDERS);
            for adder in adders {
                let added = adder.join().unwrap().keys();
                let newest = added.digest.last().unwrap();
                assert!(keys.digest.contains(newest), "{newest:?} was lost");
            }
        });
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
