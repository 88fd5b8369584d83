//! Stored objects: how they are found, what they hold, and how a new one is laid out on the engine's nouns.
//!
//! The one thing a newcomer would get wrong: an archived object is still there. It is found, and counts as existing in
//! selections; whether it may be *used* is a question of [`StoredObject::is_active`].

use std::collections::BTreeMap;

use engine::Error;
use engine::clock::Timestamp;
use engine::record::{Record, RecordId};
use engine::verbs::records::NewRecord;
use uuid::Uuid;

use super::call::{Call, OpenCollection};
use super::error::Failure;
use super::records::{self, ObjectBody};
use super::selecting;
use super::values::{Given, ID, Properties, TENANT_ID, canonical};

/// An object that is there, active or archived.
#[derive(Debug, Clone)]
pub(super) struct StoredObject {
    pub(super) record: Record,
    pub(super) body: ObjectBody,
}

impl StoredObject {
    pub(super) fn read(record: Record) -> Result<Self, Error> {
        let body = ObjectBody::read(&record)?;
        Ok(Self { record, body })
    }

    /// Whether its time has not passed.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.record.is_live(now)
    }

    /// What it holds, the vault's own properties included.
    pub(super) fn with_builtins(&self, properties: Properties) -> Properties {
        with_builtins(&self.body, self.record.expires_at, properties)
    }
}

/// Adds the vault's own properties to those of the collection's users.
pub(super) fn with_builtins(
    body: &ObjectBody,
    expires_at: Option<Timestamp>,
    mut properties: Properties,
) -> Properties {
    properties.set(ID, body.id.to_string());
    if let Some(tenant) = &body.tenant {
        properties.set(TENANT_ID, tenant.as_str());
    }
    properties.set("_creation_time", body.creation_time.to_string());
    properties.set("_modification_time", body.modification_time.to_string());
    if let Some(at) = expires_at {
        properties.set("_expiration_time", at.to_string());
    }
    properties
}

/// An object that is about to be stored.
#[derive(Debug)]
pub(super) struct NewObject {
    pub(super) body: ObjectBody,
    pub(super) record: NewRecord,
}

impl Call {
    /// The objects with these ids, in their order.
    pub(super) async fn find_objects(
        &self,
        collection: &OpenCollection,
        ids: &[Uuid],
    ) -> Result<Vec<Option<StoredObject>>, Failure> {
        let places = ids
            .iter()
            .map(|id| records::object_place(collection.id, *id));
        let engine = &self.vault.engine;
        let found = engine.find_records(&self.caller, places.collect()).await?;
        let objects = found
            .into_iter()
            .map(|record| record.map(StoredObject::read).transpose());
        Ok(objects.collect::<Result<_, _>>()?)
    }

    /// The active object with this id (or the archived one), of a tenant that the call is restricted to.
    pub(super) async fn find_object(
        &self,
        collection: &OpenCollection,
        id: Uuid,
        archived: bool,
    ) -> Result<StoredObject, Failure> {
        let found = self.find_objects(collection, &[id]).await?.pop().flatten();
        let object = found
            .filter(|object| object.is_active(self.now) != archived)
            .ok_or_else(|| Failure::no_objects([id.to_string().as_str()]))?;
        self.caller.require_tenant(object.body.tenant.as_deref())?;
        Ok(object)
    }

    /// The active objects with these ids, all of which must be there and of the tenants of the call.
    pub(super) async fn require_objects(
        &self,
        collection: &OpenCollection,
        ids: &[Uuid],
    ) -> Result<BTreeMap<Uuid, StoredObject>, Failure> {
        let mut found = self.find_objects(collection, ids).await?;
        for object in &mut found {
            if object
                .as_ref()
                .is_some_and(|object| !object.is_active(self.now))
            {
                *object = None;
            }
        }
        let missing = selecting::missing(ids, &found);
        if !missing.is_empty() {
            return Err(Failure::no_objects(missing.iter().map(String::as_str)));
        }
        let mut objects = BTreeMap::new();
        for object in found.into_iter().flatten() {
            self.caller.require_tenant(object.body.tenant.as_deref())?;
            objects.insert(object.body.id, object);
        }
        Ok(objects)
    }

    /// What objects hold now: the properties of the collection's users.
    pub(super) async fn contents(
        &self,
        objects: &[RecordId],
    ) -> Result<BTreeMap<RecordId, Properties>, Failure> {
        let engine = &self.vault.engine;
        let sealed = engine.contents(&self.caller, objects).await?;
        let opened = sealed.into_iter().map(|(id, value)| {
            let bytes = engine.open(&value)?;
            Ok((id, Properties::from_canonical(&bytes)?))
        });
        Ok(opened.collect::<Result<_, Error>>()?)
    }

    /// The tenant of something new: what it says itself, else the only one of the header.
    pub(super) fn tenant_of(&self, given: Option<&str>) -> Result<Option<String>, Failure> {
        match (given, self.caller.tenants.as_deref()) {
            (Some(tenant), _) => Ok(Some(tenant.to_owned())),
            (None, None) => Ok(None),
            (None, Some([tenant])) => Ok(Some(tenant.clone())),
            (None, Some(_)) => {
                let rule = "must name one tenant, which the new object or token will belong to";
                Err(Failure::invalid("X-Tenant-Id", rule))
            }
        }
    }

    /// A new object, which must have a value for each property that cannot be null.
    pub(super) fn new_object(
        &self,
        collection: &OpenCollection,
        given: &Given,
        expires_at: Option<Timestamp>,
    ) -> Result<NewObject, Failure> {
        if let Some(name) = given.missing(&collection.schema) {
            return Err(Failure::invalid(
                name,
                "must be given, because it cannot be null",
            ));
        }
        let engine = &self.vault.engine;
        let tenant = self.tenant_of(given.tenant.as_deref())?;
        self.caller.require_tenant(tenant.as_deref())?;
        let outward = given.id.unwrap_or_else(|| self.random_uuid());
        let mut locators = vec![records::object_place(collection.id, outward)];
        for property in collection
            .schema
            .properties
            .iter()
            .filter(|one| one.is_unique)
        {
            if let Some(value) = given.properties.get(&property.name) {
                locators.push(records::unique_place(
                    engine.keyring(),
                    self.vault.realm,
                    collection.id,
                    &property.name,
                    &canonical(value),
                ));
            }
        }
        let id = engine.new_record_id();
        let body = ObjectBody::new(outward, tenant, self.now);
        let record = NewRecord {
            parent: Some(collection.id),
            locators,
            expires_at,
            content: Some(given.properties.canonical()),
            ..NewRecord::new(id, records::OBJECT, records::write(&body))
        };
        Ok(NewObject { body, record })
    }

    fn random_uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.vault.engine.random(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
