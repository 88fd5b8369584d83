//! Tokens that nobody asks for over HTTP: those of the first start, and those of the command line.
//!
//! The one thing a newcomer would get wrong: the tokens of the settings are made when there is no token yet, and only
//! then. Otherwise a token that somebody has deleted would be back after the next restart.

use engine::Error;
use engine::caller::Caller;
use engine::clock::Timestamp;
use engine::error::Conflict;
use engine::locator::{Key, Place, Space};
use engine::secret::Secret;
use engine::verbs::issue::Issue;

use super::Unleash;
use super::scope::{ALL, Scope};
use super::secret::{self, RANDOM_BYTES, ReadablePart};
use super::wire::TokenType;
use crate::dialects::{FirstCredential, Mint, MintError, Minted};

/// What the product calls every token of the first start, whatever its type.
const FIRST_NAME: &str = "admin";

/// Characters of a minted secret's random part that its hint may show: 16 of 224 bits.
const HINT_CHARS: usize = 4;

/// Characters of a hint; project names have no limit, hints do.
const HINT_CHARS_MAX: usize = 80;

/// Held by the token that the first start has generated, so that starts at the same time make one.
fn first_token_place() -> Place {
    Place::new(Space::of("unleash-first-token"), Key(Vec::new()))
}

impl Unleash {
    /// Projects, environments, and the tokens of a first start. See [`crate::dialects::Dialect::seed`].
    pub(super) async fn make_first(&self) -> Result<Vec<FirstCredential>, Error> {
        let caller = Caller::system(self.realm(), "first-start");
        self.ensure_records(&caller).await?;
        let Some(begun) = self.begin_first_start(&caller).await? else {
            return Ok(Vec::new());
        };
        let mut generated = Vec::new();
        let groups = &self.settings().init;
        for group in groups {
            for token in &group.tokens {
                let scope = Scope {
                    kind: group.kind,
                    projects: vec![token.project.clone()],
                    environment: token.environment.clone(),
                };
                let secret = Secret::parse(token.secret.expose()).map_err(|_| Error::Internal)?;
                let issue = self.issue(&scope, FIRST_NAME.to_owned(), None, secret);
                match self.engine().issue(&caller, issue).await {
                    // Made before the program was interrupted, or named in two settings.
                    Ok(_) | Err(Error::Conflict(Conflict::Taken { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if groups.iter().all(|group| group.tokens.is_empty()) {
            let scope = Scope {
                kind: TokenType::Admin,
                projects: vec![ALL.to_owned()],
                environment: ALL.to_owned(),
            };
            let secret = self.mint_secret(&scope);
            let issue = Issue {
                locators: vec![first_token_place()],
                ..self.issue(&scope, FIRST_NAME.to_owned(), None, secret.clone())
            };
            match self.engine().issue(&caller, issue).await {
                Ok(_) => generated.push(FirstCredential {
                    label: "Unleash admin token".to_owned(),
                    secret,
                }),
                // Of several programs that start at once, another one made it.
                Err(Error::Conflict(Conflict::Taken { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        self.finish_first_start(&caller, &begun).await?;
        Ok(generated)
    }

    /// A token for the command line. See [`crate::dialects::Dialect::mint`].
    pub(super) fn mint_for(&self, mint: Mint) -> Result<Minted, MintError> {
        let class = mint.class.as_deref().unwrap_or(TokenType::Admin.as_str());
        let kind = TokenType::from_word(class).ok_or_else(|| {
            MintError("the class is one of client, backend, frontend, admin".to_owned())
        })?;
        let scope = Scope::from_permissions(kind, &mint.permissions).map_err(MintError)?;
        let name = mint.name.unwrap_or_else(|| class.to_owned());
        if name.is_empty() || name.contains('\0') {
            return Err(MintError(
                "the name is not empty and has no NUL character".to_owned(),
            ));
        }
        let secret = self.mint_secret(&scope);
        let issue = self.issue(&scope, name, mint.expires_at, secret.clone());
        Ok(Minted { issue, secret })
    }

    /// A new secret for a scope.
    pub(super) fn mint_secret(&self, scope: &Scope) -> Secret {
        let mut random = [0; RANDOM_BYTES];
        self.engine().random(&mut random);
        let text = secret::mint(&scope.projects, &scope.environment, &random);
        Secret::parse(&text).unwrap_or_else(|_| {
            // Names that are too long for a secret, or have control characters, are left out of it: what a secret's text
            // says about its scope is a hint for people.
            let text = secret::mint(&[], "long", &random);
            Secret::parse(&text).expect("this one is 64 characters of hexadecimal and letters")
        })
    }

    /// What the engine is to issue.
    pub(super) fn issue(
        &self,
        scope: &Scope,
        name: String,
        expires_at: Option<Timestamp>,
        secret: Secret,
    ) -> Issue {
        let hint = hint(secret.expose());
        let keep = self.settings().keep_secrets;
        Issue {
            name: Some(name),
            expires_at,
            permissions: scope.permissions(),
            ..Issue::with_secret(scope.kind.as_str(), secret, hint, keep)
        }
    }
}

/// The readable part of a secret, and of a long random one its first characters.
fn hint(secret: &str) -> String {
    let Some(part) = ReadablePart::of(secret) else {
        return String::new();
    };
    let readable = part.scope.len() + 1 + part.environment.len();
    let rest = &secret[readable..];
    let digits = rest.strip_prefix('.').unwrap_or(rest);
    let minted =
        digits.len() == 2 * RANDOM_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shown = if minted { 1 + HINT_CHARS } else { 0 };
    let text = secret[..readable].chars().chain(rest.chars().take(shown));
    text.take(HINT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_show_the_scope_and_little_of_what_is_random() {
        let minted = format!("default:production.{}", "ab12".repeat(14));
        assert_eq!(hint(&minted), "default:production.ab12");
        assert_eq!(hint("*:*.unleash-admin-token"), "*:*");
        assert_eq!(hint("x:ü.ß"), "x:ü");
        assert_eq!(hint("user:abc"), "");
        assert_eq!(
            hint(&format!("{}:a.b", "p".repeat(200))).len(),
            HINT_CHARS_MAX
        );
    }
}
