//! From queries to their rows, in few round trips.
//!
//! The one thing to know: the walk over a query is [`gather`], the same for every backend, over the rows that were fetched
//! so far. What it asks for and finds missing is fetched for all queries together, and the walk is repeated, until nothing
//! is missing. All of it happens in a transaction that the caller has begun.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use deadpool_postgres::{ClientWrapper, Pool};
use engine::event::EventId;
use engine::limits;
use engine::locator::{Holder, Place};
use engine::realm::RealmId;
use engine::record::{Record, RecordId};
use engine::store::{Query, Rows, StoreError};
use engine::token::{Token, TokenId};
use engine::value::{Value, ValueId};
use uuid::Uuid;

use super::pool::Session;
use super::script::Script;
use super::transaction::planning;
use super::trouble::{Attempt, Trouble};
use super::{locators, records, tokens, values};
use crate::columns::rows_max;
use crate::gather::{Shelf, gather};
use crate::nouns;

/// Holders of a mark that are fetched at first; each further time four times as many, so that a mark on millions of rows
/// is not read to its end for a query that may have a thousand.
const MARKED_FIRST: usize = 1_000;

/// Tokens for which more is fetched than was asked for.
const GUESSED_MAX: usize = 1_000;

/// Something that a query depends on and a batch may write: also what was asked for and not there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Touched {
    Token(TokenId),
    Value(ValueId),
    Record(RecordId),
    Located(Place),
    /// All holders of a mark.
    Marked(Place),
    /// One of them: two batches may mark different rows with the same mark.
    Mark(Place, Holder),
    Event(EventId),
}

/// What is to be fetched next.
#[derive(Default)]
pub(super) struct Needs {
    tokens: BTreeSet<TokenId>,
    values: BTreeSet<ValueId>,
    sealed: BTreeSet<ValueId>,
    records: BTreeSet<RecordId>,
    located: BTreeSet<Place>,
    /// With the number of holders wanted.
    marked: BTreeMap<Place, usize>,
}

impl Needs {
    fn is_empty(&self) -> bool {
        self.tokens.is_empty()
            && self.values.is_empty()
            && self.sealed.is_empty()
            && self.records.is_empty()
            && self.located.is_empty()
            && self.marked.is_empty()
    }

    fn guessed(&self) -> Guess {
        let count = self.tokens.len() + self.located.len();
        if count == 0 {
            Guess::Nothing
        } else if count > GUESSED_MAX {
            // Tokens of places come in the next round.
            if self.tokens.is_empty() {
                Guess::Nothing
            } else {
                Guess::Tokens
            }
        } else if self.located.is_empty() {
            Guess::Above
        } else {
            Guess::Located
        }
    }

    fn add(&mut self, other: Self) {
        self.tokens.extend(other.tokens);
        self.values.extend(other.values);
        self.sealed.extend(other.sealed);
        self.records.extend(other.records);
        self.located.extend(other.located);
        for (place, most) in other.marked {
            let wanted = self.marked.entry(place).or_default();
            *wanted = most.max(*wanted);
        }
    }
}

/// What is fetched before it is asked for, because it will be: a round trip costs more than a few rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// Not even tokens are wanted.
    Nothing,
    /// The tokens alone: so many that the rows matter and not the trips.
    Tokens,
    /// The tokens and the records above them.
    Above,
    /// Also the tokens that are found at the places that are wanted.
    Located,
}

/// Holders of a mark, from the first on.
struct Marked {
    holders: Vec<Holder>,
    /// Whether these are all.
    complete: bool,
}

/// Rows of one realm that were fetched, and what is known not to be there.
#[derive(Default)]
struct Cache {
    tokens: HashMap<TokenId, Option<Token>>,
    /// Without and with content.
    values: [HashMap<ValueId, Option<Value>>; 2],
    records: HashMap<RecordId, Option<Record>>,
    located: HashMap<Place, Option<Holder>>,
    marked: HashMap<Place, Marked>,
}

