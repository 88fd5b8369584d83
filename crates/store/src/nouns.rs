//! From rows to nouns: which columns a token, a value, a record, an event and a change are read from, in every backend.
//!
//! The one thing to know: the order of the columns is this file's. A backend's SELECT names them in the same order, for
//! tokens and records by the macros here.

use engine::caller::{Actor, ActorKind};
use engine::event::{Change, Event, EventId, Outcome, Subject};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{StoreError, Usage};
use engine::token::{Access, Body, Data, State, Token, TokenId};
use engine::value::{Scope, Sealed, Value, ValueId};

use crate::columns::{Cells, Columns};

/// The columns that [`token`] takes, in its order.
macro_rules! token_columns {
    () => {
        "id, version, state, expires_at, updated_at, updated_by, class, container, parent, name, tags, tenant, \
         created_at, created_by, marks, locators, attributes, value, proof, hint, sealed_secret, permissions, \
         addresses, uses_max"
    };
}
pub(crate) use token_columns;

pub(crate) fn token(row: &impl Cells, realm: RealmId) -> Result<Token, StoreError> {
    let mut columns = Columns::new(row, "token");
    let id = TokenId(columns.id()?);
    let version = columns.count()?;
    let state = columns.word(State::from_word)?;
    let expires_at = columns.optional_instant()?;
    let updated_at = columns.instant()?;
    let updated_by = columns.text()?;
    let class = columns.text()?;
    let container = columns.optional_id()?.map(RecordId);
    let parent = columns.optional_id()?.map(RecordId);
    let name = columns.optional_text()?;
    let tags = columns.json()?;
    let tenant = columns.optional_text()?;
    let created_at = columns.instant()?;
    let created_by = columns.text()?;
    let marks = columns.json()?;
    let locators = columns.json()?;
    let attributes = columns.json()?;
    let body = match columns.optional_id()?.map(ValueId) {
        Some(value) => Body::Data(Data { value }),
        None => Body::Access(Access {
            proof: columns.optional_digest()?,
            hint: columns.text()?,
            sealed_secret: columns.optional_id()?.map(ValueId),
            permissions: columns.json()?,
            addresses: columns.json()?,
            uses_max: columns.optional_count()?,
        }),
    };
    Ok(Token {
        realm,
        id,
        class,
        container,
        parent,
        name,
        tags,
        tenant,
        state,
        expires_at,
        version,
        created_at,
        created_by,
        updated_at,
        updated_by,
        marks,
        locators,
        attributes,
        body,
    })
}

/// The columns that [`record`] takes, in its order.
macro_rules! record_columns {
    () => {
        "id, kind, version, state, expires_at, parent, created_at, created_by, updated_at, updated_by, addresses, \
         locators, marks, body"
    };
}
pub(crate) use record_columns;

pub(crate) fn record(row: &impl Cells, realm: RealmId) -> Result<Record, StoreError> {
    let mut columns = Columns::new(row, "record");
    Ok(Record {
        realm,
        id: RecordId(columns.id()?),
        kind: columns.text()?,
        version: columns.count()?,
        state: columns.word(State::from_word)?,
        expires_at: columns.optional_instant()?,
        parent: columns.optional_id()?.map(RecordId),
        created_at: columns.instant()?,
        created_by: columns.text()?,
        updated_at: columns.instant()?,
        updated_by: columns.text()?,
        addresses: columns.json()?,
        locators: columns.json()?,
        marks: columns.json()?,
        body: columns.json()?,
    })
}

/// The columns are: id, version, class, container, external id, name of the scope, whether it is global, identity, what it
/// refers to, created at, superseded at, body, sealed.
pub(crate) fn value(row: &impl Cells, realm: RealmId) -> Result<Value, StoreError> {
    let mut columns = Columns::new(row, "value");
    let id = ValueId(columns.id()?);
    let version = columns.count()?;
    let class = columns.text()?;
    let container = columns.optional_id()?.map(RecordId);
    let external_id = columns.optional_text()?;
    let scope_name = columns.optional_text()?;
    let scope_global = columns.optional_flag()?;
    let scope = match (scope_name, scope_global) {
        (Some(name), Some(global)) => Some(Scope { name, global }),
        (None, None) => None,
        _ => return Err(columns.corrupt("half a scope")),
    };
    Ok(Value {
        realm,
        id,
        version,
        class,
        container,
        external_id,
        scope,
        identity: columns.optional_digest()?,
        refers_to: columns.optional_id()?.map(RecordId),
        created_at: columns.instant()?,
        superseded_at: columns.optional_instant()?,
        body: columns.json()?,
        sealed: columns
            .optional_bytes()?
            .map(|bytes| Sealed(bytes.to_vec())),
    })
}

pub(crate) const fn actor_word(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Token => "token",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
        ActorKind::Anonymous => "anonymous",
    }
}

fn actor_from_word(word: &str) -> Option<ActorKind> {
    [
        ActorKind::Token,
        ActorKind::Operator,
        ActorKind::System,
        ActorKind::Anonymous,
    ]
    .into_iter()
    .find(|kind| actor_word(*kind) == word)
}

pub(crate) const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
    }
}

fn outcome_from_word(word: &str) -> Option<Outcome> {
    [Outcome::Done, Outcome::Refused]
        .into_iter()
        .find(|outcome| outcome_word(*outcome) == word)
}

/// An event without its changes, from the next ten columns.
pub(crate) fn event<R: Cells>(
    columns: &mut Columns<'_, R>,
    realm: RealmId,
) -> Result<Event, StoreError> {
    Ok(Event {
        id: EventId(columns.id()?),
        realm,
        at: columns.instant()?,
        actor: Actor {
            kind: columns.word(actor_from_word)?,
            id: columns.text()?,
            name: columns.text()?,
        },
        verb: columns.text()?,
        outcome: columns.word(outcome_from_word)?,
        reason: columns.optional_text()?,
        request: columns.text()?,
        count: columns.count()?,
        changes: Vec::new(),
    })
}

/// A change, from the next five columns.
pub(crate) fn change<R: Cells>(columns: &mut Columns<'_, R>) -> Result<Change, StoreError> {
    Ok(Change {
        id: columns.id()?,
        subject: columns.word(Subject::from_word)?,
        version: columns.count()?,
        before: columns.json()?,
        after: columns.json()?,
    })
}

/// The columns are: token, uses, last used at.
pub(crate) fn usage(row: &impl Cells) -> Result<(TokenId, Usage), StoreError> {
    let mut columns = Columns::new(row, "usage");
    let id = TokenId(columns.id()?);
    let usage = Usage {
        uses: columns.count()?,
        last_used_at: columns.instant()?,
    };
    Ok((id, usage))
}

/// The columns are: value, version.
pub(crate) fn value_version(row: &impl Cells) -> Result<(ValueId, u64), StoreError> {
    let mut columns = Columns::new(row, "value");
    Ok((ValueId(columns.id()?), columns.count()?))
}
