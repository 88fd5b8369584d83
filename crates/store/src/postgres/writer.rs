//! Writes: those of one realm that have gathered while the group before was under way are one transaction.
//!
//! The one thing to know: a transaction begins by locking its realm's row, so writes of a realm follow one another on all
//! nodes, and what is read after the lock is what is written to. Inside a group nobody decides on rows that a member before
//! it has written: such a member is put off to the next group. So each row is written once in a group, and the batches of
//! all members can be applied by one statement for each table.
//!
//! The stages are functions of their own: [`Group::gather`], [`Group::decide`], [`Group::apply`], [`commit`], the answers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use engine::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::event::{Event, EventId};
use engine::realm::RealmId;
use engine::store::{Decide, Lookup, Query, Rows, StoreError};
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::faults::{CommitFaults, Fault, Moment};
use super::pool::Session;
use super::query::{Gathering, Progress, Touched, untouched};
use super::queue::Pass;
use super::rows::defect;
use super::script::{Deviation, Script};
use super::trouble::{Attempt, Trouble, of_statement, shown, until_certain};
use super::{events, locators, records, tokens, values};
use crate::batches::{check, size};

/// Members of one group. With 512 a round trip is less than a hundredth of each; more would only make the first wait.
const MEMBERS_MAX: usize = 512;

/// Rows that the members of one group may be expected to read, and those that they write, after which it takes no further
/// member. (One member may be larger.)
const ROWS_MAX: usize = 20_000;

/// Rows that are expected of a mark: most have few, some have all tokens of a realm.
const MARKED_ROWS: usize = 1_000;

/// Bytes of content that one group writes, after which it takes no further member.
const BYTES_MAX: usize = 16 << 20;

/// What begins and precedes the end of a transaction.
pub(super) mod on_commit {
    /// The realm's lock is what isolates writes; at this level each statement sees what was committed before it began.
    pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

    /// A COMMIT that waits for another server must not be cut short by the time limit of statements: PostgreSQL would then
    /// report a success that the other server has not seen.
    pub(crate) const UNHURRIED: &str = "SET LOCAL statement_timeout = 0";
}

/// Locks the realm.
const LOCK: &str = "SELECT realm FROM realm_lock WHERE realm = $1 FOR UPDATE";

/// Makes the lock of a realm that is written for the first time.
const MAKE_LOCK: &str = "INSERT INTO realm_lock (realm) VALUES ($1) ON CONFLICT (realm) DO NOTHING";

/// Where the outcome of a write goes.
type Reply = oneshot::Sender<Result<bool, StoreError>>;

/// One call.
struct Member {
    query: Query,
    decide: Decide,
    reply: Reply,
    /// The event of an attempt that may have been committed.
    attempted: Option<EventId>,
    answer: Option<Result<bool, StoreError>>,
    _pass: Pass,
}

impl Member {
    /// Rows that it may be expected to read.
    fn weight(&self) -> usize {
        let one = |lookup: &Lookup| match lookup {
            Lookup::Marked(_) => self.query.limit.min(MARKED_ROWS),
            _ => 1,
        };
        self.query.lookups.iter().map(one).sum()
    }

    fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}

/// All groups.
pub(super) struct Writer {
    pub(super) pool: Pool,
    /// Time for one group, with its repetitions.
    pub(super) deadline: Duration,
    pub(super) faults: Option<Arc<dyn CommitFaults>>,
    /// What has gathered, for each realm of which a group is under way.
    waiting: Mutex<HashMap<RealmId, VecDeque<Member>>>,
}

