//! Where the values of a token come from: fields of the request, or a stored object as it is now.
//!
//! The one thing a newcomer would get wrong: the two differ in what a missing value means. A property that is asked of
//! bare fields and not among them is a mistake of the request; one that a stored object happens not to have is left out.

use engine::record::RecordId;
use uuid::Uuid;

use super::call::{Call, OpenCollection};
use super::error::Failure;
use super::objects::{NewObject, StoredObject, with_builtins};
use super::requests::InputObject;
use super::values::{Given, Properties};
use super::vocabulary::schema::Collection;

/// Values that a token can be made of.
#[derive(Debug)]
pub(super) struct Source {
    /// Everything that can be named.
    pub(super) available: Properties,
    /// What is taken when nothing is named.
    default: Properties,
    /// The object that the values belong to, if they are stored.
    pub(super) owner: Option<RecordId>,
    /// Its id, or that of the object to be stored.
    pub(super) object: Option<Uuid>,
    /// The tenant of a token made of it.
    pub(super) tenant: Option<String>,
    /// Whether a property without a value may be left out.
    lenient: bool,
}

impl Source {
    /// Values that are not stored.
    pub(super) fn bare(given: &Given, tenant: Option<String>) -> Self {
        Self {
            available: given.all(),
            default: given.all(),
            owner: None,
            object: None,
            tenant,
            lenient: false,
        }
    }

    /// Values that are stored by the same call.
    pub(super) fn stored_now(given: &Given, new: &NewObject) -> Self {
        let expires_at = new.record.expires_at;
        Self {
            available: with_builtins(&new.body, expires_at, given.properties.clone()),
            default: given.all(),
            owner: Some(new.record.id),
            object: Some(new.body.id),
            tenant: new.body.tenant.clone(),
            lenient: false,
        }
    }

    /// Values of a stored object.
    pub(super) fn stored(object: &StoredObject, content: Properties) -> Self {
        Self {
            available: object.with_builtins(content.clone()),
            default: content,
            owner: Some(object.record.id),
            object: Some(object.body.id),
            tenant: object.body.tenant.clone(),
            lenient: true,
        }
    }

    /// The values of the named properties, or those that are taken when none is named.
    pub(super) fn select(
        &self,
        schema: &Collection,
        props: &[String],
    ) -> Result<Properties, Failure> {
        for name in props {
            let known = schema.data_type(name).is_some();
            if !known || !(self.lenient || self.available.get(name).is_some()) {
                return Err(Failure::no_property(name));
            }
        }
        let selected = if props.is_empty() {
            self.default.clone()
        } else {
            self.available.only(props)
        };
        if selected.is_empty() {
            let object = self.object.map(|id| id.to_string()).unwrap_or_default();
            return Err(Failure::no_values(&object));
        }
        Ok(selected)
    }
}

impl Call {
    /// The values that an update names.
    pub(super) async fn source(
        &self,
        collection: &OpenCollection,
        object: &InputObject,
    ) -> Result<Source, Failure> {
        match object {
            InputObject::Id(id) => {
                let mut objects = self.require_objects(collection, &[*id]).await?;
                let object = objects.remove(id).ok_or_else(Failure::internal)?;
                let mut contents = self.contents(&[object.record.id]).await?;
                let content = contents.remove(&object.record.id).unwrap_or_default();
                Ok(Source::stored(&object, content))
            }
            InputObject::Fields(fields) => {
                let rules = &self.vault.settings.values;
                let given = Given::read(&collection.schema, fields, rules)?;
                Ok(Source::bare(&given, None))
            }
            InputObject::Encrypted(_) => Err(Failure::not_implemented()),
            InputObject::RequestIndex(_) => Err(Failure::internal()),
        }
    }
}
