//! The live index: what `verify` answers from, in memory, bounded, and never behind an acknowledged write.
//!
//! The one thing to know: an entry is put in only under proof that nothing changed since the statement that read it
//! began. Each key belongs to a stripe with a generation; every write bumps the generations of its keys after it is
//! committed and before its verb returns; a fill notes the generation before its statement starts and is dropped if it
//! has moved. So a fill that raced with a write can delay nothing and resurrect nothing.
//!
//! Where several nodes share a store, the store speaks for the writes of the others: it holds the keys that they are about
//! to change (a held key is neither in memory nor put there, so it is read from the store each time), and lends the
//! lease without which memory answers nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::batch::{Batch, LocatorWrite, RecordWrite, TokenWrite};
use crate::clock::{Clock, Timestamp};
use crate::lease::Lease;
use crate::locator::{Place, Space};
use crate::realm::RealmId;
use crate::record::{Record, RecordId};
use crate::token::{Token, TokenId};

pub use crate::lease::WALL_AHEAD_MAX;

/// More stripes mean fewer false hits between unrelated keys, and a larger ticket: 256 numbers are 2 KiB.
const STRIPES: usize = 256;

/// What the index holds entries for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LiveKey {
    /// The place of a secret: the first bytes of its digest.
    Secret(RealmId, [u8; 16]),
    /// A token.
    Token(RealmId, TokenId),
    /// A record.
    Record(RealmId, RecordId),
}

impl LiveKey {
    /// The realm that it lies in.
    pub const fn realm(&self) -> RealmId {
        match self {
            Self::Secret(realm, _) | Self::Token(realm, _) | Self::Record(realm, _) => *realm,
        }
    }
}

/// What a write is about to change: another node's, or this one's until its outcome is certain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// These keys.
    Keys(Vec<LiveKey>),
    /// Anything in a realm.
    Realm(RealmId),
}

#[derive(Clone, Debug)]
pub(crate) enum LiveEntry {
    Secret(TokenId),
    Token(Arc<Token>),
    Record(Arc<Record>),
}

