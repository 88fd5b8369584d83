//! Where tokens are kept: backends behind the engine's [`Store`], chosen by a URL.
//!
//! The one thing to know: nothing here decides anything. A backend keeps the contract written at [`Store`], which one
//! suite (`contract`) proves for each of them; adding one is a folder and an arm in [`open`].

#[allow(
    dead_code,
    unused_imports,
    reason = "the backend that needs it follows"
)]
mod nodes;
mod sqlite;

#[cfg(test)]
mod contract;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::store::Store;

/// What a backend is told at the start; the defaults fit a server on one machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections that read at the same time.
    pub readers: usize,
    /// Writes that wait for the writer, and reads that wait for a reader; a call beyond them waits for a place.
    pub queue: usize,
    /// How long a call waits for such a place before it is refused as unavailable.
    pub wait: Duration,
    /// How long opening waits for another process to let go of the store.
    pub lock_wait: Duration,
    /// Pages of 4 KiB that the store may have; beyond them it behaves as on a full disk. `None` is no limit but the disk's.
    pub pages_max: Option<u32>,
    /// Pages of the write-ahead log after which a step of moving it into the file begins.
    pub checkpoint_step_pages: u64,
    /// Pages of the write-ahead log at which it has to start over. More of them make pauses rarer and the log larger.
    pub checkpoint_restart_pages: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            queue: 1024,
            wait: Duration::from_secs(10),
            lock_wait: Duration::from_secs(2),
            pages_max: None,
            checkpoint_step_pages: 1_000,
            checkpoint_restart_pages: 16_000,
        }
    }
}

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No backend answers to this kind of URL.
    #[error("no store speaks \"{scheme}\": use sqlite:///absolute/path or sqlite:relative/path")]
    Unsupported {
        /// What stands before the colon; never the rest, which may hold a password.
        scheme: String,
    },
    /// A URL of the right kind with something wrong in it.
    #[error("the store's URL is not usable: {message}")]
    Url {
        /// What, and how to write it.
        message: &'static str,
    },
    /// The path names a directory.
    #[error("{} is a directory: name a file in it", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// The directory that would hold the file is missing.
    #[error("the directory of {} does not exist: create it first", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The operating system does not let us write there.
    #[error("{} cannot be written ({message}): give this user the right to write the file and its directory", path.display())]
    Rights {
        /// The path.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// Somebody else has it open.
    #[error("{} is in use by another process: stop that one, or use it through its socket", path.display())]
    Locked {
        /// The path.
        path: PathBuf,
    },
    /// Written by a newer program in a way that this one cannot work with.
    #[error("{} has a schema for programs of schema version {needs} or later, this one has {program}: use a newer program", path.display())]
    Newer {
        /// The path.
        path: PathBuf,
        /// The schema version that a program must have at least.
        needs: i64,
        /// The schema version of this program.
        program: i64,
    },
    /// The history of migrations does not fit this program.
    #[error("{} was made by a different line of programs: {message}", path.display())]
    History {
        /// The path.
        path: PathBuf,
        /// Which migration, and how it differs.
        message: String,
    },
    /// A file of another program.
    #[error("{} belongs to another program: name another file", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// Not readable as a store.
    #[error("{} is damaged or no store ({message}): restore it from a backup", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What the backend says.
        message: String,
    },
    /// Anything else.
    #[error("{} cannot be opened: {message}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// The cause.
        message: String,
    },
}

/// Opens the store that `url` names, creating or migrating it if needed. Must be called inside a tokio runtime.
///
/// `sqlite:///absolute/path` and `sqlite:relative/path` name a SQLite file; the path is taken as it stands, without
/// percent-decoding.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(OpenError::Url {
            message: "it begins with the kind of store, as in sqlite:///absolute/path",
        });
    };
    match scheme {
        "sqlite" => Ok(sqlite::open(sqlite_path(rest)?, options).await?),
        other => Err(OpenError::Unsupported {
            scheme: other.to_owned(),
        }),
    }
}

/// The path in what follows `sqlite:`.
fn sqlite_path(rest: &str) -> Result<PathBuf, OpenError> {
    let refuse = |message| Err(OpenError::Url { message });
    let path = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return refuse("a host has no meaning for a file: write sqlite:///absolute/path");
        }
        None => rest,
    };
    if path.is_empty() || path.starts_with(':') {
        return refuse("it names no file: write sqlite:///absolute/path or sqlite:relative/path");
    }
    if path.contains(['?', '#', '\0']) {
        return refuse("it has options, of which there are none: end it after the path");
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn refusal(url: &str) -> String {
        open(url, Options::default()).await.unwrap_err().to_string()
    }

    #[test]
    fn urls_name_paths() {
        assert_eq!(sqlite_path("///a/b c").unwrap(), PathBuf::from("/a/b c"));
        assert_eq!(sqlite_path("/a%20b").unwrap(), PathBuf::from("/a%20b"));
        assert_eq!(sqlite_path("a/b").unwrap(), PathBuf::from("a/b"));
        for wrong in ["", "//", "//host/a", ":memory:", "a?mode=ro", "a#b", "a\0b"] {
            assert!(sqlite_path(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_kind_of_store_is_refused_without_showing_its_password() {
        for url in [
            "postgres://user:hunter2@host/db",
            "mysql://hunter2",
            "SQLite:/a",
        ] {
            let message = refusal(url).await;
            assert!(message.contains("sqlite:///"), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(refusal("/var/lib/store").await.contains("sqlite:///"));
    }
}
