//! `POST /data/collections/{collection}/tokens`: makes tokens, all of a call or none.
//!
//! The one thing a newcomer would get wrong: an entry may stand for another one (`request_index`), and an object may be
//! stored by the same call, so the sources of all entries are found before the first token is laid out.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use engine::value::Scope;
use engine::verbs::records::NewRecord;
use engine::verbs::tokenize::{Content, Expiry, ExternalId, Identity, NewToken, Tokenize};
use uuid::Uuid;

use super::Vault;
use super::answers::TokenValue;
use super::call::{Call, OpenCollection, answer};
use super::caller::Purpose;
use super::error::{AnyRefusal, Failure, HttpError};
use super::records::{self, TokenBody, TransactionBody};
use super::requests::{self, InputObject, TokenType, TokenizeRequest};
use super::source::Source;
use super::values::{Given, Properties};
use super::vocabulary::data_type::DataType;
use super::vocabulary::expiration::Expiration;
use super::vocabulary::query::Query;
use super::vocabulary::template::Template;

/// Characters of a transaction's id. Choice: the product documents none.
const TRANSACTION_CHARS_MAX: usize = 256;
/// What makes a scope span all collections.
const GLOBAL: &str = "global:";

#[utoipa::path(
    post,
    path = "/api/pvlt/1.0/data/collections/{collection}/tokens",
    operation_id = "tokenize",
    tag = "Tokens",
    summary = "Tokenize",
    description = "Makes one token for each entry, in their order, or none at all. Tokens of types pci, pci_oneway and \
                   deterministic are found again for the same values in the same scope: their tags are appended, and their \
                   expiration moves if one is given or the default is later.",
    params(
        ("collection" = String, Path, description = "The name of a collection"),
        ("expiration_secs" = Option<String>, Query, description = "Seconds until the tokens expire; empty: never; absent: the configured default"),
        ("transaction_id" = Option<String>, Query, description = "An ID of the call, which can be used once in this collection"),
        Purpose,
        ("X-Tenant-Id" = Option<String>, Header, description = "Tenants to enforce, separated by commas"),
    ),
    request_body = Vec<TokenizeRequest>,
    responses(
        (status = 200, description = "The tokens, in the order of the request", body = Vec<TokenValue>),
        (status = 400, description = "The request is invalid", body = HttpError),
        AnyRefusal,
        (status = 403, description = "Rights are missing, or a tenant does not fit", body = HttpError),
        (status = 404, description = "The collection, an object or a property is not found", body = HttpError),
        (status = 409, description = "An ID or a unique tag is taken", body = HttpError),
    )
)]
pub(super) async fn handler(
    State(vault): State<Arc<Vault>>,
    request: Request,
) -> Result<Response, Failure> {
    let mut call = Call::begin(vault, request).await?;
    let body = call.json().await?;
    let requests = requests::read_tokenize(&body)?;
    let origins = origins(&requests)?;
    let tags_max = call.vault.settings.tags_max;
    let tags = requests
        .iter()
        .enumerate()
        .map(|(index, request)| request.tags(index, tags_max))
        .collect::<Result<Vec<_>, _>>()?;
    let name = call.collection_name()?;
    let query = call.query()?;
    let expiry = expiry(&call, &query)?;
    let transaction = transaction(&query)?;
    let reason = Purpose::read(&query)?;
    call.restrict()?;
    call.justify(reason)?;

    let collection = call.collection(&name).await?;
    let mut sources = Sources::default();
    sources.read_fields(&call, &collection, &requests)?;
    sources.read_objects(&call, &collection, &requests).await?;
    let mut tokens = Vec::with_capacity(requests.len());
    for ((request, origin), tags) in requests.iter().zip(&origins).zip(tags) {
        let source = sources.of.get(origin).ok_or_else(Failure::internal)?;
        let token = lay_out(&call, &collection, request, source)?;
        tokens.push(NewToken { tags, ..token });
    }

    let mut records = sources.records;
    let mut marks = Vec::new();
    if let Some(transaction) = transaction {
        let place = records::transaction_place(collection.id, &transaction);
        marks.push(place.clone());
        let id = call.vault.engine.new_record_id();
        let body = records::write(&TransactionBody::new());
        records.push(NewRecord {
            parent: Some(collection.id),
            locators: vec![place],
            ..NewRecord::new(id, records::TRANSACTION, body)
        });
    }
    let tokenize = Tokenize {
        container: collection.id,
        tokens,
        expiry,
        tags_max,
        records,
        marks,
    };
    let made = call.vault.engine.tokenize(&call.caller, tokenize).await?;
    let values = made.into_iter().zip(&requests).zip(&origins);
    let values: Vec<TokenValue> = values
        .map(|((token, request), origin)| TokenValue {
            token_id: token.external_id,
            object_id: request
                .store_object
                .then(|| sources.of.get(origin)?.object)
                .flatten(),
        })
        .collect();
    Ok(answer(&values))
}

