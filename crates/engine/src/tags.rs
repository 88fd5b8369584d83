//! Tags and their rules, checked once when they are made.
//!
//! The one thing to know: a [`Tags`] is always within the limits and without repetitions; which of its tags must be
//! unique inside a tenant is part of it, and is enforced where tags are written.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::draft::{Draft, unique_tag_place};
use crate::error::{Conflict, Error};
use crate::limits;
use crate::locator::{Holder, Key, Place, Space};
use crate::record::RecordId;
use crate::store::Lookup;
use crate::token::TokenId;

/// Tags as a call gives them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tags {
    all: Vec<String>,
    unique: Vec<String>,
}

impl Tags {
    /// `unique` names those that no other token of the tenant may carry.
    ///
    /// # Errors
    /// `Invalid` if there are more than `max`, one is empty or too long or has a NUL, or `unique` is no subset.
    pub fn new(tags: Vec<String>, unique: Vec<String>, max: usize) -> Result<Self, Error> {
        let mut all: Vec<String> = Vec::with_capacity(tags.len().min(max));
        for tag in tags {
            if tag.is_empty() {
                return Err(Error::invalid("tags", "a tag is not empty"));
            }
            if tag.chars().count() > limits::TAG_CHARS_MAX {
                let message = format!("a tag has at most {} characters", limits::TAG_CHARS_MAX);
                return Err(Error::invalid("tags", message));
            }
            if tag.contains('\0') {
                return Err(Error::invalid("tags", "a tag has no NUL character"));
            }
            if !all.contains(&tag) {
                if all.len() >= max.min(limits::TAGS_MAX) {
                    return Err(too_many(max));
                }
                all.push(tag);
            }
        }
        if unique.iter().any(|tag| !all.contains(tag)) {
            return Err(Error::invalid(
                "unique_tags",
                "tags to be unique are among the tags",
            ));
        }
        Ok(Self { all, unique })
    }

    /// All of them, in the order given.
    pub fn all(&self) -> &[String] {
        &self.all
    }

    /// Whether any is to be unique.
    pub(crate) const fn any_unique(&self) -> bool {
        !self.unique.is_empty()
    }

    /// What a write must read to keep the unique ones unique.
    pub(crate) fn lookups(&self, container: Option<RecordId>) -> impl Iterator<Item = Lookup> {
        self.unique.iter().flat_map(move |tag| {
            let carriers = Place::new(Space::TAG, Key::in_container(container, tag));
            [
                Lookup::Marked(carriers),
                Lookup::Located(unique_tag_place(container, tag)),
            ]
        })
    }

    /// These appended to others, within `max`.
    pub(crate) fn appended_to(&self, present: &[String], max: usize) -> Result<Vec<String>, Error> {
        let mut all = present.to_vec();
        for tag in &self.all {
            if !all.contains(tag) {
                all.push(tag.clone());
            }
        }
        if all.len() > max.min(limits::TAGS_MAX) {
            return Err(too_many(max));
        }
        Ok(all)
    }
}

/// Refuses if a unique tag is carried by another token of the same tenant (archived ones count; entries that share a value
/// are one token), and takes the places by which concurrent claims of the same tag meet. To be called once, after all
/// tokens of the call are drafted, so that they see each other.
pub(crate) fn claim_unique<'a>(
    draft: &mut Draft<'_>,
    claims: impl Iterator<Item = (TokenId, &'a Tags)> + Clone,
) -> Result<(), Error> {
    let unique: BTreeSet<&String> = claims.clone().flat_map(|(_, tags)| &tags.unique).collect();
    if unique.is_empty() {
        return Ok(());
    }
    let mut carriers: BTreeMap<_, BTreeSet<Holder>> = BTreeMap::new();
    for token in draft.tokens() {
        for tag in token.tags.iter().filter(|tag| unique.contains(tag)) {
            if draft.is_rooted(token.parent) {
                let key = (tag.clone(), token.container, token.tenant.clone());
                carriers
                    .entry(key)
                    .or_default()
                    .insert(token.outward_holder());
            }
        }
    }
    for (id, tags) in claims {
        for tag in &tags.unique {
            let token = draft.token(id).ok_or(Error::Internal)?;
            let holder = token.outward_holder();
            let place = unique_tag_place(token.container, tag);
            let key = (tag.clone(), token.container, token.tenant.clone());
            let others = carriers.get(&key).into_iter().flatten();
            if others.into_iter().any(|other| *other != holder) {
                return Err(Error::Conflict(Conflict::Taken {
                    space: Cow::Borrowed("unique-tag"),
                }));
            }
            draft.claim(place, holder);
        }
    }
    Ok(())
}

fn too_many(max: usize) -> Error {
    let max = max.min(limits::TAGS_MAX);
    Error::invalid("tags", format!("a token has at most {max} tags"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn owned(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn repetitions_collapse_and_the_order_stays() {
        let tags = Tags::new(owned(&["b", "a", "b"]), owned(&["a"]), 10).unwrap();
        assert_eq!(tags.all(), ["b", "a"]);
    }

    #[test]
    fn rules() {
        let field = |error: Error| match error {
            Error::Invalid { field, .. } => field,
            other => panic!("{other}"),
        };
        let long = "x".repeat(limits::TAG_CHARS_MAX + 1);
        for bad in [owned(&[""]), vec![long], owned(&["a\0"])] {
            assert_eq!(field(Tags::new(bad, vec![], 10).unwrap_err()), "tags");
        }
        assert!(Tags::new(vec!["é".repeat(limits::TAG_CHARS_MAX)], vec![], 10).is_ok());
        let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        assert_eq!(field(Tags::new(eleven, vec![], 10).unwrap_err()), "tags");
        let stray = Tags::new(owned(&["a"]), owned(&["b"]), 10).unwrap_err();
        assert_eq!(field(stray), "unique_tags");
    }

    #[test]
    fn appending_counts_only_new_ones() {
        let tags = Tags::new(owned(&["a", "b"]), vec![], 2).unwrap();
        assert_eq!(tags.appended_to(&owned(&["b"]), 2).unwrap(), ["b", "a"]);
        assert!(tags.appended_to(&owned(&["c"]), 2).is_err());
    }
}