impl Writer {
    pub(super) fn new(
        pool: Pool,
        deadline: Duration,
        faults: Option<Arc<dyn CommitFaults>>,
    ) -> Self {
        Self {
            pool,
            deadline,
            faults,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<RealmId, VecDeque<Member>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one write, with others; waits for as long as it takes, but goes on if it is not waited for.
    pub(super) async fn write(
        self: &Arc<Self>,
        query: Query,
        decide: Decide,
        pass: Pass,
    ) -> Result<bool, StoreError> {
        let realm = query.realm;
        let (reply, answer) = oneshot::channel();
        let member = Member {
            query,
            decide,
            reply,
            attempted: None,
            answer: None,
            _pass: pass,
        };
        let begins = {
            let mut waiting = self.waiting();
            let begins = !waiting.contains_key(&realm);
            waiting.entry(realm).or_default().push_back(member);
            begins
        };
        if begins {
            tokio::spawn(Arc::clone(self).run(realm));
        }
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                message: "the writer ended without an answer".to_owned(),
                unknown: true,
            })
        })
    }

    /// Works until nobody of this realm waits any more.
    async fn run(self: Arc<Self>, realm: RealmId) {
        let sizes = metrics::histogram!("tokenhouse_store_group_members");
        while let Some(members) = self.next(realm) {
            sizes.record(f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX)));
            let group = Group {
                writer: &self,
                realm,
                members,
            };
            // A defect must not leave a realm in which nobody writes any more; those of its group are told by the end of
            // their channel.
            let put_off = AssertUnwindSafe(group.finish()).catch_unwind().await;
            let put_off = put_off.unwrap_or_else(|_| {
                tracing::error!(%realm, "a group of writes panicked");
                Vec::new()
            });
            if let Some(waiting) = self.waiting().get_mut(&realm) {
                for member in put_off.into_iter().rev() {
                    waiting.push_front(member);
                }
            }
        }
    }

    /// The next group, or nothing any more.
    fn next(&self, realm: RealmId) -> Option<Vec<Member>> {
        let mut waiting = self.waiting();
        let queue = waiting.get_mut(&realm)?;
        let mut weight = 0;
        let mut count = 0;
        for member in queue.iter().take(MEMBERS_MAX) {
            weight += member.weight();
            if count > 0 && weight > ROWS_MAX {
                break;
            }
            count += 1;
        }
        if count == 0 {
            waiting.remove(&realm);
            return None;
        }
        Some(queue.drain(..count).collect())
    }
}

/// How an attempt of a group ended, if not with an error.
#[derive(PartialEq, Eq)]
enum Fate {
    /// Everybody who was not put off has an answer.
    Done,
    /// Something in it was refused, and it cannot be told whose it was: each has to be tried alone.
    Apart,
}

/// Members of one transaction.
struct Group<'w> {
    writer: &'w Writer,
    realm: RealmId,
    members: Vec<Member>,
}

