//! Realms as the native routes name them: by id, by name, or by the dialect that speaks them.
//!
//! The one thing to know: a dialect's name stands for its first realm, `<dialect>/default`; the program opens it under
//! exactly this name.

use std::sync::Arc;

use axum::http::StatusCode;
use engine::verbs::realms::Realm;

use crate::dialects::Dialect;
use crate::native::Control;
use crate::native::problem::Problem;

/// The name of a dialect's first realm.
pub fn default_realm(dialect: &str) -> String {
    format!("{dialect}/default")
}

/// The dialect in a realm's name.
pub(super) fn dialect_of(name: &str) -> &str {
    name.split_once('/').map_or(name, |(dialect, _)| dialect)
}

impl Control {
    /// The dialect that is spoken in a realm.
    pub(super) fn dialect(&self, realm: &Realm) -> Result<&Arc<dyn Dialect>, Problem> {
        let mut spoken = self.dialects.iter();
        let found = spoken.find(|dialect| dialect.realm() == realm.id);
        found.ok_or_else(|| {
            let speaks = dialect_of(&realm.name);
            Problem::unprocessable(format!("{speaks} is not spoken by this server at present"))
        })
    }

    /// The realm that `word` names.
    pub(super) async fn realm(&self, word: &str) -> Result<Realm, Problem> {
        let realms = self.engine.realms().await?;
        let default = default_realm(word);
        let named = realms
            .iter()
            .find(|realm| realm.name == word || realm.id.to_string() == word)
            .or_else(|| realms.iter().find(|realm| realm.name == default));
        named.cloned().ok_or_else(|| {
            let known: Vec<&str> = realms.iter().map(|realm| realm.name.as_str()).collect();
            let detail = format!("no such realm; there are: {}", known.join(", "));
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }
}
