//! What the tests of the contract write with: rows full of content, ids and instants that repeat in every run.
//!
//! The one thing to know: ids grow with each call, so "in order of id" is the order in which a test made its rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use engine::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::caller::{Actor, ActorKind};
use engine::clock::Timestamp;
use engine::entropy::{Ids, SeededEntropy};
use engine::event::{Change, Event, EventId, Outcome, Subject};
use engine::limits;
use engine::locator::{Holder, Key, Place, Space};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{Lookup, Query, Rows, Store, StoreError};
use engine::token::{Access, Body, Data, State, Token, TokenId};
use engine::value::{Scope, Sealed, Value, ValueId};
use serde_json::json;
use uuid::Uuid;

use super::House;

/// A store with a realm to write in.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) realm: RealmId,
    chance: Arc<Chance>,
}

struct Chance {
    ids: Ids,
    entropy: SeededEntropy,
    micros: AtomicI64,
}

impl World {
    pub(crate) async fn of(house: &dyn House) -> Self {
        let chance = Chance {
            ids: Ids::default(),
            entropy: SeededEntropy::new(1),
            micros: AtomicI64::new(1_767_225_600_000_000),
        };
        let world = Self {
            store: house.open().await,
            realm: RealmId(Uuid::nil()),
            chance: Arc::new(chance),
        };
        world.another_realm()
    }

    /// The same store, in a realm of its own.
    pub(crate) fn another_realm(&self) -> Self {
        Self {
            realm: RealmId(self.id()),
            ..self.clone()
        }
    }

    /// The same realm, after the store was opened again.
    pub(crate) async fn reopened(&self, house: &dyn House) -> Self {
        self.over(house.open().await)
    }

    /// The same realm in another store.
    pub(crate) fn over(&self, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            ..self.clone()
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.chance.ids.next(self.now(), &self.chance.entropy)
    }

    /// A later instant at each call.
    pub(crate) fn now(&self) -> Timestamp {
        let micros = self.chance.micros.fetch_add(1, Ordering::SeqCst);
        Timestamp::from_micros(micros).unwrap()
    }

