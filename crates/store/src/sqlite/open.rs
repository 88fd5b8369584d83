//! Opening the file: the lock, the checks that give clear errors, the migrations, the connections.
//!
//! The one thing to know: one process owns the store. The lock lies in a file beside the database, because opening and
//! closing the database file itself would drop the locks that SQLite holds on it in this process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use refinery::Runner;
use refinery::error::Kind;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, watch};

use super::Sqlite;
use super::archive::is_unfinished;
use super::checkpoints::{Checkpoints, Sizes};
use super::queue::Queue;
use super::readers::Readers;
use super::writer::Writer;
use crate::{OpenError, Options};

refinery::embed_migrations!("src/sqlite/migrations");

/// What `PRAGMA application_id` answers in our files: "TKNH".
const APPLICATION_ID: i64 = 0x544b_4e48;

/// How long a statement waits for a lock that a tool (a backup, somebody's shell) holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two tries for the lock.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Statements kept prepared for each connection: there are about fifty.
const STATEMENTS_KEPT: usize = 80;

/// Opens or creates the store at `path`.
pub(crate) async fn open(path: PathBuf, options: Options) -> Result<Arc<Sqlite>, OpenError> {
    let failed = |message: String| OpenError::Failed {
        path: path.clone(),
        message,
    };
    let blocking = path.clone();
    tokio::task::spawn_blocking(move || open_blocking(&blocking, &options))
        .await
        .map_err(|error| failed(error.to_string()))?
        .map(Arc::new)
}

fn open_blocking(path: &Path, options: &Options) -> Result<Sqlite, OpenError> {
    let nothing = || OpenError::Nothing {
        place: path.display().to_string(),
    };
    // What is missing or empty is looked at before anything is put beside it.
    let size = || std::fs::metadata(path).map_or(0, |file| file.len());
    if !options.create && !path.is_dir() && size() == 0 {
        return Err(nothing());
    }
    let lock = prepare_file(path, options.lock_wait)?;
    let from_sqlite = |error: rusqlite::Error| explain(path, &error);
    let from_system = |error: std::io::Error| OpenError::Failed {
        path: path.to_owned(),
        message: error.to_string(),
    };

    let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(from_sqlite)?;
    if !options.create && matches!(schema(path, &writer)?, Schema::Nothing) {
        return Err(nothing());
    }
    check_owner(path, &writer)?;
    make_durable(&writer).map_err(from_sqlite)?;
    migrate(path, &mut writer)?;
    if is_unfinished(&writer).map_err(from_sqlite)? {
        return Err(OpenError::UnfinishedCopy {
            place: path.display().to_string(),
        });
    }
    let page = 4096;
    let log_bytes_kept = options.checkpoint_restart_pages.saturating_mul(2 * page);
    writer
        .pragma_update(None, "journal_size_limit", log_bytes_kept.cast_signed())
        .map_err(from_sqlite)?;
    if let Some(pages) = options.pages_max {
        writer
            .pragma_update(None, "max_page_count", pages)
            .map_err(from_sqlite)?;
    }

    let mut readers = Vec::new();
    for _ in 0..options.readers.max(1) {
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(from_sqlite)?;
        reader
            .pragma_update(None, "query_only", true)
            .map_err(from_sqlite)?;
        readers.push(reader);
    }
    let own = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(from_sqlite)?;
    own.pragma_update(None, "synchronous", "FULL")
        .map_err(from_sqlite)?;
    let sizes = Sizes {
        step: options.checkpoint_step_pages.max(1),
        restart: options.checkpoint_restart_pages.max(1),
    };
    let checkpoints =
        Checkpoints::start(&mut writer, own, sizes, BUSY_TIMEOUT).map_err(from_system)?;

    let places = options.queue.max(1);
    let readers = Readers::start(readers, places, options.wait).map_err(from_system)?;
    let (queue, jobs) = mpsc::channel(places);
    let (over, ended) = watch::channel(());
    let writer = Writer {
        connection: writer,
        queue: jobs,
        checkpoints,
        ailing: false,
        lock,
        ended: over,
    };
    thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(from_system)?;
    Ok(Sqlite {
        path: path.to_owned(),
        queue: Queue::new(queue, options.wait),
        ended,
        readers,
    })
}

/// What a connection that writes is told.
pub(super) fn make_durable(connection: &Connection) -> rusqlite::Result<()> {
    for pragma in [
        "journal_mode = WAL",
        "synchronous = FULL",
        // Deleted content is overwritten: a value that was destroyed must not be found in the file.
        "secure_delete = ON",
    ] {
        connection.execute_batch(&format!("PRAGMA {pragma}"))?;
    }
    Ok(())
}

