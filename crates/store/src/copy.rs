//! Moving a whole store into another one, of the same or another kind.
//!
//! The one thing to know: nothing that is noted on the way is trusted in the end. What was copied is read again, from both
//! stores, and only if each realm has the same rows in each table does the destination become one that can be served.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use engine::realm::RealmId;
use engine::store::StoreError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::archive::{Archive, Latest, Role, Row, TABLES, Table, Tally, Unopened};
use crate::{OpenError, Options, kind_of, postgres, sqlite, sqlite_path};

#[cfg(test)]
mod tests;

/// The name of the note that says whose copy it is, beside those that are named after tables.
const ORIGIN: &str = "origin";

/// Differences that are listed; more say nothing new.
const DIFFERENCES_MAX: usize = 20;

/// One end of a copy.
#[derive(Clone, Debug)]
pub struct Side {
    /// Which store, as for [`crate::open`].
    pub url: Url,
    /// How it is opened.
    pub options: Options,
}

/// A URL, which may hold a password and so is shown to nobody.
#[derive(Clone)]
pub struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url")
    }
}

impl Side {
    /// Shorthand.
    pub fn new(url: impl Into<String>, options: Options) -> Self {
        Self {
            url: Url(url.into()),
            options,
        }
    }
}

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Rows are written into the destination.
    Copying,
    /// Both stores are read and compared.
    Verifying,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// With which table.
    pub table: &'static str,
    /// Rows that are done, those of an earlier run included.
    pub done: u64,
    /// Rows that there are to do.
    pub total: u64,
}

/// A table of which a realm has other rows in the one store than in the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which realm.
    pub realm: RealmId,
    /// Which table.
    pub table: &'static str,
    /// Rows in the source.
    pub source: u64,
    /// Rows in the destination. If they are as many, their content differs.
    pub destination: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            realm,
            table,
            source,
            destination,
        } = self;
        if source == destination {
            return write!(
                f,
                "{table} of realm {realm}: {source} rows on both sides, with other content"
            );
        }
        write!(
            f,
            "{table} of realm {realm}: {source} rows in the source, {destination} in the destination"
        )
    }
}

/// Why a copy has not come to its end. The source is as it was, whatever happened.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source cannot be opened.
    #[error("the source cannot be opened: {0}")]
    Source(#[source] OpenError),
    /// The destination cannot be opened.
    #[error("the destination cannot be opened: {0}")]
    Destination(#[source] OpenError),
    /// Nothing is there to be copied.
    #[error("the source {place} holds nothing: check --from")]
    Nothing {
        /// Path, or server and database.
        place: String,
    },
    /// The source was made by an earlier program.
    #[error(
        "the source {place} has the schema of an earlier program: start this program's `serve` on it once, stop it, and \
         copy then"
    )]
    Old {
        /// Path, or server and database.
        place: String,
    },
    /// Both URLs name one store.
    #[error("source and destination are the same store, {place}")]
    Same {
        /// Path, or server and database.
        place: String,
    },
    /// Somebody works with a store.
    #[error("{place} is in use by a running server: stop all of its servers first")]
    InUse {
        /// Path, or server and database.
        place: String,
    },
    /// The destination holds something else.
    #[error(
        "the destination {place} is not empty, and holds no unfinished copy of this source: name an empty one (a copy that \
         is complete needs no other run)"
    )]
    NotEmpty {
        /// Path, or server and database.
        place: String,
    },
    /// The destination holds an unfinished copy of another store.
    #[error(
        "the destination {place} holds an unfinished copy of {source_place}: name another one, or empty it"
    )]
    OtherCopy {
        /// Path, or server and database.
        place: String,
        /// Of what it is a copy.
        source_place: String,
    },
    /// The source has gone on since the copy was begun.
    #[error(
        "the source has changed since the copy in {place} was begun: keep its servers stopped, empty the destination, and \
         begin anew"
    )]
    Changed {
        /// Path, or server and database.
        place: String,
    },
    /// What was copied is not what is there.
    #[error(
        "the destination is no copy of the source, and stays out of service: {}. Keep the servers of both stopped, empty \
         the destination, and begin anew",
        shown(differences)
    )]
    Different {
        /// The first of them.
        differences: Vec<Difference>,
    },
    /// The caller wanted no more.
    #[error("stopped before the end: the same call goes on from here")]
    Stopped,
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Reading(#[source] StoreError),
    /// The destination cannot be written or read.
    #[error(
        "the destination cannot be written: {0}; what was written is kept, and the same call goes on from there"
    )]
    Writing(#[source] StoreError),
}

