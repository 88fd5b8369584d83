//! Realms: the unit of rules and of scale, and the leading part of every key.
//!
//! The one thing to know: what must change together lives in one realm, and a promise never spans two. A realm is
//! found by its name through the directory in the system realm; ids, not names, stand in keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a realm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RealmId(pub Uuid);

impl RealmId {
    /// Holds the directory of realms, the key list and what else belongs to the installation; never a token.
    pub const SYSTEM: Self = Self(Uuid::nil());
}

impl fmt::Debug for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
