//! Projects and environments: records that exist so that a token is not made for one that does not.
//!
//! The one thing a newcomer would get wrong: a token does not hang from these. It names them in its permissions, and may
//! name some that are not here: the tokens of a first start do, as with the product. Only a create asks whether they exist.

use engine::Error;
use engine::caller::Caller;
use engine::locator::{Key, Place, Space};
use engine::record::Record;
use engine::verbs::records::RecordEdit;
use engine::verbs::update::Guard;
use serde::{Deserialize, Serialize};

use super::Unleash;
use super::scope::ALL;

/// The present form of the bodies below. A later one reads this one too.
const SCHEMA: u32 = 1;

/// Names asked for in one look-up.
const NAMES_PER_LOOKUP: usize = 100;

/// What projects and environments are found by: their name, in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A project.
    Project,
    /// An environment.
    Environment,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Environment => "environment",
        }
    }

    fn place(self, name: &str) -> Place {
        let space = match self {
            Self::Project => Space::of("unleash-project"),
            Self::Environment => Space::of("unleash-environment"),
        };
        Place::new(space, Key(name.as_bytes().to_vec()))
    }
}

/// The body of a project or an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    schema: u32,
    name: String,
}

/// The body of the one record that says how far the first start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FirstStart {
    schema: u32,
    /// Whether all tokens of the first start have been made.
    finished: bool,
}

impl FirstStart {
    const FINISHED: Self = Self {
        schema: SCHEMA,
        finished: true,
    };

    fn of(record: &Record) -> Result<Self, Error> {
        Self::deserialize(&record.body).map_err(|error| {
            tracing::error!(record = %record.id.0, %error, "a record of the first start cannot be read");
            Error::Internal
        })
    }
}

fn json(body: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(body).expect("bodies have only numbers, texts and booleans")
}

impl Unleash {
    /// What every instance of the product has from the beginning.
    pub(super) async fn ensure_records(&self, caller: &Caller) -> Result<(), Error> {
        for (kind, name) in [
            (Kind::Project, "default"),
            (Kind::Environment, "development"),
            (Kind::Environment, "production"),
        ] {
            let body = Named {
                schema: SCHEMA,
                name: name.to_owned(),
            };
            self.engine()
                .find_or_create(caller, kind.word(), kind.place(name), json(&body))
                .await?;
        }
        Ok(())
    }

    /// The first of these names that nothing has; `*` is no name.
    pub(super) async fn first_unknown<'a>(
        &self,
        caller: &Caller,
        kind: Kind,
        names: &'a [String],
    ) -> Result<Option<&'a str>, Error> {
        for names in names.chunks(NAMES_PER_LOOKUP) {
            let places = names.iter().map(|name| kind.place(name)).collect();
            let found = self.engine().find_records(caller, places).await?;
            let unknown = names
                .iter()
                .zip(found)
                .find(|(name, record)| record.is_none() && *name != ALL);
            if let Some((name, _)) = unknown {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Begins (or goes on with) the making of the tokens of a first start. `None` if that is done, or if another process
    /// is at it.
    ///
    /// A start is the first one as long as there is no token at all, so that somebody who has deleted all of them gets
    /// in again.
    pub(super) async fn begin_first_start(&self, caller: &Caller) -> Result<Option<Record>, Error> {
        let place = Place::new(Space::of("unleash-first-start"), Key(Vec::new()));
        let body = json(&FirstStart::FINISHED);
        let engine = self.engine();
        let record = engine
            .find_or_create(caller, "first-start", place, body)
            .await?;
        if !FirstStart::of(&record)?.finished {
            return Ok(Some(record));
        }
        let (tokens, _) = engine.list(caller, None, 1).await?;
        if !tokens.is_empty() {
            return Ok(None);
        }
        match self.mark_first_start(caller, &record, false).await {
            // Of two processes that start at once, one gets here.
            Err(Error::Conflict(_)) => Ok(None),
            begun => begun.map(Some),
        }
    }

    /// Notes that the tokens of a first start are all made.
    pub(super) async fn finish_first_start(
        &self,
        caller: &Caller,
        begun: &Record,
    ) -> Result<(), Error> {
        match self.mark_first_start(caller, begun, true).await {
            Err(Error::Conflict(_)) => Ok(()),
            finished => finished.map(drop),
        }
    }

    async fn mark_first_start(
        &self,
        caller: &Caller,
        record: &Record,
        finished: bool,
    ) -> Result<Record, Error> {
        let body = json(&FirstStart {
            schema: SCHEMA,
            finished,
        });
        let edit = move |_: &Record| {
            Ok(RecordEdit {
                body: Some(body.clone()),
                ..RecordEdit::default()
            })
        };
        let guard = Guard::Version(record.version);
        self.engine()
            .update_record(caller, record.id, guard, edit)
            .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Bodies as they stand in stores. Lines are added when a form is added, and never changed.
    #[test]
    fn bodies_that_were_ever_written_are_still_read() {
        let named: Named = serde_json::from_str(r#"{"schema":1,"name":"default"}"#).unwrap();
        assert_eq!(json(&named).to_string(), r#"{"schema":1,"name":"default"}"#);
        let text = r#"{"schema":1,"finished":true}"#;
        assert_eq!(
            serde_json::from_str::<FirstStart>(text).unwrap(),
            FirstStart::FINISHED
        );
        assert_eq!(json(&FirstStart::FINISHED).to_string(), text);
    }

    #[test]
    fn a_project_and_an_environment_of_one_name_are_two() {
        assert_ne!(
            Kind::Project.place("default"),
            Kind::Environment.place("default")
        );
    }
}
