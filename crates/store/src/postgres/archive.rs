//! A PostgreSQL database as one end of a copy.
//!
//! The one thing to know: a long key lies in its table cut (`rows::key`). It comes out whole, taken from the list of places
//! that its holder carries; what cannot be found there is an error, because another backend would never find the holder.

use async_trait::async_trait;
use deadpool_postgres::Pool;
use engine::locator::Place as Held;
use engine::realm::RealmId;
use engine::store::StoreError;
use tokio_postgres::types::{FromSql, ToSql};
use uuid::Uuid;

use super::address::configure;
use super::migrate::{Schema, is_unfinished, mark_unfinished, migrate, schema};
use super::open::{Place, check_rights, greet};
use super::pool::{Session, Times, pool, pool_for_reading};
use super::rows::{Parameter, is_cut, key, text, untext};
use super::transaction::on_commit;
use super::trouble::{Attempt, Trouble, of_pool, of_statement, shown, until_certain};
use crate::archive::{
    Archive, Cell, Kind, Latest, PAGE_BYTES, PAGE_ROWS, Role, Row, Table, Unopened,
};
use crate::columns::{defect, unavailable};
use crate::nodes::{LEASE, MARGIN};
use crate::{Distribution, OpenError, Options};

/// Time for one statement: counting the rows of a large realm takes long, and nobody waits for an answer.
const STATEMENT_MAX: std::time::Duration = std::time::Duration::from_mins(30);

/// Connections: what migrates uses three at a time.
const CONNECTIONS: usize = 4;

/// Which database this is, by whatever way it is reached: other engines do not tell.
const IDENTITY: &str = "SELECT system_identifier::text || '/' || current_database()::text || '/' || \
     current_schema()::text FROM pg_control_system()";

/// The same as far as the connection knows.
const NAME: &str = "SELECT current_database()::text || '/' || current_schema()::text";

/// Who answers from memory, and how often each has renewed its lease.
const NODES: &str = "SELECT id, renewals FROM node WHERE realm = $1 AND NOT expelled";

const SET_NOTE: &str = "INSERT INTO copying (realm, name, note) VALUES ($1, $2, $3) \
     ON CONFLICT (realm, name) DO UPDATE SET note = excluded.note";

/// One end of a copy.
pub(crate) struct PostgresArchive {
    place: Place,
    name: String,
    identity: String,
    pool: Pool,
    distribution: Option<Distribution>,
}

/// Opens one end of a copy.
pub(crate) async fn open_archive(
    url: &str,
    role: Role,
    options: Options,
) -> Result<PostgresArchive, Unopened> {
    let (config, tls) = configure(url, &options)?;
    let place = Place::of(&config);
    greet(&place, &config, tls.clone(), options.connect_timeout).await?;
    let times = Times {
        connect: options.connect_timeout,
        wait: options.wait,
        statement: STATEMENT_MAX,
    };
    let make = match role {
        Role::Source => pool_for_reading,
        Role::Destination => pool,
    };
    let pool =
        make(&config, tls, times, CONNECTIONS).map_err(|message| OpenError::DatabaseFailed {
            place: place.to_string(),
            message,
        })?;
    if role == Role::Destination {
        migrate(&place, &pool, options.distributed, options.migration_wait).await?;
        check_rights(&place, &pool).await?;
    }
    let session = Session::of(&pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    if role == Role::Source {
        let schema = schema(&place, &session).await?;
        let unfinished = is_unfinished(&place, &session).await?;
        let place = place.to_string();
        match schema {
            Schema::Nothing => return Err(Unopened::Nothing { place }),
            Schema::Old => return Err(Unopened::Old { place }),
            Schema::Present => {}
        }
        if unfinished {
            return Err(OpenError::UnfinishedCopy { place }.into());
        }
    }
    let row = match session.query_one(IDENTITY, &[]).await {
        Ok(row) => Ok(row),
        Err(_) => session.query_one(NAME, &[]).await,
    };
    let identity: String = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| place.failed(&error))?;
    session.keep();
    Ok(PostgresArchive {
        name: place.to_string(),
        identity: format!("postgres:{identity}"),
        place,
        pool,
        distribution: options.distributed,
    })
}

