//! Migrations: numbered files, applied by one node while the others wait.
//!
//! The one thing to know: a distributed engine allows one change of the schema in a transaction, and nothing beside it. So
//! each statement of a file is a transaction of its own and may be run again, and that a file is done is written down
//! after its last statement. Who migrates holds a lease in a row of `schema`, by the server's clock; a node that dies in the
//! middle loses it, and the next goes on.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Pool};
use sha2::{Digest as _, Sha256};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::open::Place;
use super::pool::Session;
use super::trouble::shown;
use crate::{Distribution, OpenError};

/// A file: its number, its name and its text.
struct Migration {
    number: i64,
    name: &'static str,
    text: &'static str,
}

/// All of them, in order. What stands here is checked against the directory by a test.
const MIGRATIONS: [Migration; 3] = [
    Migration {
        number: 1,
        name: "first_tables",
        text: include_str!("migrations/V1__first_tables.sql"),
    },
    Migration {
        number: 2,
        name: "nodes",
        text: include_str!("migrations/V2__nodes.sql"),
    },
    Migration {
        number: 3,
        name: "keys",
        text: include_str!("migrations/V3__keys.sql"),
    },
];

/// What the program writes into `schema.program`, so that it knows its own.
const PROGRAM: &str = "tokenhouse";

/// A node that has not renewed its lease for so long has died.
const LEASE: Duration = Duration::from_secs(15);

/// Between two renewals of that lease.
const RENEWAL: Duration = Duration::from_secs(3);

/// Between two looks of those who wait for another node.
const LOOK: Duration = Duration::from_millis(100);

/// How often a statement may collide with that of another node.
const COLLISIONS_MAX: usize = 50;

/// Time for one statement: an index over a large table takes long.
const STATEMENT_MAX: &str = "SET statement_timeout = 3600000";

/// What the migrations themselves need. The realm is that of the system, of which there is one row each.
const OWN_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS schema (realm uuid NOT NULL, program text NOT NULL, minimum_program bigint NOT NULL, \
     turn bigint NOT NULL, leased_until bigint NOT NULL, probe bigint NOT NULL, PRIMARY KEY (realm))",
    "CREATE TABLE IF NOT EXISTS migration (realm uuid NOT NULL, number bigint NOT NULL, name text NOT NULL, \
     digest bytea NOT NULL, PRIMARY KEY (realm, number))",
];

/// The one row of `schema`.
const FIRST_ROW: &str = "INSERT INTO schema (realm, program, minimum_program, turn, leased_until, probe) \
     VALUES ($1, $2, 1, 0, 0, 0) ON CONFLICT (realm) DO NOTHING";

/// The tables that lie where ours are or would be.
const TABLES: &str =
    "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema()";

/// Microseconds since 1970 by the server's clock, the same for all nodes.
const SERVER_CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

const SYSTEM: Uuid = Uuid::nil();

/// There while the database holds an unfinished copy, with what is noted about it. Laid out like all others, so that a
/// note is written in the transaction of its realm's rows.
const COPYING: &str = "CREATE TABLE IF NOT EXISTS copying (realm uuid NOT NULL, name text COLLATE \"C\" NOT NULL, \
     note bytea NOT NULL, PRIMARY KEY (realm, name))";

/// What is in the database.
enum State {
    /// Everything this program knows.
    Ready,
    /// Something is missing; what the next turn of the lease replaces.
    Behind,
}

