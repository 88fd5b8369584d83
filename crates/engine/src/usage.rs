//! Use of tokens: counted in memory, written in batches.
//!
//! The one thing to know: a verify never writes. Uses since the last flush are lost if the process is killed; the
//! program flushes every few seconds and when it stops, so that this is all that can be lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::limits;
use crate::realm::RealmId;
use crate::store::Usage;
use crate::token::TokenId;

#[derive(Debug, Default)]
pub(crate) struct UsageCounters(Mutex<HashMap<(RealmId, TokenId), Usage>>);

impl UsageCounters {
    /// Counts one use; says whether a flush is due: at every full multiple of the limit, not for each use beyond it, or a
    /// store that is away would be asked again by every verify.
    pub(crate) fn count(&self, realm: RealmId, token: TokenId, now: Timestamp) -> bool {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let former = pending.len();
        let usage = pending.entry((realm, token)).or_insert(Usage {
            uses: 0,
            last_used_at: now,
        });
        usage.uses += 1;
        usage.last_used_at = usage.last_used_at.max(now);
        pending.len() > former && pending.len().is_multiple_of(limits::USAGE_PENDING_MAX)
    }

    /// What is not yet written of one token.
    pub(crate) fn pending(&self, realm: RealmId, token: TokenId) -> Option<Usage> {
        let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.get(&(realm, token)).copied()
    }

    /// Takes all that is not yet written.
    pub(crate) fn drain(&self) -> Vec<(RealmId, TokenId, Usage)> {
        let pending = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        pending
            .into_iter()
            .map(|((realm, token), usage)| (realm, token, usage))
            .collect()
    }

    /// Puts back what could not be written.
    pub(crate) fn restore(&self, usages: Vec<(RealmId, TokenId, Usage)>) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (realm, token, usage) in usages {
            let entry = pending.entry((realm, token)).or_insert(Usage {
                uses: 0,
                last_used_at: usage.last_used_at,
            });
            entry.uses += usage.uses;
            entry.last_used_at = entry.last_used_at.max(usage.last_used_at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_store_that_is_away_is_not_asked_at_every_use() {
        let counters = UsageCounters::default();
        let now = Timestamp::from_micros(0).unwrap();
        let uses = limits::USAGE_PENDING_MAX + 1_000;
        let due = (0..uses).filter(|number| {
            let token = TokenId(Uuid::from_u128(*number as u128));
            counters.count(RealmId::SYSTEM, token, now)
        });
        assert_eq!(due.count(), 1);
        counters.restore(counters.drain());
        assert!(!counters.count(RealmId::SYSTEM, TokenId(Uuid::nil()), now));
        assert_eq!(counters.drain().len(), uses);
    }
}
