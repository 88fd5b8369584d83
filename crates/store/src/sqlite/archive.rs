//! A SQLite file as one end of a copy.
//!
//! The one thing to know: a source is opened for reading alone, under the same lock as a store that serves, and not
//! migrated; so whatever becomes of the copy, not one byte of it is another.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use engine::realm::RealmId;
use engine::store::StoreError;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params, params_from_iter};
use uuid::Uuid;

use super::open::{
    Schema, check_owner, connect, explain, make_durable, migrate, prepare_file, schema,
};
use super::rows::failed;
use crate::archive::{
    Archive, Cell, Kind, Latest, PAGE_BYTES, PAGE_ROWS, Role, Row, Table, Unopened,
};
use crate::columns::{defect, unavailable};
use crate::{OpenError, Options};

/// There while the file holds an unfinished copy, with what is noted about it.
const MARK: &str = "CREATE TABLE IF NOT EXISTS copying (realm BLOB NOT NULL, name TEXT NOT NULL, note BLOB NOT NULL, \
     PRIMARY KEY (realm, name)) STRICT, WITHOUT ROWID";

const IS_MARKED: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'copying'";

const SET_NOTE: &str = "INSERT INTO copying (realm, name, note) VALUES (?1, ?2, ?3) \
     ON CONFLICT (realm, name) DO UPDATE SET note = excluded.note";

/// Whether an unfinished copy is in the file.
pub(super) fn is_unfinished(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row(IS_MARKED, [], |row| row.get::<_, i64>(0))
        .map(|tables| tables > 0)
}

/// The same file has the same name, by whatever way it was named.
pub(crate) fn true_path(path: &Path) -> PathBuf {
    let whole = path.canonicalize().or_else(|_| {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or_else(|| Path::new(".")).canonicalize()?;
        Ok::<_, std::io::Error>(
            path.file_name()
                .map_or(above.clone(), |name| above.join(name)),
        )
    });
    whole.unwrap_or_else(|_| path.to_owned())
}

/// One connection, used by one call at a time.
pub(crate) struct SqliteArchive {
    place: String,
    identity: String,
    connection: Arc<Mutex<Option<Connection>>>,
    /// Held to the end, so that no server begins with it.
    _lock: File,
}

/// Opens one end of a copy.
pub(crate) async fn open_archive(
    path: PathBuf,
    role: Role,
    options: Options,
) -> Result<SqliteArchive, Unopened> {
    let asked = path.clone();
    let opened = tokio::task::spawn_blocking(move || open_blocking(&path, role, &options)).await;
    opened.map_err(|error| OpenError::Failed {
        path: asked,
        message: error.to_string(),
    })?
}

fn open_blocking(path: &Path, role: Role, options: &Options) -> Result<SqliteArchive, Unopened> {
    let path = &true_path(path);
    let place = path.display().to_string();
    if role == Role::Source && !path.is_dir() && !path.exists() {
        return Err(Unopened::Nothing { place });
    }
    let lock = prepare_file(path, options.lock_wait)?;
    let from_sqlite = |error: rusqlite::Error| explain(path, &error);
    let connection = match role {
        Role::Source => {
            let connection =
                connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(from_sqlite)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(from_sqlite)?;
            match schema(path, &connection)? {
                Schema::Nothing => return Err(Unopened::Nothing { place }),
                Schema::Old => return Err(Unopened::Old { place }),
                Schema::Present => {}
            }
            if is_unfinished(&connection).map_err(from_sqlite)? {
                return Err(OpenError::UnfinishedCopy { place }.into());
            }
            connection
        }
        Role::Destination => {
            let mut connection =
                connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(from_sqlite)?;
            check_owner(path, &connection)?;
            make_durable(&connection).map_err(from_sqlite)?;
            migrate(path, &mut connection)?;
            if let Some(pages) = options.pages_max {
                connection
                    .pragma_update(None, "max_page_count", pages)
                    .map_err(from_sqlite)?;
            }
            connection
        }
    };
    Ok(SqliteArchive {
        identity: format!("sqlite:{place}"),
        place,
        connection: Arc::new(Mutex::new(Some(connection))),
        _lock: lock,
    })
}

