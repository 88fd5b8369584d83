//! One simulated process: how it joins, renews, verifies and cleans up, by the real [`Member`] and [`Roster`].
//!
//! The one thing to know: membership is one task that does one thing after the other, because the order is the proof.
//! Whatever may wait for the realm's lock is another task, so that a lease is never lost by waiting.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::clock::{Clock as _, ManualClock};
use engine::live::{Held, LiveIndex, Ticket};
use engine::token::Token;
use uuid::Uuid;

use super::super::member::{Member, Renewed};
use super::super::tidying::{self, Renewals, STRAY, Strays};
use super::super::{Hold, HoldId, LOOK, NodeId, ProcessId, RENEWAL, Renewal, Roster, Row};
use super::database::{self, Connection, Content, Database, Key, Lost};
use super::rules::Without;
use super::sim::{Owner, Sim, micros};
use super::tokens::{KEYS_MAX, REALM, id_of, token};

/// How much goes wrong in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    /// Once in so many steps a process is paused right there.
    pub(super) pause: u64,
    /// Once in so many steps a process is killed right there.
    pub(super) kill: u64,
    /// Once in so many critical places a thread gets its next turn late.
    pub(super) dawdle: u64,
}

pub(super) struct Node {
    pub(super) name: usize,
    pub(super) owner: Owner,
    pub(super) process: ProcessId,
    pub(super) sim: Sim,
    pub(super) database: Database,
    pub(super) live: Arc<LiveIndex>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) member: RefCell<Member>,
    pub(super) roster: RefCell<Roster>,
    /// Holds of this process that a transaction may still go by.
    pub(super) active: RefCell<BTreeSet<HoldId>>,
    /// The hold on the whole realm that is kept while there is nobody else.
    pub(super) standing: Cell<Option<HoldId>>,
    /// Whether there was anybody else when it looked last.
    pub(super) others: Cell<bool>,
    pub(super) leaving: Cell<bool>,
    without: Option<Without>,
    odds: Odds,
    /// What only nodes without a rule remember: that something is not there, and that the lease was good.
    absent: RefCell<BTreeSet<Key>>,
    lease_was_good: Cell<bool>,
    /// Whether the holds were read since it joined.
    settled: Cell<bool>,
    /// What a read that was under way then goes by, where it is not dropped.
    kept_ticket: RefCell<Option<(u64, Rc<Ticket>)>>,
    idle: RefCell<Vec<Connection>>,
    seen: RefCell<Strays>,
    renewals: RefCell<Renewals>,
}

/// Where the answer of a verify came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Memory,
    Store,
}

impl Node {
    pub(super) fn start(
        name: usize,
        sim: &Sim,
        database: &Database,
        capacity: usize,
        without: Option<Without>,
        odds: Odds,
    ) -> Rc<Self> {
        let (owner, clock) = sim.start();
        let shared: Arc<dyn engine::clock::Clock> = if without == Some(Without::WallClock) {
            Arc::new(BootOnly(Arc::clone(&clock)))
        } else {
            Arc::<ManualClock>::clone(&clock)
        };
        let live = Arc::new(LiveIndex::new(capacity, shared));
        let process = ProcessId(Uuid::from_u128(sim.fresh().into()));
        let node = Rc::new(Self {
            name,
            owner,
            process,
            sim: sim.clone(),
            database: database.clone(),
            member: RefCell::new(Member::new(Arc::clone(&live), process)),
            live,
            clock,
            roster: RefCell::default(),
            active: RefCell::default(),
            standing: Cell::default(),
            others: Cell::new(true),
            leaving: Cell::new(false),
            without,
            odds,
            absent: RefCell::default(),
            lease_was_good: Cell::new(false),
            settled: Cell::new(false),
            kept_ticket: RefCell::default(),
            idle: RefCell::default(),
            seen: RefCell::default(),
            renewals: RefCell::default(),
        });
        let of = Rc::clone(&node);
        sim.spawn(owner, async move { of.membership().await });
        let of = Rc::clone(&node);
        sim.spawn(owner, async move { of.cleaning().await });
        if without == Some(Without::FreshClock) {
            let of = Rc::clone(&node);
            sim.spawn(owner, async move {
                loop {
                    of.lease_was_good.set(of.live.may_answer());
                    of.sim.sleep(20_000).await;
                }
            });
        }
        node
    }

    /// Whether a rule holds in this run.
    pub(super) fn keeps(&self, rule: Without) -> bool {
        self.without != Some(rule)
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.since_boot()
    }

    pub(super) fn log(&self, line: impl FnOnce() -> String) {
        self.sim.log(|| format!("node {}: {}", self.name, line()));
    }

