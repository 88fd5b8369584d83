//! `PATCH /data/collections/{collection}/tokens`: the update of tokens – tags, expiration, and what they stand for.
//!
//! The one thing a newcomer would get wrong: the query's `tags` *select*, the body's `tags` *replace*. What the request
//! alone decides is refused first; then nothing matching is a 404; only then is new data held against the schema. The
//! change itself, the tenants and every rule about the matched tokens are one engine verb in one transaction.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::permission::Action;
use engine::selection::Selection;
use engine::verbs::update::{Edit, Field, Guard, NewData, Update};

use super::Vault;
use super::call::{Call, OpenCollection, nothing};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::records::{self, TokenBody};
use super::requests::{InputObject, QueryToken, TokenType, UpdateTokenRequest};
use super::selecting::{ARCHIVED, Unknown, which};
use super::vocabulary::expiration::Expiration;

#[utoipa::path(
    patch,
    path = "/api/pvlt/1.0/data/collections/{collection}/tokens",
    operation_id = "update-tokens",
    tag = "Tokens",
    summary = "Update tokens",
    description = "Changes tags, expiration or data of all tokens that match every given criterion, or of none. Data can be \
                   changed of tokens that have the same ID and are of type pci, pci_oneway or randomized; it replaces all \
                   of the former data. The change is in force when the call returns.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("token_ids" = Option<Vec<String>>, Query, description = "Tokens with any of these IDs"),
        ("object_ids" = Option<Vec<uuid::Uuid>>, Query, description = "Tokens of any of these objects"),
        ("tags" = Option<Vec<String>>, Query, description = "Tokens with at least all of these tags"),
        ("expiration_secs" = Option<String>, Query, description = "Seconds until the tokens expire; 0: archived now; empty: never; absent: as it was"),
        ("options" = Option<Vec<String>>, Query, description = "archived: only archived tokens, instead of only active ones"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    request_body = UpdateTokenRequest,
    responses(
        (status = 200, description = "All matching tokens are updated"),
        (status = 400, description = "The request is invalid, or the data of a matching token cannot be changed", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "Nothing matches, or the collection, the object or a property is not found", body = HttpError),
        (status = 409, description = "A tag is not unique in its tenant", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let body = call.json().await?;
    let body = UpdateTokenRequest::read(&body)?;
    let tags = body.tags(call.vault.settings.tags_max)?;
    let name = call.collection_name()?;
    let query = call.query()?;
    let selecting = QueryToken::from_query(&query)?;
    let options = query.options(&[ARCHIVED])?;
    let expires_at = match Expiration::parse(query.scalar("expiration_secs")?, call.now) {
        Ok(Expiration::Absent) => Field::Keep,
        Ok(Expiration::Never) => Field::Clear,
        Ok(Expiration::Immediately) => Field::Set(call.now),
        Ok(Expiration::At(at)) => Field::Set(at),
        Err(error) => return Err(Failure::invalid("expiration_secs", &error.to_string())),
    };
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let selection = selecting
        .resolve(&call, &collection, which(&options), Unknown::MatchNothing)
        .await?
        .ok_or_else(Failure::no_token)?;
    let data = match &body.object {
        None => None,
        Some(object) => Some(new_data(&call, &collection, &selection, object, &body.props).await?),
    };
    let update = Update {
        selection,
        edit: Edit {
            tags: tags.map_or(Field::Keep, Field::Set),
            expires_at,
            data,
            ..Edit::default()
        },
        guard: Guard::Nothing,
    };
    let updated = call.vault.engine.update(&call.caller, update).await?;
    if updated.tokens.is_empty() {
        return Err(Failure::no_token());
    }
    Ok(nothing())
}

/// The data that an update gives. Whether anything matches is asked before the data is judged; the update itself asks
/// again, in its transaction.
async fn new_data(
    call: &Call,
    collection: &OpenCollection,
    selection: &Selection,
    object: &InputObject,
    props: &[String],
) -> Result<NewData, Failure> {
    let engine = &call.vault.engine;
    let found = engine
        .find(&call.caller, Action::UpdateData, selection)
        .await?;
    let first = found.tokens.first().ok_or_else(Failure::no_token)?;
    let former = found.value(first).ok_or_else(Failure::internal)?;
    // The id stays, and with it the template that it was made by.
    let fptemplate = TokenBody::read(former)?.fptemplate;
    let source = call.source(collection, object).await?;
    let selected = source.select(&collection.schema, props)?;
    let names = selected.names().map(str::to_owned).collect();
    let changeable = [TokenType::Pci, TokenType::PciOneway, TokenType::Randomized];
    Ok(NewData {
        content: selected.canonical(),
        body: records::write(&TokenBody::new(names, fptemplate)),
        classes: changeable.map(|kind| kind.name().to_owned()).to_vec(),
    })
}