impl Group<'_> {
    /// Runs it, answers everybody, and gives back those who were put off.
    async fn finish(mut self) -> Vec<Member> {
        match self.until_certain().await {
            Ok(Fate::Done) => {}
            Err(StoreError::Unavailable { message, .. }) => self.fail(&message),
            Err(error) if self.members.len() == 1 => self.members[0].answer = Some(Err(error)),
            // Or one of them has met a damaged row, or something that the database does not take.
            Ok(Fate::Apart) | Err(_) => self.apart().await,
        }
        let mut put_off = Vec::new();
        for mut member in self.members {
            match member.answer.take() {
                // Nobody waits for the answer of a dropped future.
                Some(answer) => drop(member.reply.send(answer)),
                None => put_off.push(member),
            }
        }
        put_off
    }

    async fn until_certain(&mut self) -> Result<Fate, StoreError> {
        let deadline = self.writer.deadline;
        until_certain(self, deadline).await
    }

    /// Runs each member that has no answer as a group of its own.
    async fn apart(&mut self) {
        let members = std::mem::take(&mut self.members);
        for member in members {
            let mut alone = Group {
                writer: self.writer,
                realm: self.realm,
                members: vec![member],
            };
            while alone.members[0].is_open() {
                match alone.until_certain().await {
                    Ok(_) => {}
                    Err(StoreError::Unavailable { message, .. }) => alone.fail(&message),
                    Err(error) => alone.members[0].answer = Some(Err(error)),
                }
            }
            self.members.append(&mut alone.members);
        }
    }

    /// Answers everybody who has none that the store is unavailable.
    fn fail(&mut self, message: &str) {
        metrics::counter!("tokenhouse_store_groups_lost_total").increment(1);
        tracing::error!(cause = message, "a group of writes was lost");
        for member in self.members.iter_mut().filter(|member| member.is_open()) {
            member.answer = Some(Err(StoreError::Unavailable {
                message: message.to_owned(),
                unknown: member.attempted.is_some(),
            }));
        }
    }

    /// Begins the transaction, settles what an earlier attempt left in doubt, and reads what the queries of all open
    /// members ask for. `None` if the realm had no lock yet: it has now.
    async fn gather(&mut self, session: &Session) -> Result<Option<Vec<Progress>>, Trouble> {
        let mut queries = Vec::new();
        let mut attempted = Vec::new();
        for member in self.members.iter().filter(|member| member.is_open()) {
            queries.push(&member.query);
            attempted.extend(member.attempted.map(|event| event.0));
        }
        let mut gathering = Gathering::new(self.realm, queries.into_iter());
        let in_doubt = !attempted.is_empty();

        let mut script = Script::default();
        script.ask(LOCK, vec![Box::new(self.realm.0)]);
        if in_doubt {
            script.ask(
                events::WHICH,
                vec![Box::new(self.realm.0), Box::new(attempted)],
            );
        }
        let needs = gathering.walk();
        gathering.ask(&needs, &mut script);
        let answers = script.read(session, Some(on_commit::BEGIN)).await?;
        let mut answers = answers.into_iter();
        if answers.next().is_none_or(|locked| locked.is_empty()) {
            // Nothing was locked, so what was read may be old already.
            return Ok(None);
        }
        let mut applied = HashSet::new();
        if in_doubt {
            for row in answers.next().unwrap_or_default() {
                applied.insert(EventId(row.try_get(0).map_err(of_statement)?));
            }
        }
        let taken = gathering.take(needs, &mut answers);
        taken.map_err(Trouble::Refused)?;
        gathering.finish(session).await?;
        let mut progress: Vec<Progress> = gathering.into_progress().collect();

        // The transaction of the earlier attempt has ended, or the realm would still be locked: its event is there, and
        // then the answer of that attempt is the right one, or it will never be.
        let open = self.members.iter_mut().filter(|member| member.is_open());
        for (member, progress) in open.zip(&mut progress) {
            if let Some(event) = member.attempted.take()
                && applied.contains(&event)
            {
                member.answer = Some(Ok(true));
                *progress = Progress::Open;
            }
        }
        Ok(Some(
            progress
                .into_iter()
                .filter(|progress| matches!(progress, Progress::Done(..)))
                .collect(),
        ))
    }

    /// Asks the open members in their order. Gives the batches with the places of their members; a member that neither
    /// has a batch nor an answer is put off.
    fn decide(&mut self, gathered: Vec<Progress>) -> Vec<(usize, Batch)> {
        let mut batches = Vec::new();
        let mut written = HashSet::new();
        let (mut rows, mut bytes) = (0, 0);
        let open = self.members.iter_mut().enumerate();
        let open = open.filter(|(_, member)| member.is_open());
        for ((index, member), progress) in open.zip(gathered) {
            let Progress::Done(found, asked) = progress else {
                continue;
            };
            if rows > ROWS_MAX || bytes > BYTES_MAX || !untouched(&asked, &written) {
                continue;
            }
            let decided = found.and_then(|rows| decided(member, &rows));
            let batch = match decided {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    member.answer = Some(Ok(false));
                    continue;
                }
                Err(error) => {
                    member.answer = Some(Err(error));
                    continue;
                }
            };
            let touched = touched(&batch);
            if !untouched(&touched, &written) {
                continue;
            }
            written.extend(touched);
            written.extend(batch.marks.iter().map(|write| match write {
                MarkWrite::Set(place, _) | MarkWrite::Unset(place, _) => {
                    Touched::Marked(place.clone())
                }
            }));
            rows += size(&batch);
            bytes += values::bytes(&batch.values);
            batches.push((index, batch));
        }
        batches
    }

    /// Applies the batches.
    async fn apply(
        realm: RealmId,
        session: &Session,
        batches: &[(usize, Batch)],
    ) -> Result<Result<(), Deviation>, Trouble> {
        let all = || batches.iter().map(|(_, batch)| batch);
        let mut script = Script::default();
        let events: Vec<&Event> = all().map(|batch| &batch.event).collect();
        let written = events::write(&mut script, realm, &events)
            .and_then(|()| {
                let writes = all().flat_map(|batch| &batch.tokens);
                tokens::write(&mut script, realm, writes)
            })
            .and_then(|()| {
                let writes = all().flat_map(|batch| &batch.values);
                values::write(&mut script, realm, writes)
            })
            .and_then(|()| {
                let writes = all().flat_map(|batch| &batch.records);
                records::write(&mut script, realm, writes)
            });
        if let Err(error) = written {
            return Ok(Err(Deviation::Refused(error)));
        }
        let writes = all().flat_map(|batch| &batch.locators);
        locators::write(&mut script, realm, writes);
        let writes = all().flat_map(|batch| &batch.marks);
        locators::write_marks(&mut script, realm, writes);
        script.apply(session, on_commit::UNHURRIED).await
    }
}

