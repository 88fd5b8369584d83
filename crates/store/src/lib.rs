//! Where tokens are kept: backends behind the engine's [`Store`], chosen by a URL.
//!
//! The one thing to know: nothing here decides anything. A backend keeps the contract written at [`Store`], which one
//! suite (`contract`) proves for each of them; adding one is a folder and an arm in [`open`].

mod archive;
mod batches;
mod columns;
mod copy;
mod error;
mod gather;
mod nodes;
mod nouns;
mod postgres;
mod sqlite;

#[cfg(test)]
mod contract;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::store::Store;

pub use copy::{Copied, CopyError, Difference, Progress, Side, Stage, Url, copy};
pub use error::OpenError;
pub use postgres::{CommitFaults, Fault, Moment};

/// A password, which is shown to nobody.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Wraps it.
    pub const fn new(password: String) -> Self {
        Self(password)
    }

    /// For the one who must present it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// How the tables of a database on several servers are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distribution {
    /// Citus: each table by its realm, the rows of a realm side by side.
    Citus,
}

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
    /// A database on a server: connections that write at the same time, each for another realm; at least three.
    pub writers: usize,
    /// A database on a server: its user's password, if it does not stand in the URL.
    pub password: Option<Password>,
    /// A database on a server: how long it may take to answer to a new connection.
    pub connect_timeout: Duration,
    /// A database on a server: how long one statement may take; the server ends it then.
    pub statement_timeout: Duration,
    /// A database on a server: how long a write is tried again before it is given up. What has not been found out by then
    /// is said to be unknown.
    pub deadline: Duration,
    /// A database on a server: the same for a read. Shorter, because whoever asks whether a token is good wants to know
    /// soon that this cannot be found out.
    pub read_deadline: Duration,
    /// A database on a server: how long opening waits for another node that is migrating it.
    pub migration_wait: Duration,
    /// A database on several servers: how new tables are laid out.
    pub distributed: Option<Distribution>,
    /// Whether a place where no store is becomes one. Otherwise it is refused, and nothing is made there.
    pub create: bool,
    /// For tests: lets commits fail. Leave it empty.
    pub commit_faults: Option<Arc<dyn CommitFaults>>,
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
            writers: 4,
            password: None,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(15),
            deadline: Duration::from_secs(20),
            read_deadline: Duration::from_secs(5),
            migration_wait: Duration::from_mins(2),
            distributed: None,
            create: true,
            commit_faults: None,
        }
    }
}

/// What a URL names, for people and to tell stores apart: without user, password and parameters. Nothing is opened.
///
/// # Errors
/// When it is no URL of a store.
pub fn place(url: &str) -> Result<String, OpenError> {
    let (scheme, rest) = kind_of(url)?;
    match scheme {
        "sqlite" => {
            let path = sqlite_path(rest)?;
            let whole = std::path::absolute(&path).unwrap_or(path);
            Ok(whole.display().to_string())
        }
        "postgres" | "postgresql" => postgres::place(url),
        other => Err(OpenError::Unsupported {
            scheme: other.to_owned(),
        }),
    }
}

/// Opens the store that `url` names, creating (unless the options forbid it) or migrating it if needed. Must be called inside a tokio runtime.
///
/// `sqlite:///absolute/path` and `sqlite:relative/path` name a SQLite file; the path is taken as it stands, without
/// percent-decoding. `postgres://user:password@host:port/database?sslmode=…` names a database on a server, or on several
/// of which one writes: `host1,host2`. `sslmode` is `disable`, `prefer`, `require` (both encrypt and check nothing unless
/// `sslrootcert=FILE` is given) or `verify-full`, which is the default for other machines.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    let (scheme, rest) = kind_of(url)?;
    match scheme {
        "sqlite" if options.distributed.is_some() => Err(OpenError::OneFile),
        "sqlite" => Ok(sqlite::open(sqlite_path(rest)?, options).await?),
        "postgres" | "postgresql" => Ok(postgres::open(url, options).await?),
        other => Err(OpenError::Unsupported {
            scheme: other.to_owned(),
        }),
    }
}

/// The kind of store that a URL names, and what follows the colon.
fn kind_of(url: &str) -> Result<(&str, &str), OpenError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(OpenError::Url {
            message: "it begins with the kind of store, as in sqlite:///absolute/path",
        });
    };
    let is_scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    if !scheme.chars().all(is_scheme) {
        // It may be the end of a password whose beginning was forgotten.
        return Err(OpenError::Url {
            message: "it begins with the kind of store, as in sqlite:///absolute/path or postgres://user@host/database",
        });
    }
    Ok((scheme, rest))
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
            "mysql://user:hunter2@host/db",
            "mysql://hunter2",
            "hunter2@host:5432/db",
            "postgres://user:x@hunter2@host/db",
            "SQLite:/a",
        ] {
            let message = refusal(url).await;
            let helps = message.contains("sqlite:///") || message.contains("%40");
            assert!(helps, "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert!(refusal("/var/lib/store").await.contains("sqlite:///"));
    }
}
