//! The list of keys: which keys every process that uses the store holds, and which of them new things are made with.
//!
//! The one thing to know: a key is listed first and made active in a *later* write. Whoever joins reads the list after its
//! own row is there, so between the two it is either seen (and waited for, if it lacks the key) or sees the key listed (and
//! does not start). `docs/decisions/0012-keys.md` has the argument.
//!
//! In the store the list is part of the body of the record that binds the store to its keyring:
//! `{"schema":1,"fingerprint":"…","keys":{"digest":[{"id":1,"check":"<16 hex>"}],"sealing":[…]},"active":{"digest":1,"sealing":1}}`.
//! The order is that in which keys were listed; what comes after the active one is newer.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeyKind {
    /// Digests of secrets.
    Digest,
    /// Sealing of values.
    Sealing,
}

impl KeyKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Digest, Self::Sealing];

    /// Its name in files, rows and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Sealing => "sealing",
        }
    }
}

/// A key without the key: its id, and what tells it from another one under the same id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyId {
    /// The id.
    pub id: u32,
    /// The start of a digest of a label under the key, in hex.
    pub check: String,
}

/// Keys of both kinds, in the order in which they were added.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    /// Digest keys.
    pub digest: Vec<KeyId>,
    /// Sealing keys.
    pub sealing: Vec<KeyId>,
}

impl Keys {
    /// Those of one kind.
    pub fn of(&self, kind: KeyKind) -> &[KeyId] {
        match kind {
            KeyKind::Digest => &self.digest,
            KeyKind::Sealing => &self.sealing,
        }
    }

    fn of_mut(&mut self, kind: KeyKind) -> &mut Vec<KeyId> {
        match kind {
            KeyKind::Digest => &mut self.digest,
            KeyKind::Sealing => &mut self.sealing,
        }
    }

    fn holds(&self, kind: KeyKind, key: &KeyId) -> bool {
        self.of(kind).contains(key)
    }

    /// As a process reports them to the others.
    pub fn to_report(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are JSON")
    }

    /// The reverse; `None` for what cannot be read, which counts as no key at all.
    pub fn from_report(report: &[u8]) -> Option<Self> {
        serde_json::from_slice(report).ok()
    }
}

/// Which key new things are made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Active {
    digest: u32,
    sealing: u32,
}

/// The list as it stands in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyList {
    keys: Keys,
    active: Active,
}

/// A key that is on the list and that a keyring does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LackingKey {
    /// Its kind.
    pub kind: KeyKind,
    /// Its id.
    pub id: u32,
    /// Whether the keyring has another key under this id.
    pub has_another: bool,
}

/// All of them; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LackingKeys(pub Vec<LackingKey>);

impl fmt::Display for LackingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, key) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{} key {}", key.kind.name(), key.id)?;
            if key.has_another {
                f.write_str(" (it has another key under this id)")?;
            }
        }
        Ok(())
    }
}

/// The body of the record is none that this program writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the list of keys in the store cannot be read: it may be a newer program's")]
pub struct UnreadableList;

impl KeyList {
    /// The first list of a store: all keys of the keyring, the last of each kind active. So it was before there were lists.
    pub fn founding(keys: Keys) -> Self {
        let last = |keys: &[KeyId]| keys.last().map_or(0, |key| key.id);
        let active = Active {
            digest: last(&keys.digest),
            sealing: last(&keys.sealing),
        };
        Self { keys, active }
    }

    /// The list in the body of the record; `None` if a program has written it that knew of no list.
    ///
    /// # Errors
    /// When it is none that this program writes.
    pub fn from_body(body: &Json) -> Result<Option<Self>, UnreadableList> {
        let (Some(keys), Some(active)) = (body.get("keys"), body.get("active")) else {
            let none = body.get("keys").is_none() && body.get("active").is_none();
            return if none { Ok(None) } else { Err(UnreadableList) };
        };
        let keys = Keys::deserialize(keys).map_err(|_| UnreadableList)?;
        let active = Active::deserialize(active).map_err(|_| UnreadableList)?;
        let list = Self { keys, active };
        let sound = KeyKind::ALL
            .into_iter()
            .all(|kind| list.active_position(kind).is_some());
        if sound {
            Ok(Some(list))
        } else {
            Err(UnreadableList)
        }
    }