    pub(crate) fn record(&self, kind: &str, parent: Option<RecordId>) -> Record {
        let now = self.now();
        Record {
            realm: self.realm,
            id: RecordId(self.id()),
            kind: kind.to_owned(),
            version: 1,
            state: State::Active,
            expires_at: Some(Timestamp::MAX),
            addresses: vec![
                "10.0.0.0/8".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            parent,
            locators: vec![place("name", b"a\x00b")],
            marks: vec![place("owner", b"")],
            body: json!({"z": 1, "a": {"list": [null, true, -1.5, u64::MAX, "\u{0}ü"]}}),
            created_at: now,
            created_by: "maker".to_owned(),
            updated_at: now,
            updated_by: "maker".to_owned(),
        }
    }

    pub(crate) fn value(&self, container: Option<RecordId>) -> Value {
        Value {
            realm: self.realm,
            id: ValueId(self.id()),
            version: 1,
            class: "randomized".to_owned(),
            container,
            external_id: Some("outward".to_owned()),
            scope: Some(Scope {
                name: "default".to_owned(),
                global: true,
            }),
            identity: Some([7; 32]),
            refers_to: None,
            body: json!({"type": "EMAIL"}),
            sealed: Some(Sealed(vec![0, 1, 2, 255])),
            created_at: self.now(),
            superseded_at: None,
        }
    }

    pub(crate) fn token(&self, body: Body) -> Token {
        let now = self.now();
        Token {
            realm: self.realm,
            id: TokenId(self.id()),
            class: "client".to_owned(),
            container: None,
            parent: None,
            name: Some("a \u{0} name ü 🙂".to_owned()),
            tags: vec!["second".to_owned(), "first".to_owned()],
            tenant: Some(String::new()),
            state: State::Active,
            expires_at: Some(Timestamp::MIN),
            version: 1,
            created_at: now,
            created_by: "maker".to_owned(),
            updated_at: now,
            updated_by: "maker".to_owned(),
            marks: vec![Place::new(Space::of("dialect"), Key(vec![7]))],
            locators: vec![Place::new(Space::of("name"), Key(vec![8]))],
            attributes: json!({"note": "x"}),
            body,
        }
    }

    pub(crate) fn access_token(&self) -> Token {
        self.token(Body::Access(Access {
            proof: Some([9; 32]),
            hint: "abcd".to_owned(),
            sealed_secret: None,
            permissions: vec!["read".to_owned()],
            addresses: vec!["192.0.2.1/32".parse().unwrap()],
            uses_max: Some(50),
        }))
    }

    pub(crate) fn data_token(&self, value: ValueId) -> Token {
        self.token(Body::Data(Data { value }))
    }

    pub(crate) fn event(&self) -> Event {
        Event {
            id: EventId(self.id()),
            realm: self.realm,
            at: self.now(),
            actor: Actor {
                kind: ActorKind::Token,
                id: "7".to_owned(),
                name: "somebody".to_owned(),
            },
            verb: "token.updated".to_owned(),
            outcome: Outcome::Done,
            reason: Some("because".to_owned()),
            request: "req-1".to_owned(),
            count: 1,
            changes: Vec::new(),
        }
    }

    pub(crate) fn batch(&self) -> Batch {
        Batch {
            event: self.event(),
            tokens: Vec::new(),
            values: Vec::new(),
            records: Vec::new(),
            locators: Vec::new(),
            marks: Vec::new(),
        }
    }

    pub(crate) fn query(&self, lookups: Vec<Lookup>) -> Query {
        Query {
            realm: self.realm,
            lookups,
            entries: false,
            sealed: false,
            limit: limits::TOKENS_PER_CALL_MAX,
        }
    }

    /// Commits a batch that depends on nothing.
    pub(crate) async fn write(&self, batch: Batch) -> Result<bool, StoreError> {
        let decide = Box::new(move |_: &Rows| Some(batch.clone()));
        self.store.commit(self.query(Vec::new()), decide).await
    }

    /// Commits these rows as new ones.
    pub(crate) async fn insert(&self, rows: Vec<Row>) {
        let mut batch = self.batch();
        for row in rows {
            match row {
                Row::Token(token) => batch.tokens.push(TokenWrite::Insert(token)),
                Row::Value(value) => batch.values.push(ValueWrite::Insert(value)),
                Row::Record(record) => batch.records.push(RecordWrite::Insert(record)),
                Row::Locator(place, holder) => batch.locators.push(claim(place, holder, None)),
                Row::Mark(place, holder) => batch.marks.push(MarkWrite::Set(place, holder)),
            }
        }
        assert!(self.write(batch).await.unwrap());
    }

    pub(crate) async fn rows(&self, lookups: Vec<Lookup>) -> Rows {
        self.store.fetch(self.query(lookups)).await.unwrap()
    }

    pub(crate) async fn find_token(&self, id: TokenId) -> Option<Token> {
        let mut rows = self.rows(vec![Lookup::Token(id)]).await;
        rows.tokens.remove(&id)
    }

    pub(crate) async fn find_record(&self, id: RecordId) -> Option<Record> {
        let mut rows = self.rows(vec![Lookup::Record(id)]).await;
        rows.records.remove(&id)
    }

    pub(crate) async fn find_value(&self, id: ValueId) -> Option<Value> {
        let query = Query {
            sealed: true,
            ..self.query(vec![Lookup::Value(id)])
        };
        let mut rows = self.store.fetch(query).await.unwrap();
        rows.values.remove(&id)
    }

    pub(crate) async fn holder(&self, place: &Place) -> Option<Holder> {
        let rows = self.rows(vec![Lookup::Located(place.clone())]).await;
        rows.located.get(place).copied()
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        let all = self.store.events_before(self.realm, None, 1000);
        all.await.unwrap()
    }
}

/// A row to be inserted.
#[allow(clippy::large_enum_variant, reason = "a few rows of one test")]
pub(crate) enum Row {
    Token(Token),
    Value(Value),
    Record(Record),
    Locator(Place, Holder),
    Mark(Place, Holder),
}

pub(crate) fn place(space: &'static str, key: &[u8]) -> Place {
    Place::new(Space::of(space), Key(key.to_vec()))
}

pub(crate) const fn claim(place: Place, holder: Holder, from: Option<Holder>) -> LocatorWrite {
    LocatorWrite::Claim {
        place,
        holder,
        from,
    }
}

/// The next version of a token, with another name.
pub(crate) fn renamed(token: &Token, name: &str) -> TokenWrite {
    TokenWrite::Update {
        token: Token {
            version: token.version + 1,
            name: Some(name.to_owned()),
            ..token.clone()
        },
        from: token.version,
    }
}

pub(crate) fn change(subject: Subject, id: Uuid, version: u64) -> Change {
    Change {
        subject,
        id,
        version,
        before: json!({"name": "old", "at": version}),
        after: json!({"name": "new", "at": version}),
    }
}
