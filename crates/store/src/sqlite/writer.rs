//! The one writer: a thread that takes what has gathered in its queue and commits it together, with one fsync.
//!
//! The one thing to know: a member of a group runs in a savepoint of its own, so it can be refused alone; but answers are
//! sent only after COMMIT has returned, and if the transaction is lost as a whole, *every* member fails, also one that
//! was refused – it may have been refused because of a row that another member wrote and that is gone now.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use engine::batch::{Batch, MarkWrite};
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::store::{Decide, Query, StoreError, Usage};
use engine::token::TokenId;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoints::Checkpoints;
use super::rows::failed;
use super::{events, locators, query, records, tokens, usage, values};
use crate::batches::{check, size};
use crate::columns::{defect, unavailable};

/// Members of one group. With 512 the fsync is less than a thousandth of each; more would only make the first wait.
const MEMBERS_MAX: usize = 512;

/// Rows read and written by one group, after which it takes no further member. This bounds its time without a clock:
/// at some 5 µs a row it is a tenth of a second, then the others' answers are due. (One member may be larger.)
const ROWS_MAX: usize = 20_000;

/// Where the outcome of a write goes.
pub(super) type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// What the writer is asked for.
pub(super) enum Job {
    /// A member of a group.
    Write(Work, Reply),
    /// Whether a write would succeed.
    Ready(Reply),
    /// End, after everything that came before.
    Close,
}

/// What one member does.
pub(super) enum Work {
    /// Read, decide, apply.
    Commit(Query, Decide),
    /// Count one use, unless there have been `max`.
    Spend {
        realm: RealmId,
        token: TokenId,
        max: u64,
        at: Timestamp,
    },
    /// Add uses.
    Usage(Vec<(RealmId, TokenId, Usage)>),
}

/// Why nothing of a group is there.
struct Lost {
    message: String,
    unknown: bool,
}

impl Lost {
    fn error(&self) -> StoreError {
        StoreError::Unavailable {
            message: self.message.clone(),
            unknown: self.unknown,
        }
    }
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) checkpoints: Checkpoints,
    /// Whether the last transaction that wrote was lost; then `ready` must prove the contrary.
    pub(super) ailing: bool,
    /// Held for as long as anything may be written.
    pub(super) lock: File,
    /// Dropped when everything is over.
    pub(super) ended: watch::Sender<()>,
}