/// Sees to it that the file is there, readable by its owner alone, and takes the lock beside it.
pub(super) fn prepare_file(path: &Path, lock_wait: Duration) -> Result<File, OpenError> {
    if path.is_dir() {
        return Err(OpenError::Directory {
            path: path.to_owned(),
        });
    }
    let explain = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => OpenError::NoDirectory {
            path: path.to_owned(),
        },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::Rights {
            path: path.to_owned(),
            message: error.to_string(),
        },
        _ => OpenError::Failed {
            path: path.to_owned(),
            message: error.to_string(),
        },
    };
    let mut private = OpenOptions::new();
    private.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut private, 0o600);

    let mut beside = path.as_os_str().to_owned();
    beside.push("-lock");
    let lock = private.open(Path::new(&beside)).map_err(explain)?;
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if waited < lock_wait => {
                thread::sleep(LOCK_RETRY);
                waited += LOCK_RETRY;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(explain(error)),
        }
    }
    // SQLite would create the file itself, but readable by all; its log and index take over the rights of the file.
    // Under the lock no connection of ours is open yet, so opening and closing it here drops nobody's locks.
    private.open(path).map_err(explain)?;
    Ok(lock)
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time: SQLite needs no mutex of its own.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; PRAGMA trusted_schema = OFF",
    )?;
    Ok(connection)
}

/// An empty file becomes a store; a file of another program must not.
///
/// The mark of ours is the first thing that is ever written, in a transaction of its own: whatever of the migrations a
/// crash leaves behind, the next start goes on with it.
pub(super) fn check_owner(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let from_sqlite = |error: rusqlite::Error| explain(path, &error);
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if number("PRAGMA application_id").map_err(from_sqlite)? == APPLICATION_ID {
        return Ok(());
    }
    if number("SELECT count(*) FROM sqlite_schema").map_err(from_sqlite)? > 0 {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(from_sqlite)
}

/// Brings the schema up to this program's, unless the schema is one that this program must not touch.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let runner = migrations::runner();
    let program = newest_known(&runner);
    let newest = newest_applied(path, connection, program)?.unwrap_or(0);
    // A newer schema that says it suits this program is left as it is; within our own numbers the history must match.
    runner
        .set_grouped(true)
        .set_abort_missing(newest <= program)
        .set_abort_divergent(true)
        .run(connection)
        .map_err(|error| match error.kind() {
            Kind::DivergentVersion(applied, _) => OpenError::History {
                path: path.to_owned(),
                message: format!("its migration {applied} is not the one this program has"),
            },
            Kind::MissingVersion(missing) => OpenError::History {
                path: path.to_owned(),
                message: format!("the migration {missing} is known to only one of them"),
            },
            Kind::Connection(_, cause) => match cause.downcast_ref::<rusqlite::Error>() {
                Some(error) => explain(path, error),
                None => OpenError::Failed {
                    path: path.to_owned(),
                    message: cause.to_string(),
                },
            },
            other => OpenError::Failed {
                path: path.to_owned(),
                message: other.to_string(),
            },
        })?;
    Ok(())
}

/// The number of this program's last migration.
fn newest_known(runner: &Runner) -> i64 {
    let numbers = runner.get_migrations().iter();
    let numbers = numbers.map(|migration| i64::from(migration.version()));
    numbers.max().unwrap_or(0)
}

/// The number of the last migration that was applied, if there is a store; refused if this program must not touch it.
fn newest_applied(
    path: &Path,
    connection: &Connection,
    program: i64,
) -> Result<Option<i64>, OpenError> {
    let number = |sql| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| explain(path, &error))
    };
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('schema', 'refinery_schema_history')";
    if number(tables)? < 2 {
        return Ok(None);
    }
    let needs = number("SELECT max(minimum_program) FROM schema")?;
    if needs > program {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            needs,
            program,
        });
    }
    number("SELECT coalesce(max(version), 0) FROM refinery_schema_history").map(Some)
}

/// What is in a file that is not to be changed.
pub(super) enum Schema {
    /// No store.
    Nothing,
    /// One that an earlier program has made.
    Old,
    /// One of this program, or of a later one that suits it.
    Present,
}

/// Looks at a file that is not to be changed.
pub(super) fn schema(path: &Path, connection: &Connection) -> Result<Schema, OpenError> {
    let number = |sql| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| explain(path, &error))
    };
    if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Schema::Nothing);
    }
    if number("PRAGMA application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let program = newest_known(&migrations::runner());
    Ok(match newest_applied(path, connection, program)? {
        None => Schema::Nothing,
        Some(newest) if newest < program => Schema::Old,
        Some(_) => Schema::Present,
    })
}

/// What an error of SQLite means while opening.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let message = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            OpenError::Rights { path, message }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Damaged { path, message }
        }
        _ => OpenError::Failed { path, message },
    }
}