/// The index. Verbs ask it; the store that it is shared with holds and releases.
pub struct LiveIndex {
    entries: Option<Cache<LiveKey, LiveEntry>>,
    stripes: Vec<Stripe>,
    /// How many holds there are on each realm that is held as a whole.
    realms: Mutex<HashMap<RealmId, usize>>,
    /// How many realms that are, so that a look-up need not lock while there is none.
    realms_held: AtomicUsize,
    lease: Lease,
    /// How often this process has become a member of those that share the store.
    memberships: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for LiveIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveIndex")
            .field("entries", &self.entries.as_ref().map(Cache::len))
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Stripe {
    generation: AtomicU64,
    /// Locked while an entry is put in or voided, so that a bump cannot slip between a fill's check and its insertion.
    /// Inside: how many holds there are on each key that is held.
    held: Mutex<HashMap<LiveKey, usize>>,
}

/// All generations as they were before a statement began: which keys it will read is not known by then.
#[derive(Debug)]
pub struct Ticket(Vec<u64>);

impl LiveIndex {
    /// Room for `capacity` entries; with 0 every verify asks the store.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: (capacity > 0).then(|| Cache::new(capacity)),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            realms: Mutex::default(),
            realms_held: AtomicUsize::new(0),
            lease: Lease::default(),
            memberships: AtomicU64::new(0),
            clock,
        }
    }

    /// Whether it keeps anything at all.
    pub fn remembers(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether it may be asked now. To be found out anew for each verify, after its request was parsed: whoever was stopped
    /// in between must not trust what held before.
    pub fn may_answer(&self) -> bool {
        self.remembers() && self.lease.holds(&*self.clock)
    }

    pub(crate) fn get(&self, key: &LiveKey) -> Option<LiveEntry> {
        let entries = self.entries.as_ref()?;
        if self.realms_held.load(SeqCst) > 0 && self.is_realm_held(key.realm()) {
            return None;
        }
        entries.get(key)
    }

    /// To be called before the statement begins.
    pub fn begin(&self) -> Ticket {
        let generations = self.stripes.iter();
        Ticket(
            generations
                .map(|stripe| stripe.generation.load(SeqCst))
                .collect(),
        )
    }

    /// Keeps what a statement has read, where the generation has not moved since the ticket and nothing is held.
    pub(crate) fn fill(
        &self,
        ticket: &Ticket,
        read: impl IntoIterator<Item = (LiveKey, LiveEntry)>,
    ) {
        let Some(entries) = &self.entries else { return };
        for (key, entry) in read {
            let number = stripe_of(&key);
            let stripe = &self.stripes[number];
            let held = stripe.lock();
            if stripe.generation.load(SeqCst) == ticket.0[number]
                && !held.contains_key(&key)
                && !self.is_realm_held(key.realm())
            {
                entries.insert(key, entry);
            }
        }
    }

    /// Keeps one token under the same conditions, whatever its secret and what is above it. Verify fills whole chains; this
    /// is for those who try the index itself.
    pub fn fill_token(&self, ticket: &Ticket, token: Arc<Token>) {
        let key = LiveKey::Token(token.realm, token.id);
        self.fill(ticket, [(key, LiveEntry::Token(token))]);
    }

    /// The token that is remembered under its id, whether memory may answer or not: see [`LiveIndex::may_answer`].
    pub fn token(&self, realm: RealmId, id: TokenId) -> Option<Arc<Token>> {
        match self.get(&LiveKey::Token(realm, id))? {
            LiveEntry::Token(token) => Some(token),
            LiveEntry::Secret(_) | LiveEntry::Record(_) => None,
        }
    }

    /// After a commit (or one whose outcome is unknown), before its verb returns: nothing that was read before stays.
    pub fn void(&self, keys: &[LiveKey]) {
        for key in keys {
            let stripe = &self.stripes[stripe_of(key)];
            let _locked = stripe.lock();
            self.forget(stripe, key);
        }
    }

    /// With the stripe of the key locked.
    fn forget(&self, stripe: &Stripe, key: &LiveKey) {
        stripe.generation.fetch_add(1, SeqCst);
        if let Some(entries) = &self.entries {
            entries.remove(key);
        }
    }

    fn is_realm_held(&self, realm: RealmId) -> bool {
        self.realms_held.load(SeqCst) > 0 && self.realms().contains_key(&realm)
    }

    fn realms(&self) -> std::sync::MutexGuard<'_, HashMap<RealmId, usize>> {
        self.realms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every fill under way is dropped, whatever it has read.
    fn void_fills(&self) {
        for stripe in &self.stripes {
            let _locked = stripe.lock();
            stripe.generation.fetch_add(1, SeqCst);
        }
    }

    /// Another node is about to write: nothing of `held` is answered from memory, or put there, until it is released as
    /// often as it was held.
    pub fn hold(&self, held: &Held) {
        match held {
            Held::Keys(keys) => {
                for key in keys {
                    let stripe = &self.stripes[stripe_of(key)];
                    let mut counts = stripe.lock();
                    *counts.entry(*key).or_default() += 1;
                    self.forget(stripe, key);
                }
            }
            Held::Realm(realm) => {
                {
                    let mut realms = self.realms();
                    *realms.entry(*realm).or_default() += 1;
                    self.realms_held.store(realms.len(), SeqCst);
                }
                // First no fill can put anything in, then what is there goes.
                self.void_fills();
                if let Some(entries) = &self.entries {
                    entries.retain(|key, _| key.realm() != *realm);
                }
            }
        }
    }

    /// The other node's write is over. Whatever a statement has read meanwhile may be from before it and is dropped.
    pub fn release(&self, held: &Held) {
        match held {
            Held::Keys(keys) => {
                for key in keys {
                    let stripe = &self.stripes[stripe_of(key)];
                    let mut counts = stripe.lock();
                    stripe.generation.fetch_add(1, SeqCst);
                    if let Some(count) = counts.get_mut(key) {
                        *count -= 1;
                        if *count == 0 {
                            counts.remove(key);
                        }
                    }
                }
            }
            Held::Realm(realm) => {
                self.void_fills();
                let mut realms = self.realms();
                if let Some(count) = realms.get_mut(realm) {
                    *count -= 1;
                    if *count == 0 {
                        realms.remove(realm);
                    }
                }
                self.realms_held.store(realms.len(), SeqCst);
            }
        }
    }

    /// Forgets everything and drops every fill under way. What is held stays held.
    pub fn clear(&self) {
        self.void_fills();
        if let Some(entries) = &self.entries {
            entries.clear();
        }
    }

    /// To be called when the row of a new membership is committed: what nodes agreed about before may have changed since.
    pub fn joined(&self) {
        self.memberships.fetch_add(1, SeqCst);
    }

    /// How often it was called; 0 where nobody else can use the store.
    pub(crate) fn memberships(&self) -> u64 {
        self.memberships.load(SeqCst)
    }

    /// Whether others know at this very moment that this process is there, or nobody else can use the store.
    pub(crate) fn is_leased(&self) -> bool {
        self.lease.holds(&*self.clock)
    }

    /// From now on memory answers only under a lease; there is none yet.
    pub fn require_lease(&self) {
        self.lease.require();
    }

    /// The two clocks of a lease, to be read before it is asked for.
    pub fn clocks(&self) -> (Duration, Timestamp) {
        (self.clock.since_boot(), self.clock.now())
    }

    /// Lends a lease that was asked for at `asked_at` and lasts `length` from then.
    pub fn grant_lease(&self, asked_at: (Duration, Timestamp), length: Duration) {
        self.lease.grant(asked_at.0, asked_at.1, length);
    }
}