/// A walk over what was fetched: notes what it asks for, and what of it is missing.
struct Desk<'a> {
    cache: &'a Cache,
    needs: RefCell<Needs>,
    asked: RefCell<Vec<Touched>>,
}

impl Shelf for Desk<'_> {
    fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.asked.borrow_mut().push(Touched::Token(id));
        Ok(self.cache.tokens.get(&id).cloned().unwrap_or_else(|| {
            self.needs.borrow_mut().tokens.insert(id);
            None
        }))
    }

    fn value(&self, id: ValueId, sealed: bool) -> Result<Option<Value>, StoreError> {
        self.asked.borrow_mut().push(Touched::Value(id));
        let known = &self.cache.values[usize::from(sealed)];
        Ok(known.get(&id).cloned().unwrap_or_else(|| {
            let mut needs = self.needs.borrow_mut();
            let needed = if sealed {
                &mut needs.sealed
            } else {
                &mut needs.values
            };
            needed.insert(id);
            None
        }))
    }

    fn record(&self, id: RecordId) -> Result<Option<Record>, StoreError> {
        self.asked.borrow_mut().push(Touched::Record(id));
        Ok(self.cache.records.get(&id).cloned().unwrap_or_else(|| {
            self.needs.borrow_mut().records.insert(id);
            None
        }))
    }

    fn located(&self, place: &Place) -> Result<Option<Holder>, StoreError> {
        self.asked
            .borrow_mut()
            .push(Touched::Located(place.clone()));
        Ok(self.cache.located.get(place).copied().unwrap_or_else(|| {
            self.needs.borrow_mut().located.insert(place.clone());
            None
        }))
    }

    fn marked(
        &self,
        place: &Place,
        mut each: impl FnMut(Holder) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.asked.borrow_mut().push(Touched::Marked(place.clone()));
        let known = self.cache.marked.get(place);
        let complete = known.is_some_and(|known| known.complete);
        let holders = known.map_or(&[][..], |known| &known.holders);
        if !complete {
            let most = (holders.len() * 4).max(MARKED_FIRST);
            self.needs.borrow_mut().marked.insert(place.clone(), most);
        }
        holders.iter().try_for_each(|holder| each(*holder))
    }
}

/// How far a query has got.
pub(super) enum Progress {
    /// Not begun, or rows were missing.
    Open,
    /// Its rows, and everything it asked for on the way.
    Done(Result<Rows, StoreError>, Vec<Touched>),
}

/// Several queries over one realm, in one transaction.
pub(super) struct Gathering<'q> {
    realm: RealmId,
    cache: Cache,
    queries: Vec<(&'q Query, Progress)>,
}

impl<'q> Gathering<'q> {
    pub(super) fn new(realm: RealmId, queries: impl Iterator<Item = &'q Query>) -> Self {
        Self {
            realm,
            cache: Cache::default(),
            queries: queries.map(|query| (query, Progress::Open)).collect(),
        }
    }

    /// Walks each query that is open, and gives what is missing for all of them.
    pub(super) fn walk(&mut self) -> Needs {
        let mut missing = Needs::default();
        for (query, progress) in &mut self.queries {
            if matches!(progress, Progress::Done(..)) {
                continue;
            }
            let desk = Desk {
                cache: &self.cache,
                needs: RefCell::default(),
                asked: RefCell::default(),
            };
            let rows = gather(&desk, query);
            let needs = desk.needs.into_inner();
            // One token too many is one too many, whatever else would have come.
            if needs.is_empty() || rows.is_err() {
                *progress = Progress::Done(rows, desk.asked.into_inner());
            } else {
                missing.add(needs);
            }
        }
        missing
    }

