//! Writes: those of one realm that have gathered while the group before was under way are one transaction.
//!
//! The one thing to know: a transaction begins by locking its realm's row, so writes of a realm follow one another on all
//! nodes, and what is read after the lock is what is written to. Inside a group nobody decides on rows that a member before
//! it has written: such a member is put off to the next group. So each row is written once in a group, and the batches of
//! all members can be applied by one statement for each table.
//!
//! The stages are functions of their own: [`Group::gather`], [`Group::decide`], [`Group::apply`], [`commit`], the answers.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Pool;
use engine::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::event::{Event, EventId};
use engine::live::{self, LiveKey};
use engine::realm::RealmId;
use engine::store::{Decide, Lookup, Query, Rows, StoreError};
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::faults::{CommitFaults, Fault, Moment};
use super::nodes::{Mine, Nodes, Permit, STANDS};
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

/// Groups of one realm that are under way where there are other nodes: while some wait for them, one writes.
const RUNNERS_IN_COMPANY: usize = 4;

/// How often a member may come to something else than was foreseen, before the whole realm is held for it.
const MISSES_MAX: usize = 3;

/// Between two attempts to find out that a transaction has ended.
const SETTLING: Duration = Duration::from_millis(200);

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
    /// How often its permit did not cover what it came to.
    missed: usize,
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
    /// For looking at what a group is about to change, where others must be told.
    pub(super) readers: Pool,
    pub(super) nodes: Arc<Nodes>,
    /// Time for one group, with its repetitions.
    pub(super) deadline: Duration,
    pub(super) faults: Option<Arc<dyn CommitFaults>>,
    /// What has gathered, for each realm of which a group is under way.
    pub(super) lines: Mutex<HashMap<RealmId, Line>>,
}

/// Those who wait to write in one realm.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Member>,
    /// Tasks that take groups from it.
    runners: usize,
    /// Held from the beginning of a transaction to its end, so that groups of this process do not wait for one another
    /// with a connection in their hands.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Writer {
    fn lines(&self) -> MutexGuard<'_, HashMap<RealmId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Groups of one realm that may be under way. Alone, a second one would only make the first smaller; beside others a
    /// group waits for them, and the next need not wait for that.
    fn runners_max(&self) -> usize {
        if self.nodes.has_company() {
            RUNNERS_IN_COMPANY
        } else {
            1
        }
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
            missed: 0,
            answer: None,
            _pass: pass,
        };
        let begins = {
            let runners_max = self.runners_max();
            let mut lines = self.lines();
            let line = lines.entry(realm).or_default();
            line.waiting.push_back(member);
            let begins = line.runners < runners_max;
            line.runners += usize::from(begins);
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
        while let Some((members, turn)) = self.next(realm) {
            sizes.record(f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX)));
            let group = Group {
                writer: &self,
                realm,
                members,
                turn,
                permit: None,
                mine: None,
            };
            // A defect must not leave a realm in which nobody writes any more; those of its group are told by the end of
            // their channel.
            let put_off = AssertUnwindSafe(group.finish()).catch_unwind().await;
            let put_off = put_off.unwrap_or_else(|_| {
                tracing::error!(%realm, "a group of writes panicked");
                Vec::new()
            });
            let mut lines = self.lines();
            let line = lines.entry(realm).or_default();
            for member in put_off.into_iter().rev() {
                line.waiting.push_front(member);
            }
        }
    }

    /// The next group, or nothing any more: then the one who asks is to end.
    fn next(&self, realm: RealmId) -> Option<(Vec<Member>, Arc<tokio::sync::Mutex<()>>)> {
        let mut lines = self.lines();
        let line = lines.get_mut(&realm)?;
        let mut weight = 0;
        let mut count = 0;
        for member in line.waiting.iter().take(MEMBERS_MAX) {
            weight += member.weight();
            if count > 0 && weight > ROWS_MAX {
                break;
            }
            count += 1;
        }
        if count == 0 {
            line.runners -= 1;
            if line.runners == 0 {
                lines.remove(&realm);
            }
            return None;
        }
        Some((
            line.waiting.drain(..count).collect(),
            Arc::clone(&line.turn),
        ))
    }
}

