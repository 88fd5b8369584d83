//! What a batch promises about itself, checked before any backend touches it.
//!
//! The one thing to know: whether rows are there, and in which version, is not looked at here; only what no backend could
//! apply is refused, as a defect of the engine.

use engine::batch::{Batch, LocatorWrite, RecordWrite, TokenWrite, ValueWrite};
use engine::locator::Place;
use engine::realm::RealmId;
use engine::store::StoreError;

fn broken(rule: &str) -> StoreError {
    StoreError::Internal {
        message: rule.to_owned(),
    }
}

/// Rows it writes, for bounds on a group.
pub(crate) fn size(batch: &Batch) -> usize {
    1 + batch.event.changes.len()
        + batch.tokens.len()
        + batch.values.len()
        + batch.records.len()
        + batch.locators.len()
        + batch.marks.len()
}

/// What a batch promises about itself, so that no backend has to cope with the contrary: one realm, and at most one
/// write for each row.
pub(crate) fn check(batch: &Batch, realm: RealmId) -> Result<(), StoreError> {
    fn once<T: Ord>(keys: impl Iterator<Item = T>) -> bool {
        let mut keys: Vec<T> = keys.collect();
        keys.sort_unstable();
        keys.windows(2).all(|pair| pair[0] != pair[1])
    }
    let foreign = batch.event.realm != realm
        || batch.tokens.iter().any(|write| match write {
            TokenWrite::Insert(token) | TokenWrite::Update { token, .. } => token.realm != realm,
            TokenWrite::Delete { .. } => false,
        })
        || batch.values.iter().any(|write| match write {
            ValueWrite::Insert(value) | ValueWrite::Supersede { value, .. } => value.realm != realm,
            ValueWrite::Delete { .. } | ValueWrite::Forget { .. } => false,
        })
        || batch.records.iter().any(|write| match write {
            RecordWrite::Insert(record) | RecordWrite::Update { record, .. } => {
                record.realm != realm
            }
            RecordWrite::Delete { .. } => false,
        });
    if foreign {
        return Err(broken("a batch spans two realms"));
    }
    let leap = batch.tokens.iter().any(|write| match write {
        TokenWrite::Update { token, from } => Some(token.version) != from.checked_add(1),
        TokenWrite::Insert(_) | TokenWrite::Delete { .. } => false,
    }) || batch.values.iter().any(|write| match write {
        ValueWrite::Insert(value) => value.version != 1,
        ValueWrite::Supersede { value, from } => Some(value.version) != from.checked_add(1),
        ValueWrite::Delete { .. } | ValueWrite::Forget { .. } => false,
    }) || batch.records.iter().any(|write| match write {
        RecordWrite::Update { record, from } => Some(record.version) != from.checked_add(1),
        RecordWrite::Insert(_) | RecordWrite::Delete { .. } => false,
    });
    if leap {
        return Err(broken("a write does not make the next version of its row"));
    }
    let tokens = once(batch.tokens.iter().map(|write| match write {
        TokenWrite::Insert(token) | TokenWrite::Update { token, .. } => token.id,
        TokenWrite::Delete { id, .. } => *id,
    }));
    // Forgetting is idempotent, so several versions of one value may be forgotten one after the other.
    let values = once(batch.values.iter().filter_map(|write| match write {
        ValueWrite::Insert(value) | ValueWrite::Supersede { value, .. } => Some(value.id),
        ValueWrite::Delete { id, .. } => Some(*id),
        ValueWrite::Forget { .. } => None,
    }));
    let records = once(batch.records.iter().map(|write| match write {
        RecordWrite::Insert(record) | RecordWrite::Update { record, .. } => record.id,
        RecordWrite::Delete { id, .. } => *id,
    }));
    let mut claimed: Vec<&Place> = Vec::new();
    let mut released: Vec<&Place> = Vec::new();
    for write in &batch.locators {
        match write {
            LocatorWrite::Claim { place, .. } => claimed.push(place),
            LocatorWrite::Release { place, .. } => released.push(place),
        }
    }
    claimed.sort_unstable();
    // Releases are idempotent, and several former holders may let go of one place; but a claim stands alone.
    let places = claimed.windows(2).all(|pair| pair[0] != pair[1])
        && released
            .iter()
            .all(|place| claimed.binary_search(place).is_err());
    if tokens && values && records && places {
        Ok(())
    } else {
        Err(broken("a batch writes a row twice"))
    }
}