/// A statement that reads.
struct Ask<'a> {
    pool: &'a Pool,
    sql: &'a str,
    parameters: Vec<Parameter<'a>>,
}

impl Attempt for Ask<'_> {
    type Output = Vec<tokio_postgres::Row>;

    async fn attempt(&mut self) -> Result<Self::Output, Trouble> {
        let client = self.pool.get().await.map_err(of_pool)?;
        let statement = client.prepare_cached(self.sql).await;
        let statement = statement.map_err(of_statement)?;
        let parameters = references(&self.parameters);
        let rows = client.query(&statement, &parameters).await;
        rows.map_err(of_statement)
    }

    fn in_doubt(&self) -> bool {
        false
    }
}

/// Statements that write, in one transaction, and may be run again.
struct Write<'a> {
    pool: &'a Pool,
    steps: Vec<(&'a str, Vec<Parameter<'a>>)>,
}

impl Attempt for Write<'_> {
    type Output = ();

    async fn attempt(&mut self) -> Result<(), Trouble> {
        let session = Session::of(self.pool).await?;
        let begun = session.batch_execute(on_commit::BEGIN).await;
        begun.map_err(of_statement)?;
        for (sql, parameters) in &self.steps {
            let statement = session.prepare_cached(sql).await;
            let statement = statement.map_err(of_statement)?;
            let done = session.execute(&statement, &references(parameters)).await;
            done.map_err(of_statement)?;
        }
        let unhurried = session.batch_execute(on_commit::UNHURRIED).await;
        unhurried.map_err(of_statement)?;
        let committed = session.batch_execute("COMMIT").await;
        committed.map_err(|error| Trouble::Again(shown(&error)))?;
        session.keep();
        Ok(())
    }

    fn in_doubt(&self) -> bool {
        // It may have been committed, but nobody needs to know: whoever goes on does the same again.
        false
    }
}

fn references<'a>(parameters: &'a [Parameter<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    let parameters = parameters.iter();
    parameters
        .map(|parameter| &**parameter as &(dyn ToSql + Sync))
        .collect()
}

/// The name of a column's type.
const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Id => "uuid",
        Kind::Integer => "bigint",
        Kind::Flag => "boolean",
        Kind::Text | Kind::Json => "text",
        Kind::Bytes | Kind::Key => "bytea",
    }
}

/// A text as it lies in a column of this kind.
fn written(kind: Kind, content: String) -> String {
    if kind == Kind::Json {
        return content;
    }
    text(&content).into_owned()
}

/// Bytes as they lie in a column of this kind.
fn bytes_written(kind: Kind, content: Vec<u8>) -> Vec<u8> {
    if kind == Kind::Key {
        return key(&content).into_owned();
    }
    content
}

/// One cell as a parameter.
fn parameter(kind: Kind, cell: &Cell) -> Result<Parameter<'static>, StoreError> {
    Ok(match cell.clone() {
        Cell::Id(id) => Box::new(id),
        Cell::Integer(number) => Box::new(number),
        Cell::Flag(flag) => Box::new(flag),
        Cell::Text(text) => Box::new(written(kind, text)),
        Cell::Bytes(bytes) => Box::new(bytes_written(kind, bytes)),
        Cell::Nothing => return Err(defect("no part of a key is empty")),
    })
}