impl SqliteArchive {
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = connection.as_mut();
            work(connection.ok_or_else(|| unavailable("the file is closed"))?)
        });
        done.await
            .map_err(|error| defect(format!("no answer: {error}")))?
    }
}

fn to_value(cell: Cell) -> Value {
    match cell {
        Cell::Nothing => Value::Null,
        Cell::Id(id) => Value::Blob(id.as_bytes().to_vec()),
        Cell::Integer(number) => Value::Integer(number),
        Cell::Flag(flag) => Value::Integer(flag.into()),
        Cell::Text(text) => Value::Text(text),
        Cell::Bytes(bytes) => Value::Blob(bytes),
    }
}

/// `None` for what no store writes into such a column.
fn to_cell(kind: Kind, value: Value) -> Option<Cell> {
    Some(match (kind, value) {
        (_, Value::Null) => Cell::Nothing,
        (Kind::Id, Value::Blob(bytes)) => Cell::Id(Uuid::from_slice(&bytes).ok()?),
        (Kind::Integer, Value::Integer(number)) => Cell::Integer(number),
        (Kind::Flag, Value::Integer(flag @ 0..=1)) => Cell::Flag(flag == 1),
        (Kind::Text | Kind::Json, Value::Text(text)) => Cell::Text(text),
        (Kind::Bytes | Kind::Key, Value::Blob(bytes)) => Cell::Bytes(bytes),
        _ => return None,
    })
}

fn read_row(table: &'static Table, row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    let columns = table.columns.iter().enumerate();
    let cells = columns.map(|(number, (name, kind))| {
        let corrupt = |message: String| StoreError::Corrupt {
            table: table.name,
            id: match row.get::<_, Uuid>(0) {
                Ok(id) => id.to_string(),
                Err(_) => "without an id".to_owned(),
            },
            message: format!("column {name}: {message}"),
        };
        // The error names the column and its type, not its content.
        let value = row
            .get(number)
            .map_err(|error| corrupt(error.to_string()))?;
        to_cell(*kind, value).ok_or_else(|| corrupt("of another kind".to_owned()))
    });
    cells.collect()
}

fn read_page(
    connection: &Connection,
    table: &'static Table,
    realm: RealmId,
    after: Option<Row>,
) -> Result<Vec<Row>, StoreError> {
    let (columns, keys) = (table.columns(), table.keys());
    let beyond = after.as_ref().map_or_else(String::new, |after| {
        let places: Vec<String> = (0..after.len()).map(|n| format!("?{}", n + 2)).collect();
        format!(" AND ({keys}) > ({})", places.join(", "))
    });
    let sql = format!(
        "SELECT {columns} FROM {} WHERE realm = ?1{beyond} ORDER BY {keys} LIMIT {PAGE_ROWS}",
        table.name
    );
    let parameters = std::iter::once(Cell::Id(realm.0)).chain(after.unwrap_or_default());
    let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
    let mut found = statement
        .query(params_from_iter(parameters.map(to_value)))
        .map_err(failed)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = found.next().map_err(failed)?
    {
        let row = read_row(table, row)?;
        bytes += row.iter().map(Cell::size).sum::<usize>();
        rows.push(row);
    }
    Ok(rows)
}