/// For each entry the one that its values come from: itself, or the one that it names.
fn origins(requests: &[TokenizeRequest]) -> Result<Vec<usize>, Failure> {
    let origins = requests.iter().enumerate().map(|(index, request)| {
        let InputObject::RequestIndex(other) = request.object else {
            return Ok(index);
        };
        let refuse = |rule| {
            let place = format!("[{index}].object.request_index");
            Err(Failure::invalid(&place, rule))
        };
        let Some(target) = requests.get(other) else {
            return refuse("must be the index of another entry");
        };
        match target.object {
            InputObject::RequestIndex(_) => refuse("must name an entry with an object of its own"),
            InputObject::Fields(_)
                if request.kind == TokenType::Pointer && !target.store_object =>
            {
                refuse("must name a stored object, because a pointer reads it later")
            }
            InputObject::Id(_) | InputObject::Fields(_) | InputObject::Encrypted(_) => Ok(other),
        }
    });
    origins.collect()
}

fn expiry(call: &Call, query: &Query) -> Result<Expiry, Failure> {
    let refuse = |rule: &str| Failure::invalid("expiration_secs", rule);
    let given = Expiration::parse(query.scalar("expiration_secs")?, call.now)
        .map_err(|error| refuse(&error.to_string()))?;
    match given {
        Expiration::Absent => {
            let default = call.vault.settings.token_life.counted_from(call.now);
            Ok(Expiry::Default(
                default.map_err(|error| refuse(&error.to_string()))?,
            ))
        }
        Expiration::Never => Ok(Expiry::Given(None)),
        Expiration::At(at) => Ok(Expiry::Given(Some(at))),
        Expiration::Immediately => Err(refuse("must not be 0: a token is not made to be archived")),
    }
}

fn transaction(query: &Query) -> Result<Option<String>, Failure> {
    let id = query.scalar("transaction_id")?.filter(|id| !id.is_empty());
    if id.is_some_and(|id| id.chars().count() > TRANSACTION_CHARS_MAX) {
        let rule = format!("has at most {TRANSACTION_CHARS_MAX} characters");
        return Err(Failure::invalid("transaction_id", &rule));
    }
    Ok(id.map(str::to_owned))
}

/// The sources of all entries that have an object of their own, and the objects to be stored.
#[derive(Default)]
struct Sources {
    of: BTreeMap<usize, Source>,
    records: Vec<NewRecord>,
}

impl Sources {
    fn read_fields(
        &mut self,
        call: &Call,
        collection: &OpenCollection,
        requests: &[TokenizeRequest],
    ) -> Result<(), Failure> {
        let settings = &call.vault.settings;
        for (index, request) in requests.iter().enumerate() {
            let fields = match &request.object {
                InputObject::Fields(fields) => fields,
                InputObject::Encrypted(_) => return Err(Failure::not_implemented()),
                InputObject::Id(_) | InputObject::RequestIndex(_) => continue,
            };
            let given = Given::read(&collection.schema, fields, &settings.values)?;
            let source = if request.store_object {
                let expires_at = settings
                    .object_life
                    .counted_from(call.now)
                    .map_err(|_| Failure::internal())?;
                let new = call.new_object(collection, &given, expires_at)?;
                let source = Source::stored_now(&given, &new);
                self.records.push(new.record);
                source
            } else {
                Source::bare(&given, call.tenant_of(given.tenant.as_deref())?)
            };
            self.of.insert(index, source);
        }
        Ok(())
    }