/// A column of many rows as an array.
fn array(kind: Kind, cells: Vec<Cell>) -> Result<Parameter<'static>, StoreError> {
    fn each<T: ToSql + Send + Sync + 'static>(
        cells: Vec<Cell>,
        content: impl Fn(Cell) -> Option<T>,
    ) -> Result<Parameter<'static>, StoreError> {
        let contents = cells.into_iter().map(|cell| match cell {
            Cell::Nothing => Ok(None),
            cell => content(cell)
                .map(Some)
                .ok_or_else(|| defect("a cell is not of its column's kind")),
        });
        let contents = contents.collect::<Result<Vec<Option<T>>, StoreError>>()?;
        Ok(Box::new(contents))
    }
    match kind {
        Kind::Id => each(cells, |cell| match cell {
            Cell::Id(id) => Some(id),
            _ => None,
        }),
        Kind::Integer => each(cells, |cell| match cell {
            Cell::Integer(number) => Some(number),
            _ => None,
        }),
        Kind::Flag => each(cells, |cell| match cell {
            Cell::Flag(flag) => Some(flag),
            _ => None,
        }),
        Kind::Text | Kind::Json => each(cells, |cell| match cell {
            Cell::Text(text) => Some(written(kind, text)),
            _ => None,
        }),
        Kind::Bytes | Kind::Key => each(cells, |cell| match cell {
            Cell::Bytes(bytes) => Some(bytes_written(kind, bytes)),
            _ => None,
        }),
    }
}

fn corrupt(table: &'static Table, row: &tokio_postgres::Row, message: String) -> StoreError {
    StoreError::Corrupt {
        table: table.name,
        id: match row.try_get::<_, Uuid>(0) {
            Ok(id) => id.to_string(),
            Err(_) => "without an id".to_owned(),
        },
        message,
    }
}

/// A row as it lies there: keys may be cut.
fn read_row(table: &'static Table, row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    fn content<'a, T: FromSql<'a>>(
        row: &'a tokio_postgres::Row,
        number: usize,
        cell: impl Fn(T) -> Option<Cell>,
    ) -> Result<Option<Cell>, tokio_postgres::Error> {
        let content: Option<T> = row.try_get(number)?;
        Ok(content.map_or(Some(Cell::Nothing), cell))
    }
    let columns = table.columns.iter().enumerate();
    let cells = columns.map(|(number, (name, kind))| {
        let cell = match kind {
            Kind::Id => content(row, number, |id| Some(Cell::Id(id))),
            Kind::Integer => content(row, number, |integer| Some(Cell::Integer(integer))),
            Kind::Flag => content(row, number, |flag| Some(Cell::Flag(flag))),
            Kind::Json => content(row, number, |json| Some(Cell::Text(json))),
            Kind::Text => content(row, number, |written| untext(written).map(Cell::Text)),
            Kind::Bytes | Kind::Key => content(row, number, |bytes| Some(Cell::Bytes(bytes))),
        };
        // The error names the column and its type, not its content.
        cell.map_err(|error| corrupt(table, row, format!("column {name}: {error}")))?
            .ok_or_else(|| corrupt(table, row, format!("column {name}: an unknown escape")))
    });
    cells.collect()
}

/// The statement for one page: so many rows as there are, but not many bytes more than asked for.
fn page_statement(table: &'static Table, after: bool) -> String {
    let (columns, keys, name) = (table.columns(), table.keys(), table.name);
    let sizes = table.columns.iter().filter_map(|(name, kind)| {
        let long = matches!(kind, Kind::Text | Kind::Json | Kind::Bytes | Kind::Key);
        long.then(|| format!("coalesce(octet_length({name}), 0)"))
    });
    let size = sizes
        .chain(["16".to_owned()])
        .collect::<Vec<_>>()
        .join(" + ");
    let places: Vec<String> = (0..table.key).map(|n| format!("${}", n + 4)).collect();
    let beyond = if after {
        format!(" AND ({keys}) > ({})", places.join(", "))
    } else {
        String::new()
    };
    format!(
        "SELECT {columns} FROM (SELECT {columns}, sum({size}) OVER (ORDER BY {keys} ROWS UNBOUNDED PRECEDING) - ({size}) \
         AS bytes_before FROM {name} WHERE realm = $1{beyond} ORDER BY {keys} LIMIT $2) AS page \
         WHERE bytes_before < $3 ORDER BY {keys}"
    )
}

fn insert_statement(table: &'static Table) -> String {
    let arrays = table.columns.iter().enumerate();
    let arrays = arrays.map(|(n, (_, kind))| format!("${}::{}[]", n + 2, type_of(*kind)));
    let arrays: Vec<String> = arrays.collect();
    format!(
        "INSERT INTO {} (realm, {}) SELECT $1::uuid, page.* FROM unnest({}) AS page \
         ON CONFLICT (realm, {}) DO NOTHING",
        table.name,
        table.columns(),
        arrays.join(", "),
        table.keys()
    )
}

