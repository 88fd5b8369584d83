//! One run of the search: nodes, clients and faults from one seed, and the judgement on what the clients were told.
//!
//! The one thing to know: a client knows a version from the moment at which a write was answered to anybody. Every verify
//! that is begun after that, on whatever node, must answer this version or a later one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::database::{Content, Database, Key};
use super::node::{Node, Odds, Source};
use super::rules::Without;
use super::sim::{Micros, NOBODY, Sim, channel};
use super::tokens::KEYS_MAX;
use super::write::{Answer, Call, Told};

const SECOND: Micros = 1_000_000;
/// Until then things go wrong.
const FAULTS_UNTIL: Micros = 12 * SECOND;
/// By then everything must have come to an end.
const SETTLED_BY: Micros = 60 * SECOND;

/// What one seed makes of the world.
struct Profile {
    nodes: usize,
    keys: Key,
    clients: usize,
    readers: usize,
    think: Micros,
    capacity: usize,
    odds: Odds,
    /// Time between faults that befall a node from outside.
    between_faults: Micros,
    late: bool,
    /// Out of ten writes, how many are of the whole realm.
    bulk: u64,
}

/// What a run came to.
pub(super) struct Outcome {
    /// What was wrong, and the lines of the log that have to do with it.
    pub(super) violation: Option<String>,
    pub(super) steps: u64,
    pub(super) answered: usize,
    pub(super) verified: usize,
    pub(super) from_memory: usize,
}

struct World {
    sim: Sim,
    database: Database,
    profile: Profile,
    without: Option<Without>,
    slots: RefCell<Vec<Option<Rc<Node>>>>,
    /// The version of each key that somebody was told of, and by which call.
    floor: RefCell<BTreeMap<Key, (u64, u64)>>,
    /// Every call with its answer, if there was one.
    calls: RefCell<BTreeMap<u64, (Call, Option<Answer>)>>,
    pending: Cell<usize>,
    verified: Cell<usize>,
    from_memory: Cell<usize>,
    violation: RefCell<Option<(String, Vec<String>)>>,
}

/// Runs one seed.
pub(super) fn run(seed: u64, without: Option<Without>, logging: bool) -> Outcome {
    let sim = Sim::new(seed, logging);
    let one_of = |list: &[u64]| list[usize::try_from(sim.random(list.len() as u64)).unwrap()];
    let profile = Profile {
        nodes: usize::try_from(sim.between(2, 5)).unwrap(),
        keys: sim.between(1, KEYS_MAX + 1),
        clients: usize::try_from(sim.between(1, 4)).unwrap(),
        readers: usize::try_from(sim.between(1, 4)).unwrap(),
        think: one_of(&[10_000, 100_000, 600_000]),
        capacity: usize::try_from(one_of(&[2, 100])).unwrap(),
        odds: Odds {
            pause: one_of(&[0, 100, 400, 2_000]),
            kill: one_of(&[0, 0, 1_000, 5_000]),
            dawdle: one_of(&[0, 2, 4, 20]),
        },
        between_faults: one_of(&[120_000, 400_000, 1_500_000, 4_000_000]),
        late: sim.once_in(2),
        bulk: one_of(&[0, 1, 3]),
    };
    let database = Database::new(&sim, one_of(&[0, 30, 150, 1_000]));
    let world = Rc::new(World {
        sim: sim.clone(),
        database,
        slots: RefCell::new((0..profile.nodes).map(|_| None).collect()),
        profile,
        without,
        floor: RefCell::default(),
        calls: RefCell::default(),
        pending: Cell::default(),
        verified: Cell::default(),
        from_memory: Cell::default(),
        violation: RefCell::default(),
    });
    world.begin();
    let of = Rc::clone(&world);
    sim.run(FAULTS_UNTIL, move || of.violation.borrow().is_some());
    world.settle();
    world.judge();
    world.slots.borrow_mut().clear();
    sim.end();
    let log = sim.take_log();
    let violation = world.violation.borrow_mut().take();
    let answered = world.calls.borrow();
    Outcome {
        violation: violation.map(|(what, tags)| schedule(&what, &tags, &log)),
        steps: sim.steps(),
        answered: answered
            .values()
            .filter(|(_, answer)| answer.is_some())
            .count(),
        verified: world.verified.get(),
        from_memory: world.from_memory.get(),
    }
}

