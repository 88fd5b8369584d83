//! The live index: what `verify` answers from, in memory, bounded, and never behind an acknowledged write.
//!
//! The one thing to know: an entry is put in only under proof that nothing changed since the statement that read it
//! began. Each key belongs to a stripe with a generation; every write bumps the generations of its keys after it is
//! committed and before its verb returns; a fill notes the generation before its statement starts and is dropped if it
//! has moved. So a fill that raced with a write can delay nothing and resurrect nothing.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;

use crate::batch::{Batch, LocatorWrite, RecordWrite, TokenWrite};
use crate::locator::{Place, Space};
use crate::realm::RealmId;
use crate::record::{Record, RecordId};
use crate::token::{Token, TokenId};

/// More stripes mean fewer false hits between unrelated keys, and a larger ticket: 256 numbers are 2 KiB.
const STRIPES: usize = 256;

/// What the index holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum LiveKey {
    Secret(RealmId, [u8; 16]),
    Token(RealmId, TokenId),
    Record(RealmId, RecordId),
}

#[derive(Clone, Debug)]
pub(crate) enum LiveEntry {
    Secret(TokenId),
    Token(Arc<Token>),
    Record(Arc<Record>),
}

#[derive(Debug)]
pub(crate) struct LiveIndex {
    entries: Option<Cache<LiveKey, LiveEntry>>,
    stripes: Vec<Stripe>,
}

#[derive(Debug, Default)]
struct Stripe {
    generation: AtomicU64,
    /// Held while an entry is put in or voided, so that a bump cannot slip between a fill's check and its insertion.
    lock: Mutex<()>,
}

/// All generations as they were before a statement began: which keys it will read is not known by then.
pub(crate) struct Ticket(Vec<u64>);

impl LiveIndex {
    /// Room for `capacity` entries; with 0 every verify asks the store.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: (capacity > 0).then(|| Cache::new(capacity)),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
        }
    }

    pub(crate) fn get(&self, key: &LiveKey) -> Option<LiveEntry> {
        self.entries.as_ref()?.get(key)
    }

    /// To be called before the statement begins.
    pub(crate) fn begin(&self) -> Ticket {
        let generations = self.stripes.iter();
        Ticket(
            generations
                .map(|stripe| stripe.generation.load(SeqCst))
                .collect(),
        )
    }

    /// Keeps what a statement has read, where the generation has not moved since the ticket.
    pub(crate) fn fill(
        &self,
        ticket: &Ticket,
        read: impl IntoIterator<Item = (LiveKey, LiveEntry)>,
    ) {
        let Some(entries) = &self.entries else { return };
        for (key, entry) in read {
            let number = stripe_of(&key);
            let stripe = &self.stripes[number];
            let _held = stripe.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if stripe.generation.load(SeqCst) == ticket.0[number] {
                entries.insert(key, entry);
            }
        }
    }

    /// After a commit (or one whose outcome is unknown), before its verb returns: nothing that was read before stays.
    pub(crate) fn void(&self, keys: &[LiveKey]) {
        for key in keys {
            let stripe = &self.stripes[stripe_of(key)];
            let _held = stripe.lock.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.generation.fetch_add(1, SeqCst);
            if let Some(entries) = &self.entries {
                entries.remove(key);
            }
        }
    }
}

fn stripe_of(key: &LiveKey) -> usize {
    // The first byte of a digest or the last of an id: both are random.
    let byte = match key {
        LiveKey::Secret(_, digest) => digest[0],
        LiveKey::Token(_, id) => id.0.as_bytes()[15],
        LiveKey::Record(_, id) => id.0.as_bytes()[15],
    };
    usize::from(byte) % STRIPES
}

/// The key of a secret's locator, if the place is one.
fn secret_key(realm: RealmId, place: &Place) -> Option<LiveKey> {
    let digest = <[u8; 16]>::try_from(place.key.0.as_slice()).ok()?;
    (place.space == Space::SECRET).then_some(LiveKey::Secret(realm, digest))
}

/// Everything in the index that a batch changes.
pub(crate) fn touched(batch: &Batch) -> Vec<LiveKey> {
    let realm = batch.event.realm;
    let tokens = batch.tokens.iter().map(|write| match write {
        TokenWrite::Insert(token) | TokenWrite::Update { token, .. } => token.id,
        TokenWrite::Delete { id, .. } => *id,
    });
    let records = batch.records.iter().map(|write| match write {
        RecordWrite::Insert(record) | RecordWrite::Update { record, .. } => record.id,
        RecordWrite::Delete { id, .. } => *id,
    });
    let secrets = batch.locators.iter().filter_map(|write| match write {
        LocatorWrite::Claim { place, .. } | LocatorWrite::Release { place, .. } => {
            secret_key(realm, place)
        }
    });
    tokens
        .map(|id| LiveKey::Token(realm, id))
        .chain(records.map(|id| LiveKey::Record(realm, id)))
        .chain(secrets)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key(id: u128) -> LiveKey {
        LiveKey::Token(RealmId::SYSTEM, TokenId(Uuid::from_u128(id)))
    }

    fn entry(id: u128) -> LiveEntry {
        LiveEntry::Secret(TokenId(Uuid::from_u128(id)))
    }

    #[test]
    fn a_fill_that_raced_with_a_write_is_dropped() {
        let index = LiveIndex::new(10);
        let ticket = index.begin();
        index.void(&[key(1)]);
        index.fill(&ticket, [(key(1), entry(1)), (key(2), entry(2))]);
        assert!(index.get(&key(1)).is_none(), "read before the write");
        assert!(index.get(&key(2)).is_some(), "not written");
        index.fill(&index.begin(), [(key(1), entry(1))]);
        assert!(index.get(&key(1)).is_some(), "read after the write");
        index.void(&[key(1)]);
        assert!(index.get(&key(1)).is_none());
    }

    #[test]
    fn the_index_is_bounded_and_can_be_off() {
        let index = LiveIndex::new(100);
        for id in 0..10_000 {
            index.fill(&index.begin(), [(key(id), entry(id))]);
        }
        let kept = (0..10_000)
            .filter(|id| index.get(&key(*id)).is_some())
            .count();
        assert!((1..=100).contains(&kept), "{kept}");
        let off = LiveIndex::new(0);
        off.fill(&off.begin(), [(key(1), entry(1))]);
        assert!(off.get(&key(1)).is_none());
    }
}
