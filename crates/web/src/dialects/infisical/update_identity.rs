//! `PATCH /api/v1/identities/{identityId}`: an identity's name, role, protection and notes.
//!
//! The one thing a newcomer would get wrong: a role holds for the tokens that are there, from the next request on; tokens
//! have none of their own.

use axum::extract::State;
use axum::response::Response;
use engine::Error;
use engine::error::Missing;
use engine::verbs::records::RecordEdit;
use engine::verbs::update::Guard;

use super::create_identity::{check_lengths, read_metadata};
use super::document::{AnyRefusal, BodyRefusal, NotFound, StoreAway, UpdateIdentityRequest};
use super::error::{self, WireError};
use super::get_identity::unknown_identity;
use super::incoming::{Incoming, respond};
use super::records::{Identity, Known, json};
use super::roles::{Permission, Role};
use super::schema::Fields;
use super::wire::IdentityAnswer;
use super::{IDENTITY_SEGMENT, Infisical};

/// Update Identity
///
/// What is not sent stays as it is. A role holds for existing tokens too.
#[utoipa::path(
    patch,
    path = "/api/v1/identities/{identityId}",
    operation_id = "updateIdentity",
    tag = "Identities",
    params(("identityId" = String, Path, description = "The id of the identity.")),
    request_body(content = UpdateIdentityRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The identity as it is now.", body = IdentityAnswer),
        AnyRefusal,
        NotFound,
        BodyRefusal,
        StoreAway,
    ),
    security(("accessToken" = []))
)]
pub(super) async fn update_identity(
    State(infisical): State<Infisical>,
    incoming: Incoming,
) -> Response {
    respond(&incoming, answer(&infisical, &incoming).await)
}

async fn answer(infisical: &Infisical, incoming: &Incoming) -> Result<IdentityAnswer, WireError> {
    let bearer = infisical.bearer(incoming).await?;
    let body = incoming.json().await?;
    let mut fields = Fields::of(body.as_ref())?;
    let name = fields.text("name").map(|name| name.trim().to_owned());
    let role = fields.text("role");
    let has_delete_protection = fields.truth("hasDeleteProtection");
    let metadata = read_metadata(&mut fields);
    fields.finish()?;
    let id = incoming.parameter(IDENTITY_SEGMENT)?;
    let identity = infisical.identity(&id).await?;
    let identity = identity.ok_or_else(|| unknown_identity(&id))?;
    bearer.require(Permission::Edit)?;
    let role = role.map(|role| infisical.role(&role)).transpose()?;
    if role.is_some() {
        bearer.reach(
            Permission::GrantPrivileges,
            "Failed to update identity with more privileged role",
        )?;
    }
    bearer.guard(&identity.body)?;
    if identity.body.instance_admin && role.is_some_and(|role| role != Role::Admin) {
        // Nobody could give it back: who has the machine gets tokens of this identity, and its role with them.
        let message = "The role of the instance admin identity cannot be changed";
        return Err(error::bad_request(message));
    }
    if name.is_none() && role.is_none() && has_delete_protection.is_none() && metadata.is_none() {
        return Err(error::nothing_to_update());
    }
    check_lengths(name.as_deref(), metadata.as_ref())?;
    let metadata = metadata.map(|notes| infisical.notes(notes));
    let edit = move |record: &engine::record::Record| {
        let mut identity = Known::<Identity>::of(record)?.body;
        if let Some(name) = &name {
            identity.name.clone_from(name);
        }
        if let Some(role) = role {
            identity.set_role(role);
        }
        if let Some(protected) = has_delete_protection {
            identity.has_delete_protection = protected;
        }
        if let Some(metadata) = &metadata {
            identity.metadata.clone_from(metadata);
        }
        Ok(RecordEdit {
            body: Some(json(&identity)),
            ..RecordEdit::default()
        })
    };
    let updated = infisical
        .engine()
        .update_record(&bearer.caller, identity.id, Guard::Nothing, edit)
        .await;
    let record = match updated {
        Ok(record) => record,
        Err(Error::NotFound(Missing::Record { .. })) => return Err(unknown_identity(&id)),
        Err(error) => return Err(error.into()),
    };
    let attached = infisical.token_auth(identity.id).await?.is_some();
    Ok(IdentityAnswer::of(
        Known::of(&record)?,
        infisical.realm(),
        attached,
    ))
}
