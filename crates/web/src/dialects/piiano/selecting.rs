//! Which tokens a call is about: from the product's three lists to the engine's selection.
//!
//! The one thing a newcomer would get wrong: an object that is not there is no criterion less. Alone it fails the call;
//! beside other criteria it matches nothing; and if none of the objects is there, *nothing* matches – dropping the empty
//! list would match everything that the other criteria match.

use engine::selection::{Selection, Which};
use uuid::Uuid;

use super::call::{Call, OpenCollection, uuid};
use super::error::Failure;
use super::objects::StoredObject;
use super::requests::QueryToken;
use super::vocabulary::query::Query;

/// What to say when an object is unknown and there is no other criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Detokenize and search: the objects are not found.
    Refuse,
    /// Update and delete: nothing matches.
    MatchNothing,
}

impl QueryToken {
    /// The lists as the query has them.
    pub(super) fn from_query(query: &Query) -> Result<Self, Failure> {
        let own = |items: Vec<&str>| items.into_iter().map(str::to_owned).collect();
        let objects = query
            .list("object_ids")?
            .into_iter()
            .map(|text| uuid(text).ok_or_else(|| Failure::invalid("object_ids", "must be UUIDs")));
        Ok(Self {
            object_ids: objects.collect::<Result<_, _>>()?,
            token_ids: own(query.list("token_ids")?),
            tags: query.tags()?,
        })
    }

    /// Whether there is no criterion at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.object_ids.is_empty() && self.token_ids.is_empty() && self.tags.is_empty()
    }

    /// Refuses a look-up without any criterion.
    pub(super) fn require_any(&self) -> Result<(), Failure> {
        if self.is_empty() {
            let rule = "must be given, or object_ids, or tags";
            return Err(Failure::invalid("token_ids", rule));
        }
        Ok(())
    }

    /// The engine's selection; `None` if nothing can match.
    pub(super) async fn resolve(
        self,
        call: &Call,
        collection: &OpenCollection,
        which: Which,
        unknown: Unknown,
    ) -> Result<Option<Selection>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut owners = Vec::new();
        if !self.object_ids.is_empty() {
            let found = call.find_objects(collection, &self.object_ids).await?;
            let missing: Vec<String> = missing(&self.object_ids, &found);
            let alone = self.token_ids.is_empty() && self.tags.is_empty();
            if alone && !missing.is_empty() {
                return match unknown {
                    Unknown::Refuse => Err(Failure::no_objects(missing.iter().map(String::as_str))),
                    Unknown::MatchNothing => Ok(None),
                };
            }
            owners.extend(found.into_iter().flatten().map(|object| object.record.id));
            if owners.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(Selection {
            external_ids: self.token_ids,
            owners,
            tags: self.tags,
            container: Some(collection.id),
            which,
            ..Selection::default()
        }))
    }
}

/// The ids that were not found, each once.
pub(super) fn missing(ids: &[Uuid], found: &[Option<StoredObject>]) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    for (id, object) in ids.iter().zip(found) {
        let text = id.to_string();
        if object.is_none() && !missing.contains(&text) {
            missing.push(text);
        }
    }
    missing
}

/// Archived tokens if the option is given, active ones otherwise.
pub(super) fn which(options: &[&str]) -> Which {
    if options.contains(&ARCHIVED) {
        Which::Ended
    } else {
        Which::Live
    }
}

/// The option that selects only what is archived.
pub(super) const ARCHIVED: &str = "archived";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn empty_items_are_no_criterion() {
        let read = |raw: &str| QueryToken::from_query(&Query::parse(raw).unwrap());
        for raw in ["", "token_ids=&tags=&object_ids=", "token_ids=,"] {
            let read = read(raw).unwrap();
            assert!(read.is_empty() && read.require_any().is_err(), "{raw}");
        }
        assert!(read("tags=a").unwrap().require_any().is_ok());
        assert!(read("object_ids=7").is_err());
    }
}
