//! Realms: found by name through the directory, which is records and locators of the system realm.
//!
//! The one thing to know: opening a realm makes it if it is not there, once, even if two programs try at the same time.

use serde_json::json;

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::{Conflict, Error};
use crate::locator::{Key, Place, Space};
use crate::realm::RealmId;
use crate::record::Record;
use crate::verbs::records::NewRecord;

const REALM: &str = "realm";

/// A realm and its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Realm {
    /// Its id, the same for ever.
    pub id: RealmId,
    /// The name it is configured by: what speaks it, and which one.
    pub name: String,
}

impl Engine {
    /// The realm of this name; made if it is not there.
    pub async fn open_realm(&self, name: &str) -> Result<RealmId, Error> {
        let caller = Caller::system(RealmId::SYSTEM, "open-realm");
        let place = Place::new(Space::REALM, Key(name.as_bytes().to_vec()));
        let body = json!({ "schema": 1, "name": name });
        let record = self.find_or_create(&caller, REALM, place, body).await?;
        Ok(RealmId(record.id.0))
    }

    /// All realms but the system's, in order of creation.
    pub async fn realms(&self) -> Result<Vec<Realm>, Error> {
        let caller = Caller::system(RealmId::SYSTEM, "realms");
        let mut realms = Vec::new();
        let mut after = None;
        loop {
            let (page, next) = self.list_records(&caller, REALM, after).await?;
            realms.extend(page.into_iter().map(|record| Realm {
                id: RealmId(record.id.0),
                name: record.body["name"].as_str().unwrap_or_default().to_owned(),
            }));
            if next.is_none() {
                return Ok(realms);
            }
            after = next;
        }
    }

    /// The record at a place, made with `body` if nobody living is found there.
    pub async fn find_or_create(
        &self,
        caller: &Caller,
        kind: &'static str,
        place: Place,
        body: serde_json::Value,
    ) -> Result<Record, Error> {
        if let Some(record) = self.find_record(caller, place.clone()).await? {
            return Ok(record);
        }
        let new = NewRecord {
            locators: vec![place.clone()],
            ..NewRecord::new(self.new_record_id(), kind, body)
        };
        match self.create_record(caller, new).await {
            // Somebody else made it meanwhile.
            Err(Error::Conflict(Conflict::Taken { .. })) => self
                .find_record(caller, place)
                .await?
                .ok_or(Error::Conflict(Conflict::Busy)),
            made => made,
        }
    }
}
