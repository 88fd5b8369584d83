//! Queries: one walk over all tokens, of which only what the page needs stays in memory.
//!
//! The one thing a newcomer would get wrong: `totalElements` is exact, so every query reads every token once. What is kept of
//! them is their keys, and those no deeper than the page asked for, down to a stated depth.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use engine::Error;
use engine::caller::Caller;
use engine::limits::PAGE_ROWS;
use engine::token::{Token, TokenId};

use super::MindBridge;
use super::error::{Problem, ProblemType, Refusal};
use super::fields::{Datum, Field, Row as _, TokenRow};
use super::filter::Filter;
use super::outward::OutwardId;
use super::paging::Asked;
use super::people::People;
use super::records::Ids;

/// Entities from the first one to the last of a page, at the most: their keys are sorted in memory.
pub(super) const DEPTH_MAX: u64 = 100_000;

/// Who made and changed something is looked up only for filters that ask.
const OF_PEOPLE: [Field; 2] = [Field::CreatedUserId, Field::LastModifiedUserId];

/// What a query found.
#[derive(Debug)]
pub(super) struct Found {
    /// The tokens of the page, in its order.
    pub tokens: Vec<(Token, Ids)>,
    /// Who made and changed them.
    pub people: People,
    /// How many there are in all.
    pub total: u64,
}

/// A token that matched, by what decides its place.
#[derive(PartialEq, Eq)]
struct Entry {
    keys: Vec<Key>,
    id: OutwardId,
    token: TokenId,
}

#[derive(PartialEq, Eq)]
struct Key {
    datum: Datum<'static>,
    descending: bool,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.keys.iter().zip(&other.keys);
        let mut orders = pairs.map(|(one, other)| {
            let order = one.datum.cmp(&other.datum);
            if one.descending {
                order.reverse()
            } else {
                order
            }
        });
        let decided = orders.find(|order| order.is_ne());
        // The token's own id only for rows that cannot be: two with one outward id.
        decided.unwrap_or_else(|| (self.id, self.token).cmp(&(other.id, other.token)))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first entries of an order, out of any number.
struct First {
    entries: BinaryHeap<Entry>,
    most: usize,
}

impl First {
    fn offer(&mut self, entry: Entry) {
        if self.entries.len() < self.most {
            self.entries.push(entry);
        } else if self.entries.peek().is_some_and(|last| entry < *last) {
            self.entries.pop();
            self.entries.push(entry);
        }
    }
}

impl MindBridge {
    /// Walks all tokens and reads those of the page.
    ///
    /// # Errors
    /// 400 for a page beyond [`DEPTH_MAX`] where there are entities, and what the engine refuses.
    pub(super) async fn walk(
        &self,
        reader: &Caller,
        asked: &Asked,
        filter: &Filter,
        by_user: bool,
    ) -> Result<Found, Refusal> {
        let end = asked.offset() + asked.size;
        let kept = usize::try_from(end.min(DEPTH_MAX)).map_err(|_| Error::Internal)?;
        let mut first = First {
            entries: BinaryHeap::new(),
            most: kept,
        };
        let mut people = People::default();
        let with_people = filter.asks_for(&OF_PEOPLE);
        let (mut total, mut after) = (0_u64, None);
        loop {
            let (tokens, next) = self.engine().list(reader, after, PAGE_ROWS).await?;
            if with_people {
                people.learn(self, reader, &tokens).await?;
            }
            for token in &tokens {
                // A token of another making (none is known) is no entity of this wire.
                let Some(ids) = Ids::of_attributes(&token.attributes) else {
                    continue;
                };
                let row = TokenRow {
                    token,
                    ids,
                    people: &people,
                };
                if filter.matches(&row) {
                    total += 1;
                    first.offer(entry(&row, asked, by_user));
                }
            }
            match next {
                Some(_) => after = next,
                None => break,
            }
        }
        if end > DEPTH_MAX && asked.offset() < total {
            let reason = format!(
                "pages reach {DEPTH_MAX} entities deep: narrow the filter or turn the order round"
            );
            let problem = Problem::with(ProblemType::LessValueRequired, "page", reason);
            return Err(Refusal::bad(problem));
        }
        let sorted = first.entries.into_sorted_vec();
        let offset = usize::try_from(asked.offset()).unwrap_or(usize::MAX);
        let page: Vec<TokenId> = sorted.iter().skip(offset).map(|one| one.token).collect();
        let tokens = self.in_order(reader, &page).await?;
        let plain: Vec<Token> = tokens.iter().map(|(token, _)| token.clone()).collect();
        people.learn(self, reader, &plain).await?;
        Ok(Found {
            tokens,
            people,
            total,
        })
    }

    /// The tokens with these ids, in this order; one that was deleted since the walk is left out.
    async fn in_order(
        &self,
        reader: &Caller,
        ids: &[TokenId],
    ) -> Result<Vec<(Token, Ids)>, Refusal> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut tokens = self.tokens(reader, ids.to_vec()).await?;
        let place = |token: &Token| ids.iter().position(|id| *id == token.id);
        tokens.sort_by_key(place);
        let with_ids = tokens.into_iter().filter_map(|token| {
            let ids = Ids::of_attributes(&token.attributes)?;
            Some((token, ids))
        });
        Ok(with_ids.collect())
    }
}

fn entry(row: &TokenRow<'_>, asked: &Asked, by_user: bool) -> Entry {
    let key = |field, descending| Key {
        datum: row.datum(field).into_owned(),
        descending,
    };
    let keys = if asked.order.is_empty() {
        vec![key(Field::CreationDate, false)]
    } else {
        let order = asked.order.iter();
        order
            .map(|one| key(one.spec.field, one.descending))
            .collect()
    };
    Entry {
        keys,
        id: if by_user { row.ids.user } else { row.ids.token },
        token: row.token.id,
    }
}
