//! One simulated write, from the hold to the answer, by the real [`Assent`].
//!
//! The one thing to know: the realm's lock is what makes an unknown outcome certain. A server gives it to the next only
//! when the former transaction has ended, so that after it the trace of the call is there, or never will be.

use std::collections::BTreeSet;
use std::rc::Rc;

use engine::live::Held;
use uuid::Uuid;

use super::super::{Assent, HoldId, LEASE, MARGIN, Row, SILENCE, Step};
use super::database::{Connection, Content, Key, Lost, Tables};
use super::node::{Node, held, shown};
use super::rules::Without;
use super::tokens::{KEYS_MAX, REALM, live_key};

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// Let these be active or not, as far as they are there.
    Set(Vec<Key>, bool),
    /// The same for everything in the realm.
    SetAll(bool),
    /// Make one that is not there.
    Create(Key),
    /// Remove it.
    Delete(Key),
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// It is done, now or before.
    Done,
    /// It was refused; nothing has changed.
    Refused,
}

/// What a call comes to on what is stored: its writes, and everything that the answer tells about.
struct Decided {
    told: Told,
    writes: Vec<(Key, Content)>,
    observed: Vec<(Key, u64)>,
}

/// An answer with the versions that it speaks of.
pub(super) type Answer = (Told, Vec<(Key, u64)>);

impl Call {
    pub(super) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Set(keys, _) => keys.clone(),
            Self::SetAll(_) => (0..KEYS_MAX).collect(),
            Self::Create(key) | Self::Delete(key) => vec![*key],
        }
    }

    /// A pure decision; it may be taken again.
    fn decide(&self, tables: &Tables) -> Decided {
        let mut writes = Vec::new();
        let mut refused = false;
        for key in self.keys() {
            let before = tables.content(key);
            let version = before.version + 1;
            let after = |present, active| Content {
                version,
                present,
                active,
            };
            match self {
                Self::Set(_, active) | Self::SetAll(active) => {
                    if before.present && before.active != *active {
                        writes.push((key, after(true, *active)));
                    }
                }
                Self::Create(_) if before.present => refused = true,
                Self::Create(_) => writes.push((key, after(true, true))),
                Self::Delete(_) if before.present => writes.push((key, after(false, false))),
                Self::Delete(_) => refused = true,
            }
        }
        let version = |key: &Key| {
            let written = writes.iter().find(|(written, _)| written == key);
            written.map_or(tables.content(*key), |(_, content)| *content)
        };
        let keys = self.keys();
        Decided {
            observed: keys
                .iter()
                .map(|key| (*key, version(key).version))
                .collect(),
            told: if refused { Told::Refused } else { Told::Done },
            writes,
        }
    }

    /// What of its writes may be in a memory: not what it inserts.
    fn touched(&self, writes: &[(Key, Content)]) -> Vec<Key> {
        match self {
            Self::Create(_) => Vec::new(),
            _ => writes.iter().map(|(key, _)| *key).collect(),
        }
    }
}

/// The hold is gone, or does not cover what is to be written.
struct NewHold;

/// A hold that every other node has let go for.
struct Announced {
    id: HoldId,
    covers: Cover,
    /// Whether it stays when this call is over.
    standing: bool,
}

impl Node {
    /// Carries out a call; returns when it is in force on every node.
    pub(super) async fn write(self: &Rc<Self>, number: u64, call: Call) -> Answer {
        loop {
            let of = call.clone();
            let touched = self
                .ask(move |tables| of.touched(&of.decide(tables).writes))
                .await;
            self.step().await;
            let announces = self.keeps(Without::Announcement);
            let mut hold = None;
            if !touched.is_empty() && announces {
                hold = Some(self.announce(&call, touched, number).await);
            }
            let done = self.transaction(number, &call, hold.as_ref()).await;
            if let Ok((answer, written)) = done {
                if !announces && !written.is_empty() {
                    hold = Some(self.announce(&call, written, number).await);
                }
                self.log(|| format!("call {number} is answered {:?}: {:?}", answer.0, answer.1));
                self.spawn_delete(hold);
                return answer;
            }
            self.spawn_delete(hold);
        }
    }

