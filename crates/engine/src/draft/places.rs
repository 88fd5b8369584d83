//! The places that follow from a row: where it is marked, where it is found, and where what is unique meets.
//!
//! The one thing to know: they are computed from the row alone, so that removing it clears them without asking its dialect.

use std::collections::BTreeSet;

use crate::locator::{Key, Place, Space};
use crate::record::{Record, RecordId};
use crate::token::Token;
use crate::value::Value;

/// The marks of a token: those that follow from its fields, and those of its dialect.
pub(super) fn token_marks(token: &Token) -> BTreeSet<Place> {
    let mut marks: BTreeSet<Place> = token
        .tags
        .iter()
        .map(|tag| Place::new(Space::TAG, Key::in_container(token.container, tag)))
        .collect();
    if let Some(container) = token.container {
        marks.insert(Place::new(Space::CONTAINER, Key::of_id(container.0)));
    }
    // Below its container only, a token is found by the mark above.
    if let Some(parent) = token.parent
        && token.parent != token.container
    {
        marks.insert(Place::new(Space::CHILD, Key::of_id(parent.0)));
    }
    if let Some(value) = token.value() {
        marks.insert(Place::new(Space::ENTRY, Key::of_id(value.0)));
    }
    if let Some(at) = token.expires_at {
        marks.insert(Place::new(Space::EXPIRY_DAY, Key::of_day(at.day())));
    }
    marks.extend(token.marks.iter().cloned());
    marks
}

/// The marks of a record: those of its dialect, and the record that it hangs from.
pub(super) fn record_marks(record: &Record) -> BTreeSet<Place> {
    let parent = record
        .parent
        .map(|parent| Place::new(Space::CHILD, Key::of_id(parent.0)));
    record.marks.iter().cloned().chain(parent).collect()
}

/// Where claims of a tag that is to be unique meet.
pub(crate) fn unique_tag_place(container: Option<RecordId>, tag: &str) -> Place {
    Place::new(Space::UNIQUE_TAG, Key::in_container(container, tag))
}

/// Where values of this identity are found: by all, and within one container if the scope is global.
pub(crate) fn identity_places(value: &Value) -> Vec<Place> {
    let Some(digest) = value.identity else {
        return Vec::new();
    };
    let global = value.scope.as_ref().is_some_and(|scope| scope.global);
    let here = value.container.filter(|_| global);
    let here = here.map(|container| identity_place_in(&digest, container));
    std::iter::once(identity_place(&digest))
        .chain(here)
        .collect()
}

pub(crate) fn identity_place(digest: &[u8; 32]) -> Place {
    Place::new(Space::IDENTITY, Key(digest.to_vec()))
}

/// Where a container finds its own value of a global scope's content that came into being in another one.
pub(crate) fn identity_place_in(digest: &[u8; 32], container: RecordId) -> Place {
    let key = Key::join(&[digest, container.0.as_bytes()]);
    Place::new(Space::IDENTITY, key)
}

/// Where a value may be found.
pub(super) fn value_places(value: &Value) -> Vec<Place> {
    let external = value
        .external_id
        .as_ref()
        .map(|id| Place::new(Space::EXTERNAL, Key::in_container(value.container, id)));
    external.into_iter().chain(identity_places(value)).collect()
}
