//! A group: the writes of one realm that share a transaction.
//!
//! The one thing to know: nobody in it decides on rows that a member before it has written; such a member is put off to the
//! next group. So each row is written once in a group, and the batches of all members can be applied by one statement for
//! each table.
//!
//! The stages are functions of their own: [`Group::permitted`], [`Group::gather`], [`Group::decide`], [`Group::apply`],
//! the commit, the answers.

use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use engine::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::event::{Event, EventId};
use engine::live::{self, LiveKey};
use engine::realm::RealmId;
use engine::store::{Rows, StoreError};

use super::nodes::{Mine, Permit, STANDS};
use super::pool::Session;
use super::query::{Gathering, Progress, Touched, untouched};
use super::script::{Check, Deviation, Script};
use super::transaction::{LOCK, MAKE_LOCK, commit, ended_for_certain, on_commit, planning};
use super::trouble::{Attempt, Trouble, of_statement, until_certain};
use super::writer::{Member, ROWS_MAX, Writer};
use super::{events, locators, records, tokens, values};
use crate::batches::{check, size};
use crate::columns::defect;

/// Bytes of content that one group writes, after which it takes no further member.
const BYTES_MAX: usize = 16 << 20;

/// How often a member may come to something else than was foreseen, before the whole realm is held for it.
const MISSES_MAX: usize = 3;

/// Between two attempts to find out that a transaction has ended.
const SETTLING: Duration = Duration::from_millis(200);

/// How an attempt of a group ended, if not with an error.
#[derive(PartialEq, Eq)]
pub(super) enum Fate {
    /// Everybody who was not put off has an answer.
    Done,
    /// Something in it was refused, and it cannot be told whose it was: each has to be tried alone.
    Apart,
    /// Its permit was taken away: another one is needed.
    Unpermitted,
}

/// Members of one transaction.
pub(super) struct Group<'w> {
    pub(super) writer: &'w Arc<Writer>,
    pub(super) realm: RealmId,
    pub(super) members: Vec<Member>,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// What it may change that others remember.
    pub(super) permit: Option<Permit>,
    /// What this process itself does not remember until the outcome of the last attempt is certain.
    pub(super) mine: Option<Mine>,
}

impl Group<'_> {
    /// Runs it, answers everybody, and gives back those who were put off.
    pub(super) async fn finish(mut self) -> Vec<Member> {
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
        let mut members = std::mem::take(&mut self.members).into_iter();
        while let Some(member) = members.next() {
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
            let answer = &alone.members[0].answer;
            let away = matches!(answer, Some(Err(StoreError::Unavailable { .. })));
            self.members.append(&mut alone.members);
            if away {
                // It is away for the others too, and each would wait as long again to find that out.
                self.members.extend(members.by_ref());
                self.fail("the store went away");
            }
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
        let fresh = self.members.iter().filter(|member| member.is_fresh());
        let queries = fresh.map(|member| &member.query);
        let mut gathering = Gathering::new(self.realm, queries);
        gathering.read(&self.writer.readers).await?;
        let progress: Vec<Progress> = gathering.into_progress().collect();
        let fresh = self.members.iter_mut().filter(|member| member.is_fresh());
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
        script.ask(planning::KEEP, Vec::new());
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
        let mut answers = answers.into_iter().skip(1);
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
                // Events and changes are only inserted, from arrays: there is nothing to plan.
                script.write(planning::ANEW, Vec::new(), Check::None);
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