/// Brings the schema up to this program's, or waits until another node has, unless the schema is one that this program
/// must not touch.
pub(super) async fn migrate(
    place: &Place,
    pool: &Pool,
    distribution: Option<Distribution>,
    wait: Duration,
) -> Result<(), OpenError> {
    let session = Session::of(pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    if let Some(distribution) = distribution {
        must_distribute(place, &session, distribution).await?;
    }
    let mut waited = Duration::ZERO;
    let mut own_tables = false;
    loop {
        if !own_tables {
            own_tables = prepare(place, &session, distribution).await?;
        }
        if own_tables {
            if matches!(look(place, &session).await?, State::Ready) {
                session.keep();
                return Ok(());
            }
            if let Some(turn) = claim(place, &session).await? {
                // A session of its own: the time limit of its statements is another one.
                let done = run(place, pool, distribution, turn).await;
                release(place, &session, turn).await?;
                done?;
                continue;
            }
        }
        if waited >= wait {
            return Err(OpenError::MigrationWaits {
                place: place.to_string(),
            });
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// What is in a database that is not to be changed.
pub(super) enum Schema {
    /// No store.
    Nothing,
    /// One that an earlier program has made.
    Old,
    /// One of this program, or of a later one that suits it.
    Present,
}

/// Looks at a database that is not to be changed.
pub(super) async fn schema(place: &Place, client: &ClientWrapper) -> Result<Schema, OpenError> {
    let tables = tables(place, client).await?;
    if tables.is_empty() {
        return Ok(Schema::Nothing);
    }
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    if !is_there("schema") || owner(place, client).await? == Owner::Other {
        return Err(OpenError::ForeignDatabase {
            place: place.to_string(),
        });
    }
    if !is_there("migration") {
        return Ok(Schema::Nothing);
    }
    Ok(match look(place, client).await? {
        State::Ready => Schema::Present,
        State::Behind => Schema::Old,
    })
}

/// Whether an unfinished copy is in the database.
pub(super) async fn is_unfinished(
    place: &Place,
    client: &ClientWrapper,
) -> Result<bool, OpenError> {
    let tables = tables(place, client).await?;
    Ok(tables.iter().any(|table| table == "copying"))
}

/// Marks the database as one that holds an unfinished copy.
pub(super) async fn mark_unfinished(
    place: &Place,
    client: &ClientWrapper,
    distribution: Option<Distribution>,
) -> Result<(), OpenError> {
    while !harmless(place, client.batch_execute(COPYING).await)? {
        tokio::time::sleep(LOOK).await;
    }
    if let Some(distribution) = distribution {
        distribute(place, client, distribution, "copying").await?;
    }
    Ok(())
}

async fn tables(place: &Place, client: &ClientWrapper) -> Result<Vec<String>, OpenError> {
    let rows = client.query(TABLES, &[]).await;
    let rows = rows.map_err(|error| place.failed(&error))?;
    Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
}

/// Makes what the migrations need, unless the database is somebody else's. `false` if another node was at the same at the
/// same time.
async fn prepare(
    place: &Place,
    client: &ClientWrapper,
    distribution: Option<Distribution>,
) -> Result<bool, OpenError> {
    let tables = tables(place, client).await?;
    let foreign = || OpenError::ForeignDatabase {
        place: place.to_string(),
    };
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    let ours = is_there("schema");
    if !ours && !tables.is_empty() {
        return Err(foreign());
    }
    if ours {
        match owner(place, client).await? {
            Owner::Other => return Err(foreign()),
            Owner::Gone => return Ok(false),
            // Whoever may only read and write opens what others have made.
            Owner::Us if is_there("migration") => return Ok(true),
            Owner::Us | Owner::Nobody => {}
        }
    }
    for sql in OWN_TABLES {
        if !harmless(place, client.batch_execute(sql).await)? {
            return Ok(false);
        }
    }
    if let Some(distribution) = distribution {
        for table in ["schema", "migration"] {
            distribute(place, client, distribution, table).await?;
        }
    }
    let row = client.execute(FIRST_ROW, &[&SYSTEM, &PROGRAM]).await;
    row.map_err(|error| place.failed(&error))?;
    Ok(true)
}

/// Whose a table `schema` is.
#[derive(PartialEq, Eq)]
enum Owner {
    Us,
    Other,
    /// Nothing is in it yet.
    Nobody,
    /// It is not there any more.
    Gone,
}

/// A table of this name that somebody else has made has other columns, or another word in them.
async fn owner(place: &Place, client: &ClientWrapper) -> Result<Owner, OpenError> {
    let programs = "SELECT program FROM schema WHERE realm = $1";
    let rows = match client.query(programs, &[&SYSTEM]).await {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => {
            return Ok(Owner::Other);
        }
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(Owner::Gone),
        Err(error) => return Err(place.failed(&error)),
    };
    let programs: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    Ok(if programs.is_empty() {
        Owner::Nobody
    } else if programs.iter().all(|program| program == PROGRAM) {
        Owner::Us
    } else {
        Owner::Other
    })
}

/// `IF NOT EXISTS` does not keep two sessions from colliding in the catalogue: whoever loses looks again.
fn harmless(place: &Place, done: Result<(), tokio_postgres::Error>) -> Result<bool, OpenError> {
    match done {
        Ok(()) => Ok(true),
        Err(error) => {
            let collisions = [
                SqlState::UNIQUE_VIOLATION,
                SqlState::DUPLICATE_TABLE,
                SqlState::DUPLICATE_OBJECT,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::INTERNAL_ERROR,
            ];
            if error.code().is_some_and(|code| collisions.contains(code)) {
                return Ok(false);
            }
            Err(place.failed(&error))
        }
    }
}

/// Compares what is written down with what this program has.
async fn look(place: &Place, client: &ClientWrapper) -> Result<State, OpenError> {
    let failed = |error: tokio_postgres::Error| place.failed(&error);
    let program = MIGRATIONS.iter().map(|migration| migration.number).max();
    let program = program.unwrap_or(0);
    let minimum = "SELECT minimum_program FROM schema WHERE realm = $1";
    let needs: i64 = match client
        .query_opt(minimum, &[&SYSTEM])
        .await
        .map_err(failed)?
    {
        Some(row) => row.try_get(0).map_err(failed)?,
        None => 0,
    };
    if needs > program {
        return Err(OpenError::NewerDatabase {
            place: place.to_string(),
            needs,
            program,
        });
    }
    let done = "SELECT number, name, digest FROM migration WHERE realm = $1 ORDER BY number";
    let rows = client.query(done, &[&SYSTEM]).await.map_err(failed)?;
    let mut state = State::Ready;
    let mut done = Vec::new();
    for row in &rows {
        let number: i64 = row.try_get(0).map_err(failed)?;
        let name: String = row.try_get(1).map_err(failed)?;
        let digest: Vec<u8> = row.try_get(2).map_err(failed)?;
        let known = MIGRATIONS.iter().find(|known| known.number == number);
        let message = match known {
            Some(known) if known.name != name || known.digest() != digest => {
                format!("its migration {number}, {name}, is not the one this program has")
            }
            None if number <= program => {
                format!("its migration {number}, {name}, is not known to this program")
            }
            // A newer schema that says it suits this program is left as it is.
            Some(_) | None => {
                done.push(number);
                continue;
            }
        };
        return Err(OpenError::DatabaseHistory {
            place: place.to_string(),
            message,
        });
    }
    if MIGRATIONS.iter().any(|known| !done.contains(&known.number)) {
        state = State::Behind;
    }
    Ok(state)
}

async fn server_clock(place: &Place, client: &ClientWrapper) -> Result<i64, OpenError> {
    let row = client.query_one(SERVER_CLOCK, &[]).await;
    row.and_then(|row| row.try_get(0))
        .map_err(|error| place.failed(&error))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Takes the lease if nobody has it: the number of its turn, by which it is renewed and given back.
async fn claim(place: &Place, client: &ClientWrapper) -> Result<Option<i64>, OpenError> {
    let now = server_clock(place, client).await?;
    let turn = "SELECT turn FROM schema WHERE realm = $1 AND leased_until < $2";
    let row = client.query_opt(turn, &[&SYSTEM, &now]).await;
    let Some(row) = row.map_err(|error| place.failed(&error))? else {
        return Ok(None);
    };
    let turn: i64 = row.try_get(0).map_err(|error| place.failed(&error))?;
    let next = turn + 1;
    let claimed = client
        .execute(
            "UPDATE schema SET turn = $3, leased_until = $4 WHERE realm = $1 AND turn = $2",
            &[&SYSTEM, &turn, &next, &(now + micros(LEASE))],
        )
        .await
        .map_err(|error| place.failed(&error))?;
    Ok((claimed == 1).then_some(next))
}

const SET_LEASE: &str = "UPDATE schema SET leased_until = $3 WHERE realm = $1 AND turn = $2";

async fn release(place: &Place, client: &ClientWrapper, turn: i64) -> Result<(), OpenError> {
    let released = client.execute(SET_LEASE, &[&SYSTEM, &turn, &0_i64]).await;
    released.map_err(|error| place.failed(&error))?;
    Ok(())
}

/// Applies what is missing, renewing the lease on a session of its own all the while.
async fn run(
    place: &Place,
    pool: &Pool,
    distribution: Option<Distribution>,
    turn: i64,
) -> Result<(), OpenError> {
    let renewing = Session::of(pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    let renewals = async {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let until = server_clock(place, &renewing).await? + micros(LEASE);
            let renewed = renewing.execute(SET_LEASE, &[&SYSTEM, &turn, &until]).await;
            if renewed.map_err(|error| place.failed(&error))? == 0 {
                // Another node believes that this one has died, and goes on in its place: it is to be waited for.
                return Ok::<(), OpenError>(());
            }
        }
    };
    let applied = tokio::select! {
        applied = apply(place, pool, distribution) => applied,
        lost = renewals => lost,
    };
    if applied.is_ok() {
        renewing.keep();
    }
    applied
}

async fn apply(
    place: &Place,
    pool: &Pool,
    distribution: Option<Distribution>,
) -> Result<(), OpenError> {
    // Not kept: its time limit must not stay with those who write later.
    let client = Session::of(pool)
        .await
        .map_err(|trouble| place.trouble(trouble))?;
    let failed = |error: tokio_postgres::Error| place.failed(&error);
    client.batch_execute(STATEMENT_MAX).await.map_err(failed)?;
    for migration in &MIGRATIONS {
        let done = "SELECT number FROM migration WHERE realm = $1 AND number = $2";
        let done = client.query_opt(done, &[&SYSTEM, &migration.number]).await;
        if done.map_err(failed)?.is_some() {
            continue;
        }
        for statement in statements(migration.text) {
            let mut collisions = 0;
            loop {
                let done = client.batch_execute(&statement).await;
                // What goes on colliding is something else.
                let last = done.as_ref().err().map(shown);
                if harmless(place, done)? {
                    break;
                }
                if collisions == COLLISIONS_MAX {
                    return Err(OpenError::DatabaseFailed {
                        place: place.to_string(),
                        message: last.unwrap_or_default(),
                    });
                }
                collisions += 1;
                tokio::time::sleep(LOOK).await;
            }
            if let (Some(distribution), Some(table)) = (distribution, created_table(&statement)) {
                distribute(place, &client, distribution, table).await?;
            }
        }
        let digest = migration.digest();
        client
            .execute(
                "INSERT INTO migration (realm, number, name, digest) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (realm, number) DO NOTHING",
                &[&SYSTEM, &migration.number, &migration.name, &digest],
            )
            .await
            .map_err(failed)?;
    }
    Ok(())
}

impl Migration {
    fn digest(&self) -> Vec<u8> {
        Sha256::digest(self.text).to_vec()
    }
}

/// The statements of a file, each ended by a semicolon at the end of its line.
fn statements(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("--") || line.trim().is_empty() {
            continue;
        }
        statement.push_str(line);
        statement.push('\n');
        if line.ends_with(';') {
            statements.push(std::mem::take(&mut statement));
        }
    }
    statements
}

/// The table that a statement makes.
fn created_table(statement: &str) -> Option<&str> {
    let rest = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ")?;
    rest.split_whitespace().next()
}

/// Looks whether tables can be laid out at all, before the first one is made.
async fn must_distribute(
    place: &Place,
    client: &ClientWrapper,
    distribution: Distribution,
) -> Result<(), OpenError> {
    let Distribution::Citus = distribution;
    let known =
        "SELECT 1 FROM pg_catalog.pg_proc WHERE proname = 'create_distributed_table' LIMIT 1";
    let known = client.query(known, &[]).await;
    if known.map_err(|error| place.failed(&error))?.is_empty() {
        return Err(OpenError::NotDistributed {
            place: place.to_string(),
        });
    }
    Ok(())
}

/// Lets a table be laid out over the servers by its realm, all tables alike, so that a realm's rows lie together.
async fn distribute(
    place: &Place,
    client: &ClientWrapper,
    distribution: Distribution,
    table: &str,
) -> Result<(), OpenError> {
    let Distribution::Citus = distribution;
    // Known from its documentation: a table must not be distributed twice, and `schema` is the first of all.
    let known =
        "SELECT 1 FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1::text::regclass";
    let known = client.query(known, &[&table]).await;
    if !known.map_err(|error| place.failed(&error))?.is_empty() {
        return Ok(());
    }
    let with = if table == "schema" {
        "default"
    } else {
        "schema"
    };
    let done = client
        .query(
            "SELECT create_distributed_table($1::text::regclass, 'realm', colocate_with => $2)",
            &[&table, &with],
        )
        .await;
    done.map_err(|error| place.failed(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_and_list_agree() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/postgres/migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed = MIGRATIONS
            .iter()
            .map(|migration| format!("V{}__{}.sql", migration.number, migration.name));
        assert_eq!(files, listed.collect::<Vec<_>>());
    }

    #[test]
    fn a_file_falls_apart_into_its_statements() {
        let text = "-- a; comment\nCREATE TABLE IF NOT EXISTS a (\n    -- why;\n    x uuid\n);\n\nSELECT ';'\n;\n";
        let parts = statements(text);
        assert_eq!(parts.len(), 2);
        assert_eq!(created_table(&parts[0]), Some("a"));
        assert_eq!(created_table(&parts[1]), None);
        let all = statements(MIGRATIONS[0].text);
        assert!(
            all.iter()
                .all(|statement| statement.contains(" IF NOT EXISTS "))
        );
        assert_eq!(all.iter().filter_map(|one| created_table(one)).count(), 9);
    }
}
