//! The answers of this product, member by member in the order in which it sends them.
//!
//! The one thing a newcomer would get wrong: the order of the members is part of the wire (entity tags are made of the
//! bytes), and the four answers that show a token have four different orders. Do not sort or unite them.
//! `update` and `delete` have no body at all; whether they hit a token says the header [`MATCHED_HEADER`].

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::date_time::WireInstant;
use super::schema::{CreateToken, EchoKey};

/// Our own header on answers of `update` and `delete`: `1` if the token was there, `0` if not. The product says 200 with
/// an empty body in both cases, and clients rely on that; scripts can rely on this.
pub(super) const MATCHED_HEADER: &str = "tokenhouse-matched";

/// The `location` header of a created token; relative, and the same for all of them.
pub(super) const CREATED_LOCATION: &str = "api-tokens";

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenType {
    /// Backend SDKs: the older word for [`Self::Backend`], kept apart because it is answered as it was asked for.
    Client,
    /// Backend SDKs and Edge.
    Backend,
    /// Browser SDKs.
    Frontend,
    /// The admin API.
    Admin,
}

impl TokenType {
    /// The word on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Frontend => "frontend",
            Self::Admin => "admin",
        }
    }

    /// From the word on the wire, exactly.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Client, Self::Backend, Self::Frontend, Self::Admin]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// The type as servers before 8.2 named it, where `backend` was not yet a word. For clients that cannot read it.
    #[must_use]
    pub(super) const fn in_older_words(self) -> Self {
        match self {
            Self::Backend | Self::Client => Self::Client,
            Self::Frontend => Self::Frontend,
            Self::Admin => Self::Admin,
        }
    }
}

/// A secret, or a selector, on its way into an answer. Serializes as the text; `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Shown<'a>(pub &'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// What all answers say about a token, without its secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenView<'a> {
    /// Its name, which need not be unique.
    pub token_name: &'a str,
    /// What it may be used for.
    pub kind: TokenType,
    /// Its projects; `["*"]` for all, empty if all of them are gone (then it opens nothing).
    pub projects: &'a [String],
    /// Its environment; `*` for admin tokens.
    pub environment: &'a str,
    /// When it ends; never if `None`.
    pub expires_at: Option<WireInstant>,
    /// When it was made.
    pub created_at: WireInstant,
    /// When it was last used, as far as that has been written down.
    pub seen_at: Option<WireInstant>,
}

impl TokenView<'_> {
    fn project(&self) -> String {
        self.projects.join(",")
    }
}

/// A token in a list, where its full secret can be shown: always these eleven members, absent ones as `null`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListItem<'a> {
    secret: Shown<'a>,
    token_name: &'a str,
    #[serde(rename = "type")]
    kind: TokenType,
    project: String,
    projects: &'a [String],
    environment: &'a str,
    expires_at: Option<WireInstant>,
    created_at: WireInstant,
    /// A second name that older proxies knew a token by. No token here has one.
    alias: (),
    seen_at: Option<WireInstant>,
    secure: bool,
}

impl<'a> ListItem<'a> {
    /// With the full secret.
    pub(super) fn new(secret: &'a str, token: &TokenView<'a>) -> Self {
        Self {
            secret: Shown(secret),
            token_name: token.token_name,
            kind: token.kind,
            project: token.project(),
            projects: token.projects,
            environment: token.environment,
            expires_at: token.expires_at,
            created_at: token.created_at,
            alias: (),
            seen_at: token.seen_at,
            secure: false,
        }
    }
}

/// A token in a list, where no copy of its secret is kept: `secret` is its selector, absent members are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SelectorItem<'a> {
    secret: Shown<'a>,
    token_name: &'a str,
    #[serde(rename = "type")]
    kind: TokenType,
    projects: &'a [String],
    project: String,
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<WireInstant>,
    created_at: WireInstant,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_at: Option<WireInstant>,
    secure: bool,
}

impl<'a> SelectorItem<'a> {
    /// With the selector, 22 characters that management calls take in place of the secret.
    pub(super) fn new(selector: &'a str, token: &TokenView<'a>) -> Self {
        Self {
            secret: Shown(selector),
            token_name: token.token_name,
            kind: token.kind,
            projects: token.projects,
            project: token.project(),
            environment: token.environment,
            expires_at: token.expires_at,
            created_at: token.created_at,
            seen_at: token.seen_at,
            secure: true,
        }
    }
}

/// A token in the answer of `/edge/validate`. None of the members may be missing, or Edge refuses the whole answer.
#[derive(Debug, Serialize)]
pub(super) struct EdgeItem<'a> {
    token: Shown<'a>,
    #[serde(rename = "type")]
    kind: TokenType,
    projects: &'a [String],
    environment: &'a str,
}

impl<'a> EdgeItem<'a> {
    /// With the text by which it was asked for.
    pub(super) fn new(token: &'a str, view: &TokenView<'a>) -> Self {
        Self {
            token: Shown(token),
            kind: view.kind,
            projects: view.projects,
            environment: view.environment,
        }
    }
}

/// `{"tokens":[…]}`, the frame of every list of tokens.
#[derive(Debug, Serialize)]
pub(super) struct Tokens<T> {
    /// The items, in order of creation (or of the request, for `/edge/validate`).
    pub tokens: Vec<T>,
}

/// The 201 of a created token: first the accepted members as they were sent, then the defaults, then what is new.
#[derive(Debug)]
pub(super) struct CreateAnswer<'a> {
    request: &'a CreateToken,
    secret: Shown<'a>,
    created_at: WireInstant,
}

