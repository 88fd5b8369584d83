//! Time, chance and the running of tasks, all from one seed.
//!
//! The one thing to know: whatever has several processes in it is written as plain `async` code. A task that waits can be
//! paused there (it is not polled), or killed there (it is dropped); so each `await` is a place where the world may change.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use engine::clock::{ManualClock, Timestamp};

/// Simulated microseconds.
pub(super) type Micros = u64;

/// A duration of the program's in simulated time.
pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).expect("durations here are seconds")
}

/// Which process a task belongs to; [`NOBODY`] is never paused or killed.
pub(super) type Owner = u64;

/// The world outside of all processes: clients, the network, the faults.
pub(super) const NOBODY: Owner = 0;

const WALL_START: i64 = 1_800_000_000_000_000;

type Event = Box<dyn FnOnce()>;

struct Task {
    owner: Owner,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// One process and the machine that it runs on.
struct Process {
    clock: Arc<ManualClock>,
    /// How fast its clocks run, in millionths.
    rate: u64,
    started: Micros,
    /// What its clocks have been moved by.
    shown: u64,
    paused: bool,
    /// Its clock since boot stands still, too.
    frozen: bool,
    /// How far its wall clock was set forward.
    jumped: i64,
    /// It reaches no database before this.
    cut_off_until: Micros,
    /// Tasks that were woken while it was paused.
    parked: Vec<u64>,
}

/// A cheap handle to the simulation.
#[derive(Clone)]
pub(super) struct Sim(Rc<Inner>);

struct Inner {
    now: Cell<Micros>,
    sequence: Cell<u64>,
    chance: Cell<u64>,
    /// Whether anything goes wrong any more.
    faults: Cell<bool>,
    events: RefCell<BTreeMap<(Micros, u64), Event>>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<VecDeque<u64>>>,
    processes: RefCell<BTreeMap<Owner, Process>>,
    log: RefCell<Option<Vec<String>>>,
    steps: Cell<u64>,
}

struct Wakeup {
    task: u64,
    ready: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push_back(self.task);
    }
}

