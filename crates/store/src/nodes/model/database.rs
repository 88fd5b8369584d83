//! The simulated server: tables, sessions, and one lock per realm that a session keeps until its transaction has ended.
//!
//! The one thing to know: a statement runs whole, at some time after it was sent, and its answer arrives some time after
//! that, or never. Who loses a connection does not know whether the statement has run, or whether it is yet to run; the
//! session ends on the server when the server notices, and only then lets go of its lock.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use engine::live::Held;

use super::super::{Hold, HoldId, NodeId, ProcessId, Row};
use super::sim::{Micros, Owner, Sender, Sim, channel};

/// How long the server lets a transaction last.
pub(super) const TRANSACTION_MAX: Micros = 10_000_000;

/// One token of the one realm that is written to, by a small number.
pub(super) type Key = u64;

/// What is stored under a key; it is absent before its first version, and again when it is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Content {
    pub(super) version: u64,
    pub(super) present: bool,
    pub(super) active: bool,
}

/// A row of the table of nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) process: ProcessId,
    pub(super) expelled: bool,
    pub(super) renewed_at: Micros,
}

/// Everything that is committed.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) holds: BTreeMap<HoldId, Hold>,
    pub(super) acknowledgements: BTreeSet<(HoldId, NodeId)>,
    pub(super) contents: BTreeMap<Key, Content>,
    /// The trace of each write that was applied, by the number of the call.
    pub(super) events: BTreeMap<u64, Vec<(Key, u64)>>,
    /// Writes that were applied a second time.
    pub(super) repeated: Vec<u64>,
    pub(super) incarnation: u64,
}

impl Tables {
    pub(super) fn rows(&self) -> Vec<Row> {
        let nodes = self.nodes.iter();
        nodes
            .map(|(id, node)| Row {
                id: *id,
                process: node.process,
                expelled: node.expelled,
            })
            .collect()
    }

    /// How often each has renewed, or what changes as often.
    pub(super) fn renewals(&self) -> Vec<(NodeId, i64)> {
        let nodes = self.nodes.iter();
        let count = |at: Micros| i64::try_from(at).expect("runs are minutes long");
        nodes
            .map(|(id, node)| (*id, count(node.renewed_at)))
            .collect()
    }

    /// Marks a member that has not renewed since its count was read.
    pub(super) fn expel_unrenewed(&mut self, id: NodeId, count: i64, expels: bool) {
        let still = self.renewals().contains(&(id, count));
        if let Some(node) = self.nodes.get_mut(&id).filter(|_| still && expels) {
            node.expelled = true;
        }
    }

    pub(super) fn holds(&self) -> Vec<Hold> {
        self.holds.values().cloned().collect()
    }

    pub(super) fn content(&self, key: Key) -> Content {
        self.contents.get(&key).copied().unwrap_or_default()
    }

    pub(super) fn place(&mut self, id: HoldId, owner: ProcessId, held: &Held) {
        let realm = match held {
            Held::Realm(realm) => *realm,
            Held::Keys(keys) => keys[0].realm(),
        };
        let held = held.clone();
        self.holds.entry(id).or_insert(Hold {
            id,
            realm,
            owner,
            held,
        });
    }

    pub(super) fn delete_hold(&mut self, id: HoldId) {
        self.holds.remove(&id);
        self.acknowledgements.retain(|(hold, _)| *hold != id);
    }

    pub(super) fn acknowledge(&mut self, hold: HoldId, node: NodeId) {
        if self.holds.contains_key(&hold) {
            self.acknowledgements.insert((hold, node));
        }
    }

    pub(super) fn expel(&mut self, nodes: &[NodeId]) {
        for id in nodes {
            if let Some(node) = self.nodes.get_mut(id) {
                node.expelled = true;
            }
        }
    }

    /// Writes what a call has decided, with its trace.
    pub(super) fn apply(&mut self, call: u64, writes: &[(Key, Content)]) {
        let trace = writes.iter().map(|(key, content)| (*key, content.version));
        if self.events.insert(call, trace.collect()).is_some() {
            self.repeated.push(call);
        }
        self.contents.extend(writes.iter().copied());
    }
}

