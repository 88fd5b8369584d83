//! What can be filtered and sorted by: the fields of tokens and of users, their kinds, and their values in a row.
//!
//! The one thing a newcomer would get wrong: instants are compared as instants, not as texts, so that any zone in a filter
//! means what it says.

use std::borrow::Cow;

use engine::clock::Timestamp;
use engine::token::Token;

use super::model::{ROLE, allowed_addresses, version};
use super::people::People;
use super::records::Ids;

/// One field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Id,
    Version,
    CreationDate,
    LastModifiedDate,
    CreatedUserId,
    LastModifiedUserId,
    Name,
    UserId,
    PartialToken,
    Expiry,
    AllowedAddresses,
    Permissions,
    FirstName,
    LastName,
    Email,
    Role,
    Enabled,
    Validated,
    ServiceAccount,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A string, or null.
    Text,
    /// A whole number.
    Number,
    /// An instant, or null.
    Instant,
    /// True or false.
    Flag,
    /// Strings.
    Texts,
}

/// A field under its name on the wire.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// Which it is.
    pub field: Field,
    /// What it holds.
    pub kind: Kind,
    /// Whether lists can be sorted by it.
    pub sortable: bool,
}

const fn sortable(name: &'static str, field: Field, kind: Kind) -> FieldSpec {
    FieldSpec {
        name,
        field,
        kind,
        sortable: true,
    }
}

const fn filterable(name: &'static str, field: Field, kind: Kind) -> FieldSpec {
    FieldSpec {
        name,
        field,
        kind,
        sortable: false,
    }
}

/// Those of API tokens.
pub(super) const TOKEN_FIELDS: &[FieldSpec] = &[
    sortable("id", Field::Id, Kind::Text),
    sortable("version", Field::Version, Kind::Number),
    sortable("creationDate", Field::CreationDate, Kind::Instant),
    sortable("lastModifiedDate", Field::LastModifiedDate, Kind::Instant),
    sortable("name", Field::Name, Kind::Text),
    sortable("userId", Field::UserId, Kind::Text),
    sortable("partialToken", Field::PartialToken, Kind::Text),
    sortable("expiry", Field::Expiry, Kind::Instant),
    filterable("permissions", Field::Permissions, Kind::Texts),
    filterable("allowedAddresses", Field::AllowedAddresses, Kind::Texts),
    filterable("createdUserInfo.userId", Field::CreatedUserId, Kind::Text),
    filterable(
        "lastModifiedUserInfo.userId",
        Field::LastModifiedUserId,
        Kind::Text,
    ),
];

/// Those of users.
pub(super) const USER_FIELDS: &[FieldSpec] = &[
    sortable("id", Field::UserId, Kind::Text),
    sortable("version", Field::Version, Kind::Number),
    sortable("creationDate", Field::CreationDate, Kind::Instant),
    sortable("lastModifiedDate", Field::LastModifiedDate, Kind::Instant),
    sortable("firstName", Field::FirstName, Kind::Text),
    sortable("lastName", Field::LastName, Kind::Text),
    sortable("email", Field::Email, Kind::Text),
    sortable("role", Field::Role, Kind::Text),
    filterable("enabled", Field::Enabled, Kind::Flag),
    filterable("validated", Field::Validated, Kind::Flag),
    filterable("serviceAccount", Field::ServiceAccount, Kind::Flag),
    filterable("createdUserInfo.userId", Field::CreatedUserId, Kind::Text),
    filterable(
        "lastModifiedUserInfo.userId",
        Field::LastModifiedUserId,
        Kind::Text,
    ),
];

/// The value of a field. Those of one field are of one kind, or null, which comes before all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Datum<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// An instant.
    Instant(Timestamp),
    /// A string, compared by its characters.
    Text(Cow<'a, str>),
    /// Strings.
    Texts(Vec<Cow<'a, str>>),
}

impl Datum<'_> {
    /// The same without what it borrows.
    pub(super) fn into_owned(self) -> Datum<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Datum::Null,
            Self::Flag(flag) => Datum::Flag(flag),
            Self::Number(number) => Datum::Number(number),
            Self::Instant(at) => Datum::Instant(at),
            Self::Text(text) => Datum::Text(owned(text)),
            Self::Texts(texts) => Datum::Texts(texts.into_iter().map(owned).collect()),
        }
    }
}

/// Something that can be filtered and sorted.
pub(super) trait Row {
    /// The value of a field.
    fn datum(&self, field: Field) -> Datum<'_>;
    /// The text whose words a keyword is looked for in.
    fn words(&self) -> &str;
}

/// A token, or its user, as a row.
#[derive(Debug)]
pub(super) struct TokenRow<'a> {
    /// The token.
    pub token: &'a Token,
    /// Its ids.
    pub ids: Ids,
    /// Who made and changed it; empty if no filter asks.
    pub people: &'a People,
}

impl Row for TokenRow<'_> {
    fn datum(&self, field: Field) -> Datum<'_> {
        let text = |text: String| Datum::Text(Cow::Owned(text));
        let token = self.token;
        match field {
            Field::Id => text(self.ids.token.to_string()),
            Field::UserId => text(self.ids.user.to_string()),
            Field::Version => Datum::Number(version(token)),
            Field::CreationDate => Datum::Instant(token.created_at),
            Field::LastModifiedDate => Datum::Instant(token.updated_at),
            Field::CreatedUserId => text(self.people.get(&token.created_by).user_id),
            Field::LastModifiedUserId => text(self.people.get(&token.updated_by).user_id),
            Field::Name | Field::LastName => Datum::Text(Cow::Borrowed(self.words())),
            Field::PartialToken => match token.access() {
                Some(access) => Datum::Text(Cow::Borrowed(&access.hint)),
                None => Datum::Null,
            },
            Field::Expiry => token.expires_at.map_or(Datum::Null, Datum::Instant),
            Field::AllowedAddresses => {
                let addresses = allowed_addresses(token).into_iter();
                Datum::Texts(addresses.map(Cow::Owned).collect())
            }
            Field::Permissions => {
                let permissions = token.access().map(|access| access.permissions.as_slice());
                let names = permissions.unwrap_or_default().iter();
                Datum::Texts(names.map(|name| Cow::Borrowed(name.as_str())).collect())
            }
            Field::FirstName => Datum::Text(Cow::Borrowed("")),
            Field::Email => Datum::Null,
            Field::Role => Datum::Text(Cow::Borrowed(ROLE)),
            Field::Enabled | Field::Validated | Field::ServiceAccount => Datum::Flag(true),
        }
    }

    fn words(&self) -> &str {
        self.token.name.as_deref().unwrap_or_default()
    }
}