impl<'a> CreateAnswer<'a> {
    /// With the full secret, which is shown here for the first time.
    pub(super) fn new(request: &'a CreateToken, secret: &'a str, created_at: WireInstant) -> Self {
        Self {
            request,
            secret: Shown(secret),
            created_at,
        }
    }
}

impl Serialize for CreateAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut map = serializer.serialize_map(None)?;
        for key in &request.echo {
            match key {
                EchoKey::TokenName => map.serialize_entry("tokenName", &request.token_name)?,
                EchoKey::Environment => map.serialize_entry("environment", &request.environment)?,
                EchoKey::Projects => map.serialize_entry("projects", &request.projects)?,
                // Both are echoed only if they were sent, and then they are there.
                EchoKey::ExpiresAt => map.serialize_entry("expiresAt", &request.expires_at)?,
                EchoKey::CreatedByUserId => {
                    map.serialize_entry("createdByUserId", &request.created_by_user_id)?;
                }
            }
        }
        map.serialize_entry("secret", &self.secret)?;
        map.serialize_entry("type", &request.kind)?;
        map.serialize_entry("alias", &())?;
        map.serialize_entry("project", &request.projects.join(","))?;
        map.serialize_entry("createdAt", &self.created_at)?;
        map.serialize_entry("secure", &false)?;
        map.end()
    }
}

/// The 201 of a created token where no copy of its secret is kept: an order of its own, and nothing is echoed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnkeptCreateAnswer<'a> {
    projects: &'a [String],
    token_name: &'a str,
    #[serde(rename = "type")]
    kind: TokenType,
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<WireInstant>,
    created_at: WireInstant,
    secure: bool,
    secret: Shown<'a>,
    project: String,
}

impl<'a> UnkeptCreateAnswer<'a> {
    /// With the full secret, which is shown here for the first and last time.
    pub(super) fn new(request: &'a CreateToken, secret: &'a str, created_at: WireInstant) -> Self {
        Self {
            projects: &request.projects,
            token_name: &request.token_name,
            kind: request.kind,
            environment: &request.environment,
            expires_at: request.expires_at,
            created_at,
            secure: true,
            secret: Shown(secret),
            project: request.projects.join(","),
        }
    }
}

/// What a feature list was asked for; follows from the token, not from the request.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeatureQuery<'a> {
    /// The token's projects; left out for a token of all projects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<&'a [String]>,
    /// The token's environment.
    pub environment: &'a str,
    /// Whether segments are written out in place; see [`separates_segments`].
    pub inline_segment_constraints: bool,
}

impl<'a> FeatureQuery<'a> {
    /// The query of a token with these projects.
    pub(super) fn new(
        projects: &'a [String],
        environment: &'a str,
        separate_segments: bool,
    ) -> Self {
        let all = projects.iter().any(|project| project == "*");
        Self {
            project: (!all).then_some(projects),
            environment,
            inline_segment_constraints: !separate_segments,
        }
    }
}

/// The feature list of `/api/client/features`. This server keeps no features: the list is empty and never changes.
#[derive(Debug, Serialize)]
pub(super) struct FeatureList<'a> {
    version: u8,
    features: [(); 0],
    query: FeatureQuery<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<[(); 0]>,
    meta: FeatureMeta,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FeatureMeta {
    revision_id: u64,
    etag: String,
    query_hash: String,
}

impl<'a> FeatureList<'a> {
    /// The list for a query at a revision.
    pub(super) fn new(query: FeatureQuery<'a>, revision: u64) -> Self {
        let query_hash = super::etag::query_hash(&query);
        Self {
            version: 2,
            features: [],
            segments: (!query.inline_segment_constraints).then_some([]),
            meta: FeatureMeta {
                revision_id: revision,
                etag: super::etag::strong(&query_hash, revision),
                query_hash,
            },
            query,
        }
    }

    /// Its strong entity tag, to be sent as `ETag`.
    pub(super) fn etag(&self) -> &str {
        &self.meta.etag
    }
}

/// Whether a client that sent this `Unleash-Client-Spec` reads segments apart from features: from version 4.2.0 on.
/// Without the header it does not.
///
/// # Errors
/// The reason of a 400 if the header is no version (three numbers, with what SemVer allows after them).
pub(super) fn separates_segments(client_spec: Option<&str>) -> Result<bool, String> {
    let header = client_spec.unwrap_or_default().trim();
    let Some(first) = header.chars().next() else {
        return Ok(false);
    };
    if !first.is_ascii_digit() {
        return Err(format!(
            "Invalid prefix in the Unleash-Client-Spec header: \"{header}\"."
        ));
    }
    let (version, pre_release) = parse_version(header).ok_or_else(|| {
        format!("Invalid SemVer in the Unleash-Client-Spec header: \"{header}\".")
    })?;
    // A pre-release of 4.2.0 comes before it (SemVer 2.0, section 11).
    let wanted = (4, 2, 0);
    Ok(version > wanted || (version == wanted && !pre_release))
}

/// Major, minor and patch, and whether a pre-release follows.
fn parse_version(text: &str) -> Option<((u64, u64, u64), bool)> {
    let text = text
        .split_once('+')
        .map_or(Some(text), |(version, build)| {
            is_dotted_list(build).then_some(version)
        })?;
    let (numbers, pre_release) = match text.split_once('-') {
        Some((numbers, pre_release)) => (numbers, is_dotted_list(pre_release).then_some(true)?),
        None => (text, false),
    };
    let mut parts = numbers.split('.').map(parse_version_number);
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some((version, pre_release))
}

/// A number without a sign or leading zeros.
fn parse_version_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Identifiers of letters, digits and hyphens, parted by dots.
fn is_dotted_list(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests;