type Granted = Box<dyn FnOnce(bool)>;

#[derive(Default)]
struct Sessions {
    open: BTreeSet<u64>,
    /// Who has the realm's lock, and which time it was given.
    holder: Option<(u64, u64)>,
    waiting: VecDeque<(u64, Granted)>,
}

struct Server {
    sim: Sim,
    tables: RefCell<Tables>,
    sessions: RefCell<Sessions>,
    /// Nobody leads before this.
    away_until: Cell<Micros>,
    /// Once in so many statements the connection breaks.
    cut_odds: u64,
}

/// A cheap handle to the server.
#[derive(Clone)]
pub(super) struct Database(Rc<Server>);

/// The connection is gone; whether its last statement has run is not known.
#[derive(Debug)]
pub(super) struct Lost;

impl Database {
    pub(super) fn new(sim: &Sim, cut_odds: u64) -> Self {
        Self(Rc::new(Server {
            sim: sim.clone(),
            tables: RefCell::default(),
            sessions: RefCell::default(),
            away_until: Cell::new(0),
            cut_odds,
        }))
    }

    /// What is committed, for those who judge.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Tables) -> T) -> T {
        look(&mut self.0.tables.borrow_mut())
    }

    /// Another server takes over; what was committed is there.
    pub(super) fn fail_over(&self) {
        let server = &self.0;
        server.tables.borrow_mut().incarnation += 1;
        server
            .away_until
            .set(server.sim.now() + server.sim.between(10_000, 1_000_000));
        let open: Vec<u64> = server.sessions.borrow().open.iter().copied().collect();
        for session in open {
            self.end(session);
        }
    }

    /// A session ends: what it had not committed never was.
    fn end(&self, session: u64) {
        let dropped: Vec<Granted> = {
            let mut sessions = self.0.sessions.borrow_mut();
            sessions.open.remove(&session);
            let (gone, stay): (VecDeque<_>, _) = std::mem::take(&mut sessions.waiting)
                .into_iter()
                .partition(|(id, _)| *id == session);
            sessions.waiting = stay;
            gone.into_iter().map(|(_, granted)| granted).collect()
        };
        for granted in dropped {
            granted(false);
        }
        self.unlock(session);
    }

    fn unlock(&self, session: u64) {
        let next = {
            let mut sessions = self.0.sessions.borrow_mut();
            if sessions.holder.is_none_or(|(holder, _)| holder != session) {
                return;
            }
            sessions.holder = None;
            sessions.waiting.pop_front()
        };
        if let Some((session, granted)) = next {
            self.lock(session, granted);
        }
    }

    fn lock(&self, session: u64, granted: Granted) {
        let time = self.0.sim.fresh();
        {
            let mut sessions = self.0.sessions.borrow_mut();
            if sessions.holder.is_some() {
                sessions.waiting.push_back((session, granted));
                return;
            }
            sessions.holder = Some((session, time));
        }
        let database = self.clone();
        self.0.sim.at(TRANSACTION_MAX, move || {
            let holder = database.0.sessions.borrow().holder;
            if holder == Some((session, time)) {
                database.end(session);
            }
        });
        granted(true);
    }

    /// A connection of a process; waits until there is one to be had.
    pub(super) async fn connect(&self, owner: Owner) -> Connection {
        let sim = &self.0.sim;
        loop {
            sim.sleep(sim.latency()).await;
            if sim.reaches_database(owner) && self.0.away_until.get() <= sim.now() {
                break;
            }
            sim.sleep(20_000).await;
        }
        let session = sim.fresh();
        self.0.sessions.borrow_mut().open.insert(session);
        Connection {
            database: self.clone(),
            owner,
            session,
            broken: Cell::new(false),
        }
    }

    fn is_open(&self, session: u64) -> bool {
        self.0.sessions.borrow().open.contains(&session)
    }
}