fn shown(differences: &[Difference]) -> String {
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// What was copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Realms.
    pub realms: usize,
    /// Rows of all tables.
    pub rows: u64,
}

/// Copies everything that is in one store into another one and verifies it. Values stay sealed and digests stay what they
/// are: no keyring is needed, and the destination is served with the source's.
///
/// Both stores must be out of service. The destination is empty, or holds what an earlier call for the same source left,
/// and then the call goes on from there. Until this returns, [`crate::open`] refuses the destination. `watch` is told of
/// each page, and may stop the copy.
///
/// # Errors
/// See [`CopyError`].
pub async fn copy(
    from: Side,
    to: Side,
    watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
) -> Result<Copied, CopyError> {
    let same_file = match (file(&from), file(&to)) {
        (Some(from), Some(to)) => (from == to).then_some(from),
        _ => None,
    };
    if let Some(file) = same_file {
        let place = file.display().to_string();
        return Err(CopyError::Same { place });
    }
    let source = open_side(from, Role::Source)
        .await
        .map_err(|unopened| match unopened {
            Unopened::Store(error) => CopyError::Source(error),
            Unopened::Nothing { place } => CopyError::Nothing { place },
            Unopened::Old { place } => CopyError::Old { place },
        })?;
    let copied = from_source(&*source, to, watch).await;
    source.close().await;
    copied
}

/// The true path of a side that is a file.
fn file(side: &Side) -> Option<std::path::PathBuf> {
    let path = sqlite_path(side.url.0.strip_prefix("sqlite:")?).ok()?;
    Some(sqlite::true_path(&path))
}

async fn open_side(side: Side, role: Role) -> Result<Box<dyn Archive>, Unopened> {
    let url = &side.url.0;
    match kind_of(url)? {
        ("sqlite", _) if side.options.distributed.is_some() => {
            Err(Unopened::Store(OpenError::OneFile))
        }
        ("sqlite", rest) => {
            let archive = sqlite::open_archive(sqlite_path(rest)?, role, side.options).await?;
            Ok(Box::new(archive))
        }
        ("postgres" | "postgresql", _) => {
            let archive = postgres::open_archive(url, role, side.options).await?;
            Ok(Box::new(archive))
        }
        (other, _) => Err(Unopened::Store(OpenError::Unsupported {
            scheme: other.to_owned(),
        })),
    }
}

async fn from_source(
    source: &dyn Archive,
    to: Side,
    watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
) -> Result<Copied, CopyError> {
    require_idle(source, CopyError::Reading).await?;
    let survey = Survey::of(source).await.map_err(CopyError::Reading)?;
    if survey.total == 0 {
        let place = source.place().to_owned();
        return Err(CopyError::Nothing { place });
    }
    let destination = open_side(to, Role::Destination).await;
    let destination = destination.map_err(|unopened| match unopened {
        Unopened::Store(error) => CopyError::Destination(error),
        // Only sources are refused for these.
        Unopened::Nothing { place } | Unopened::Old { place } => CopyError::NotEmpty { place },
    })?;
    let work = Work {
        source,
        destination: &*destination,
        survey: &survey,
    };
    let copied = work.run(watch).await;
    destination.close().await;
    copied
}

async fn require_idle(
    archive: &dyn Archive,
    failed: fn(StoreError) -> CopyError,
) -> Result<(), CopyError> {
    if archive.is_in_use().await.map_err(failed)? {
        let place = archive.place().to_owned();
        return Err(CopyError::InUse { place });
    }
    Ok(())
}