fn write_page(
    connection: &mut Connection,
    table: &'static Table,
    realm: RealmId,
    rows: Vec<Row>,
    note: &[u8],
) -> Result<(), StoreError> {
    let places: Vec<String> = (0..table.columns.len())
        .map(|n| format!("?{}", n + 2))
        .collect();
    let sql = format!(
        "INSERT INTO {} (realm, {}) VALUES (?1, {}) ON CONFLICT (realm, {}) DO NOTHING",
        table.name,
        table.columns(),
        places.join(", "),
        table.keys()
    );
    let transaction = connection.transaction().map_err(failed)?;
    {
        let mut statement = transaction.prepare_cached(&sql).map_err(failed)?;
        for row in rows {
            let parameters = std::iter::once(Cell::Id(realm.0)).chain(row);
            statement
                .execute(params_from_iter(parameters.map(to_value)))
                .map_err(failed)?;
        }
    }
    transaction
        .execute(SET_NOTE, params![realm.0, table.name, note])
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[async_trait]
impl Archive for SqliteArchive {
    fn place(&self) -> &str {
        &self.place
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    async fn is_in_use(&self) -> Result<bool, StoreError> {
        // Its lock is ours.
        Ok(false)
    }

    async fn next_realm(
        &self,
        table: &'static Table,
        from: Uuid,
    ) -> Result<Option<Uuid>, StoreError> {
        self.with(move |connection| {
            let sql = format!(
                "SELECT realm FROM {} WHERE realm >= ?1 ORDER BY realm LIMIT 1",
                table.name
            );
            let realm = connection.query_row(&sql, [from], |row| row.get(0));
            realm.optional().map_err(failed)
        })
        .await
    }

    async fn count(&self, table: &'static Table, realm: RealmId) -> Result<u64, StoreError> {
        self.with(move |connection| {
            let sql = format!("SELECT count(*) FROM {} WHERE realm = ?1", table.name);
            let rows = connection.query_row(&sql, [realm.0], |row| row.get::<_, i64>(0));
            rows.map(i64::unsigned_abs).map_err(failed)
        })
        .await
    }

    async fn latest(&self, realm: RealmId) -> Result<Latest, StoreError> {
        self.with(move |connection| {
            let event = "SELECT id FROM event WHERE realm = ?1 ORDER BY id DESC LIMIT 1";
            let used_at = "SELECT max(last_used_at) FROM usage WHERE realm = ?1";
            let event = connection.query_row(event, [realm.0], |row| row.get(0));
            let used_at = connection.query_row(used_at, [realm.0], |row| row.get(0));
            Ok(Latest {
                event: event.optional().map_err(failed)?,
                used_at: used_at.map_err(failed)?,
            })
        })
        .await
    }

    async fn page(
        &self,
        table: &'static Table,
        realm: RealmId,
        after: Option<&[Cell]>,
    ) -> Result<Vec<Row>, StoreError> {
        let after = after.map(<[Cell]>::to_vec);
        self.with(move |connection| read_page(connection, table, realm, after))
            .await
    }

    async fn is_begun(&self) -> Result<bool, StoreError> {
        self.with(|connection| is_unfinished(connection).map_err(failed))
            .await
    }

    async fn begin(&self) -> Result<(), StoreError> {
        self.with(|connection| connection.execute_batch(MARK).map_err(failed))
            .await
    }

    async fn note(&self, realm: RealmId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            let sql = "SELECT note FROM copying WHERE realm = ?1 AND name = ?2";
            let note = connection.query_row(sql, params![realm.0, name], |row| row.get(0));
            note.optional().map_err(failed)
        })
        .await
    }

    async fn write(
        &self,
        table: &'static Table,
        realm: RealmId,
        rows: Vec<Row>,
        note: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.with(move |connection| write_page(connection, table, realm, rows, &note))
            .await
    }

    async fn set_note(&self, realm: RealmId, name: &str, note: Vec<u8>) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.with(move |connection| {
            let noted = connection.execute(SET_NOTE, params![realm.0, name, note]);
            noted.map(|_| ()).map_err(failed)
        })
        .await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        let drop = |connection: &mut Connection| {
            let dropped = connection.execute_batch("DROP TABLE IF EXISTS copying");
            dropped.map_err(failed)
        };
        self.with(drop).await
    }

    async fn close(&self) {
        let connection = Arc::clone(&self.connection);
        let closing = move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            drop(connection.take());
        };
        // A panic on the way is a connection that is closed as well.
        let _ = tokio::task::spawn_blocking(closing).await;
    }
}
