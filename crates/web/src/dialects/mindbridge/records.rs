//! What this dialect keeps around a token: the API Token User above it, and its own words about the token.
//!
//! The one thing a newcomer would get wrong: both outward ids lead to the *record*, which names its token. Deleting is
//! therefore one row and one event: the user goes, the token below it is dead at once, and name and ids are free.

use engine::Error;
use engine::caller::Caller;
use engine::locator::{Key, Place, Space};
use engine::permission::Action;
use engine::record::{Record, RecordId};
use engine::selection::Selection;
use engine::token::{Token, TokenId};
use engine::verbs::records::NewRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::MindBridge;
use super::outward::OutwardId;

/// The class of this dialect's tokens.
pub(super) const TOKEN_CLASS: &str = "api-token";
/// The kind of the records above them.
const USER_KIND: &str = "api-token-user";
/// The space of names, each of which one token has.
pub(super) const NAME_SPACE: &str = "mindbridge.name";

/// The form of the bodies below. A new one is added beside the old, which stays readable.
const SCHEMA: u32 = 1;

/// Which token a user is of.
#[derive(Serialize, Deserialize)]
struct UserBody {
    schema: u32,
    token: TokenId,
}

/// What this dialect says about a token.
#[derive(Serialize, Deserialize)]
struct TokenAttributes {
    schema: u32,
    id: String,
    user_id: String,
}

/// The two ids of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ids {
    /// Its own.
    pub token: OutwardId,
    /// Its user's.
    pub user: OutwardId,
}

impl Ids {
    /// Two new ones.
    pub(super) fn random(engine: &engine::Engine) -> Self {
        Self {
            token: OutwardId::random(engine),
            user: OutwardId::random(engine),
        }
    }

    /// From what is kept about a token; `None` if it is no token of this dialect.
    pub(super) fn of_attributes(attributes: &Json) -> Option<Self> {
        let attributes = TokenAttributes::deserialize(attributes).ok()?;
        Some(Self {
            token: OutwardId::parse(&attributes.id)?,
            user: OutwardId::parse(&attributes.user_id)?,
        })
    }

    /// What is kept about a token.
    pub(super) fn attributes(self) -> Json {
        json(&TokenAttributes {
            schema: SCHEMA,
            id: self.token.to_string(),
            user_id: self.user.to_string(),
        })
    }

    /// The user's record above a token.
    pub(super) fn user_record(self, id: RecordId, token: TokenId) -> NewRecord {
        let body = UserBody {
            schema: SCHEMA,
            token,
        };
        NewRecord {
            locators: vec![token_place(self.token), user_place(self.user)],
            ..NewRecord::new(id, USER_KIND, json(&body))
        }
    }
}

/// Where the user of the token with this id is found.
pub(super) fn token_place(id: OutwardId) -> Place {
    Place::new(Space::of("mindbridge.token-id"), id.key())
}

/// Where the user with this id is found.
pub(super) fn user_place(id: OutwardId) -> Place {
    Place::new(Space::of("mindbridge.user-id"), id.key())
}

/// Where the token with this name is found.
pub(super) fn name_place(name: &str) -> Place {
    Place::new(Space::of(NAME_SPACE), Key(name.as_bytes().to_vec()))
}

impl MindBridge {
    /// The record that is found at a place, and which token it is the user of.
    pub(super) async fn user_at(
        &self,
        reader: &Caller,
        place: Place,
    ) -> Result<Option<(Record, TokenId)>, Error> {
        let Some(record) = self.engine().find_record(reader, place).await? else {
            return Ok(None);
        };
        let body = UserBody::deserialize(&record.body).map_err(|error| {
            tracing::error!(record = %record.id.0, %error, "an API token user cannot be read");
            Error::Internal
        })?;
        Ok(Some((record, body.token)))
    }

    /// The token whose user is found at a place.
    pub(super) async fn token_at(
        &self,
        reader: &Caller,
        place: Place,
    ) -> Result<Option<Token>, Error> {
        match self.user_at(reader, place).await? {
            Some((_, id)) => Ok(self.tokens(reader, vec![id]).await?.pop()),
            None => Ok(None),
        }
    }

    /// Those of these tokens that are there, however they stand.
    pub(super) async fn tokens(
        &self,
        reader: &Caller,
        ids: Vec<TokenId>,
    ) -> Result<Vec<Token>, Error> {
        let selection = Selection {
            ids,
            which: engine::selection::Which::Any,
            ..Selection::default()
        };
        let found = self.engine().find(reader, Action::Read, &selection).await?;
        Ok(found.tokens)
    }
}

fn json(body: &impl Serialize) -> Json {
    serde_json::to_value(body).expect("bodies are numbers, strings and ids, which all serialize")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// Bodies as they stand in stores. Lines are added when a form is added, and never changed.
    #[test]
    fn bodies_that_were_ever_written_are_still_read() {
        let kept = json!({
            "schema": 1,
            "id": "643eff00ec992f7ec42ed9f7",
            "user_id": "643eff00ec992f7ec42ed9f8",
        });
        let ids = Ids::of_attributes(&kept).unwrap();
        assert_eq!(ids.token.to_string(), "643eff00ec992f7ec42ed9f7");
        assert_eq!(ids.attributes(), kept);
        let text = r#"{"schema":1,"token":"019b76da-a800-7000-8000-000000000000"}"#;
        let body: UserBody = serde_json::from_str(text).unwrap();
        assert_eq!(json(&body).to_string(), text);
        assert_eq!(Ids::of_attributes(&json!({})), None);
    }

    #[test]
    fn a_token_and_a_user_of_one_id_are_two() {
        let id = OutwardId::default();
        assert_ne!(token_place(id), user_place(id));
    }
}