/// All realms of a store: each table is asked for the next one, which is one step of its key however many rows there are.
async fn realms(archive: &dyn Archive) -> Result<BTreeSet<RealmId>, StoreError> {
    let mut realms = BTreeSet::new();
    for table in TABLES {
        let mut from = Some(Uuid::nil());
        while let Some(at_least) = from {
            let found = archive.next_realm(table, at_least).await?;
            realms.extend(found.map(RealmId));
            from = found.and_then(|realm| realm.as_u128().checked_add(1).map(Uuid::from_u128));
        }
    }
    Ok(realms)
}

/// What there is to copy.
struct Survey {
    realms: BTreeSet<RealmId>,
    total: u64,
    /// A digest of what changes with every change of the source.
    state: String,
}

impl Survey {
    async fn of(source: &dyn Archive) -> Result<Self, StoreError> {
        let realms = realms(source).await?;
        let mut state = Sha256::new();
        let mut total = 0;
        for realm in &realms {
            state.update(realm.0.as_bytes());
            for table in TABLES {
                let rows = source.count(table, *realm).await?;
                state.update(rows.to_be_bytes());
                total += rows;
            }
            let Latest { event, used_at } = source.latest(*realm).await?;
            state.update(event.unwrap_or_default().as_bytes());
            state.update(used_at.unwrap_or(i64::MIN).to_be_bytes());
        }
        let state = Uuid::from_slice(&state.finalize()[..16]).unwrap_or_default();
        Ok(Self {
            realms,
            total,
            state: state.to_string(),
        })
    }
}

/// Of what the destination holds an unfinished copy.
#[derive(Serialize, Deserialize)]
struct Origin {
    identity: String,
    place: String,
    state: String,
}

/// How far a table of a realm is.
#[derive(Default, Serialize, Deserialize)]
struct Position {
    rows: u64,
    /// The key after which it goes on.
    after: Option<Row>,
    complete: bool,
}

fn noted(content: &impl Serialize) -> Result<Vec<u8>, CopyError> {
    serde_json::to_vec(content).map_err(|error| {
        CopyError::Writing(StoreError::Internal {
            message: format!("no JSON: {error}"),
        })
    })
}

fn read_note<T: for<'a> Deserialize<'a>>(note: &[u8]) -> Result<T, CopyError> {
    serde_json::from_slice(note).map_err(|error| {
        CopyError::Writing(StoreError::Corrupt {
            table: "copying",
            id: "of a note".to_owned(),
            // Its text would show what was noted.
            message: format!("unexpected JSON at column {}", error.column()),
        })
    })
}

/// Tells the watcher, who may have had enough.
struct Watched<'a> {
    watch: &'a mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
    progress: Progress,
}

impl Watched<'_> {
    fn tell(&mut self, table: &'static Table, rows: u64) -> Result<(), CopyError> {
        self.progress.table = table.name;
        self.progress.done += rows;
        match (self.watch)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(CopyError::Stopped),
        }
    }
}

/// A copy between two stores that are open.
struct Work<'a> {
    source: &'a dyn Archive,
    destination: &'a dyn Archive,
    survey: &'a Survey,
}

