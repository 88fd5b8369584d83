//! Count: how many tokens a container holds, by how they stand.
//!
//! The one thing to know: it walks, page by page, because whether a token counts as ended depends on the clock and on the
//! records above it. Orphaned tokens do not count: what is above them is deleted.

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits;
use crate::locator::{Holder, Key, Space};
use crate::permission::Action;
use crate::record::RecordId;
use crate::store::{Lookup, MarkPage, Query};
use crate::token::Standing;

/// Tokens of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Those in force.
    pub live: u64,
    /// Those that have ended and are still there.
    pub ended: u64,
}

impl Engine {
    /// Counts the tokens of a container. A snapshot "as of about now": tokens that come or go meanwhile may be missed.
    pub async fn count(&self, caller: &Caller, container: RecordId) -> Result<Count, Error> {
        caller.require_any(Action::Read, Some(container))?;
        let key = Key::of_id(container.0);
        let mut count = Count::default();
        let mut after = None;
        loop {
            let page = MarkPage {
                realm: caller.realm,
                space: Space::CONTAINER,
                first: key.clone(),
                last: key.clone(),
                after: after.take(),
                limit: limits::PAGE_ROWS,
            };
            let holders = self.0.store.marks(page).await?;
            let tokens = holders.iter().filter_map(|(_, holder)| match holder {
                Holder::Token(id) => Some(Lookup::Token(*id)),
                _ => None,
            });
            let query = Query {
                realm: caller.realm,
                lookups: tokens.collect(),
                entries: false,
                sealed: false,
                limit: limits::PAGE_ROWS,
            };
            let rows = self.0.store.fetch(query).await?;
            let now = self.now();
            for token in rows.tokens.values() {
                match Standing::of(token, &rows.records, now) {
                    Standing::Live => count.live += 1,
                    Standing::Expired | Standing::Inactive => count.ended += 1,
                    Standing::Orphaned => {}
                }
            }
            match holders.last() {
                Some(last) if holders.len() == limits::PAGE_ROWS => after = Some(last.clone()),
                _ => return Ok(count),
            }
        }
    }
}
