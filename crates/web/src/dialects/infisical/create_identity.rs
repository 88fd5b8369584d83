//! `POST /api/v1/identities`: a new machine identity.
//!
//! The one thing a newcomer would get wrong: a member may make identities, but only such as may do nothing; to give a role
//! is a permission of its own.

use axum::extract::State;
use axum::response::Response;
use engine::record::RecordId;
use engine::verbs::records::NewRecord;

use super::Infisical;
use super::document::{AnyRefusal, BodyRefusal, CreateIdentityRequest, NotFound, StoreAway};
use super::error::{self, WireError};
use super::incoming::{Incoming, respond};
use super::records::{IDENTITY, Identity, Known, Metadata, json};
use super::roles::{Permission, Role};
use super::schema::{Fields, NAME_CHARS_MAX};
use super::wire::IdentityAnswer;

/// Notes about one identity: enough for people, and a bound of its row.
const METADATA_MAX: usize = 100;
/// Characters of the value of a note.
const METADATA_CHARS_MAX: usize = 1020;

/// Create Identity
///
/// It has no way to authenticate yet.
#[utoipa::path(
    post,
    path = "/api/v1/identities",
    operation_id = "createIdentity",
    tag = "Identities",
    request_body(content = CreateIdentityRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The new identity.", body = IdentityAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn create_identity(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

/// The notes of a body.
pub(super) fn read_metadata(fields: &mut Fields<'_>) -> Option<Vec<[String; 2]>> {
    let notes = fields.objects("metadata", ["key", "value"], 0..=METADATA_MAX)?;
    if fields.is_clean() && notes.iter().flatten().any(String::is_empty) {
        fields.custom("metadata", "keys and values must not be empty");
    }
    Some(notes)
}

/// Refuses what the product's columns could not hold.
pub(super) fn check_lengths(
    name: Option<&str>,
    metadata: Option<&Vec<[String; 2]>>,
) -> Result<(), WireError> {
    let long = |text: &str, max| text.chars().count() > max;
    let long_name = name.is_some_and(|name| long(name, NAME_CHARS_MAX));
    let long_note =
        |[key, value]: &[String; 2]| long(key, NAME_CHARS_MAX) || long(value, METADATA_CHARS_MAX);
    if long_name || metadata.is_some_and(|notes| notes.iter().any(long_note)) {
        return Err(error::too_long());
    }
    Ok(())
}

impl Infisical {
    /// Notes with ids of their own.
    pub(super) fn notes(&self, notes: Vec<[String; 2]>) -> Vec<Metadata> {
        let note = |[key, value]: [String; 2]| Metadata {
            id: self.engine().new_record_id().0,
            key,
            value,
        };
        notes.into_iter().map(note).collect()
    }

    /// The role of this name.
    pub(super) fn role(&self, word: &str) -> Result<Role, WireError> {
        Role::from_word(word).ok_or_else(|| {
            let organization = self.realm();
            error::not_found(format!(
                "Specified role '{word}' was not found in the organization with ID '{organization}'"
            ))
        })
    }
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<IdentityAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let mut fields = Fields::of(body.as_ref())?;
    let name = fields.required_text("name").trim().to_owned();
    let organization = fields.required_text("organizationId");
    let role = fields
        .text("role")
        .unwrap_or_else(|| Role::NoAccess.word().to_owned());
    let has_delete_protection = fields.truth("hasDeleteProtection").unwrap_or(false);
    let metadata = read_metadata(&mut fields);
    fields.finish()?;
    bearer.same_organization(organization.trim())?;
    bearer.require(Permission::Create)?;
    let role = infisical.role(&role)?;
    if role != Role::NoAccess {
        bearer.reach(
            Permission::GrantPrivileges,
            "Failed to create identity with more privileged role",
        )?;
    }
    check_lengths(Some(&name), metadata.as_ref())?;
    let engine = infisical.engine();
    let mut identity = Identity::new(name, role, engine.new_record_id().0);
    identity.has_delete_protection = has_delete_protection;
    identity.metadata = infisical.notes(metadata.unwrap_or_default());
    let new = NewRecord {
        parent: Some(RecordId(infisical.realm().0)),
        ..NewRecord::new(engine.new_record_id(), IDENTITY, json(&identity))
    };
    let record = engine.create_record(&bearer.caller, new).await?;
    Ok(IdentityAnswer::of(
        Known::of(&record)?,
        infisical.realm(),
        false,
    ))
}