impl PostgresArchive {
    async fn ask(
        &self,
        sql: &str,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let mut ask = Ask {
            pool: &self.pool,
            sql,
            parameters,
        };
        until_certain(&mut ask, STATEMENT_MAX).await
    }

    /// The first column of the first row.
    async fn one<T: for<'a> FromSql<'a>>(
        &self,
        sql: &str,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<Option<T>, StoreError> {
        let rows = self.ask(sql, parameters).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        row.try_get(0).map_err(|error| defect(error.to_string()))
    }

    async fn transact(&self, steps: Vec<(&str, Vec<Parameter<'_>>)>) -> Result<(), StoreError> {
        let mut write = Write {
            pool: &self.pool,
            steps,
        };
        until_certain(&mut write, STATEMENT_MAX).await
    }

    /// For statements that are not repeated.
    async fn session(&self) -> Result<Session, StoreError> {
        let session = Session::of(&self.pool).await;
        session.map_err(|trouble| match trouble {
            Trouble::Again(message) | Trouble::Unreachable(message) => unavailable(message),
            Trouble::Refused(error) => error,
        })
    }

    /// Puts the whole key in the place of a cut one.
    async fn complete(
        &self,
        table: &'static Table,
        realm: RealmId,
        row: &mut Row,
    ) -> Result<(), StoreError> {
        let column = |name| {
            let mut columns = table.columns.iter();
            columns.position(|(column, _)| *column == name)
        };
        let (Some(place), Some(space), Some(kind), Some(holder)) = (
            column("key"),
            column("space"),
            column("holder_kind"),
            column("holder"),
        ) else {
            return Ok(());
        };
        let (Cell::Bytes(cut), Cell::Text(space), Cell::Text(kind), Cell::Id(holder)) =
            (&row[place], &row[space], &row[kind], &row[holder])
        else {
            return Ok(());
        };
        if !is_cut(cut) {
            return Ok(());
        }
        let of_token = kind == "t";
        let sql = match table.name {
            "locator" if of_token => "SELECT locators FROM token WHERE realm = $1 AND id = $2",
            "locator" => "SELECT locators FROM record WHERE realm = $1 AND id = $2",
            _ if of_token => "SELECT marks FROM token WHERE realm = $1 AND id = $2",
            _ => "SELECT marks FROM record WHERE realm = $1 AND id = $2",
        };
        let listed: Option<String> = self
            .one(sql, vec![Box::new(realm.0), Box::new(*holder)])
            .await?;
        let listed: Vec<Held> = listed
            .and_then(|listed| serde_json::from_str(&listed).ok())
            .unwrap_or_default();
        let whole = listed
            .into_iter()
            .find(|held| held.space.0 == **space && *key(&held.key.0) == **cut);
        let Some(whole) = whole else {
            return Err(StoreError::Corrupt {
                table: table.name,
                id: format!("of the holder {holder}"),
                message: "a long key is not among the places of its holder".to_owned(),
            });
        };
        row[place] = Cell::Bytes(whole.key.0);
        Ok(())
    }
}

#[async_trait]
impl Archive for PostgresArchive {
    fn place(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    async fn is_in_use(&self) -> Result<bool, StoreError> {
        let nodes = async || -> Result<Vec<(Uuid, i64)>, StoreError> {
            let rows = self.ask(NODES, vec![Box::new(Uuid::nil())]).await?;
            let nodes = rows
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            let nodes: Result<_, tokio_postgres::Error> = nodes.collect();
            nodes.map_err(|error| defect(error.to_string()))
        };
        let before = nodes().await?;
        if before.is_empty() {
            return Ok(false);
        }
        // One may have died without a word: whoever lives renews its lease meanwhile.
        tokio::time::sleep(LEASE + MARGIN).await;
        let now = nodes().await?;
        Ok(now.iter().any(|node| !before.contains(node)))
    }

    async fn next_realm(
        &self,
        table: &'static Table,
        from: Uuid,
    ) -> Result<Option<Uuid>, StoreError> {
        // Over all realms, and so over all servers: nothing else lists them, and it is done once.
        let sql = format!(
            "SELECT realm FROM {} WHERE realm >= $1 ORDER BY realm LIMIT 1",
            table.name
        );
        self.one(&sql, vec![Box::new(from)]).await
    }

    async fn count(&self, table: &'static Table, realm: RealmId) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {} WHERE realm = $1", table.name);
        let rows: Option<i64> = self.one(&sql, vec![Box::new(realm.0)]).await?;
        Ok(rows.map_or(0, i64::unsigned_abs))
    }

    async fn latest(&self, realm: RealmId) -> Result<Latest, StoreError> {
        let event = "SELECT id FROM event WHERE realm = $1 ORDER BY id DESC LIMIT 1";
        let used =
            "SELECT last_used_at FROM usage WHERE realm = $1 ORDER BY last_used_at DESC LIMIT 1";
        Ok(Latest {
            event: self.one(event, vec![Box::new(realm.0)]).await?,
            used_at: self.one(used, vec![Box::new(realm.0)]).await?,
        })
    }

    async fn page(
        &self,
        table: &'static Table,
        realm: RealmId,
        after: Option<&[Cell]>,
    ) -> Result<Vec<Row>, StoreError> {
        let bytes = i64::try_from(PAGE_BYTES).unwrap_or(i64::MAX);
        let mut parameters: Vec<Parameter<'_>> = vec![
            Box::new(realm.0),
            Box::new(i64::from(PAGE_ROWS)),
            Box::new(bytes),
        ];
        for (cell, (_, kind)) in after.unwrap_or_default().iter().zip(table.key_columns()) {
            parameters.push(parameter(*kind, cell)?);
        }
        let sql = page_statement(table, after.is_some());
        let found = self.ask(&sql, parameters).await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            let mut row = read_row(table, row)?;
            self.complete(table, realm, &mut row).await?;
            rows.push(row);
        }
        Ok(rows)
    }

    async fn is_begun(&self) -> Result<bool, StoreError> {
        let session = self.session().await?;
        let begun = is_unfinished(&self.place, &session).await;
        session.keep();
        begun.map_err(|error| unavailable(error.to_string()))
    }

    async fn begin(&self) -> Result<(), StoreError> {
        let session = self.session().await?;
        mark_unfinished(&self.place, &session, self.distribution)
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        session.keep();
        Ok(())
    }

    async fn note(&self, realm: RealmId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT note FROM copying WHERE realm = $1 AND name = $2";
        self.one(sql, vec![Box::new(realm.0), Box::new(name.to_owned())])
            .await
    }

    async fn write(
        &self,
        table: &'static Table,
        realm: RealmId,
        rows: Vec<Row>,
        note: Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut columns = vec![Vec::with_capacity(rows.len()); table.columns.len()];
        for row in rows {
            for (column, cell) in columns.iter_mut().zip(row) {
                column.push(cell);
            }
        }
        let mut parameters: Vec<Parameter<'_>> = vec![Box::new(realm.0)];
        for (cells, (_, kind)) in columns.into_iter().zip(table.columns) {
            parameters.push(array(*kind, cells)?);
        }
        let sql = insert_statement(table);
        let noting: Vec<Parameter<'_>> =
            vec![Box::new(realm.0), Box::new(table.name), Box::new(note)];
        self.transact(vec![(&sql, parameters), (SET_NOTE, noting)])
            .await
    }

    async fn set_note(&self, realm: RealmId, name: &str, note: Vec<u8>) -> Result<(), StoreError> {
        let noting: Vec<Parameter<'_>> =
            vec![Box::new(realm.0), Box::new(name.to_owned()), Box::new(note)];
        self.transact(vec![(SET_NOTE, noting)]).await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.transact(vec![("DROP TABLE IF EXISTS copying", Vec::new())])
            .await
    }

    async fn close(&self) {
        self.pool.close();
    }
}