/// The last lines of the log that name what the violation is about.
fn schedule(what: &str, tags: &[String], log: &[String]) -> String {
    const LINES: usize = 16;
    let about = |line: &&String| tags.iter().any(|tag| line.contains(tag.as_str()));
    let lines: Vec<&String> = log.iter().filter(about).collect();
    let mut text = format!("{what}\n");
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

impl World {
    fn begin(self: &Rc<Self>) {
        if self.sim.once_in(2) {
            let first = Content {
                version: 1,
                present: true,
                active: true,
            };
            let keys = (0..self.profile.keys).map(|key| (key, first));
            self.database.look(|tables| tables.contents.extend(keys));
        }
        for slot in 0..self.profile.nodes {
            let of = Rc::clone(self);
            let late = slot > 0 && self.profile.late;
            self.sim.spawn(NOBODY, async move {
                let most = if late { 6 * SECOND } else { 1_000 };
                of.sim.sleep(of.sim.random(most)).await;
                of.start(slot);
            });
        }
        for _ in 0..self.profile.clients {
            let of = Rc::clone(self);
            self.sim
                .spawn(NOBODY, async move { of.writing_client().await });
        }
        for _ in 0..self.profile.readers {
            let of = Rc::clone(self);
            self.sim
                .spawn(NOBODY, async move { of.reading_client().await });
        }
        let of = Rc::clone(self);
        self.sim.spawn(NOBODY, async move { of.faults().await });
    }

    fn start(&self, slot: usize) {
        let profile = &self.profile;
        let (capacity, odds) = (profile.capacity, profile.odds);
        let name = usize::try_from(self.sim.fresh()).unwrap();
        let node = Node::start(
            name,
            &self.sim,
            &self.database,
            capacity,
            self.without,
            odds,
        );
        node.log(|| format!("starts as number {}", slot + 1));
        self.slots.borrow_mut()[slot] = Some(node);
    }

    fn living(&self) -> Vec<Rc<Node>> {
        let slots = self.slots.borrow();
        let nodes = slots.iter().flatten();
        nodes
            .filter(|node| self.sim.lives(node.owner))
            .cloned()
            .collect()
    }

    fn any_node(&self) -> Option<Rc<Node>> {
        let living = self.living();
        let number = usize::try_from(self.sim.random(living.len() as u64)).unwrap();
        living.into_iter().nth(number)
    }

    fn any_key(&self) -> Key {
        self.sim.random(self.profile.keys)
    }

    fn any_call(&self) -> Call {
        if self.sim.random(10) < self.profile.bulk {
            return Call::SetAll(self.sim.once_in(2));
        }
        match self.sim.random(10) {
            0..=5 => {
                let mut keys = vec![self.any_key()];
                if self.sim.once_in(3) {
                    keys.push(self.any_key());
                    keys.sort_unstable();
                    keys.dedup();
                }
                Call::Set(keys, self.sim.once_in(2))
            }
            9 if self.sim.once_in(3) => Call::Delete(self.any_key()),
            _ => Call::Create(self.any_key()),
        }
    }

    async fn writing_client(self: Rc<Self>) {
        let mut repeat = None;
        while self.sim.faulty() {
            let call = if let Some(call) = repeat.take() {
                call
            } else {
                self.sim.sleep(self.sim.random(self.profile.think)).await;
                self.any_call()
            };
            let Some(node) = self.any_node() else {
                self.sim.sleep(10_000).await;
                continue;
            };
            let answer = self.call(&node, call.clone()).await;
            if answer.is_none() && !self.sim.once_in(3) {
                // Whoever got no answer asks again elsewhere.
                repeat = Some(call.clone());
            }
            if answer.is_some() {
                for _ in 0..self.sim.random(4) {
                    let keys = call.keys();
                    let key = keys[usize::try_from(self.sim.random(keys.len() as u64)).unwrap()];
                    self.verify_anywhere(key).await;
                }
            }
        }
    }

    async fn call(&self, node: &Rc<Node>, call: Call) -> Option<Answer> {
        let number = self.sim.fresh();
        node.log(|| format!("call {number} asks: {call:?}"));
        self.calls.borrow_mut().insert(number, (call.clone(), None));
        self.pending.set(self.pending.get() + 1);
        let (sender, receiver) = channel();
        let of = Rc::clone(node);
        self.sim.spawn(node.owner, async move {
            sender.send(of.write(number, call).await);
        });
        let answer = receiver.await;
        self.pending.set(self.pending.get() - 1);
        if let Some((told, versions)) = &answer {
            let mut floor = self.floor.borrow_mut();
            for (key, version) in versions {
                let known = floor.entry(*key).or_default();
                if known.0 < *version {
                    *known = (*version, number);
                }
            }
            let told = Some((told.clone(), versions.clone()));
            if let Some(entry) = self.calls.borrow_mut().get_mut(&number) {
                entry.1 = told;
            }
        }
        answer
    }

    async fn reading_client(self: Rc<Self>) {
        while self.sim.faulty() {
            self.sim.sleep(self.sim.random(40_000)).await;
            let of = Rc::clone(&self);
            let key = self.any_key();
            // A node that is stopped keeps one client waiting, not all.
            self.sim
                .spawn(NOBODY, async move { of.verify_anywhere(key).await });
        }
    }

    async fn verify_anywhere(&self, key: Key) {
        if let Some(node) = self.any_node() {
            self.verify(&node, key).await;
        }
    }

    async fn verify(&self, node: &Rc<Node>, key: Key) -> Option<Source> {
        let (version, call) = self.floor.borrow().get(&key).copied().unwrap_or_default();
        let (sender, receiver) = channel();
        let of = Rc::clone(node);
        self.sim.spawn(node.owner, async move {
            sender.send(of.verify(key).await);
        });
        let (found, source): (Content, Source) = receiver.await?;
        self.verified.set(self.verified.get() + 1);
        if source == Source::Memory {
            self.from_memory.set(self.from_memory.get() + 1);
        }
        if found.version < version {
            let kind = if found.present {
                "a stale answer"
            } else {
                "a fresh token refused"
            };
            let what = format!(
                "{kind}: node {} answers version {} of key {key} from {source:?} after call {call} was answered \
                 with version {version}",
                node.name, found.version
            );
            let tags = vec![
                format!("node {}:", node.name),
                format!("call {call}"),
                "the store".to_owned(),
            ];
            self.violated(what, tags);
        }
        Some(source)
    }

    fn violated(&self, what: String, tags: Vec<String>) {
        self.sim.log(|| format!("call 0 node 0: {what}"));
        self.violation.borrow_mut().get_or_insert((what, tags));
    }

    async fn faults(self: Rc<Self>) {
        loop {
            let time = self.sim.random(2 * self.profile.between_faults);
            self.sim.sleep(time).await;
            if !self.sim.faulty() {
                return;
            }
            let slot = usize::try_from(self.sim.random(self.profile.nodes as u64)).unwrap();
            let node = self.slots.borrow()[slot].clone();
            let Some(node) = node else { continue };
            if !self.sim.lives(node.owner) {
                self.start(slot);
                continue;
            }
            let (sim, owner) = (&self.sim, node.owner);
            match sim.random(20) {
                0..=4 => {
                    let time = sim.between(50_000, 8 * SECOND);
                    node.log(|| format!("is stopped for {} ms", time / 1000));
                    sim.pause(owner, time, false);
                }
                5..=7 => {
                    let time = sim.between(50_000, 4 * SECOND);
                    node.log(|| format!("its machine stands still for {} ms", time / 1000));
                    sim.pause(owner, time, true);
                }
                8..=12 => {
                    let time = sim.between(100_000, 5 * SECOND);
                    node.log(|| format!("is cut off for {} ms", time / 1000));
                    sim.cut_off(owner, time);
                }
                13 | 14 => {
                    node.log(|| "is killed".to_owned());
                    sim.kill(owner);
                }
                15 => {
                    let by = i64::try_from(sim.random(4 * SECOND)).unwrap() - 2_000_000;
                    node.log(|| format!("its wall clock is set by {} ms", by / 1000));
                    sim.jump(owner, by);
                }
                16 => {
                    sim.log(|| "the store fails over".to_owned());
                    self.database.fail_over();
                }
                _ => {
                    node.log(|| "is told to leave".to_owned());
                    node.leaving.set(true);
                }
            }
        }
    }

    /// Nothing goes wrong any more: all that was begun must end.
    fn settle(self: &Rc<Self>) {
        if self.violation.borrow().is_some() {
            return;
        }
        self.sim.stop_faults();
        self.sim.set_clocks();
        if self.living().iter().all(|node| node.leaving.get()) {
            self.start(0);
        }
        let of = Rc::clone(self);
        let looked = Cell::new(0);
        let done = move || {
            if of.sim.now() < looked.get() + SECOND / 5 {
                return false;
            }
            looked.set(of.sim.now());
            of.violation.borrow().is_some() || of.is_quiet()
        };
        self.sim.run(SETTLED_BY, done);
        if self.violation.borrow().is_some() || self.is_quiet() {
            return;
        }
        let holds = self.database.look(|tables| tables.holds());
        let leased = self.living();
        let leased = leased.iter().filter(|node| node.live.may_answer()).count();
        let what = format!(
            "it never ends: {} calls wait, {} holds are left, {leased} of {} nodes answer from memory",
            self.pending.get(),
            holds.len(),
            self.living().len(),
        );
        self.violated(what, vec!["node".to_owned()]);
    }

    fn is_quiet(&self) -> bool {
        let living = self.living();
        let mut nodes = living.iter();
        if self.pending.get() > 0 || !nodes.all(|node| self.may_rest(node)) {
            return false;
        }
        self.database.look(|tables| {
            let standing = |id| living.len() == 1 && living[0].standing.get() == Some(id);
            tables.holds.keys().all(|id| standing(*id))
        })
    }

    fn may_rest(&self, node: &Node) -> bool {
        let runs = !self.sim.is_paused(node.owner) && self.sim.reaches_database(node.owner);
        runs && !node.leaving.get() && node.live.may_answer()
    }

    /// What the store holds in the end must be what was told.
    fn judge(self: &Rc<Self>) {
        if self.violation.borrow().is_some() {
            return;
        }
        let of = Rc::clone(self);
        self.sim.spawn(NOBODY, async move {
            // The nodes have yet to see that the last holds are gone.
            of.sim.sleep(SECOND).await;
            for node in of.living() {
                for key in 0..of.profile.keys {
                    of.verify(&node, key).await;
                }
                let mut source = None;
                for _ in 0..20 {
                    source = of.verify(&node, 0).await;
                    if source == Some(Source::Memory) {
                        break;
                    }
                    of.sim.sleep(SECOND / 5).await;
                }
                let present = of.database.look(|tables| tables.content(0).present);
                // A tiny index may have no room for one more.
                let room = of.profile.capacity > 2;
                if source == Some(Source::Store) && present && room {
                    let what = format!("node {} never remembers again", node.name);
                    of.violated(what, vec![format!("node {}:", node.name)]);
                }
            }
        });
        self.sim.run(SETTLED_BY + 30 * SECOND, || false);
        let (events, repeated) = self.database.look(|tables| {
            let repeated = tables.repeated.clone();
            (tables.events.clone(), repeated)
        });
        for call in repeated {
            let tags = vec![format!("call {call} ")];
            self.violated(format!("call {call} was applied twice"), tags);
        }
        for (number, (call, answer)) in &*self.calls.borrow() {
            let Some((told, versions)) = answer else {
                continue;
            };
            let trace = events.get(number);
            let refused = *told == Told::Refused;
            let kept = trace.is_none_or(|trace| trace.iter().all(|one| versions.contains(one)));
            let lost = versions.iter().any(|(key, version)| {
                self.database.look(|tables| tables.content(*key).version) < *version
            });
            if refused && trace.is_some() || !kept || lost {
                let what =
                    format!("call {number} ({call:?}) was told {told:?}, the store says {trace:?}");
                self.violated(what, vec![format!("call {number} ")]);
            }
        }
    }
}
