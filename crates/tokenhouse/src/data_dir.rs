//! The data directory: who owns it, and the files in it that are ours.
//!
//! The one thing to know: one process owns it, proved by a lock on the file `lock` that the system lets go of when the
//! process ends, however it ends. The number in that file is only for the message.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use web::dialects::FirstCredential;

use crate::new_file::appear;

/// The keyring's file, unless a setting names another.
pub const KEYRING: &str = "keyring.json";
/// The first credentials' file; a later set gets a number.
pub const FIRST_CREDENTIALS: &str = "first-credentials.txt";

/// There from before the first credentials are made until they are in their file.
const HANDING_OVER: &str = "handing-over";

/// A data directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Unlocked by its end.
    lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process owns it.
    Held {
        /// The directory.
        path: PathBuf,
        /// The owner's process id, if it could be read.
        pid: Option<u32>,
        /// Which store it serves, as [`DataDir::serves`] has noted it.
        store: Option<String>,
    },
    /// It is not there, and was not to be made.
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    System {
        /// What it is about.
        path: PathBuf,
        /// What it says.
        message: String,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid, .. } => {
                write!(f, "{} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "the process {pid}"),
                    None => f.write_str("another process"),
                }
            }
            Self::Missing { path } => write!(f, "there is no data directory {}", path.display()),
            Self::System { path, message } => write!(f, "{}: {message}", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {}

fn system(path: &Path, error: &dyn fmt::Display) -> DataDirError {
    DataDirError::System {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

impl DataDir {
    /// Takes the directory into possession, making it if it is not there.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(|error| system(path, &error))?;
        Self::take(path, true)
    }

    /// Notes which store is served, so that a command that names another one is not answered from this one.
    pub fn serves(&self, store: &str) -> Result<(), DataDirError> {
        let mut lock = &self.lock;
        writeln!(lock, "{store}").map_err(|error| system(&self.path.join("lock"), &error))
    }

    /// Takes a directory into possession that is a data directory already.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        // One that was restored from a backup has a keyring and no lock. Any other directory is left as it is.
        Self::take(path, path.join(KEYRING).exists())
    }

    fn take(path: &Path, make_lock: bool) -> Result<Self, DataDirError> {
        let lock_path = path.join("lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(make_lock)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path);
        let mut lock = match opened {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(DataDirError::Missing {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(system(&lock_path, &error)),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // What cannot be read is not said.
                let _ = lock.read_to_string(&mut text);
                let mut lines = text.lines();
                return Err(DataDirError::Held {
                    path: path.to_owned(),
                    pid: lines.next().and_then(|pid| pid.trim().parse().ok()),
                    store: lines.next().map(str::to_owned),
                });
            }
            Err(error) => return Err(system(&lock_path, &error)),
        }
        let write = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut lock).map_err(|error| system(&lock_path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that first credentials may now be made; says whether an earlier process noted it and did not come to
    /// [`DataDir::handed_over`]. What that one made is then in the store and perhaps in no file, and of a secret the
    /// store has only the digest.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn begin_handing_over(&self) -> Result<bool, DataDirError> {
        if self.path.join(HANDING_OVER).exists() {
            return Ok(true);
        }
        self.write_new(HANDING_OVER, b"")?;
        Ok(false)
    }

    /// Takes the note away: the first credentials are in their file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn handed_over(&self) -> Result<(), DataDirError> {
        let path = self.path.join(HANDING_OVER);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(system(&path, &error)),
            _ => Ok(()),
        }
    }

    /// Writes first credentials to a file of their own and says which.
    pub fn write_first_credentials(
        &self,
        credentials: &[FirstCredential],
    ) -> Result<PathBuf, DataDirError> {
        let mut text = zeroize::Zeroizing::new(String::from(
            "# First credentials. Take them to where your secrets are kept and delete this file.\n",
        ));
        for credential in credentials {
            let _ = writeln!(text, "{}: {}", credential.label, credential.secret.expose());
        }
        let mut name = FIRST_CREDENTIALS.to_owned();
        let mut number = 1;
        while self.path.join(&name).exists() {
            number += 1;
            name = format!("first-credentials-{number}.txt");
        }
        self.write_new(&name, text.as_bytes())
    }

    /// One that is there is an error. That nobody else is writing under the other name is what the lock is for.
    fn write_new(&self, name: &str, content: &[u8]) -> Result<PathBuf, DataDirError> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}.new"));
        let appeared = appear(&path, &unfinished, content);
        let appeared = appeared.and_then(|new| {
            if new {
                Ok(())
            } else {
                Err(ErrorKind::AlreadyExists.into())
            }
        });
        appeared.map_err(|error| system(&path, &error))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use engine::secret::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_owner_at_a_time() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        assert!(matches!(
            DataDir::open(&path),
            Err(DataDirError::Missing { .. })
        ));
        let held = DataDir::create(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let message = DataDir::open(&path).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(message.contains(&format!("the process {pid}")), "{message}");
        drop(held);
        assert!(DataDir::open(&path).is_ok());
        assert!(matches!(
            DataDir::open(above.path()),
            Err(DataDirError::Missing { .. })
        ));
        assert!(!above.path().join("lock").exists(), "left as it was");
    }

    #[test]
    fn first_credentials_do_not_replace_earlier_ones() {
        let above = tempfile::tempdir().unwrap();
        let data = DataDir::create(above.path()).unwrap();
        let credential = |secret| FirstCredential {
            label: "admin key".to_owned(),
            secret: Secret::parse(secret).unwrap(),
        };
        let first = data.write_first_credentials(&[credential("one")]).unwrap();
        let second = data.write_first_credentials(&[credential("two")]).unwrap();
        assert!(
            std::fs::read_to_string(&first)
                .unwrap()
                .contains("admin key: one")
        );
        assert!(second.ends_with("first-credentials-2.txt"));
        assert_eq!((mode(&first), mode(&second)), (0o600, 0o600));
    }

    #[test]
    fn an_interrupted_handing_over_is_noticed_at_the_next_start() {
        let above = tempfile::tempdir().unwrap();
        let data = DataDir::create(above.path()).unwrap();
        assert!(!data.begin_handing_over().unwrap(), "nobody before");
        assert!(data.begin_handing_over().unwrap(), "it was interrupted");
        data.handed_over().unwrap();
        assert!(!data.begin_handing_over().unwrap(), "that is over");
        data.handed_over().unwrap();
        assert!(!above.path().join(HANDING_OVER).exists());
        data.handed_over().unwrap();
    }
}