/// How an attempt of a group ended, if not with an error.
#[derive(PartialEq, Eq)]
enum Fate {
    /// Everybody who was not put off has an answer.
    Done,
    /// Something in it was refused, and it cannot be told whose it was: each has to be tried alone.
    Apart,
    /// Its permit was taken away: another one is needed.
    Unpermitted,
}

/// Members of one transaction.
struct Group<'w> {
    writer: &'w Arc<Writer>,
    realm: RealmId,
    members: Vec<Member>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What it may change that others remember.
    permit: Option<Permit>,
    /// What this process itself does not remember until the outcome of the last attempt is certain.
    mine: Option<Mine>,
}

impl Group<'_> {
    /// Runs it, answers everybody, and gives back those who were put off.
    async fn finish(mut self) -> Vec<Member> {
        match self.until_certain().await {
            Ok(Fate::Done | Fate::Unpermitted) => {}
            Err(StoreError::Unavailable { message, .. }) => self.fail(&message),
            Err(error) if self.members.len() == 1 => self.members[0].answer = Some(Err(error)),
            // Or one of them has met a damaged row, or something that the database does not take.
            Ok(Fate::Apart) | Err(_) => self.apart().await,
        }
        self.settle();
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
                turn: Arc::clone(&self.turn),
                permit: self.permit.clone(),
                mine: None,
            };
            while alone.members[0].is_open() {
                match alone.until_certain().await {
                    // If it is still open, its permit was not enough.
                    Ok(_) => alone.permit = None,
                    Err(StoreError::Unavailable { message, .. }) => alone.fail(&message),
                    Err(error) => alone.members[0].answer = Some(Err(error)),
                }
            }
            alone.settle();
            self.members.append(&mut alone.members);
        }
    }

    /// Lets go of permit and keys if the outcome is certain; otherwise as soon as the transaction has ended for certain,
    /// which its realm's lock tells.
    fn settle(&mut self) {
        let (permit, mine) = (self.permit.take(), self.mine.take());
        if mine.is_none() {
            return;
        }
        let (pool, realm) = (self.writer.pool.clone(), self.realm);
        tokio::spawn(async move {
            while let Err(trouble) = ended_for_certain(&pool, realm).await {
                if matches!(trouble, Trouble::Refused(_)) && pool.is_closed() {
                    // The memory ends with the store; the hold is taken away by others.
                    break;
                }
                tokio::time::sleep(SETTLING).await;
            }
            drop((permit, mine));
        });
    }

    /// A permit for what its members come to.
    async fn permitted(&mut self) -> Result<Permit, Trouble> {
        let nodes = &self.writer.nodes;
        if let Some(permit) = nodes.permit_alone(self.realm).await? {
            return Ok(permit);
        }
        if self
            .members
            .iter()
            .any(|member| member.missed >= MISSES_MAX)
        {
            return nodes.permit_all(self.realm).await;
        }
        let keys = self.foresee().await?;
        self.writer.nodes.permit(self.realm, keys).await
    }

    /// What the open members would change if their transaction ran now. Those who would change nothing have their answer.
    async fn foresee(&mut self) -> Result<BTreeSet<LiveKey>, Trouble> {
        let mut keys = BTreeSet::new();
        let fresh = |member: &&Member| member.is_open() && member.attempted.is_none();
        let queries = self
            .members
            .iter()
            .filter(fresh)
            .map(|member| &member.query);
        let mut gathering = Gathering::new(self.realm, queries);
        gathering.read(&self.writer.readers).await?;
        let progress: Vec<Progress> = gathering.into_progress().collect();
        let fresh = self.members.iter_mut().filter(|member| {
            // The same as above, of which the borrow checker lets nothing be shared.
            member.is_open() && member.attempted.is_none()
        });
        for (member, progress) in fresh.zip(progress) {
            let Progress::Done(found, _) = progress else {
                continue;
            };
            match found.and_then(|rows| decided(member, &rows)) {
                Ok(Some(batch)) => keys.extend(live::touched(&batch)),
                Ok(None) => member.answer = Some(Ok(false)),
                Err(error) => member.answer = Some(Err(error)),
            }
        }
        Ok(keys)
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
    async fn gather(&mut self, session: &Session, permit: &Permit) -> Result<Gathered, Trouble> {
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
        if let Some(hold) = permit.hold() {
            script.ask(STANDS, vec![Box::new(self.realm.0), Box::new(hold.0)]);
        }
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
            return Ok(Gathered::Unlocked);
        }
        let stands = permit.hold().is_none() || answers.next().is_some_and(|rows| !rows.is_empty());
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
        // The earlier attempt is in force by now, or never will be.
        self.mine = None;
        if !stands {
            return Ok(Gathered::Unpermitted);
        }
        Ok(Gathered::Rows(
            progress
                .into_iter()
                .filter(|progress| matches!(progress, Progress::Done(..)))
                .collect(),
        ))
    }

    /// Asks the open members in their order. Gives the batches with the places of their members; a member that neither
    /// has a batch nor an answer is put off.
    fn decide(&mut self, gathered: Vec<Progress>, permit: &Permit) -> Vec<(usize, Batch)> {
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
            if !permit.covers(&live::touched(&batch)) {
                member.missed += 1;
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
        let permit = match &self.permit {
            Some(permit) => permit.clone(),
            None => self.permitted().await?,
        };
        self.permit = Some(permit.clone());
        let turn = Arc::clone(&self.turn);
        let _turn = turn.lock().await;
        let session = Session::of(&self.writer.pool).await?;
        let gathered = loop {
            match self.gather(&session, &permit).await? {
                Gathered::Rows(rows) => break rows,
                Gathered::Unpermitted => {
                    session.end_reading();
                    self.writer.nodes.is_gone(&permit);
                    self.permit = None;
                    return Ok(Fate::Unpermitted);
                }
                Gathered::Unlocked => {}
            }
            let ended = session.batch_execute("ROLLBACK").await;
            ended.map_err(of_statement)?;
            let made = session.execute(MAKE_LOCK, &[&self.realm.0]).await;
            made.map_err(of_statement)?;
        };
        let batches = self.decide(gathered, &permit);
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
        let keys = batches.iter().flat_map(|(_, batch)| live::touched(batch));
        self.mine = Some(self.writer.nodes.mine(keys.collect()));
        let committed = commit(session, self.writer.faults.as_ref()).await;
        committed.map_err(Trouble::Again)?;
        self.mine = None;
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

/// What a transaction has found after its beginning.
enum Gathered {
    /// The realm has no lock yet.
    Unlocked,
    /// The permit's hold is not there any more.
    Unpermitted,
    /// What became of each open member's query.
    Rows(Vec<Progress>),
}

/// A session in a transaction that has locked a realm.
pub(super) async fn locked(pool: &Pool, realm: RealmId) -> Result<Session, Trouble> {
    let session = Session::of(pool).await?;
    let made = session.execute(MAKE_LOCK, &[&realm.0]).await;
    made.map_err(of_statement)?;
    let begun = session.batch_execute(on_commit::BEGIN).await;
    begun.map_err(of_statement)?;
    let locked = session.query(LOCK, &[&realm.0]).await;
    locked.map_err(of_statement)?;
    Ok(session)
}

/// Returns when every transaction has ended that wrote in a realm before this call.
async fn ended_for_certain(pool: &Pool, realm: RealmId) -> Result<(), Trouble> {
    locked(pool, realm).await?.rollback().await
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