/// One connection, which has at most one statement under way.
pub(super) struct Connection {
    database: Database,
    owner: Owner,
    session: u64,
    broken: Cell<bool>,
}

/// Where the answer to one statement goes.
struct Reply<T> {
    sim: Sim,
    owner: Owner,
    sender: Rc<Cell<Option<Sender<T>>>>,
}

impl<T: 'static> Reply<T> {
    /// The one who waits learns after a while that no answer will come.
    fn lose(self) {
        let time = if self.sim.faulty() {
            self.sim.between(1_000, 600_000)
        } else {
            self.sim.between(1_000, 20_000)
        };
        let sim = self.sim.clone();
        sim.at(time, move || drop(self.sender.take()));
    }

    /// The answer finds its way back, if there is one.
    fn deliver(self, value: T) {
        let sim = self.sim.clone();
        sim.at(sim.latency(), move || {
            if !self.sim.reaches_database(self.owner) {
                self.lose();
            } else if let Some(sender) = self.sender.take() {
                sender.send(value);
            }
        });
    }
}

impl Connection {
    /// Runs one statement, as a transaction of its own or as the next one of the transaction that took the lock.
    pub(super) async fn ask<T: 'static>(
        &self,
        statement: impl FnOnce(&mut Tables) -> T + 'static,
    ) -> Result<T, Lost> {
        self.exchange(|database, _, reply| {
            let value = database.look(statement);
            reply.deliver(value);
        })
        .await
    }

    /// Runs the last statement of a transaction and commits it; the lock is free for the next.
    pub(super) async fn commit<T: 'static>(
        &self,
        statement: impl FnOnce(&mut Tables) -> T + 'static,
    ) -> Result<T, Lost> {
        self.exchange(|database, session, reply| {
            let value = database.look(statement);
            database.unlock(session);
            reply.deliver(value);
        })
        .await
    }

    /// Begins a transaction by taking the realm's lock.
    pub(super) async fn lock(&self) -> Result<(), Lost> {
        self.exchange(|database, session, reply| {
            let granted = move |granted: bool| {
                if granted {
                    reply.deliver(());
                } else {
                    reply.lose();
                }
            };
            database.lock(session, Box::new(granted));
        })
        .await
    }

    async fn exchange<T: 'static>(
        &self,
        run: impl FnOnce(&Database, u64, Reply<T>) + 'static,
    ) -> Result<T, Lost> {
        let (sender, receiver) = channel();
        let sender = Rc::new(Cell::new(Some(sender)));
        let sim = self.database.0.sim.clone();
        let reply = || Reply {
            sim: sim.clone(),
            owner: self.owner,
            sender: Rc::clone(&sender),
        };
        let broken = self.broken.get();
        let cut = broken || sim.faulty() && sim.once_in(self.database.0.cut_odds);
        let arrives = !broken && (!cut || sim.once_in(2));
        if cut {
            // The client may know of it before the statement arrives.
            reply().lose();
        }
        if arrives {
            let (database, session, reply) = (self.database.clone(), self.session, reply());
            let late = cut && sim.once_in(2);
            let time = if late {
                sim.between(1_000, 1_500_000)
            } else {
                sim.latency()
            };
            sim.at(time, move || {
                let reached = database.0.sim.reaches_database(reply.owner);
                if reached && database.is_open(session) {
                    run(&database, session, reply);
                } else {
                    reply.lose();
                }
            });
        }
        let answer = receiver.await;
        if answer.is_none() {
            self.cut();
        }
        answer.ok_or(Lost)
    }

    /// The client's end is gone; the server notices when it does.
    fn cut(&self) {
        if self.broken.replace(true) {
            return;
        }
        let (database, session) = (self.database.clone(), self.session);
        let sim = &self.database.0.sim;
        let time = match (sim.faulty(), sim.random(3)) {
            (true, 0) => sim.between(100_000, 5_000_000),
            _ => sim.between(100, 20_000),
        };
        sim.at(time, move || database.end(session));
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cut();
    }
}