    /// A place in a program where a thread may be stopped, for a short time or a long one, or for good.
    pub(super) async fn step(&self) {
        if !self.sim.faulty() {
            return;
        }
        if self.sim.once_in(self.odds.kill) {
            self.log(|| "is killed".to_owned());
            let (sim, owner) = (self.sim.clone(), self.owner);
            self.sim.at(0, move || sim.kill(owner));
            self.sim.sleep(1).await;
        }
        if self.sim.once_in(self.odds.pause) {
            let time = self.sim.between(50_000, 9_000_000);
            self.log(|| format!("is stopped for {} ms", time / 1000));
            self.sim.pause(self.owner, time, false);
            self.sim.sleep(1).await;
        } else if self.sim.once_in(4) {
            self.sim.sleep(self.sim.random(300)).await;
        }
    }

    /// A place between two steps whose order matters: others get the time to come in between.
    pub(super) async fn dawdle(&self) {
        if self.sim.faulty() && self.sim.once_in(self.odds.dawdle) {
            self.sim.sleep(self.sim.random(600_000)).await;
        }
        self.step().await;
    }

    /// Where the absence of one rule would matter, threads are stopped more often: that changes how soon the search finds
    /// something, not what there is to find.
    pub(super) async fn linger(&self, rule: Without) {
        if !self.keeps(rule) && self.sim.faulty() && self.sim.once_in(8) {
            let time = self.sim.between(3_000_000, 9_000_000);
            self.log(|| format!("is stopped for {} ms", time / 1000));
            self.sim.pause(self.owner, time, false);
            self.sim.sleep(1).await;
        }
    }

    pub(super) async fn connect(&self) -> Connection {
        self.database.connect(self.owner).await
    }

    async fn membership(self: &Rc<Self>) {
        loop {
            let connection = self.connect().await;
            let id = NodeId(Uuid::from_u128(self.sim.fresh().into()));
            let mut early = None;
            if !self.keeps(Without::RowBeforeHolds) {
                early = connection.ask(|tables| tables.holds()).await.ok();
                self.dawdle().await;
            }
            let (process, renewed_at) = (self.process, self.sim.now());
            let row = database::Node {
                process,
                expelled: false,
                renewed_at,
            };
            let inserted = connection.ask(move |tables| tables.nodes.insert(id, row));
            if inserted.await.is_err() {
                continue;
            }
            self.dawdle().await;
            self.member.borrow_mut().joined(id);
            self.settled.set(false);
            if !self.keeps(Without::ClearAfterHolds) {
                self.live.clear();
            }
            self.log(|| "has joined".to_owned());
            self.dawdle().await;
            self.stay(connection, id, early).await;
            if self.leaving.get() {
                let connection = self.connect().await;
                let _ = connection
                    .ask(move |tables| tables.nodes.remove(&id).is_some())
                    .await;
                self.log(|| "has left".to_owned());
                self.sim.kill(self.owner);
                return;
            }
        }
    }

    /// Renews until the membership is over.
    async fn stay(
        self: &Rc<Self>,
        mut connection: Connection,
        id: NodeId,
        mut early: Option<Vec<Hold>>,
    ) {
        let mut renew_at = Duration::ZERO;
        loop {
            let round = if self.now() >= renew_at {
                let begun = self.now();
                let renewed = self.renew(&connection, id, early.take()).await;
                if renewed.is_ok() {
                    renew_at = begun + RENEWAL;
                }
                renewed
            } else {
                self.look(&connection, id, None).await.map(|()| true)
            };
            match round {
                Ok(true) if !self.leaving.get() => self.sim.sleep(micros(LOOK)).await,
                Ok(_) => {
                    let kept = self.kept(&[]);
                    self.member.borrow_mut().lost();
                    self.keep(kept);
                    self.log(|| "is a member no more".to_owned());
                    let _ = connection
                        .ask(move |tables| tables.nodes.remove(&id).is_some())
                        .await;
                    return;
                }
                Err(Lost) => connection = self.connect().await,
            }
        }
    }

    /// `Ok(false)` when the membership is over.
    async fn renew(
        self: &Rc<Self>,
        connection: &Connection,
        id: NodeId,
        early: Option<Vec<Hold>>,
    ) -> Result<bool, Lost> {
        let mut asked_at = self.live.clocks();
        self.step().await;
        let heeds = self.keeps(Without::RefusedRenewal);
        let (now, mut store_time) = (self.sim.now(), self.sim.wall());
        let renewed = connection
            .ask(move |tables| {
                let incarnation = tables.incarnation;
                let node = tables.nodes.get_mut(&id)?;
                if node.expelled && heeds {
                    return None;
                }
                node.renewed_at = now;
                Some(incarnation)
            })
            .await?;
        self.step().await;
        if !self.keeps(Without::LeaseFromAsking) {
            if self.sim.faulty() && self.sim.once_in(20) {
                // An answer that is late makes all the difference here, so there are more of them.
                self.log(|| "waits for the answer to its renewal".to_owned());
                self.sim.sleep(self.sim.between(1_500_000, 3_000_000)).await;
            }
            asked_at = self.live.clocks();
            // Else the clocks would seem to be apart, and there would be no lease.
            store_time = self.sim.wall();
        }
        let Some(incarnation) = renewed else {
            return Ok(false);
        };
        let renewal = Renewal {
            asked_at,
            answered_at: self.clock.now(),
            store_time,
            incarnation: incarnation.to_string(),
        };
        self.look(connection, id, early).await?;
        let renewed = self.member.borrow_mut().renewed(&renewal);
        Ok(renewed != Renewed::Lost)
    }

