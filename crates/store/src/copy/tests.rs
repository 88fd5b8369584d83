//! Copies between files and a real PostgreSQL: there and back, stopped and resumed, refused, and found wrong.
//!
//! The one thing to know: two files are compared column by column behind the stores' backs, so that what is compared is
//! what lies there, and not what the program reads.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::batch::{RecordWrite, TokenWrite, ValueWrite};
use engine::clock::SystemClock;
use engine::event::Subject;
use engine::live::LiveIndex;
use engine::locator::{Holder, Key, Place, Space};
use engine::store::{Store, Usage};
use engine::token::State;
use engine::value::{Sealed, Value};
use rusqlite::Connection;
use rusqlite::types::Value as Column;
use tempfile::TempDir;

use super::{Copied, CopyError, Progress, Side, Stage, copy};
use crate::archive::{PAGE_ROWS, TABLES};
use crate::contract::House;
use crate::contract::world::{Row, World, change, place};
use crate::{OpenError, Options, open};

/// A file in a directory of its own.
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.sqlite")
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.path().display())
    }

    fn sql(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// All rows of all tables.
    fn dump(&self) -> Vec<(&'static str, Vec<Vec<Column>>)> {
        let connection = Connection::open(self.path()).unwrap();
        let tables = TABLES.iter().map(|table| {
            let sql = format!(
                "SELECT realm, {} FROM {} ORDER BY realm, {}",
                table.columns(),
                table.name,
                table.keys()
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let rows = statement.query_map([], |row| {
                (0..=table.columns.len()).map(|n| row.get(n)).collect()
            });
            (table.name, rows.unwrap().map(Result::unwrap).collect())
        });
        tables.collect()
    }
}

#[async_trait]
impl House for File {
    async fn build() -> Self {
        Self::new()
    }

    async fn open(&self) -> Arc<dyn Store> {
        open(&self.url(), Options::default()).await.unwrap()
    }
}

/// An empty database: its name and its URL.
async fn database() -> (String, String) {
    let made = tokio::task::spawn_blocking(|| postgres_server::shared().create_database());
    let name = made.await.unwrap();
    let url = postgres_server::shared().url(&name);
    (name, url)
}

async fn sql(database: &str, sql: &str) -> String {
    let (database, sql) = (database.to_owned(), sql.to_owned());
    let done = tokio::task::spawn_blocking(move || postgres_server::shared().sql(&database, &sql));
    done.await.unwrap()
}

/// Fills one realm with every kind of row.
async fn fill(world: &World, tokens: usize, sealed: usize) {
    let parent = world.record("collection", None);
    let long: Vec<u8> = (0..200).flat_map(|_| *world.id().as_bytes()).collect();
    let held = [place("name", &long), place("name", &long[..1_501])];
    let mut child = world.record("object", Some(parent.id));
    child.locators = held.to_vec();
    child.marks = held.to_vec();
    let holder = Holder::Record(child.id);
    let mut rows = vec![Row::Record(parent.clone()), Row::Record(child.clone())];
    for place in held {
        rows.push(Row::Locator(place.clone(), holder));
        rows.push(Row::Mark(place, holder));
    }
    let mut first = world.value(Some(parent.id));
    first.external_id = Some("\0\u{10ffff}0 outward\0".to_owned());
    rows.push(Row::Value(first.clone()));
    let mut used = Vec::new();
    for number in 0..tokens {
        let mut token = match number % 2 {
            0 => world.access_token(),
            _ => world.data_token(first.id),
        };
        token.name = Some(format!("\0{number}\u{10ffff}"));
        let key = number.to_be_bytes().to_vec();
        let place = Place::new(Space::of("alias"), Key(key));
        rows.push(Row::Locator(place.clone(), Holder::Token(token.id)));
        rows.push(Row::Mark(place, Holder::Token(token.id)));
        if number % 3 == 0 {
            used.push(token.id);
        }
        rows.push(Row::Token(token));
    }
    world.insert(rows).await;

    // A deleted record, two more versions of a value, a renamed token, and an event that tells of it.
    let mut batch = world.batch();
    child.version = 2;
    child.state = State::Deleted;
    batch.records.push(RecordWrite::Update {
        record: child.clone(),
        from: 1,
    });
    batch.event.actor.name = "some\0body".to_owned();
    batch.event.reason = Some("\u{10ffff}".to_owned());
    batch.event.changes = vec![
        change(Subject::Record, child.id.0, 2),
        change(Subject::Value, first.id.0, 2),
    ];
    assert!(world.write(batch).await.unwrap());
    for version in 2..=3 {
        let mut batch = world.batch();
        let value = Value {
            version,
            sealed: Some(Sealed(vec![u8::try_from(version).unwrap(); sealed])),
            created_at: world.now(),
            ..first.clone()
        };
        let from = version - 1;
        batch.values.push(ValueWrite::Supersede { value, from });
        assert!(world.write(batch).await.unwrap());
    }
    let mut batch = world.batch();
    let token = world.find_token(used[0]).await.unwrap();
    let renamed = crate::contract::world::renamed(&token, "");
    batch.tokens.push(renamed);
    batch.event.changes = vec![change(Subject::Token, token.id.0, 2)];
    assert!(world.write(batch).await.unwrap());
    let gone = world.access_token();
    world.insert(vec![Row::Token(gone.clone())]).await;
    let mut batch = world.batch();
    batch.tokens.push(TokenWrite::Delete {
        id: gone.id,
        from: 1,
    });
    assert!(world.write(batch).await.unwrap());
    let usage = Usage {
        uses: 7,
        last_used_at: world.now(),
    };
    let usage = used.iter().map(|id| (world.realm, *id, usage)).collect();
    world.store.add_usage(usage).await.unwrap();
}

/// A file with several realms, among them the first and the last there may be.
async fn filled() -> (File, World) {
    let file = File::new();
    let world = World::of(&file).await;
    let pages = 2 * PAGE_ROWS as usize;
    fill(&world, pages + 1, 3 << 20).await;
    let (first, last) = (world.another_realm(), world.another_realm());
    fill(&first, 5, 10).await;
    fill(&last, 5, 10).await;
    world.store.close().await;
    for table in TABLES {
        for (realm, to) in [(first.realm, "00"), (last.realm, "ff")] {
            file.sql(&format!(
                "UPDATE {} SET realm = x'{}' WHERE realm = x'{}'",
                table.name,
                to.repeat(16),
                realm.0.simple()
            ));
        }
    }
    (file, world)
}

/// Copies, and may stop when told of something.
async fn copied(
    from: &str,
    to: &str,
    mut until: impl FnMut(Progress) -> bool + Send,
) -> Result<Copied, CopyError> {
    let mut watch = |progress: Progress| {
        if until(progress) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let side = |url| Side::new(url, Options::default());
    copy(side(from), side(to), &mut watch).await
}

async fn whole(from: &str, to: &str) -> Result<Copied, CopyError> {
    copied(from, to, |_| false).await
}

async fn refusal(from: &str, to: &str) -> CopyError {
    whole(from, to).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_there_and_comes_back() {
    let (file, world) = filled().await;
    let before = (fs::read(file.path()).unwrap(), file.dump());
    for (table, rows) in &before.1 {
        assert!(rows.len() >= 3, "{table} is hardly filled");
    }
    let (_, there) = database().await;
    let outcome = whole(&file.url(), &there).await.unwrap();
    let rows: usize = before.1.iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!((outcome.realms, outcome.rows), (3, rows as u64));
    assert_eq!(fs::read(file.path()).unwrap(), before.0, "untouched");

    // It serves: what was written with NUL characters and long keys is found there.
    let served = world.over(open(&there, Options::default()).await.unwrap());
    let tokens = served.store.tokens_after(world.realm, None, 3).await;
    let original = world.reopened(&file).await;
    let originals = original.store.tokens_after(world.realm, None, 3).await;
    assert_eq!(tokens.unwrap(), originals.unwrap());
    original.store.close().await;
    served.store.close().await;

    let (_, further) = database().await;
    assert_eq!(whole(&there, &further).await.unwrap(), outcome);
    let back = File::new();
    assert_eq!(whole(&further, &back.url()).await.unwrap(), outcome);
    assert!(before.1 == back.dump(), "other rows came back");
    back.open().await.close().await;
    // Which is itself a source, as are files among themselves.
    let again = File::new();
    assert_eq!(whole(&back.url(), &again.url()).await.unwrap(), outcome);
    assert!(before.1 == again.dump(), "other rows came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_ended_anywhere_goes_on() {
    let (file, _) = filled().await;
    let (_, there) = database().await;
    for (from, to) in [
        (file.url(), there.clone()),
        (there.clone(), File::new().url()),
    ] {
        let directory = to.strip_prefix("sqlite://").map(PathBuf::from);
        if let Some(path) = &directory {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        let (mut runs, mut furthest) = (0, 0);
        loop {
            let mut told = 0;
            let mut done = 0;
            let ended = copied(&from, &to, |progress| {
                told += 1;
                if progress.stage == Stage::Copying {
                    done = progress.done;
                }
                // It is told of every table, done or not: enough for one page more than the time before.
                progress.stage == Stage::Copying && progress.done > furthest
            });
            match ended.await {
                Ok(_) => break,
                Err(CopyError::Stopped) => {}
                Err(error) => panic!("{error}"),
            }
            runs += 1;
            assert!(done > furthest, "it goes on, and does not begin anew");
            furthest = done;
            let refused = open(&to, Options::default()).await.unwrap_err();
            assert!(
                matches!(refused, OpenError::UnfinishedCopy { .. }),
                "{refused:?}"
            );
            let refused = refusal(&to, &File::new().url()).await;
            assert!(matches!(refused, CopyError::Source(_)), "{refused}");
        }
        assert!(runs > 20, "{runs} runs only");
        open(&to, Options::default()).await.unwrap().close().await;
        if let Some(path) = directory {
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_dropped_goes_on() {
    let (file, _) = filled().await;
    let (_, there) = database().await;
    let mut wait = Duration::from_millis(20);
    loop {
        let ended = tokio::time::timeout(wait, whole(&file.url(), &there)).await;
        if let Ok(ended) = ended {
            ended.unwrap();
            break;
        }
        wait = wait * 3 / 2;
    }
    let back = File::new();
    whole(&there, &back.url()).await.unwrap();
    assert!(file.dump() == back.dump(), "other rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_source_or_no_destination_is_refused() {
    let (file, world) = filled().await;
    let (name, there) = database().await;
    let empty = File::new();
    // Nothing there, and nothing in it.
    for from in [&empty.url(), &there] {
        let error = refusal(from, &File::new().url()).await;
        assert!(matches!(error, CopyError::Nothing { .. }), "{error}");
    }
    assert!(!empty.path().exists(), "a source is not made");
    empty.open().await.close().await;
    let error = refusal(&empty.url(), &there).await;
    assert!(matches!(error, CopyError::Nothing { .. }), "{error}");
    assert_eq!(
        sql(
            &name,
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        )
        .await
        .trim(),
        "0"
    );
    for url in [
        "mysql://user:hunter2@host/db",
        "hunter2",
        "postgres://u:hunter2@h:p/d",
    ] {
        for (from, to) in [(url, empty.url()), (&file.url(), url.to_owned())] {
            let error = refusal(from, &to).await;
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
    // The same file by another way.
    let link = file.0.path().join("link");
    std::os::unix::fs::symlink(file.0.path(), &link).unwrap();
    let by_link = format!("sqlite://{}", link.join("store.sqlite").display());
    let error = refusal(&file.url(), &by_link).await;
    assert!(matches!(error, CopyError::Same { .. }), "{error}");
    // In use.
    let serving = file.open().await;
    let error = refusal(&file.url(), &there).await;
    assert!(
        matches!(error, CopyError::Source(OpenError::Locked { .. })),
        "{error}"
    );
    serving.close().await;
    drop(serving);

    whole(&file.url(), &there).await.unwrap();
    // The same database by another name of its server, a full one, and a file that is no store.
    let alias = there.replace("127.0.0.1", "localhost");
    for (from, to) in [(&there, &alias), (&there, &there)] {
        let error = refusal(from, to).await;
        assert!(matches!(error, CopyError::Same { .. }), "{error}");
    }
    let error = refusal(&file.url(), &there).await;
    assert!(matches!(error, CopyError::NotEmpty { .. }), "{error}");
    let foreign = File::new();
    foreign.sql("CREATE TABLE note (text TEXT)");
    for (from, to) in [
        (&foreign.url(), &empty.url()),
        (&file.url(), &foreign.url()),
    ] {
        let error = refusal(from, to).await;
        assert!(error.to_string().contains("another program"), "{error}");
    }
    // A node that lives; then one that has died without a word.
    let live = Arc::new(LiveIndex::new(10, Arc::new(SystemClock)));
    let node = open(&there, Options::default()).await.unwrap();
    node.share(&live);
    let membership = engine::store::Membership {
        role: engine::store::Role::Server,
        settings: b"settings".to_vec(),
        settings_and_keys: b"settings and keys".to_vec(),
        keys: b"keys".to_vec(),
    };
    node.join(&membership).await.unwrap();
    let target = File::new();
    let error = refusal(&there, &target.url()).await;
    assert!(matches!(error, CopyError::InUse { .. }), "{error}");
    assert!(!target.path().exists());
    node.close().await;
    let dead = format!(
        "INSERT INTO node VALUES ('{}', '{}', '{}', false, 5, '')",
        uuid::Uuid::nil(),
        world.id(),
        world.id()
    );
    sql(&name, &dead).await;
    whole(&there, &target.url()).await.unwrap();
    assert_eq!(sql(&name, "SELECT count(*) FROM node").await.trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_belongs_to_one_source_in_one_state() {
    let (file, world) = filled().await;
    let other = File::new();
    fs::copy(file.path(), other.path()).unwrap();
    let (name, there) = database().await;
    let halfway = |progress: Progress| progress.done > 1_000;
    let stopped = copied(&file.url(), &there, halfway).await.unwrap_err();
    assert!(matches!(stopped, CopyError::Stopped), "{stopped}");
    let error = refusal(&other.url(), &there).await;
    assert!(matches!(error, CopyError::OtherCopy { .. }), "{error}");
    assert!(error.to_string().contains("store.sqlite"), "{error}");
    // One use of one token is enough to be another state.
    let world = world.reopened(&file).await;
    let token = world
        .store
        .tokens_after(world.realm, None, 1)
        .await
        .unwrap()[0]
        .id;
    let at = world.now();
    assert!(
        world
            .store
            .spend(world.realm, token, 100, at)
            .await
            .unwrap()
    );
    world.store.close().await;
    let error = refusal(&file.url(), &there).await;
    assert!(matches!(error, CopyError::Changed { .. }), "{error}");
    // An earlier schema is not brought up: that would change the source.
    let complete = database().await;
    whole(&file.url(), &complete.1).await.unwrap();
    sql(&complete.0, "DELETE FROM migration WHERE number = 3").await;
    let error = refusal(&complete.1, &File::new().url()).await;
    assert!(matches!(error, CopyError::Old { .. }), "{error}");
    assert_eq!(
        sql(&complete.0, "SELECT count(*) FROM migration")
            .await
            .trim(),
        "2"
    );
    drop(name);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_stays_out_of_service() {
    let (file, world) = filled().await;
    let verifying = |progress: Progress| progress.stage == Stage::Verifying;
    let realm = format!("realm = '{}'", world.realm);
    for (table, alteration) in [
        (
            "token",
            format!("UPDATE token SET name = name || 'x' WHERE {realm} AND version = 2"),
        ),
        (
            "value",
            format!("UPDATE value SET sealed = sealed || '\\x00' WHERE {realm} AND version = 3"),
        ),
        ("event", format!("DELETE FROM event WHERE {realm}")),
        (
            "usage",
            format!("UPDATE usage SET uses = uses + 1 WHERE {realm}"),
        ),
        (
            "mark",
            "INSERT INTO mark VALUES (gen_random_uuid(), 'x', '', gen_random_uuid(), 't')"
                .to_owned(),
        ),
    ] {
        let (name, there) = database().await;
        let stopped = copied(&file.url(), &there, verifying).await.unwrap_err();
        assert!(matches!(stopped, CopyError::Stopped), "{stopped}");
        sql(&name, &alteration).await;
        for _ in 0..2 {
            let error = refusal(&file.url(), &there).await;
            let CopyError::Different { differences } = &error else {
                panic!("{table}: {error}")
            };
            assert_eq!(differences.len(), 1, "{error}");
            assert_eq!(differences[0].table, table);
            assert!(error.to_string().contains(table), "{error}");
            let refused = open(&there, Options::default()).await.unwrap_err();
            assert!(matches!(refused, OpenError::UnfinishedCopy { .. }));
        }
    }
}

/// A column that a migration adds and nobody lists would be left behind without a word.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_table_is_listed() {
    let listed: Vec<String> = TABLES
        .iter()
        .flat_map(|table| {
            let columns = table.columns.iter().map(|(column, _)| *column);
            let columns = columns.chain(["realm"]);
            columns.map(|column| format!("{}.{column}", table.name))
        })
        .collect();
    let others = |own: &[&str], there: String| {
        let mut columns: Vec<String> = there.split_whitespace().map(str::to_owned).collect();
        columns.retain(|column| !own.iter().any(|own| column.starts_with(&format!("{own}."))));
        columns.sort();
        columns
    };
    let mut listed = listed;
    listed.sort();
    let file = File::new();
    file.open().await.close().await;
    let connection = Connection::open(file.path()).unwrap();
    let columns = "SELECT group_concat(m.name || '.' || c.name, ' ') FROM sqlite_schema AS m, pragma_table_info(m.name) AS c \
                   WHERE m.type = 'table'";
    let there: String = connection.query_row(columns, [], |row| row.get(0)).unwrap();
    assert_eq!(
        others(&["schema", "refinery_schema_history"], there),
        listed
    );

    let (name, url) = database().await;
    open(&url, Options::default()).await.unwrap().close().await;
    let columns = "SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns \
                   WHERE table_schema = 'public'";
    let own = [
        "schema",
        "migration",
        "realm_lock",
        "node",
        "hold",
        "acknowledgement",
    ];
    assert_eq!(others(&own, sql(&name, columns).await), listed);
}
