//! The dialects: one folder each, and one line each in [`ALL`].
//!
//! The one thing to know: no dialect names another. What the program and the native routes need of all of them is the
//! [`Dialect`] trait; everything else is private to its folder.

pub mod infisical;
pub mod mindbridge;
pub mod piiano;
pub mod unleash;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Request;
use axum::response::Response;
use engine::Engine;
use engine::clock::Timestamp;
use engine::realm::RealmId;
use engine::secret::Secret;
use engine::verbs::issue::Issue;
use engine::verbs::update::Edit;
use utoipa_axum::router::OpenApiRouter;

/// How to open each dialect. A new one is one line here.
pub const ALL: &[Opener] = &[
    Opener {
        name: infisical::NAME,
        variables: infisical::VARIABLES,
        open: infisical::open,
    },
    Opener {
        name: mindbridge::NAME,
        variables: mindbridge::VARIABLES,
        open: mindbridge::open,
    },
    Opener {
        name: piiano::NAME,
        variables: piiano::VARIABLES,
        open: piiano::open,
    },
    Opener {
        name: unleash::NAME,
        variables: unleash::VARIABLES,
        open: unleash::open,
    },
];

/// A dialect that can be opened.
#[derive(Clone, Copy)]
pub struct Opener {
    /// Its name, as in settings, realms and document addresses.
    pub name: &'static str,
    /// The products' variables that it reads: nodes that share a store must agree about each of them.
    pub variables: &'static [&'static str],
    /// Reads its settings and makes it ready to answer in one realm. Does no I/O.
    pub open: fn(&Engine, RealmId, &Environment) -> Opened,
}

/// A dialect ready to answer, or the setting that prevents it.
pub type Opened = Result<Arc<dyn Dialect>, SettingError>;

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The settings that products document as environment variables, as the program has read them (environment, file and
/// flags), and whether this is a development server.
#[derive(Clone, Default)]
pub struct Environment {
    /// Name → value.
    pub variables: std::collections::BTreeMap<String, String>,
    /// `serve --dev`: the products' documented development credentials exist.
    pub dev: bool,
}

impl fmt::Debug for Environment {
    /// Names only: values may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("dev", &self.dev)
            .finish()
    }
}

impl Environment {
    /// The value of a variable, unless it is absent or empty.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The same with these variables alone.
    #[must_use]
    pub fn only(&self, names: &[&str]) -> Self {
        let variables = self.variables.iter();
        let variables = variables.filter(|(name, _)| names.contains(&name.as_str()));
        Self {
            variables: variables
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            ..self.clone()
        }
    }

    /// A variable that is `true` or `false`.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, SettingError> {
        match self.value(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(false),
            Some(_) => Err(SettingError::new(name, "is true or false")),
        }
    }
}

/// A setting that a dialect cannot use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {rule}")]
pub struct SettingError {
    /// Which variable.
    pub name: &'static str,
    /// What it must be; never what it was.
    pub rule: String,
}

impl SettingError {
    /// Shorthand.
    pub fn new(name: &'static str, rule: impl Into<String>) -> Self {
        Self {
            name,
            rule: rule.into(),
        }
    }
}

/// A credential made at the first start, to be shown to the operator once.
#[derive(Debug)]
pub struct FirstCredential {
    /// What it is for, for people.
    pub label: String,
    /// The secret itself.
    pub secret: Secret,
}

/// What the command line says about an access token to be issued; each dialect makes its own kind of secret from it.
#[derive(Debug, Clone, Default)]
pub struct Mint {
    /// Which kind of token, in the dialect's words; the dialect's default if absent.
    pub class: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// What its bearer may do, in the dialect's words.
    pub permissions: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What a dialect made of it.
#[derive(Debug)]
pub struct Minted {
    /// What the engine is to issue.
    pub issue: Issue,
    /// What is shown, once.
    pub secret: Secret,
}

/// Why a dialect cannot issue, or change, what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MintError(pub String);

/// What the program needs of a dialect.
#[async_trait]
pub trait Dialect: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The realm it answers in.
    fn realm(&self) -> RealmId;

    /// All its routes, each described where it is written; the state is already in.
    fn doors(&self) -> OpenApiRouter;

    /// The paths below which it answers what no route knows, at a segment boundary.
    fn prefixes(&self) -> &'static [&'static str];

    /// Answers a path that no route knows, or a method that its route does not take.
    async fn unknown(&self, request: Request) -> Response;

    /// Makes what must be there before the first request: first credentials (returned only if they were generated and
    /// are to be shown), those of the environment, and in development the documented ones. Idempotent.
    async fn seed(&self) -> Result<Vec<FirstCredential>, engine::Error>;

    /// Whether tokens that have merely ended stay for ever, because the product shows them in its lists, unless a setting
    /// says otherwise.
    fn keeps_ended(&self) -> bool {
        false
    }

    /// An access token of this dialect for the command line.
    async fn mint(&self, mint: Mint) -> Result<Minted, MintError>;

    /// What an update from the command line must say besides, so that it leaves a token as the dialect's own calls would:
    /// a name that is also a place moves it. Refuses what those calls refuse.
    ///
    /// # Errors
    /// The rule that it breaks.
    fn complete(&self, edit: Edit) -> Result<Edit, MintError> {
        Ok(edit)
    }
}