    /// Reads who is there and what is held, lets go of it, and says so.
    async fn look(
        self: &Rc<Self>,
        connection: &Connection,
        id: NodeId,
        early: Option<Vec<Hold>>,
    ) -> Result<(), Lost> {
        self.step().await;
        let (rows, read) = connection
            .ask(|tables| (tables.rows(), tables.holds()))
            .await?;
        self.step().await;
        let holds = early.unwrap_or(read);
        self.roster.borrow_mut().saw(&rows, self.now());
        let kept = if self.settled.replace(true) {
            None
        } else {
            self.kept(&[Without::ClearAtJoining, Without::ClearAfterHolds])
        };
        let answers = self.member.borrow_mut().saw(&holds);
        self.keep(kept);
        self.step().await;
        if !answers.is_empty() {
            self.log(|| {
                let list: Vec<String> = answers.iter().map(|(_, hold)| shown(*hold)).collect();
                format!("acknowledges {}", list.join(", "))
            });
            let ids: Vec<HoldId> = answers.iter().map(|(_, hold)| *hold).collect();
            let sent = ids.clone();
            let told = connection.ask(move |tables| {
                for hold in sent {
                    tables.acknowledge(hold, id);
                }
            });
            if told.await.is_err() {
                self.member.borrow_mut().unsent(ids);
                return Err(Lost);
            }
        }
        self.tidy(&rows, &holds, id);
        Ok(())
    }

    /// Deletes what lost statements have left behind, and the standing hold when somebody else is there.
    fn tidy(self: &Rc<Self>, rows: &[Row], holds: &[Hold], id: NodeId) {
        let foreign = |row: &&Row| row.process != self.process;
        self.others.set(rows.iter().any(|row| foreign(&row)));
        if self.others.get()
            && let Some(standing) = self.standing.take()
        {
            let of = Rc::clone(self);
            let delete = async move { of.delete_locked(vec![standing], true).await };
            self.sim.spawn(self.owner, delete);
        }
        let active = self.active.borrow();
        let left = tidying::forgotten(holds, self.process, |hold| active.contains(hold));
        let left: Vec<HoldId> = left.into_iter().map(|hold| hold.id).collect();
        let former = tidying::former(rows, self.process, Some(id));
        if (left.is_empty() || !self.keeps(Without::SweptHolds)) && former.is_empty() {
            return;
        }
        let of = Rc::clone(self);
        self.sim.spawn(self.owner, async move {
            let connection = of.connect().await;
            let swept = of.keeps(Without::SweptHolds);
            let _ = connection
                .ask(move |tables| {
                    for node in former {
                        tables.nodes.remove(&node);
                    }
                    for hold in left.into_iter().filter(|_| swept) {
                        tables.delete_hold(hold);
                    }
                })
                .await;
        });
    }

    /// Deletes holds when no transaction that goes by them can be under way.
    async fn delete_locked(&self, holds: Vec<HoldId>, own: bool) {
        let rule = if own {
            Without::StandingHoldLock
        } else {
            Without::CleanerLock
        };
        loop {
            let connection = self.connect().await;
            if self.keeps(rule) && connection.lock().await.is_err() {
                continue;
            }
            self.step().await;
            let gone = holds.clone();
            let deleted = connection.commit(move |tables| {
                for hold in gone {
                    tables.delete_hold(hold);
                }
            });
            if deleted.await.is_ok() {
                break;
            }
        }
        self.log(|| {
            let list: Vec<String> = holds.iter().map(|hold| shown(*hold)).collect();
            format!("has removed {}", list.join(", "))
        });
        if own {
            let mut active = self.active.borrow_mut();
            for hold in &holds {
                active.remove(hold);
            }
        }
    }