    /// Adds the statements that fetch `needs`.
    pub(super) fn ask(&self, needs: &Needs, script: &mut Script<'_>) {
        let realm = self.realm.0;
        if !needs.located.is_empty() {
            let places: Vec<Place> = needs.located.iter().cloned().collect();
            let (spaces, keys) = owned(&places);
            script.ask(
                locators::FIND,
                vec![Box::new(realm), Box::new(spaces), Box::new(keys)],
            );
        }
        if !needs.marked.is_empty() {
            let places: Vec<Place> = needs.marked.keys().cloned().collect();
            let (spaces, keys) = owned(&places);
            let most: Vec<i64> = needs.marked.values().map(|most| rows_max(*most)).collect();
            script.ask(
                locators::MARKED,
                vec![
                    Box::new(realm),
                    Box::new(spaces),
                    Box::new(keys),
                    Box::new(most),
                ],
            );
        }
        let ids = |ids: Vec<Uuid>| -> Box<Vec<Uuid>> { Box::new(ids) };
        let height = rows_max(limits::ANCESTORS_MAX + 1);
        let wanted = || ids(needs.tokens.iter().map(|id| id.0).collect());
        match needs.guessed() {
            Guess::Nothing => {}
            Guess::Tokens => script.ask(tokens::FIND, vec![Box::new(realm), wanted()]),
            Guess::Above => {
                script.ask(tokens::FIND, vec![Box::new(realm), wanted()]);
                script.ask(
                    records::FIND_ABOVE,
                    vec![Box::new(realm), wanted(), Box::new(height)],
                );
            }
            Guess::Located => {
                let places: Vec<Place> = needs.located.iter().cloned().collect();
                let (spaces, keys) = owned(&places);
                script.ask(
                    tokens::FIND_LOCATED,
                    vec![
                        Box::new(realm),
                        wanted(),
                        Box::new(spaces.clone()),
                        Box::new(keys.clone()),
                    ],
                );
                script.ask(
                    records::FIND_ABOVE_LOCATED,
                    vec![
                        Box::new(realm),
                        wanted(),
                        Box::new(height),
                        Box::new(spaces),
                        Box::new(keys),
                    ],
                );
            }
        }
        for (wanted, sql) in [
            (&needs.values, values::FIND),
            (&needs.sealed, values::FIND_SEALED),
        ] {
            if !wanted.is_empty() {
                let wanted = ids(wanted.iter().map(|id| id.0).collect());
                script.ask(sql, vec![Box::new(realm), wanted]);
            }
        }
        if !needs.records.is_empty() {
            let wanted = ids(needs.records.iter().map(|id| id.0).collect());
            script.ask(
                records::FIND_UPWARD,
                vec![Box::new(realm), wanted, Box::new(height)],
            );
        }
    }

    /// Takes in what the statements of [`Gathering::ask`] have answered, in their order.
    pub(super) fn take(
        &mut self,
        needs: Needs,
        answers: &mut impl Iterator<Item = Vec<tokio_postgres::Row>>,
    ) -> Result<(), StoreError> {
        let realm = self.realm;
        let guess = needs.guessed();
        let mut next = || answers.next().unwrap_or_default();
        let cache = &mut self.cache;
        if !needs.located.is_empty() {
            let places: Vec<Place> = needs.located.into_iter().collect();
            let mut found: Vec<Option<Holder>> = vec![None; places.len()];
            for row in next() {
                if let Some(found) = found.get_mut(ordinal(&row)) {
                    *found = Some(locators::read_holder(&row, "locator")?);
                }
            }
            cache.located.extend(places.into_iter().zip(found));
        }
        if !needs.marked.is_empty() {
            let mut found: Vec<Vec<Holder>> = vec![Vec::new(); needs.marked.len()];
            for row in next() {
                if let Some(found) = found.get_mut(ordinal(&row)) {
                    found.push(locators::read_holder(&row, "mark")?);
                }
            }
            for ((place, most), holders) in needs.marked.into_iter().zip(found) {
                let complete = holders.len() < most;
                cache.marked.insert(place, Marked { holders, complete });
            }
        }
        if guess != Guess::Nothing {
            cache
                .tokens
                .extend(needs.tokens.into_iter().map(|id| (id, None)));
            for row in next() {
                let token = nouns::token(&row, realm)?;
                cache.tokens.insert(token.id, Some(token));
            }
        }
        if matches!(guess, Guess::Above | Guess::Located) {
            for row in next() {
                let record = nouns::record(&row, realm)?;
                cache.records.insert(record.id, Some(record));
            }
        }
        for (wanted, known) in [needs.values, needs.sealed]
            .into_iter()
            .zip(&mut cache.values)
        {
            if !wanted.is_empty() {
                known.extend(wanted.into_iter().map(|id| (id, None)));
                for row in next() {
                    let value = nouns::value(&row, realm)?;
                    known.insert(value.id, Some(value));
                }
            }
        }
        if !needs.records.is_empty() {
            cache
                .records
                .extend(needs.records.into_iter().map(|id| (id, None)));
            for row in next() {
                let record = nouns::record(&row, realm)?;
                cache.records.insert(record.id, Some(record));
            }
        }
        Ok(())
    }