    /// The body of the record. Programs from before the list read the fingerprint alone, and take the last key of their file
    /// for the active one: once a key was added to the list, the fingerprint is none that they accept.
    pub fn to_body(&self, fingerprint: &str) -> Json {
        json!({
            "schema": 1,
            "fingerprint": fingerprint,
            "keys": self.keys,
            "active": self.active,
        })
    }

    /// All listed keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The active key's id.
    pub fn active(&self, kind: KeyKind) -> u32 {
        match kind {
            KeyKind::Digest => self.active.digest,
            KeyKind::Sealing => self.active.sealing,
        }
    }

    fn active_position(&self, kind: KeyKind) -> Option<usize> {
        let active = self.active(kind);
        self.keys.of(kind).iter().position(|key| key.id == active)
    }

    /// Listed and newer than the active one.
    fn pending(&self, kind: KeyKind) -> &[KeyId] {
        let after = self.active_position(kind).map_or(0, |at| at + 1);
        self.keys.of(kind).get(after..).unwrap_or_default()
    }

    /// Keys that are held and could be listed: newer than all that are.
    fn candidates<'a>(&self, kind: KeyKind, held: &'a Keys) -> impl Iterator<Item = &'a KeyId> {
        let highest = self.keys.of(kind).iter().map(|key| key.id).max();
        let held = held.of(kind).iter();
        held.filter(move |key| highest.is_none_or(|highest| key.id > highest))
    }

    /// Listed keys that are not held. Whoever lacks one must not answer.
    ///
    /// # Errors
    /// All of them, if there are any.
    pub fn check(&self, held: &Keys) -> Result<(), LackingKeys> {
        let mut lacking = Vec::new();
        for kind in KeyKind::ALL {
            let listed = self.keys.of(kind).iter();
            lacking.extend(listed.filter(|key| !held.holds(kind, key)).map(|key| {
                let held = held.of(kind).iter();
                LackingKey {
                    kind,
                    id: key.id,
                    has_another: held.map(|held| held.id).any(|id| id == key.id),
                }
            }));
        }
        if lacking.is_empty() {
            Ok(())
        } else {
            Err(LackingKeys(lacking))
        }
    }

    /// Whether there is anything that could be listed or made active.
    pub fn is_behind(&self, held: &Keys) -> bool {
        KeyKind::ALL.into_iter().any(|kind| {
            !self.pending(kind).is_empty() || self.candidates(kind, held).next().is_some()
        })
    }

    /// The list after the next step, if there is one: pending keys that `held` and all `others` hold become active, and where
    /// none is pending, newer ones that all hold are listed. `others` must have been asked after this list was read;
    /// who has reported nothing (a program that knows of no lists) holds no new key.
    pub fn step(&self, held: &Keys, others: &[Option<Keys>]) -> Option<Self> {
        let mut next = self.clone();
        for kind in KeyKind::ALL {
            let by_all = |key: &KeyId| {
                held.holds(kind, key)
                    && others
                        .iter()
                        .all(|other| other.as_ref().is_some_and(|keys| keys.holds(kind, key)))
            };
            let pending = self.pending(kind);
            if pending.is_empty() {
                let new = self.candidates(kind, held);
                let new = new.take_while(|key| by_all(key)).cloned();
                next.keys.of_mut(kind).extend(new);
            } else if let Some(newest) = pending.iter().rev().find(|key| by_all(key)) {
                match kind {
                    KeyKind::Digest => next.active.digest = newest.id,
                    KeyKind::Sealing => next.active.sealing = newest.id,
                }
            }
        }
        (next != *self).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(id: u32, check: &str) -> KeyId {
        KeyId {
            id,
            check: check.to_owned(),
        }
    }

    /// Keys of both kinds with these ids.
    fn keys(ids: &[u32]) -> Keys {
        let of = |letter: char| {
            let ids = ids.iter();
            ids.map(|id| key(*id, &format!("{letter}{id}"))).collect()
        };
        Keys {
            digest: of('d'),
            sealing: of('s'),
        }
    }

    fn active(list: &KeyList) -> (u32, u32) {
        (list.active(KeyKind::Digest), list.active(KeyKind::Sealing))
    }

    #[test]
    fn a_list_survives_its_record_and_nothing_else_is_read() {
        let list = KeyList::founding(keys(&[1, 2]));
        let body = list.to_body("f");
        assert_eq!(KeyList::from_body(&body).unwrap(), Some(list));
        let before = json!({ "schema": 1, "fingerprint": "f" });
        assert_eq!(KeyList::from_body(&before).unwrap(), None);
        for (field, value) in [
            ("active", json!({ "digest": 9, "sealing": 2 })),
            ("active", json!({ "digest": 1 })),
            ("keys", json!({ "digest": [], "sealing": [] })),
            ("keys", json!("x")),
        ] {
            let mut bad = body.clone();
            bad[field] = value;
            assert_eq!(KeyList::from_body(&bad), Err(UnreadableList), "{bad}");
        }
        let mut half = body;
        half.as_object_mut().unwrap().remove("active");
        assert_eq!(KeyList::from_body(&half), Err(UnreadableList));
    }

    #[test]
    fn a_new_key_is_listed_first_and_active_later() {
        let list = KeyList::founding(keys(&[1]));
        let held = keys(&[1, 2]);
        assert!(!list.is_behind(&keys(&[1])));
        assert!(list.is_behind(&held));
        let all = [Some(held.clone()), Some(held.clone())];
        let listed = list.step(&held, &all).unwrap();
        assert_eq!(active(&listed), (1, 1));
        assert_eq!(*listed.keys(), held);
        let switched = listed.step(&held, &all).unwrap();
        assert_eq!(active(&switched), (2, 2));
        assert_eq!(switched.step(&held, &all), None);
        assert!(!switched.is_behind(&held));
    }

    #[test]
    fn nothing_goes_on_while_one_of_them_lacks_the_key() {
        let list = KeyList::founding(keys(&[1]));
        let held = keys(&[1, 2]);
        let listed = list.step(&held, &[]).unwrap();
        let mut another = keys(&[1, 2]);
        another.digest[1].check = "another".to_owned();
        another.sealing[1].check = "another".to_owned();
        for other in [Some(keys(&[1])), None, Some(Keys::default()), Some(another)] {
            let others = [Some(held.clone()), other];
            assert_eq!(list.step(&held, &others), None, "{others:?}");
            assert_eq!(listed.step(&held, &others), None, "{others:?}");
        }
    }

    #[test]
    fn each_kind_goes_its_own_way_and_several_keys_go_together() {
        let list = KeyList::founding(keys(&[1]));
        let held = keys(&[1, 2, 3]);
        let mut other = keys(&[1, 2, 3]);
        other.sealing.truncate(1);
        let others = [Some(other)];
        let listed = list.step(&held, &others).unwrap();
        assert_eq!(listed.keys().digest.len(), 3);
        assert_eq!(listed.keys().sealing.len(), 1);
        let switched = listed.step(&held, &others).unwrap();
        assert_eq!(active(&switched), (3, 1));
    }

    #[test]
    fn an_older_key_that_is_not_listed_is_left_alone() {
        let list = KeyList::founding(keys(&[2]));
        assert_eq!(list.step(&keys(&[1, 2]), &[]), None);
    }

    #[test]
    fn what_is_lacking_is_named() {
        let list = KeyList::founding(keys(&[1, 2]));
        assert_eq!(list.check(&keys(&[1, 2, 3])), Ok(()));
        let mut held = keys(&[1, 2]);
        held.digest.truncate(1);
        held.sealing[1].check = "another".to_owned();
        let lacking = list.check(&held).unwrap_err();
        assert_eq!(
            lacking.to_string(),
            "digest key 2, sealing key 2 (it has another key under this id)"
        );
    }

    #[test]
    fn a_report_comes_back_and_nothing_else_is_read() {
        let held = keys(&[1, 2]);
        assert_eq!(Keys::from_report(&held.to_report()), Some(held));
        for bad in [&b""[..], b"{}", b"\xff", b"[]"] {
            assert_eq!(Keys::from_report(bad), None);
        }
    }
}
