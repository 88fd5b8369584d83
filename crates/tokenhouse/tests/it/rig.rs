//! An engine on a fresh store, with a clock and chance of its own, for tests of verbs.
//!
//! The one thing to know: the store is the real one. There is no mock of it anywhere. A clock that stands still is far from
//! the database's, so a node with one is given no lease and asks the database each time; where memory has to answer,
//! [`Time::Goes`].

use std::sync::Arc;
use std::time::Duration;

use engine::caller::Caller;
use engine::clock::{Clock, ManualClock, SystemClock, Timestamp};
use engine::entropy::{Entropy as _, SeededEntropy};
use engine::keyring::Keyring;
use engine::locator::{Key, Place, Space};
use engine::realm::RealmId;
use engine::record::RecordId;
use engine::secret::Secret;
use engine::store::Role;
use engine::tags::Tags;
use engine::token::Token;
use engine::value::Scope;
use engine::verbs::issue::Issue;
use engine::verbs::records::NewRecord;
use engine::verbs::tokenize::{Content, Expiry, ExternalId, Identity, NewToken, Tokenize};
use engine::{Engine, Parts};
use serde_json::json;
use zeroize::Zeroizing;

use crate::backend::{Backend, FreshStore};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000_000;

/// An engine with what a test needs beside it.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) realm: RealmId,
    pub(crate) caller: Caller,
    pub(crate) entropy: Arc<SeededEntropy>,
    store: FreshStore,
}

/// What the engine's clock does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Time {
    /// It stands still until the test moves it.
    Stands,
    /// It is the machine's.
    Goes,
    /// It is the machine's, and what the test moves the wall clock by comes on top.
    Jumps,
}

/// The machine's clock and as much more as the other one was moved by.
#[derive(Debug)]
struct Jumping(Arc<ManualClock>);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let moved = self.0.now().as_micros() - START;
        Timestamp::from_micros(SystemClock.now().as_micros() + moved).unwrap()
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

impl Rig {
    /// One on a fresh store of this kind.
    pub(crate) async fn on(backend: Backend) -> Self {
        Self::set_up(backend, 1_000, Time::Stands).await
    }

    /// The same with a live index of this size.
    pub(crate) async fn set_up(backend: Backend, live_entries: usize, time: Time) -> Self {
        let store = FreshStore::new(backend).await;
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(START).unwrap()));
        let entropy = Arc::new(SeededEntropy::new(7));
        let running: Arc<dyn Clock> = match time {
            Time::Stands => Arc::clone(&clock) as _,
            Time::Goes => Arc::new(SystemClock),
            Time::Jumps => Arc::new(Jumping(Arc::clone(&clock))),
        };
        let engine = open(&store, running, &entropy, live_entries).await;
        let realm = engine.open_realm("test").await.unwrap();
        let caller = Caller::system(realm, "test");
        Self {
            engine,
            clock,
            realm,
            caller,
            entropy,
            store,
        }
    }

    /// Closes the store and opens it again, as a restart does.
    pub(crate) async fn reopened(self) -> Self {
        self.engine.close().await;
        let clock = Arc::clone(&self.clock) as _;
        let engine = open(&self.store, clock, &self.entropy, 1_000).await;
        Self { engine, ..self }
    }

    /// How many rows a table of the store has, for what no verb shows: what is left behind.
    pub(crate) fn rows(&self, table: &str, condition: &str) -> usize {
        self.store.count(table, condition)
    }

    /// Changes the database behind the store's back.
    pub(crate) fn tamper(&self, sql: &str) {
        self.store.tamper(sql);
    }

    /// The instant `secs` from now.
    pub(crate) fn in_secs(&self, secs: i64) -> Timestamp {
        self.engine.now().checked_add_secs(secs).unwrap()
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, secs: i64) {
        self.clock.advance_micros(secs * 1_000_000);
    }

    /// A new access token and its secret.
    pub(crate) async fn issue(&self, name: &str, tags: &[&str]) -> (Token, Secret) {
        let secret = self.secret();
        let issue = Issue {
            name: Some(name.to_owned()),
            tags: tags_of(tags, &[]),
            permissions: vec!["read".to_owned()],
            ..Issue::with_secret("client", secret.clone(), "hint".to_owned(), true)
        };
        (
            self.engine.issue(&self.caller, issue).await.unwrap(),
            secret,
        )
    }

    /// A random secret.
    pub(crate) fn secret(&self) -> Secret {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes);
        Secret::parse(&format!("s-{:032x}", u128::from_be_bytes(bytes))).unwrap()
    }

    /// A new record of a kind, found by its name.
    pub(crate) async fn record(
        &self,
        kind: &'static str,
        name: &str,
        parent: Option<RecordId>,
    ) -> RecordId {
        let id = self.engine.new_record_id();
        let new = NewRecord {
            parent,
            locators: vec![place(kind, name)],
            ..NewRecord::new(id, kind, json!({ "name": name }))
        };
        self.engine.create_record(&self.caller, new).await.unwrap();
        id
    }

    /// Tokenizes contents of one class.
    #[allow(clippy::unused_self, reason = "reads as the other makers of a rig")]
    pub(crate) fn tokenization(
        &self,
        container: RecordId,
        class: &str,
        identity: Identity,
        contents: &[&str],
    ) -> Tokenize {
        let token = |content: &&str| NewToken {
            class: class.to_owned(),
            identity,
            external_id: ExternalId::Default,
            scope: Scope {
                name: "default".to_owned(),
                global: false,
            },
            content: Content::Sealed(Zeroizing::new(content.as_bytes().to_vec())),
            body: json!({}),
            owner: None,
            tenant: None,
            tags: Tags::default(),
        };
        Tokenize {
            container,
            tokens: contents.iter().map(token).collect(),
            expiry: Expiry::Default(None),
            tags_max: 10,
            records: Vec::new(),
            marks: Vec::new(),
        }
    }
}

async fn open(
    store: &FreshStore,
    clock: Arc<dyn Clock>,
    entropy: &Arc<SeededEntropy>,
    live_entries: usize,
) -> Engine {
    let engine = Engine::new(Parts {
        store: store.open().await,
        keyring: Keyring::generate(&SeededEntropy::new(11)),
        clock,
        entropy: Arc::clone(entropy) as _,
        live_entries,
        role: Role::Server,
    });
    engine.bind().await.unwrap();
    engine.join(&[]).await.unwrap();
    engine.follow_keys().await.unwrap();
    engine
}

/// The place of a record made by [`Rig::record`].
pub(crate) fn place(kind: &'static str, name: &str) -> Place {
    Place::new(Space::of(kind), Key(name.as_bytes().to_vec()))
}

/// Tags, some of them unique.
pub(crate) fn tags_of(tags: &[&str], unique: &[&str]) -> Tags {
    let owned = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect();
    Tags::new(owned(tags), owned(unique), 10).unwrap()
}