impl Work<'_> {
    async fn run(
        &self,
        watch: &mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
    ) -> Result<Copied, CopyError> {
        self.begin().await?;
        let mut watched = Watched {
            watch,
            progress: Progress {
                stage: Stage::Copying,
                table: TABLES[0].name,
                done: 0,
                total: self.survey.total,
            },
        };
        for table in TABLES {
            for realm in &self.survey.realms {
                self.copy_table(table, *realm, &mut watched).await?;
            }
        }
        watched.progress = Progress {
            stage: Stage::Verifying,
            done: 0,
            total: 2 * self.survey.total,
            ..watched.progress
        };
        self.verify(&mut watched).await?;
        // Somebody who began meanwhile may have changed what was compared before.
        require_idle(self.source, CopyError::Reading).await?;
        let now = Survey::of(self.source).await.map_err(CopyError::Reading)?;
        if now.state != self.survey.state {
            let place = self.destination.place().to_owned();
            return Err(CopyError::Changed { place });
        }
        self.destination
            .finish()
            .await
            .map_err(CopyError::Writing)?;
        Ok(Copied {
            realms: self.survey.realms.len(),
            rows: self.survey.total,
        })
    }

    /// Makes the destination one that holds a copy of this source, or finds that it is.
    async fn begin(&self) -> Result<(), CopyError> {
        let (source, destination) = (self.source, self.destination);
        let place = || destination.place().to_owned();
        if source.identity() == destination.identity() {
            return Err(CopyError::Same { place: place() });
        }
        let failed = CopyError::Writing;
        let begun = destination.is_begun().await.map_err(failed)?;
        if begun {
            let origin = destination.note(RealmId::SYSTEM, ORIGIN).await;
            if let Some(note) = origin.map_err(failed)? {
                let origin: Origin = read_note(&note)?;
                if origin.identity != source.identity() {
                    return Err(CopyError::OtherCopy {
                        place: place(),
                        source_place: origin.place,
                    });
                }
                if origin.state != self.survey.state {
                    return Err(CopyError::Changed { place: place() });
                }
                return Ok(());
            }
        }
        if !realms(destination).await.map_err(failed)?.is_empty() {
            return Err(CopyError::NotEmpty { place: place() });
        }
        require_idle(destination, failed).await?;
        destination.begin().await.map_err(failed)?;
        // A server that has looked for the mark before it was made is among the nodes by now, or has written something.
        let alone = async {
            require_idle(destination, failed).await?;
            if !realms(destination).await.map_err(failed)?.is_empty() {
                return Err(CopyError::NotEmpty { place: place() });
            }
            Ok(())
        };
        if let Err(error) = alone.await {
            destination.finish().await.map_err(failed)?;
            return Err(error);
        }
        let origin = noted(&Origin {
            identity: source.identity().to_owned(),
            place: source.place().to_owned(),
            state: self.survey.state.clone(),
        })?;
        let noted = destination.set_note(RealmId::SYSTEM, ORIGIN, origin).await;
        noted.map_err(failed)
    }

    async fn copy_table(
        &self,
        table: &'static Table,
        realm: RealmId,
        watched: &mut Watched<'_>,
    ) -> Result<(), CopyError> {
        let note = self.destination.note(realm, table.name).await;
        let mut position = match note.map_err(CopyError::Writing)? {
            Some(note) => read_note(&note)?,
            None => Position::default(),
        };
        watched.tell(table, position.rows)?;
        while !position.complete {
            let page = self.source.page(table, realm, position.after.as_deref());
            let rows = page.await.map_err(CopyError::Reading)?;
            let count = rows.len() as u64;
            position.rows += count;
            position.complete = rows.is_empty();
            if let Some(last) = rows.last() {
                position.after = Some(last[..table.key].to_vec());
            }
            let note = noted(&position)?;
            let written = self.destination.write(table, realm, rows, note).await;
            written.map_err(CopyError::Writing)?;
            watched.tell(table, count)?;
        }
        Ok(())
    }

    /// Reads both stores and compares them, realm by realm and table by table.
    async fn verify(&self, watched: &mut Watched<'_>) -> Result<(), CopyError> {
        let mut all = self.survey.realms.clone();
        all.extend(realms(self.destination).await.map_err(CopyError::Writing)?);
        let mut differences = Vec::new();
        for table in TABLES {
            for realm in &all {
                let source = tally(self.source, table, *realm, CopyError::Reading, watched).await?;
                let destination =
                    tally(self.destination, table, *realm, CopyError::Writing, watched).await?;
                if source != destination && differences.len() < DIFFERENCES_MAX {
                    differences.push(Difference {
                        realm: *realm,
                        table: table.name,
                        source: source.rows,
                        destination: destination.rows,
                    });
                }
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(CopyError::Different { differences })
    }
}

/// Reads all rows of a realm in a table.
async fn tally(
    archive: &dyn Archive,
    table: &'static Table,
    realm: RealmId,
    failed: fn(StoreError) -> CopyError,
    watched: &mut Watched<'_>,
) -> Result<Tally, CopyError> {
    let mut tally = Tally::default();
    let mut after: Option<Row> = None;
    loop {
        let rows = archive.page(table, realm, after.as_deref()).await;
        let rows = rows.map_err(failed)?;
        let Some(last) = rows.last() else {
            return Ok(tally);
        };
        after = Some(last[..table.key].to_vec());
        for row in &rows {
            tally.add(row);
        }
        watched.tell(table, rows.len() as u64)?;
    }
}