impl Stripe {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LiveKey, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Everything that a batch makes wrong in a memory: what it updates, deletes, moves or releases. What it inserts is in no
/// memory, because nobody remembers that something is not there.
pub fn touched(batch: &Batch) -> Vec<LiveKey> {
    let realm = batch.event.realm;
    let tokens = batch.tokens.iter().filter_map(|write| match write {
        TokenWrite::Insert(_) => None,
        TokenWrite::Update { token, .. } => Some(token.id),
        TokenWrite::Delete { id, .. } => Some(*id),
    });
    let records = batch.records.iter().filter_map(|write| match write {
        RecordWrite::Insert(_) => None,
        RecordWrite::Update { record, .. } => Some(record.id),
        RecordWrite::Delete { id, .. } => Some(*id),
    });
    let secrets = batch.locators.iter().filter_map(|write| match write {
        LocatorWrite::Claim { from: None, .. } => None,
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
    use crate::clock::ManualClock;
    use uuid::Uuid;

    const REALM: RealmId = RealmId::SYSTEM;
    const SECOND: Duration = Duration::from_secs(1);

    fn index(capacity: usize) -> LiveIndex {
        LiveIndex::new(capacity, Arc::new(ManualClock::new(Timestamp::MIN)))
    }

    fn key(id: u128) -> LiveKey {
        LiveKey::Token(REALM, TokenId(Uuid::from_u128(id)))
    }

    fn entry(id: u128) -> LiveEntry {
        LiveEntry::Secret(TokenId(Uuid::from_u128(id)))
    }

    #[test]
    fn a_fill_that_raced_with_a_write_is_dropped() {
        let index = index(10);
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
        let hundred = index(100);
        for id in 0..10_000 {
            hundred.fill(&hundred.begin(), [(key(id), entry(id))]);
        }
        let kept = (0..10_000)
            .filter(|id| hundred.get(&key(*id)).is_some())
            .count();
        assert!((1..=100).contains(&kept), "{kept}");
        let off = index(0);
        off.fill(&off.begin(), [(key(1), entry(1))]);
        assert!(off.get(&key(1)).is_none() && !off.may_answer());
    }

    /// Holds and releases twice, with fills before, between and after.
    fn is_not_remembered_while(held: &Held) {
        let index = index(10);
        let before = index.begin();
        index.fill(&before, [(key(1), entry(1))]);
        index.hold(held);
        assert!(index.get(&key(1)).is_none(), "what was there is gone");
        index.fill(&before, [(key(1), entry(1))]);
        index.hold(held);
        let between = index.begin();
        index.fill(&between, [(key(1), entry(1))]);
        index.release(held);
        index.fill(&index.begin(), [(key(1), entry(1))]);
        assert!(index.get(&key(1)).is_none(), "there is another hold");
        index.release(held);
        index.fill(&between, [(key(1), entry(1))]);
        assert!(index.get(&key(1)).is_none(), "it was read while held");
        index.fill(&index.begin(), [(key(1), entry(1))]);
        assert!(index.get(&key(1)).is_some(), "read after the release");
    }

    #[test]
    fn what_is_held_is_neither_there_nor_put_there() {
        is_not_remembered_while(&Held::Keys(vec![key(1)]));
        is_not_remembered_while(&Held::Realm(REALM));
    }

    #[test]
    fn a_hold_leaves_the_rest_alone() {
        let index = index(10);
        index.fill(&index.begin(), [(key(1), entry(1)), (key(2), entry(2))]);
        index.hold(&Held::Keys(vec![key(1)]));
        let elsewhere = RealmId(Uuid::from_u128(7));
        index.hold(&Held::Realm(elsewhere));
        assert!(index.get(&key(2)).is_some());
        let there = LiveKey::Token(elsewhere, TokenId(Uuid::from_u128(9)));
        index.fill(&index.begin(), [(there, entry(9)), (key(3), entry(3))]);
        assert!(index.get(&there).is_none() && index.get(&key(3)).is_some());
    }

    #[test]
    fn clearing_drops_fills_under_way_and_keeps_holds() {
        let index = index(10);
        index.hold(&Held::Keys(vec![key(1)]));
        let before = index.begin();
        index.fill(&before, [(key(2), entry(2))]);
        index.clear();
        index.fill(&before, [(key(3), entry(3))]);
        index.fill(&index.begin(), [(key(1), entry(1)), (key(4), entry(4))]);
        let there = [1, 2, 3, 4].map(|id| index.get(&key(id)).is_some());
        assert_eq!(there, [false, false, false, true]);
    }

    #[test]
    fn a_shared_index_answers_only_under_a_lease() {
        let clock = Arc::new(ManualClock::new(Timestamp::MIN));
        let index = LiveIndex::new(10, Arc::<ManualClock>::clone(&clock));
        assert!(index.may_answer(), "nobody else writes");
        index.require_lease();
        assert!(!index.may_answer());
        let asked_at = index.clocks();
        clock.advance_micros(400_000);
        index.grant_lease(asked_at, SECOND);
        assert!(index.may_answer());
        clock.advance_micros(600_000);
        assert!(!index.may_answer(), "counted from before it was asked for");
    }
}
