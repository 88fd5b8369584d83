//! What a token of this product opens: its type, its projects and its environment, kept as permissions of the engine.
//!
//! The one thing a newcomer would get wrong: no project is not all projects. A token whose last project is gone opens
//! nothing; the product turns it into one for everything, which is how a cleanup used to widen tokens.

use engine::token::Token;

use super::wire::TokenType;

/// All projects, or all environments.
pub(super) const ALL: &str = "*";

const PROJECT: &str = "project:";
const ENVIRONMENT: &str = "environment:";

/// The scope of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// Its type.
    pub kind: TokenType,
    /// Its projects, `["*"]` for all, none if they are all gone.
    pub projects: Vec<String>,
    /// Its environment, [`ALL`] for admin tokens; empty if it has none.
    pub environment: String,
}

impl Scope {
    /// The scope of a stored token. `None` if its class is no word of this product; nothing is opened by guessing.
    pub(super) fn of(token: &Token) -> Option<Self> {
        let kind = TokenType::from_word(&token.class)?;
        let permissions = &token.access()?.permissions;
        let named = |prefix: &'static str| {
            let names = permissions.iter();
            names.filter_map(move |permission| permission.strip_prefix(prefix))
        };
        Some(Self {
            kind,
            projects: named(PROJECT).map(str::to_owned).collect(),
            environment: named(ENVIRONMENT).next().unwrap_or_default().to_owned(),
        })
    }

    /// As permissions of the engine.
    pub(super) fn permissions(&self) -> Vec<String> {
        let environment = format!("{ENVIRONMENT}{}", self.environment);
        let projects = self.projects.iter();
        std::iter::once(environment)
            .chain(projects.map(|project| format!("{PROJECT}{project}")))
            .collect()
    }

    /// Whether it opens anything at all.
    pub(super) fn opens_something(&self) -> bool {
        !self.projects.is_empty() && !self.environment.is_empty()
    }

    /// The scope that permissions in the words of [`Scope::permissions`] name, where absent ones take the product's
    /// defaults for new tokens of this type.
    ///
    /// # Errors
    /// Which permission is none, or what a token of this type cannot have.
    pub(super) fn from_permissions(
        kind: TokenType,
        permissions: &[String],
    ) -> Result<Self, String> {
        let mut projects = Vec::new();
        let mut environments = Vec::new();
        for permission in permissions {
            let (list, name) = match (
                permission.strip_prefix(PROJECT),
                permission.strip_prefix(ENVIRONMENT),
            ) {
                (Some(name), _) => (&mut projects, name),
                (None, Some(name)) => (&mut environments, name),
                (None, None) => {
                    return Err(format!(
                        "`{permission}` is no permission: write `{PROJECT}<name>` or `{ENVIRONMENT}<name>`"
                    ));
                }
            };
            if name.is_empty() || name.contains(char::is_control) {
                return Err(format!("`{permission}` names nothing"));
            }
            if !list.iter().any(|known| known == name) {
                list.push(name.to_owned());
            }
        }
        if projects.is_empty() || projects.iter().any(|project| project == ALL) {
            projects = vec![ALL.to_owned()];
        }
        let default = match kind {
            TokenType::Admin => ALL,
            TokenType::Client | TokenType::Backend | TokenType::Frontend => "development",
        };
        let environment = match environments.as_slice() {
            [] => default.to_owned(),
            [one] => one.clone(),
            _ => return Err("a token has one environment".to_owned()),
        };
        let is_for_all = environment == ALL && projects == [ALL];
        match kind {
            TokenType::Admin if !is_for_all => {
                Err("an admin token is for all projects and environments".to_owned())
            }
            TokenType::Client | TokenType::Backend | TokenType::Frontend if environment == ALL => {
                Err("only admin tokens are for all environments".to_owned())
            }
            _ => Ok(Self {
                kind,
                projects,
                environment,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(kind: TokenType, permissions: &[&str]) -> Result<Scope, String> {
        let owned: Vec<String> = permissions.iter().map(|&text| text.to_owned()).collect();
        Scope::from_permissions(kind, &owned)
    }

    #[test]
    fn permissions_are_read_as_they_are_written() {
        let scope = read(
            TokenType::Backend,
            &[
                "project:a",
                "environment:production",
                "project:b:c",
                "project:a",
            ],
        )
        .unwrap();
        assert_eq!(scope.projects, ["a", "b:c"]);
        assert_eq!(
            scope.permissions(),
            ["environment:production", "project:a", "project:b:c"]
        );
        assert_eq!(
            Scope::from_permissions(TokenType::Backend, &scope.permissions()),
            Ok(scope)
        );
    }

    #[test]
    fn defaults_are_those_of_the_type() {
        let client = read(TokenType::Client, &[]).unwrap();
        assert_eq!(
            (client.environment.as_str(), client.projects.as_slice()),
            ("development", &["*".to_owned()][..])
        );
        let admin = read(TokenType::Admin, &[]).unwrap();
        assert_eq!(
            (admin.environment.as_str(), admin.projects.as_slice()),
            ("*", &["*".to_owned()][..])
        );
    }

    #[test]
    fn what_a_type_cannot_have_is_refused() {
        for (kind, permissions) in [
            (TokenType::Client, &["environment:*"][..]),
            (TokenType::Client, &["environment:a", "environment:b"]),
            (TokenType::Admin, &["project:a"]),
            (TokenType::Admin, &["environment:development"]),
            (TokenType::Client, &["project:"]),
            (TokenType::Client, &["ADMIN"]),
        ] {
            assert!(read(kind, permissions).is_err(), "{permissions:?}");
        }
    }

    #[test]
    fn without_a_project_nothing_is_opened() {
        let mut scope = read(TokenType::Client, &["project:a"]).unwrap();
        assert!(scope.opens_something());
        scope.projects.clear();
        assert!(!scope.opens_something());
    }
}
