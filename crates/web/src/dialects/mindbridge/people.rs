//! Who made and last changed an entity, by id and by present name.
//!
//! The one thing a newcomer would get wrong: rows keep the *token* that wrote, not its user. The user is looked up when an
//! answer is made, so that a rename shows everywhere; of a token that is gone, the trail still tells which user it had.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use engine::Error;
use engine::caller::Caller;
use engine::event::Subject;
use engine::limits::SELECTION_ITEMS_MAX;
use engine::token::{Token, TokenId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::MindBridge;
use super::records::Ids;

/// A user in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserInfo {
    /// The user's id.
    pub user_id: String,
    /// What people call the user.
    pub user_name: String,
}

impl UserInfo {
    /// The user of a token of this dialect.
    fn of(ids: Ids, name: &str) -> Self {
        Self {
            user_id: ids.user.to_string(),
            user_name: format!("(API) {name}"),
        }
    }

    /// Somebody who is no user: the program, or somebody on the machine itself.
    fn outsider(actor: &str) -> Self {
        Self {
            user_id: actor.to_owned(),
            user_name: actor.to_owned(),
        }
    }
}

/// The users that an answer names, by the actor that rows keep.
#[derive(Debug, Default)]
pub(super) struct People(HashMap<String, UserInfo>);

impl People {
    /// Who that is; somebody who was not looked up is named by what the row says.
    pub(super) fn get(&self, actor: &str) -> UserInfo {
        let known = self.0.get(actor).cloned();
        known.unwrap_or_else(|| UserInfo::outsider(actor))
    }

    /// Looks up everybody who made or last changed these tokens.
    pub(super) async fn learn(
        &mut self,
        mindbridge: &MindBridge,
        reader: &Caller,
        tokens: &[Token],
    ) -> Result<(), Error> {
        let actors = tokens
            .iter()
            .flat_map(|token| [token.created_by.as_str(), token.updated_by.as_str()]);
        let unknown: BTreeSet<&str> = actors
            .filter(|actor| !self.0.contains_key(*actor))
            .collect();
        let unknown: Vec<TokenId> = unknown
            .into_iter()
            .filter_map(|actor| actor.parse().ok().map(TokenId))
            .collect();
        for ids in unknown.chunks(SELECTION_ITEMS_MAX) {
            for token in mindbridge.tokens(reader, ids.to_vec()).await? {
                if let Some(known) = Ids::of_attributes(&token.attributes) {
                    let name = token.name.as_deref().unwrap_or_default();
                    self.0
                        .insert(token.id.0.to_string(), UserInfo::of(known, name));
                }
            }
            for id in ids {
                let actor = id.0.to_string();
                if let Entry::Vacant(place) = self.0.entry(actor) {
                    let user = departed(mindbridge, reader, id.0).await?;
                    let user = user.unwrap_or_else(|| UserInfo::outsider(place.key()));
                    place.insert(user);
                }
            }
        }
        Ok(())
    }
}

/// The user that a token had which is no more, under its last name.
async fn departed(
    mindbridge: &MindBridge,
    reader: &Caller,
    id: Uuid,
) -> Result<Option<UserInfo>, Error> {
    let history = mindbridge
        .engine()
        .history(reader, Subject::Token, id)
        .await?;
    // Newest first; a removed row is described before, all others after.
    let states: Vec<&serde_json::Value> = history
        .iter()
        .flat_map(|(_, change)| [&change.after, &change.before])
        .collect();
    let ids = states
        .iter()
        .find_map(|state| Ids::of_attributes(state.get("attributes")?));
    let name = states.iter().find_map(|state| state.get("name")?.as_str());
    Ok(ids.map(|ids| UserInfo::of(ids, name.unwrap_or_default())))
}