    /// What any member does for those that are gone.
    async fn cleaning(self: &Rc<Self>) {
        loop {
            self.sim.sleep(1_000_000).await;
            let connection = self.connect().await;
            let Ok((rows, holds, renewed)) = connection
                .ask(|tables| (tables.rows(), tables.holds(), tables.renewals()))
                .await
            else {
                continue;
            };
            let now = self.now();
            self.roster.borrow_mut().saw(&rows, now);
            let over = if self.keeps(Without::RowUntilLeaseIsOver) {
                self.roster.borrow().over(now)
            } else {
                let expelled = rows.iter().filter(|row| row.expelled);
                expelled.map(|row| row.id).collect()
            };
            let lives = rows.iter().filter(|row| !row.expelled);
            let lives: BTreeSet<NodeId> = lives.map(|row| row.id).collect();
            let others = renewed.into_iter().filter(|(id, _)| lives.contains(id));
            let dead = self.renewals.borrow_mut().dead(others, now);
            let expels = self.keeps(Without::Expulsion);
            let tidied = connection
                .ask(move |tables| {
                    for id in over {
                        tables.nodes.remove(&id);
                    }
                    for (id, count) in dead {
                        tables.expel_unrenewed(id, count, expels);
                    }
                })
                .await;
            if tidied.is_err() {
                continue;
            }
            // How long it waits is not what keeps it safe, so without what does it need not wait as long.
            let patience = if self.keeps(Without::CleanerLock) {
                STRAY
            } else {
                STRAY / 5
            };
            let orphans: Vec<HoldId> = {
                let mut seen = self.seen.borrow_mut();
                let old = seen.old(&holds, &rows, self.process, now, patience);
                old.into_iter().map(|hold| hold.id).collect()
            };
            if !orphans.is_empty() {
                drop(connection);
                self.delete_locked(orphans, false).await;
            }
        }
    }

    /// What a verify finds under a key, and where.
    pub(super) async fn verify(&self, key: Key) -> (Content, Source) {
        let before = self.lease_was_good.get();
        self.step().await;
        let may_answer = if self.keeps(Without::FreshClock) {
            self.live.may_answer()
        } else {
            before
        };
        if may_answer && let Some(token) = self.live.token(REALM, id_of(key)) {
            return (super::tokens::content(&token), Source::Memory);
        }
        if self.absent.borrow().contains(&key) {
            return (Content::default(), Source::Memory);
        }
        let (begun, mut ticket) = (self.sim.fresh(), Rc::new(self.live.begin()));
        let found = loop {
            let idle = self.idle.borrow_mut().pop();
            let connection = match idle {
                Some(connection) if !connection.is_broken() => connection,
                _ => self.connect().await,
            };
            if let Ok(found) = connection.ask(move |tables| tables.content(key)).await {
                self.idle.borrow_mut().push(connection);
                break found;
            }
        };
        self.step().await;
        if found.present {
            if !self.keeps(Without::EarlyTicket) {
                ticket = Rc::new(self.live.begin());
            }
            if let Some((since, kept)) = &*self.kept_ticket.borrow()
                && *since > begun
            {
                ticket = Rc::clone(kept);
            }
            self.live.fill_token(&ticket, Arc::new(token(key, found)));
        } else if !self.keeps(Without::NoForgotten) {
            self.absent.borrow_mut().insert(key);
        }
        (found, Source::Store)
    }

    /// What an index that is not emptied would keep; `None` where the rules hold.
    fn kept(&self, rules: &[Without]) -> Option<Vec<Arc<Token>>> {
        // Whoever does not clear after an expulsion does not do so when joining either.
        let mut rules = rules.iter().chain([&Without::ClearAfterExpulsion]);
        if rules.all(|rule| self.keeps(*rule)) {
            return None;
        }
        let keys = 0..KEYS_MAX;
        Some(
            keys.filter_map(|key| self.live.token(REALM, id_of(key)))
                .collect(),
        )
    }

    fn keep(&self, kept: Option<Vec<Arc<Token>>>) {
        let Some(kept) = kept else { return };
        let ticket = Rc::new(self.live.begin());
        for token in kept {
            self.live.fill_token(&ticket, token);
        }
        *self.kept_ticket.borrow_mut() = Some((self.sim.fresh(), ticket));
    }
}

/// A clock whose wall clock never shows that the other one stood still.
#[derive(Debug)]
struct BootOnly(Arc<ManualClock>);

impl engine::clock::Clock for BootOnly {
    fn now(&self) -> engine::clock::Timestamp {
        let micros = i64::try_from(self.0.since_boot().as_micros()).unwrap();
        engine::clock::Timestamp::from_micros(micros).unwrap()
    }

    fn since_boot(&self) -> Duration {
        self.0.since_boot()
    }
}

/// A hold in a schedule's words.
pub(super) fn shown(hold: HoldId) -> String {
    format!("hold {}", hold.0.as_u128())
}

/// Everything, or a few keys.
pub(super) fn held(keys: &[Key]) -> Held {
    let keys = keys.iter().map(|key| super::tokens::live_key(*key));
    Held::Keys(keys.collect())
}