impl Sim {
    pub(super) fn new(seed: u64, logging: bool) -> Self {
        let scrambled = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Rc::new(Inner {
            now: Cell::new(0),
            sequence: Cell::new(0),
            chance: Cell::new(scrambled | 1),
            faults: Cell::new(true),
            events: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
            processes: RefCell::default(),
            log: RefCell::new(logging.then(Vec::new)),
            steps: Cell::new(0),
        }))
    }

    pub(super) fn now(&self) -> Micros {
        self.0.now.get()
    }

    /// The store's clock, which runs as true time does.
    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::from_micros(WALL_START + i64::try_from(self.now()).unwrap()).unwrap()
    }

    /// How many events there have been: two runs of one seed have the same number.
    pub(super) fn steps(&self) -> u64 {
        self.0.steps.get()
    }

    pub(super) fn faulty(&self) -> bool {
        self.0.faults.get()
    }

    pub(super) fn stop_faults(&self) {
        self.0.faults.set(false);
    }

    /// A number that no other call of this run gets.
    pub(super) fn fresh(&self) -> u64 {
        let next = self.0.sequence.get() + 1;
        self.0.sequence.set(next);
        next
    }

    /// Between 0 and `below`, exclusively.
    pub(super) fn random(&self, below: u64) -> u64 {
        // xorshift64*
        let mut state = self.0.chance.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.chance.set(state);
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % below.max(1)
    }

    /// Between `from` and `to`, exclusively.
    pub(super) fn between(&self, from: u64, to: u64) -> u64 {
        from + self.random(to - from)
    }

    /// True once in `odds` times; never with 0.
    pub(super) fn once_in(&self, odds: u64) -> bool {
        odds > 0 && self.random(odds) == 0
    }

    /// How long a message or a statement takes: mostly short, sometimes very long.
    pub(super) fn latency(&self) -> Micros {
        if !self.faulty() {
            return self.between(100, 3_000);
        }
        match self.random(200) {
            0 => self.between(100_000, 1_500_000),
            1..=10 => self.between(5_000, 100_000),
            _ => self.between(100, 5_000),
        }
    }

    pub(super) fn log(&self, line: impl FnOnce() -> String) {
        if let Some(log) = self.0.log.borrow_mut().as_mut() {
            let millis = self.now() / 1000;
            log.push(format!(
                "{:3}.{:03} s  {}",
                millis / 1000,
                millis % 1000,
                line()
            ));
        }
    }

    pub(super) fn take_log(&self) -> Vec<String> {
        self.0.log.borrow_mut().take().unwrap_or_default()
    }

    /// Does something `after` so many microseconds.
    pub(super) fn at(&self, after: Micros, event: impl FnOnce() + 'static) {
        let key = (self.now() + after, self.fresh());
        self.0.events.borrow_mut().insert(key, Box::new(event));
    }

    pub(super) fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        if owner != NOBODY && !self.lives(owner) {
            return;
        }
        let id = self.fresh();
        let future = Box::pin(future);
        self.0.tasks.borrow_mut().insert(id, Task { owner, future });
        self.0.ready.lock().unwrap().push_back(id);
    }

    pub(super) async fn sleep(&self, time: Micros) {
        let (sender, receiver) = channel();
        self.at(time, move || sender.send(()));
        receiver.await;
    }

    /// A new process, whose clocks are up to half a percent fast or slow.
    pub(super) fn start(&self) -> (Owner, Arc<ManualClock>) {
        let owner = self.fresh();
        let clock = Arc::new(ManualClock::new(self.wall()));
        let process = Process {
            clock: Arc::clone(&clock),
            rate: self.between(995_000, 1_005_001),
            started: self.now(),
            shown: 0,
            paused: false,
            frozen: false,
            jumped: 0,
            cut_off_until: 0,
            parked: Vec::new(),
        };
        self.0.processes.borrow_mut().insert(owner, process);
        (owner, clock)
    }

    pub(super) fn lives(&self, owner: Owner) -> bool {
        self.0.processes.borrow().contains_key(&owner)
    }

    fn with<T>(&self, owner: Owner, change: impl FnOnce(&mut Process) -> T) -> Option<T> {
        self.0.processes.borrow_mut().get_mut(&owner).map(change)
    }

    /// Everything of a process ends at once.
    pub(super) fn kill(&self, owner: Owner) {
        self.0.processes.borrow_mut().remove(&owner);
        let dropped: Vec<Task> = {
            let mut tasks = self.0.tasks.borrow_mut();
            let of = tasks.iter().filter(|(_, task)| task.owner == owner);
            let ids: Vec<u64> = of.map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| tasks.remove(id)).collect()
        };
        drop(dropped);
    }

    /// Stops a process for a while; with `machine`, its clock since boot does not see it and the wall clock is set right
    /// afterwards.
    pub(super) fn pause(&self, owner: Owner, time: Micros, machine: bool) {
        let already = self.with(owner, |process| {
            process.frozen = machine && !process.paused || process.frozen;
            std::mem::replace(&mut process.paused, true)
        });
        if already != Some(false) {
            return;
        }
        let sim = self.clone();
        self.at(time, move || {
            let parked = sim.with(owner, |process| {
                process.paused = false;
                if std::mem::take(&mut process.frozen) {
                    let missed = i64::try_from(time).unwrap();
                    process.clock.advance_wall_micros(missed);
                }
                std::mem::take(&mut process.parked)
            });
            let mut parked = parked.unwrap_or_default();
            // Which thread runs first after a pause is chance.
            while !parked.is_empty() {
                let next = sim.random(parked.len() as u64);
                let task = parked.swap_remove(usize::try_from(next).unwrap());
                sim.0.ready.lock().unwrap().push_back(task);
            }
        });
    }

    /// Somebody sets the wall clock of a machine.
    pub(super) fn jump(&self, owner: Owner, micros: i64) {
        self.with(owner, |process| {
            process.clock.advance_wall_micros(micros);
            process.jumped += micros;
        });
    }

    /// All wall clocks are set right.
    pub(super) fn set_clocks(&self) {
        for process in self.0.processes.borrow_mut().values_mut() {
            let back = -std::mem::take(&mut process.jumped);
            process.clock.advance_wall_micros(back);
        }
    }

    pub(super) fn is_paused(&self, owner: Owner) -> bool {
        self.with(owner, |process| process.paused) == Some(true)
    }

    pub(super) fn cut_off(&self, owner: Owner, time: Micros) {
        let until = self.now() + time;
        self.with(owner, |process| process.cut_off_until = until);
    }

    pub(super) fn reaches_database(&self, owner: Owner) -> bool {
        let now = self.now();
        owner == NOBODY || self.with(owner, |process| process.cut_off_until <= now) == Some(true)
    }

    /// Runs until the time has come or `done` is true.
    pub(super) fn run(&self, until: Micros, done: impl Fn() -> bool) {
        loop {
            loop {
                let next = self.0.ready.lock().unwrap().pop_front();
                let Some(task) = next else { break };
                self.poll(task);
            }
            if done() {
                return;
            }
            let next = {
                let mut events = self.0.events.borrow_mut();
                let due = events.first_entry().filter(|next| next.key().0 <= until);
                due.map(std::collections::btree_map::OccupiedEntry::remove_entry)
            };
            let Some(((at, _), event)) = next else { return };
            self.advance(at);
            self.0.steps.set(self.0.steps.get() + 1);
            event();
        }
    }

    fn advance(&self, to: Micros) {
        let passed = to - self.now();
        self.0.now.set(to);
        for process in self.0.processes.borrow_mut().values_mut() {
            if process.frozen {
                process.started += passed;
                continue;
            }
            let due = (to - process.started) * process.rate / 1_000_000;
            if due > process.shown {
                let by = i64::try_from(due - process.shown).unwrap();
                process.clock.advance_micros(by);
                process.shown = due;
            }
        }
    }

    fn poll(&self, id: u64) {
        let Some(mut task) = self.0.tasks.borrow_mut().remove(&id) else {
            return;
        };
        let parked = self.with(task.owner, |process| {
            if process.paused && !process.parked.contains(&id) {
                process.parked.push(id);
            }
            process.paused
        });
        if parked != Some(true) {
            let ready = Arc::clone(&self.0.ready);
            let waker = Waker::from(Arc::new(Wakeup { task: id, ready }));
            let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
            let lives = task.owner == NOBODY || self.lives(task.owner);
            if polled.is_ready() || !lives {
                return;
            }
        }
        self.0.tasks.borrow_mut().insert(id, task);
    }

    /// Ends everything that still runs, so that nothing keeps anything else in memory.
    pub(super) fn end(&self) {
        loop {
            // Whatever is dropped may ask for something to be done later.
            let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            let events = std::mem::take(&mut *self.0.events.borrow_mut());
            if tasks.is_empty() && events.is_empty() {
                return;
            }
            drop((tasks, events));
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

struct Channel<T> {
    value: Option<T>,
    waker: Option<Waker>,
    closed: bool,
}

/// Gives one value, or the news that there will be none when it is dropped.
pub(super) struct Sender<T>(Weak<RefCell<Channel<T>>>);

/// Waits for the one value.
pub(super) struct Receiver<T>(Rc<RefCell<Channel<T>>>);

pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let channel = Rc::new(RefCell::new(Channel {
        value: None,
        waker: None,
        closed: false,
    }));
    (Sender(Rc::downgrade(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(super) fn send(self, value: T) {
        if let Some(channel) = self.0.upgrade() {
            channel.borrow_mut().value.get_or_insert(value);
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(channel) = self.0.upgrade() {
            let mut channel = channel.borrow_mut();
            channel.closed = true;
            if let Some(waker) = channel.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut channel = self.0.borrow_mut();
        if let Some(value) = channel.value.take() {
            return Poll::Ready(Some(value));
        }
        if channel.closed {
            return Poll::Ready(None);
        }
        channel.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