    /// Places a hold and waits until nobody answers from memory what it holds.
    async fn announce(self: &Rc<Self>, call: &Call, touched: Vec<Key>, number: u64) -> Announced {
        if let Some(id) = self.standing.get() {
            let (covers, standing) = (Cover::Realm, true);
            return Announced {
                id,
                covers,
                standing,
            };
        }
        let alone = !self.others.get() && self.member.borrow().present().is_some();
        let whole = alone || matches!(call, Call::SetAll(_));
        let (what, covers) = if whole {
            (Held::Realm(REALM), Cover::Realm)
        } else {
            (held(&touched), Cover::Keys(touched.into_iter().collect()))
        };
        let mut early = None;
        if !self.keeps(Without::HoldBeforeMembers) {
            early = Some(self.ask(|tables| tables.rows()).await);
            self.dawdle().await;
        }
        let kept_in_mind = alone && !self.keeps(Without::CommittedStandingHold);
        // A lost statement may yet place its hold, so the next one has another id; what is left over is swept.
        let id = loop {
            let id = HoldId(Uuid::from_u128(self.sim.fresh().into()));
            self.active.borrow_mut().insert(id);
            let (what, process) = (what.clone(), self.process);
            let connection = self.connect().await;
            self.step().await;
            if kept_in_mind
                || connection
                    .ask(move |tables| tables.place(id, process, &what))
                    .await
                    .is_ok()
            {
                break id;
            }
            self.active.borrow_mut().remove(&id);
        };
        self.log(|| format!("call {number}: {} is placed on {covers:?}", shown(id)));
        self.dawdle().await;
        let rows = match early {
            Some(rows) => rows,
            None => self.ask(|tables| tables.rows()).await,
        };
        self.dawdle().await;
        let rows = self.foreign(&rows);
        self.assent(id, &rows, number).await;
        let standing = alone && rows.is_empty() && self.standing.get().is_none();
        if standing {
            self.log(|| format!("{} stays, as nobody else is there", shown(id)));
            self.standing.set(Some(id));
        }
        Announced {
            id,
            covers,
            standing,
        }
    }

    fn foreign(&self, rows: &[Row]) -> Vec<Row> {
        let foreign = rows.iter().filter(|row| row.process != self.process);
        foreign.copied().collect()
    }

    async fn assent(&self, hold: HoldId, rows: &[Row], number: u64) {
        let mut assent = {
            let mut roster = self.roster.borrow_mut();
            roster.saw(rows, self.now());
            Assent::new(rows, &roster, self.now())
        };
        let mut wait = 2_000;
        loop {
            let mut now = self.now();
            if !self.keeps(Without::LeaseWaitedOut) {
                // As if each wait were over, but not the patience with those that have yet to answer.
                let later = now + LEASE + MARGIN + SILENCE;
                if assent.step(later) == Step::Go {
                    now = later;
                }
            }
            match assent.step(now) {
                Step::Go => return,
                Step::Expel(silent) if self.keeps(Without::Expulsion) => {
                    self.log(|| format!("call {number}: {} silent are expelled", silent.len()));
                    let marked = silent.clone();
                    if self.keeps(Without::MarkedExpulsion) {
                        self.ask(move |tables| tables.expel(&marked)).await;
                        self.step().await;
                    }
                    assent.expelled(&silent, self.now());
                }
                Step::Expel(_) | Step::Wait(_) => {}
            }
            self.sim.sleep(wait).await;
            wait = (wait * 2).min(20_000);
            let (answers, rows) = self
                .ask(move |tables| {
                    let all = tables.acknowledgements.iter();
                    let of = all.filter(|(of, _)| *of == hold);
                    let answers: Vec<_> = of.map(|(_, node)| *node).collect();
                    (answers, tables.rows())
                })
                .await;
            self.step().await;
            let now = self.now();
            self.roster.borrow_mut().saw(&rows, now);
            assent.acknowledged(answers);
            assent.remaining(&rows, now);
        }
    }

