//! From a draft to one batch: versions, marks, changes, and the choice between insert, update and nothing at all.
//!
//! The one thing to know: a row is compared with what was read, so whatever reads the same is not written, and a draft in
//! which nothing differs has no event.

use std::collections::BTreeSet;

use serde_json::json;

use super::Draft;
use super::description::{change, describe_record, describe_token, describe_value};
use super::places::{record_marks, token_marks, unique_tag_place};
use crate::batch::{Batch, LocatorWrite, MarkWrite, RecordWrite, TokenWrite, ValueWrite};
use crate::clock::Timestamp;
use crate::event::{Change, Event, Subject};
use crate::locator::{Holder, Place};
use crate::record::Record;
use crate::token::Token;
use crate::value::Value;

impl Draft<'_> {
    /// The batch, or `None` if nothing differs from the rows: then there is no event either.
    pub(crate) fn finish(mut self, mut event: Event) -> Option<Batch> {
        let mut batch = Batch {
            tokens: Vec::new(),
            values: Vec::new(),
            records: Vec::new(),
            locators: Vec::new(),
            marks: Vec::new(),
            event: event.clone(),
        };
        self.give_up_unique_tags();
        self.finish_tokens(&mut batch, &mut event);
        self.finish_values(&mut batch, &mut event);
        self.finish_records(&mut batch, &mut event);
        for (place, holder) in &self.claims {
            let from = self.rows.located.get(place).copied();
            if from != Some(*holder) {
                batch.locators.push(LocatorWrite::Claim {
                    place: place.clone(),
                    holder: *holder,
                    from,
                });
            }
        }
        for (place, holder) in self.releases {
            if !self.claims.contains_key(&place) {
                batch.locators.push(LocatorWrite::Release { place, holder });
            }
        }
        let nothing =
            event.changes.is_empty() && batch.locators.is_empty() && batch.marks.is_empty();
        batch.event = event;
        (!nothing).then_some(batch)
    }

    /// The place of a tag goes with the tag, whether it was asked for as unique or not: that is not remembered.
    fn give_up_unique_tags(&mut self) {
        for (id, after) in &self.tokens {
            let Some(before) = self.rows.tokens.get(id) else {
                continue;
            };
            let kept = after.as_ref().map_or(&[][..], |token| &token.tags);
            for tag in before.tags.iter().filter(|tag| !kept.contains(tag)) {
                let place = unique_tag_place(before.container, tag);
                self.releases.insert((place, before.outward_holder()));
            }
        }
    }

    fn finish_tokens(&self, batch: &mut Batch, event: &mut Event) {
        let actor = event.actor.id.clone();
        for (id, after) in &self.tokens {
            let before = self.rows.tokens.get(id);
            let after = match (before, after) {
                (None, None) => continue,
                (Some(before), Some(after)) => {
                    let touched = self.touched.contains(&Holder::Token(*id));
                    let Some(next) = next_version(before, after, touched, self.now, &actor) else {
                        continue;
                    };
                    Some(next)
                }
                (_, after) => after.clone(),
            };
            mark_difference(
                &before.map(token_marks).unwrap_or_default(),
                &after.as_ref().map(token_marks).unwrap_or_default(),
                Holder::Token(*id),
                &mut batch.marks,
            );
            event.changes.push(change(
                Subject::Token,
                id.0,
                before.map(|token| (token.version, describe_token(token))),
                after
                    .as_ref()
                    .map(|token| (token.version, describe_token(token))),
            ));
            batch.tokens.push(match (before, after) {
                (None, Some(token)) => TokenWrite::Insert(token),
                (Some(before), Some(token)) => TokenWrite::Update {
                    token,
                    from: before.version,
                },
                (Some(before), None) => TokenWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
    }

    fn finish_values(&self, batch: &mut Batch, event: &mut Event) {
        for (id, after) in &self.values {
            let before = self.rows.values.get(id);
            let describe = |value: &Value| (value.version, describe_value(value));
            if before.is_none() && after.is_none() {
                continue;
            }
            event.changes.push(change(
                Subject::Value,
                id.0,
                before.map(describe),
                after.as_ref().map(describe),
            ));
            batch.values.push(match (before, after.clone()) {
                (None, Some(value)) => ValueWrite::Insert(value),
                (Some(before), Some(value)) => ValueWrite::Supersede {
                    value,
                    from: before.version,
                },
                (Some(before), None) => ValueWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
        for (id, through) in &self.forgotten {
            event.changes.push(Change {
                subject: Subject::Value,
                id: id.0,
                version: *through,
                before: json!({ "kept": true }),
                after: json!({ "kept": false }),
            });
            batch.values.push(ValueWrite::Forget {
                id: *id,
                through: *through,
            });
        }
    }

    fn finish_records(&self, batch: &mut Batch, event: &mut Event) {
        let actor = event.actor.id.clone();
        for (id, after) in &self.records {
            let before = self.rows.records.get(id);
            let after = match (before, after) {
                (Some(before), Some(after)) => {
                    let touched = self.touched.contains(&Holder::Record(*id));
                    let Some(next) = next_version(before, after, touched, self.now, &actor) else {
                        continue;
                    };
                    Some(next)
                }
                (_, after) => after.clone(),
            };
            mark_difference(
                &before.map(record_marks).unwrap_or_default(),
                &after.as_ref().map(record_marks).unwrap_or_default(),
                Holder::Record(*id),
                &mut batch.marks,
            );
            let describe = |record: &Record| (record.version, describe_record(record));
            if before.is_some() || after.is_some() {
                event.changes.push(change(
                    Subject::Record,
                    id.0,
                    before.map(describe),
                    after.as_ref().map(describe),
                ));
            }
            batch.records.push(match (before, after) {
                (None, Some(record)) => RecordWrite::Insert(record),
                (Some(before), Some(record)) => RecordWrite::Update {
                    record,
                    from: before.version,
                },
                (Some(before), None) => RecordWrite::Delete {
                    id: *id,
                    from: before.version,
                },
                (None, None) => continue,
            });
        }
    }
}

/// A row that counts its changes and says when and by whom the last one was made.
trait Versioned: Clone + PartialEq {
    fn stamp(&mut self) -> (&mut u64, &mut Timestamp, &mut String);
}

impl Versioned for Token {
    fn stamp(&mut self) -> (&mut u64, &mut Timestamp, &mut String) {
        (
            &mut self.version,
            &mut self.updated_at,
            &mut self.updated_by,
        )
    }
}

impl Versioned for Record {
    fn stamp(&mut self) -> (&mut u64, &mut Timestamp, &mut String) {
        (
            &mut self.version,
            &mut self.updated_at,
            &mut self.updated_by,
        )
    }
}

/// What follows on a row that is there; `None` if it reads the same, whatever its draft says of versions, and was not touched.
fn next_version<Row: Versioned>(
    before: &Row,
    after: &Row,
    touched: bool,
    now: Timestamp,
    actor: &str,
) -> Option<Row> {
    let (mut before, mut after) = (before.clone(), after.clone());
    let (version, at, by) = after.stamp();
    let former = before.stamp();
    *version = *former.0;
    *at = *former.1;
    by.clone_from(former.2);
    if after == before && !touched {
        return None;
    }
    let (version, at, by) = after.stamp();
    *version += 1;
    *at = now;
    actor.clone_into(by);
    Some(after)
}

fn mark_difference(
    before: &BTreeSet<Place>,
    after: &BTreeSet<Place>,
    holder: Holder,
    writes: &mut Vec<MarkWrite>,
) {
    let new = after.difference(before).cloned();
    let gone = before.difference(after).cloned();
    writes.extend(new.map(|place| MarkWrite::Set(place, holder)));
    writes.extend(gone.map(|place| MarkWrite::Unset(place, holder)));
}