    /// Fetches and walks until no query is open.
    pub(super) async fn finish(&mut self, client: &ClientWrapper) -> Result<(), Trouble> {
        loop {
            let needs = self.walk();
            if needs.is_empty() {
                return Ok(());
            }
            let mut script = Script::default();
            self.ask(&needs, &mut script);
            let answers = script.read(client, None).await?;
            self.take(needs, &mut answers.into_iter())
                .map_err(Trouble::Refused)?;
        }
    }

    /// Does all of it in a snapshot of its own.
    pub(super) async fn read(&mut self, pool: &Pool) -> Result<(), Trouble> {
        // Also for nothing: a store that is closed says so.
        let session = Session::of(pool).await?;
        let needs = self.walk();
        if needs.is_empty() {
            session.keep();
            return Ok(());
        }
        let mut script = Script::default();
        script.ask(planning::KEEP, Vec::new());
        self.ask(&needs, &mut script);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let answers = script.read(&session, Some(begin)).await?;
        let taken = self.take(needs, &mut answers.into_iter().skip(1));
        taken.map_err(Trouble::Refused)?;
        self.finish(&session).await?;
        session.end_reading();
        Ok(())
    }

    /// What became of each query, in the order given.
    pub(super) fn into_progress(self) -> impl Iterator<Item = Progress> {
        self.queries.into_iter().map(|(_, progress)| progress)
    }
}

/// The number of a place from the first column, counted from 0.
fn ordinal(row: &tokio_postgres::Row) -> usize {
    let number: i64 = row.try_get(0).unwrap_or_default();
    usize::try_from(number - 1).unwrap_or(usize::MAX)
}

fn owned(places: &[Place]) -> (Vec<String>, Vec<Vec<u8>>) {
    let text = |place: &Place| super::rows::text(&place.space.0).into_owned();
    (
        places.iter().map(text).collect(),
        places
            .iter()
            .map(|place| super::rows::key(&place.key.0).into_owned())
            .collect(),
    )
}

/// A read of one query from one snapshot.
pub(super) struct Fetch<'a> {
    pub(super) pool: &'a Pool,
    pub(super) query: &'a Query,
}

impl Attempt for Fetch<'_> {
    type Output = Rows;

    async fn attempt(&mut self) -> Result<Rows, Trouble> {
        let queries = std::iter::once(self.query);
        let mut gathering = Gathering::new(self.query.realm, queries);
        gathering.read(self.pool).await?;
        match gathering.into_progress().next() {
            Some(Progress::Done(rows, _)) => rows.map_err(Trouble::Refused),
            _ => Ok(Rows::default()),
        }
    }

    fn in_doubt(&self) -> bool {
        false
    }
}

/// Whether none of these was written.
pub(super) fn untouched(asked: &[Touched], written: &HashSet<Touched>) -> bool {
    written.is_empty() || asked.iter().all(|one| !written.contains(one))
}