    /// Decides and writes under the realm's lock, until the outcome is certain.
    async fn transaction(
        self: &Rc<Self>,
        number: u64,
        call: &Call,
        hold: Option<&Announced>,
    ) -> Result<(Answer, Vec<Key>), NewHold> {
        let mut own: Vec<Held> = Vec::new();
        let mut sent: Option<(Answer, Vec<Key>)> = None;
        let result = loop {
            let connection = self.connect().await;
            if connection.lock().await.is_err() {
                continue;
            }
            self.step().await;
            let id = hold.map(|hold| hold.id);
            let decided = self.decide(&connection, number, call, id).await;
            let Ok((applied, held_still, decided)) = decided else {
                continue;
            };
            if applied && let Some(answer) = sent.take() {
                let _ = connection.commit(|_| ()).await;
                break Ok(answer);
            }
            let standing = hold.is_some_and(|hold| hold.standing);
            let checks = self.keeps(Without::HoldCheck)
                && !(standing
                    && !(self.keeps(Without::StandingHoldCheck)
                        && self.keeps(Without::CommittedStandingHold)));
            let touched = call.touched(&decided.writes);
            let covers = |key: &Key| hold.is_some_and(|hold| hold.covers.has(*key));
            let covered = !self.keeps(Without::Announcement) || touched.iter().all(covers);
            let gone = checks && hold.is_some() && !held_still;
            if gone || !covered {
                self.log(|| format!("call {number} starts over with a new hold"));
                if gone && self.standing.get() == id {
                    self.standing.set(None);
                }
                let _ = connection.commit(|_| ()).await;
                break Err(NewHold);
            }
            let answer = (decided.told, decided.observed);
            if decided.writes.is_empty() {
                let _ = connection.commit(|_| ()).await;
                break Ok((answer, touched));
            }
            self.dawdle().await;
            self.linger(Without::CleanerLock).await;
            if !touched.is_empty() && self.keeps(Without::OwnHold) {
                let keys = match call {
                    Call::SetAll(_) => Held::Realm(REALM),
                    _ => held(&touched),
                };
                self.live.hold(&keys);
                own.push(keys);
            }
            sent = Some((answer.clone(), touched.clone()));
            let writes = decided.writes;
            self.log(|| format!("call {number} commits {:?}", versions(&writes)));
            let committed = connection.commit(move |tables| tables.apply(number, &writes));
            if committed.await.is_ok() {
                self.step().await;
                break Ok((answer, touched));
            }
            self.log(|| format!("call {number}: the outcome is unknown"));
            if !self.keeps(Without::HoldUntilCertain)
                && let Some(id) = id
            {
                self.ask(move |tables| tables.delete_hold(id)).await;
            }
        };
        for held in &own {
            self.live.release(held);
        }
        if let Ok((_, touched)) = &result {
            let keys: Vec<_> = touched.iter().map(|key| live_key(*key)).collect();
            self.live.void(&keys);
        }
        result
    }

    async fn decide(
        &self,
        connection: &Connection,
        number: u64,
        call: &Call,
        hold: Option<HoldId>,
    ) -> Result<(bool, bool, Decided), Lost> {
        let call = call.clone();
        let decided = connection.ask(move |tables| {
            let still = hold.is_some_and(|hold| tables.holds.contains_key(&hold));
            let applied = tables.events.contains_key(&number);
            (applied, still, call.decide(tables))
        });
        decided.await
    }

    /// Deletes a hold that no transaction goes by any more; whoever does not get there sweeps it later.
    fn spawn_delete(self: &Rc<Self>, hold: Option<Announced>) {
        let Some(id) = hold.filter(|hold| !hold.standing).map(|hold| hold.id) else {
            return;
        };
        let of = Rc::clone(self);
        self.sim.spawn(self.owner, async move {
            of.step().await;
            of.active.borrow_mut().remove(&id);
            let connection = of.connect().await;
            let _ = connection.ask(move |tables| tables.delete_hold(id)).await;
        });
    }

    /// Asks until there is an answer: for statements that may run twice.
    pub(super) async fn ask<T: 'static>(
        &self,
        statement: impl FnOnce(&mut Tables) -> T + Clone + 'static,
    ) -> T {
        loop {
            let connection = self.connect().await;
            if let Ok(answer) = connection.ask(statement.clone()).await {
                return answer;
            }
        }
    }
}

/// What a hold covers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cover {
    Keys(BTreeSet<Key>),
    Realm,
}

impl Cover {
    fn has(&self, key: Key) -> bool {
        match self {
            Self::Keys(keys) => keys.contains(&key),
            Self::Realm => true,
        }
    }
}

fn versions(writes: &[(Key, Content)]) -> Vec<(Key, u64)> {
    let writes = writes.iter();
    writes
        .map(|(key, content)| (*key, content.version))
        .collect()
}