    async fn read_objects(
        &mut self,
        call: &Call,
        collection: &OpenCollection,
        requests: &[TokenizeRequest],
    ) -> Result<(), Failure> {
        let named: Vec<(usize, Uuid)> = requests
            .iter()
            .enumerate()
            .filter_map(|(index, request)| match request.object {
                InputObject::Id(id) => Some((index, id)),
                _ => None,
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = named.iter().map(|(_, id)| *id).collect();
        let objects = call.require_objects(collection, &ids).await?;
        let holders: Vec<_> = objects.values().map(|object| object.record.id).collect();
        let contents = call.contents(&holders).await?;
        for (index, id) in named {
            let object = objects.get(&id).ok_or_else(Failure::internal)?;
            let content = contents.get(&object.record.id).cloned();
            let source = Source::stored(object, content.unwrap_or_default());
            self.of.insert(index, source);
        }
        Ok(())
    }
}

/// One token, but for its tags.
fn lay_out(
    call: &Call,
    collection: &OpenCollection,
    request: &TokenizeRequest,
    source: &Source,
) -> Result<NewToken, Failure> {
    let selected = source.select(&collection.schema, &request.props)?;
    let scope = Scope {
        global: request.scope.starts_with(GLOBAL),
        name: request.scope.clone(),
    };
    let identity = match request.kind {
        TokenType::Randomized | TokenType::Pointer => Identity::None,
        TokenType::Pci | TokenType::PciOneway => Identity::Shared,
        TokenType::Deterministic => Identity::Computed,
    };
    let external_id = match (&request.token_id, request.fptemplate) {
        (Some(id), _) => ExternalId::Given(id.clone()),
        (None, Some(name)) => {
            let random = randomness(call, collection, request, &scope, &selected);
            let seed = seed(collection, request, source)?;
            let template = Template::from_name(name).ok_or_else(Failure::internal)?;
            let candidates = template
                .candidates(seed, random)
                .map_err(|error| Failure::invalid("fpprops", &error.to_string()))?;
            ExternalId::OneOf(candidates.collect())
        }
        (None, None) => ExternalId::Default,
    };
    let (content, props) = if request.kind == TokenType::Pointer {
        // What is named is read later, even if it has no value now.
        let mut props: Vec<String> = if request.props.is_empty() {
            selected.names().map(str::to_owned).collect()
        } else {
            request.props.clone()
        };
        props.sort_unstable();
        (Content::OfOwner, props)
    } else {
        let names = selected.names().map(str::to_owned).collect();
        (Content::Sealed(selected.canonical()), names)
    };
    let body = TokenBody::new(props, request.fptemplate.map(str::to_owned));
    Ok(NewToken {
        class: request.kind.name().to_owned(),
        identity,
        external_id,
        scope,
        content,
        body: records::write(&body),
        owner: source.owner,
        tenant: source.tenant.clone(),
        tags: engine::tags::Tags::default(),
    })
}

/// The card number that a format-preserving id is taken from; it need not be among the tokenized values.
fn seed<'s>(
    collection: &OpenCollection,
    request: &TokenizeRequest,
    source: &'s Source,
) -> Result<&'s str, Failure> {
    let mut cards = Vec::new();
    for name in &request.fpprops {
        match collection.schema.data_type(name) {
            None => return Err(Failure::no_property(name)),
            Some(DataType::CcNumber) => cards.push(name),
            Some(_) => {}
        }
    }
    let name = cards
        .first()
        .ok_or_else(|| Failure::invalid("fpprops", "must name a property of type CC_NUMBER"))?;
    source
        .available
        .get(name)
        .and_then(serde_json::Value::as_str)
        .ok_or_else(|| Failure::no_property(name))
}

/// Where the search for a free format-preserving id begins. For a deterministic token it follows from its values.
fn randomness(
    call: &Call,
    collection: &OpenCollection,
    request: &TokenizeRequest,
    scope: &Scope,
    selected: &Properties,
) -> [u8; 16] {
    let engine = &call.vault.engine;
    let mut bytes = [0; 16];
    if request.kind == TokenType::Deterministic {
        let class = request.kind.name();
        let content = selected.canonical();
        let realm = call.vault.realm;
        let digest = engine.content_identity(realm, collection.id, class, scope, &content);
        bytes.copy_from_slice(&digest[16..]);
    } else {
        engine.random(&mut bytes);
    }
    bytes
}
