//! The stores that the program can run on, each fresh for one test, and a look into them from outside.
//!
//! The one thing to know: a test that takes a [`Backend`] stands in its file's table `on_each_store!`, which runs it once on
//! each of them, or is a property that takes any. There are no copies, and a backend that is added here is added to all of them.

use std::path::PathBuf;
use std::sync::Arc;

use engine::store::Store;
use proptest::prelude::{Just, Strategy, prop_oneof};
use rusqlite::OpenFlags;
use rusqlite::types::Value;
use tempfile::TempDir;

/// A kind of store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Any kind, for cases that are made at random.
pub(crate) fn any_backend() -> impl Strategy<Value = Backend> {
    prop_oneof![2 => Just(Backend::Sqlite), 1 => Just(Backend::Postgres)]
}

/// Makes a test for each store of each of these functions, which take a [`Backend`].
macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        $crate::backend::on_each_store! { @ sqlite Sqlite $($test)+ }
        $crate::backend::on_each_store! { @ postgres Postgres $($test)+ }
    };
    (@ $module:ident $backend:ident $($test:ident)+) => {
        mod $module {
            $(
                // More threads than processors: they are interrupted at every place.
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test($crate::backend::Backend::$backend).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_store;

/// An empty store, with a place for files beside it.
pub(crate) struct FreshStore {
    directory: TempDir,
    /// Its database on the server that all tests share; none for a file.
    database: Option<String>,
}

impl FreshStore {
    pub(crate) async fn new(backend: Backend) -> Self {
        let database = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => {
                let made =
                    tokio::task::spawn_blocking(|| postgres_server::shared().create_database());
                Some(made.await.unwrap())
            }
        };
        Self {
            directory: TempDir::new().unwrap(),
            database,
        }
    }

    /// Opens it, by what `serve --store` is given.
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        let url = match &self.database {
            None => format!("sqlite://{}", self.file().display()),
            Some(database) => postgres_server::shared().url(database),
        };
        store::open(&url, store::Options::default()).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("store.sqlite")
    }

    /// Changes a database behind the store's back; a file belongs to its store alone.
    pub(crate) fn tamper(&self, sql: &str) {
        let database = self.database.as_ref().expect("it is on a server");
        postgres_server::shared().sql(database, sql);
    }

    /// What a query finds, a line for each row, sorted: for what no verb shows.
    pub(crate) fn lines(&self, query: &str) -> Vec<String> {
        let mut lines = match &self.database {
            None => self.lines_of_file(query),
            Some(database) => {
                let answer = postgres_server::shared().sql(database, query);
                answer.lines().map(str::to_owned).collect()
            }
        };
        lines.sort();
        lines
    }

    fn lines_of_file(&self, query: &str) -> Vec<String> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(self.file(), flags).unwrap();
        let mut query = connection.prepare(query).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            let cells = (0..columns).map(|column| row.get::<_, Value>(column));
            Ok(format!("{:?}", cells.collect::<Result<Vec<_>, _>>()?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// How many rows of a table fulfil a condition.
    pub(crate) fn count(&self, table: &str, condition: &str) -> usize {
        let query = format!("SELECT 1 FROM {table} WHERE {condition}");
        self.lines(&query).len()
    }
}