impl Attempt for Group<'_> {
    type Output = Fate;

    async fn attempt(&mut self) -> Result<Fate, Trouble> {
        let session = Session::of(&self.writer.pool).await?;
        let gathered = loop {
            if let Some(gathered) = self.gather(&session).await? {
                break gathered;
            }
            let ended = session.batch_execute("ROLLBACK").await;
            ended.map_err(of_statement)?;
            let made = session.execute(MAKE_LOCK, &[&self.realm.0]).await;
            made.map_err(of_statement)?;
        };
        let batches = self.decide(gathered);
        if batches.is_empty() {
            session.end_reading();
            return Ok(Fate::Done);
        }
        if let Err(deviation) = Self::apply(self.realm, &session, &batches).await? {
            session.rollback().await?;
            let [(index, _)] = batches[..] else {
                return Ok(Fate::Apart);
            };
            self.members[index].answer = Some(match deviation {
                Deviation::Repeated => Ok(false),
                Deviation::Refused(error) => Err(error),
            });
            return Ok(Fate::Done);
        }
        for (index, batch) in &batches {
            self.members[*index].attempted = Some(batch.event.id);
        }
        let committed = commit(session, self.writer.faults.as_ref()).await;
        committed.map_err(Trouble::Again)?;
        for (index, _) in &batches {
            let member = &mut self.members[*index];
            member.attempted = None;
            member.answer = Some(Ok(true));
        }
        Ok(Fate::Done)
    }

    fn in_doubt(&self) -> bool {
        let mut open = self.members.iter().filter(|member| member.is_open());
        open.any(|member| member.attempted.is_some())
    }
}

/// Commits. After an error it cannot be told whether it happened, whatever the error is.
pub(super) async fn commit(
    session: Session,
    faults: Option<&Arc<dyn CommitFaults>>,
) -> Result<(), String> {
    let fault = faults.and_then(|faults| faults.at_commit());
    if let Some((fault, Moment::BeforeCommit)) = fault {
        if fault == Fault::ConnectionLost {
            drop(session);
        } else {
            let _ = session.rollback().await;
        }
        return Err(format!("{fault:?}, as asked for"));
    }
    let committed = session.batch_execute("COMMIT").await;
    committed.map_err(|error| shown(&error))?;
    if let Some((fault, _)) = fault {
        if fault != Fault::ConnectionLost {
            session.keep();
        }
        return Err(format!("{fault:?}, as asked for"));
    }
    session.keep();
    Ok(())
}

/// Asks a member. A panic is a defect of one call; what everybody writes through must outlive it.
fn decided(member: &mut Member, rows: &Rows) -> Result<Option<Batch>, StoreError> {
    let decide = &mut member.decide;
    let decided = catch_unwind(AssertUnwindSafe(|| decide(rows)));
    let batch = decided.map_err(|_| defect("the decision panicked"))?;
    if let Some(batch) = &batch {
        check(batch, member.query.realm)?;
    }
    Ok(batch)
}

/// Everything that a batch writes.
fn touched(batch: &Batch) -> Vec<Touched> {
    let mut touched = vec![Touched::Event(batch.event.id)];
    touched.extend(batch.tokens.iter().map(|write| match write {
        TokenWrite::Insert(token) | TokenWrite::Update { token, .. } => Touched::Token(token.id),
        TokenWrite::Delete { id, .. } => Touched::Token(*id),
    }));
    touched.extend(batch.values.iter().map(|write| match write {
        ValueWrite::Insert(value) | ValueWrite::Supersede { value, .. } => Touched::Value(value.id),
        ValueWrite::Delete { id, .. } | ValueWrite::Forget { id, .. } => Touched::Value(*id),
    }));
    touched.extend(batch.records.iter().map(|write| match write {
        RecordWrite::Insert(record) | RecordWrite::Update { record, .. } => {
            Touched::Record(record.id)
        }
        RecordWrite::Delete { id, .. } => Touched::Record(*id),
    }));
    touched.extend(batch.locators.iter().map(|write| match write {
        LocatorWrite::Claim { place, .. } | LocatorWrite::Release { place, .. } => {
            Touched::Located(place.clone())
        }
    }));
    touched.extend(batch.marks.iter().map(|write| match write {
        MarkWrite::Set(place, holder) | MarkWrite::Unset(place, holder) => {
            Touched::Mark(place.clone(), *holder)
        }
    }));
    touched
}