impl Writer {
    /// Works until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self) {
        let members = metrics::histogram!("tokenhouse_store_group_members");
        let lost = metrics::counter!("tokenhouse_store_groups_lost_total");
        let mut next = None;
        while let Some(job) = next.take().or_else(|| self.queue.blocking_recv()) {
            match job {
                Job::Write(work, reply) => {
                    let (answers, outcome, after) = self.group(work, reply);
                    members.record(f64::from(u32::try_from(answers.len()).unwrap_or(u32::MAX)));
                    if let Err(why) = &outcome {
                        lost.increment(1);
                        tracing::error!(cause = why.message, "a group of writes was lost");
                    }
                    for (reply, answer) in answers {
                        // Nobody waits for the answer of a dropped future.
                        let _ = reply.send(match &outcome {
                            Ok(()) => answer,
                            Err(why) => Err(why.error()),
                        });
                    }
                    next = after;
                    if outcome.is_ok() {
                        self.checkpoints.after_group(&self.connection);
                    } else {
                        self.checkpoints.relieve(&self.connection);
                    }
                }
                Job::Ready(reply) => {
                    let _ = reply.send(self.probe().map(|()| false));
                }
                Job::Close => break,
            }
        }
        self.queue.close();
        while let Ok(job) = self.queue.try_recv() {
            if let Job::Write(_, reply) | Job::Ready(reply) = job {
                let _ = reply.send(Err(unavailable("the store is closed")));
            }
        }
        self.checkpoints.stop();
        // The last connection to close moves the whole log into the file; an error here loses nothing, the log is
        // read again at the next start.
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(%error, "the store was not closed cleanly");
        }
        // Another process may open the store from here on, and only then is it said to be closed.
        drop(self.lock);
        drop(self.ended);
    }

    /// Runs a group that begins with `work`. Gives the answers, whether they hold, and a job that ended the group.
    #[allow(clippy::type_complexity, reason = "read once, right above")]
    fn group(
        &mut self,
        work: Work,
        reply: Reply,
    ) -> (
        Vec<(Reply, Result<bool, StoreError>)>,
        Result<(), Lost>,
        Option<Job>,
    ) {
        let mut answers = Vec::new();
        let mut after = None;
        let mut rows = 0;
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            answers.push((reply, Err(unavailable("not begun"))));
            return (answers, Err(self.lost(&error, false)), None);
        }
        let mut next = Some((work, reply));
        while let Some((work, reply)) = next.take() {
            let member = self.member(work, &mut rows);
            let broken = match member {
                Ok(answer) => {
                    answers.push((reply, answer));
                    None
                }
                Err(why) => {
                    answers.push((reply, Err(why.error())));
                    Some(why)
                }
            };
            if let Some(why) = broken {
                self.ailing = true;
                return (answers, Err(why), None);
            }
            if answers.len() < MEMBERS_MAX && rows < ROWS_MAX {
                match self.queue.try_recv() {
                    Ok(Job::Write(work, reply)) => next = Some((work, reply)),
                    Ok(other) => after = Some(other),
                    Err(_) => {}
                }
            }
        }
        let wrote = answers.iter().any(|(_, answer)| matches!(answer, Ok(true)));
        let outcome = match self.execute("COMMIT") {
            Ok(()) => {
                self.ailing &= !wrote;
                Ok(())
            }
            Err(error) => {
                self.ailing = true;
                Err(self.lost(&error, true))
            }
        };
        (answers, outcome, after)
    }

    /// Ends a transaction that cannot go on.
    ///
    /// A full disk is known to have cut the log before the mark that would make its last transaction count. After any
    /// other failure of a COMMIT that mark may have reached the disk: this process has forgotten the transaction and
    /// overwrites it with the next, but one that starts from the disk at this very moment would find it.
    fn lost(&self, error: &rusqlite::Error, at_commit: bool) -> Lost {
        let mut rolled_back = self.connection.is_autocommit();
        if !rolled_back {
            rolled_back = self.execute("ROLLBACK").is_ok();
        }
        let harmless = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
        );
        Lost {
            message: error.to_string(),
            unknown: !rolled_back || (at_commit && !harmless),
        }
    }

    /// Runs one member in a savepoint. The outer error means that the whole transaction is lost.
    fn member(&self, work: Work, rows: &mut usize) -> Result<Result<bool, StoreError>, Lost> {
        let lost = |error: rusqlite::Error| self.lost(&error, false);
        self.execute("SAVEPOINT member").map_err(lost)?;
        // A panic is a defect of one call; the thread that everybody writes through must outlive it.
        let answer = catch_unwind(AssertUnwindSafe(|| self.perform(work, rows)))
            .unwrap_or_else(|_| Err(defect("the decision panicked")));
        if self.connection.is_autocommit() {
            let message = match answer {
                Err(StoreError::Unavailable { message, .. }) => message,
                Err(error) => error.to_string(),
                Ok(_) => "SQLite ended the transaction".to_owned(),
            };
            return Err(Lost {
                message,
                unknown: false,
            });
        }
        if !matches!(answer, Ok(true)) {
            self.execute("ROLLBACK TO member").map_err(lost)?;
        }
        self.execute("RELEASE member").map_err(lost)?;
        Ok(answer)
    }

    fn perform(&self, work: Work, rows: &mut usize) -> Result<bool, StoreError> {
        let connection = &self.connection;
        match work {
            Work::Commit(query, mut decide) => {
                let found = query::evaluate(connection, &query)?;
                *rows += found.tokens.len() + found.values.len() + found.records.len();
                let Some(batch) = decide(&found) else {
                    return Ok(false);
                };
                *rows += size(&batch);
                check(&batch, query.realm)?;
                apply(connection, &batch)
            }
            Work::Spend {
                realm,
                token,
                max,
                at,
            } => {
                *rows += 1;
                usage::spend(connection, realm, token, max, at)
            }
            Work::Usage(reports) => {
                *rows += reports.len();
                for (realm, token, report) in &reports {
                    usage::add(connection, *realm, *token, *report)?;
                }
                Ok(!reports.is_empty())
            }
        }
    }

    /// Writes to a row that nobody reads. Normally that is taken back; after a lost group it is committed, as proof that
    /// commits succeed again. (Writing what is there already would prove nothing: SQLite leaves such a page alone.)
    fn probe(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").map_err(failed)?;
        let end = if self.ailing { "COMMIT" } else { "ROLLBACK" };
        let probed = self
            .execute("UPDATE schema SET probe = 1 - probe WHERE one = 1")
            .and_then(|()| self.execute(end));
        match probed {
            Ok(()) => {
                self.ailing = false;
                Ok(())
            }
            Err(error) => {
                // Nothing that anybody could read was changed, so whether it is on disk does not matter.
                let lost = self.lost(&error, false);
                self.ailing = true;
                Err(lost.error())
            }
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

/// Applies a batch; `false` if its event is there already.
fn apply(connection: &Connection, batch: &Batch) -> Result<bool, StoreError> {
    if !events::insert(connection, &batch.event)? {
        return Ok(false);
    }
    let realm = batch.event.realm;
    for write in &batch.tokens {
        tokens::write(connection, realm, write)?;
    }
    for write in &batch.values {
        values::write(connection, realm, write)?;
    }
    for write in &batch.records {
        records::write(connection, realm, write)?;
    }
    for write in &batch.locators {
        locators::write(connection, realm, write)?;
    }
    // A mark that is both unset and set in one batch (an old tag that is also a new one) ends up set.
    let (unset, set): (Vec<_>, Vec<_>) = batch
        .marks
        .iter()
        .partition(|write| matches!(write, MarkWrite::Unset(..)));
    for write in unset.into_iter().chain(set) {
        locators::write_mark(connection, realm, write)?;
    }
    Ok(true)
}
