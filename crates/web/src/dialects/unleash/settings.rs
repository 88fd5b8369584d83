//! What an operator can set: the product's own environment variables, and ours beside them.
//!
//! The one thing a newcomer would get wrong: the product's variables keep the product's names and meaning; what only we
//! have begins with `TOKENHOUSE_UNLEASH_`. Texts of settings may be secrets, so an error names the variable, not its value.

use super::secret::{InitToken, parse_init_tokens};
use super::wire::TokenType;
use crate::dialects::{Environment, SettingError};

/// Tokens at the most, unless a setting says otherwise: the product's own number.
const TOKENS_MAX_DEFAULT: usize = 2000;

/// Settings that are read, with what they mean; the README's table says the same at more length.
pub(super) mod name {
    /// Admin tokens of the first start.
    pub(crate) const INIT_ADMIN: &str = "INIT_ADMIN_API_TOKENS";
    /// Backend tokens of the first start.
    pub(crate) const INIT_BACKEND: &str = "INIT_BACKEND_API_TOKENS";
    /// Client tokens of the first start; read only where no backend tokens are given.
    pub(crate) const INIT_CLIENT: &str = "INIT_CLIENT_API_TOKENS";
    /// Frontend tokens of the first start.
    pub(crate) const INIT_FRONTEND: &str = "INIT_FRONTEND_API_TOKENS";
    /// How many tokens there may be.
    pub(crate) const TOKENS_LIMIT: &str = "UNLEASH_API_TOKENS_LIMIT";
    /// Whether lists can show secrets.
    pub(crate) const KEEP_SECRETS: &str = "TOKENHOUSE_UNLEASH_KEEP_SECRETS";
    /// Whether `backend` is written `client`.
    pub(crate) const OLDER_TYPE_WORDS: &str = "TOKENHOUSE_UNLEASH_OLDER_TYPE_WORDS";
    /// Whether `/edge/validate` leaves admin tokens out.
    pub(crate) const HIDE_ADMIN_TOKENS: &str = "TOKENHOUSE_UNLEASH_HIDE_ADMIN_TOKENS";
    /// Calls of `/edge/validate` from one address in a minute.
    pub(crate) const VALIDATIONS_PER_MINUTE: &str = "TOKENHOUSE_UNLEASH_VALIDATIONS_PER_MINUTE";
}

/// All variables that are read here.
pub(super) const VARIABLES: &[&str] = &[
    name::INIT_ADMIN,
    name::INIT_BACKEND,
    name::INIT_CLIENT,
    name::INIT_FRONTEND,
    name::TOKENS_LIMIT,
    name::KEEP_SECRETS,
    name::OLDER_TYPE_WORDS,
    name::HIDE_ADMIN_TOKENS,
    name::VALIDATIONS_PER_MINUTE,
];

/// Tokens of one type that a first start makes.
#[derive(Debug, Clone)]
pub(super) struct InitTokens {
    /// Their type.
    pub kind: TokenType,
    /// The tokens, in the order of the setting.
    pub tokens: Vec<InitToken>,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Tokens that a first start makes, in the order in which it makes them.
    pub init: Vec<InitTokens>,
    /// How many tokens there may be before a create is refused.
    pub tokens_max: usize,
    /// Whether new secrets are kept, sealed, and lists show them.
    pub keep_secrets: bool,
    /// Whether lists and `/edge/validate` say `client` for `backend`.
    pub older_type_words: bool,
    /// Whether `/edge/validate` leaves admin tokens out.
    pub hide_admin_tokens: bool,
    /// Calls of `/edge/validate` that one address has in a minute; `None` is any number.
    pub validations_per_minute: Option<u64>,
}

impl Settings {
    /// Reads and checks them.
    ///
    /// # Errors
    /// The first variable that breaks its rule; the program must then not start.
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingError> {
        let documented = |text| environment.dev.then_some(text);
        let backend = match environment.value(name::INIT_BACKEND) {
            Some(_) => init(environment, name::INIT_BACKEND, TokenType::Backend, None)?,
            None => init(
                environment,
                name::INIT_CLIENT,
                TokenType::Client,
                documented("default:development.unleash-client-token"),
            )?,
        };
        let admin = documented("*:*.unleash-admin-token");
        let frontend = documented("default:development.unleash-frontend-token");
        Ok(Self {
            init: vec![
                init(environment, name::INIT_ADMIN, TokenType::Admin, admin)?,
                backend,
                init(
                    environment,
                    name::INIT_FRONTEND,
                    TokenType::Frontend,
                    frontend,
                )?,
            ],
            tokens_max: number(environment, name::TOKENS_LIMIT)?.unwrap_or(TOKENS_MAX_DEFAULT),
            keep_secrets: environment.flag(name::KEEP_SECRETS, true)?,
            older_type_words: environment.flag(name::OLDER_TYPE_WORDS, false)?,
            hide_admin_tokens: environment.flag(name::HIDE_ADMIN_TOKENS, false)?,
            // Zero means no limit, as "off" does; a limit that lets nothing through would be a trap.
            validations_per_minute: number(environment, name::VALIDATIONS_PER_MINUTE)?
                .filter(|number| *number > 0),
        })
    }

    /// The type as the answers name it.
    pub(super) const fn shown_type(&self, kind: TokenType) -> TokenType {
        if self.older_type_words {
            kind.in_older_words()
        } else {
            kind
        }
    }
}

fn init(
    environment: &Environment,
    variable: &'static str,
    kind: TokenType,
    documented: Option<&str>,
) -> Result<InitTokens, SettingError> {
    let text = environment.value(variable).or(documented);
    let tokens = parse_init_tokens(text.unwrap_or_default(), kind)
        .map_err(|error| SettingError::new(variable, format!("is wrong: {error}")))?;
    Ok(InitTokens { kind, tokens })
}

fn number<T: std::str::FromStr>(
    environment: &Environment,
    variable: &'static str,
) -> Result<Option<T>, SettingError> {
    environment
        .value(variable)
        .map(|text| {
            text.trim()
                .parse()
                .map_err(|_| SettingError::new(variable, "is a whole number, not negative"))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn environment(dev: bool, variables: &[(&str, &str)]) -> Environment {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Environment {
            variables: variables.iter().map(pair).collect(),
            dev,
        }
    }

    fn made(settings: &Settings) -> Vec<(TokenType, &str)> {
        let groups = settings.init.iter();
        groups
            .flat_map(|group| {
                let of = |token: &InitToken| token.secret.expose().to_owned();
                group
                    .tokens
                    .iter()
                    .map(move |token| (group.kind, of(token)))
            })
            .map(|(kind, text)| (kind, &*Box::leak(text.into_boxed_str())))
            .collect()
    }

    #[test]
    fn nothing_set_is_the_products_own_behaviour() {
        let settings = Settings::read(&environment(false, &[])).unwrap();
        assert_eq!(made(&settings), []);
        assert_eq!(settings.tokens_max, 2000);
        assert!(settings.keep_secrets && !settings.older_type_words && !settings.hide_admin_tokens);
        assert_eq!(settings.validations_per_minute, None);
    }

    #[test]
    fn a_development_server_has_the_documented_tokens_unless_others_are_named() {
        let settings = Settings::read(&environment(true, &[])).unwrap();
        assert_eq!(
            made(&settings),
            [
                (TokenType::Admin, "*:*.unleash-admin-token"),
                (
                    TokenType::Client,
                    "default:development.unleash-client-token"
                ),
                (
                    TokenType::Frontend,
                    "default:development.unleash-frontend-token"
                ),
            ]
        );
        let named = environment(
            true,
            &[
                ("INIT_BACKEND_API_TOKENS", "a:b.c"),
                ("INIT_ADMIN_API_TOKENS", "*:*.x, *:*.y"),
            ],
        );
        assert_eq!(
            made(&Settings::read(&named).unwrap()),
            [
                (TokenType::Admin, "*:*.x"),
                (TokenType::Admin, "*:*.y"),
                (TokenType::Backend, "a:b.c"),
                (
                    TokenType::Frontend,
                    "default:development.unleash-frontend-token"
                ),
            ]
        );
    }

    #[test]
    fn backend_tokens_replace_client_tokens() {
        let both = environment(
            false,
            &[
                ("INIT_BACKEND_API_TOKENS", "a:b.c"),
                ("INIT_CLIENT_API_TOKENS", "d:e.f"),
            ],
        );
        assert_eq!(
            made(&Settings::read(&both).unwrap()),
            [(TokenType::Backend, "a:b.c")]
        );
        let client = environment(false, &[("INIT_CLIENT_API_TOKENS", "d:e.f")]);
        assert_eq!(
            made(&Settings::read(&client).unwrap()),
            [(TokenType::Client, "d:e.f")]
        );
    }

    #[test]
    fn what_breaks_a_rule_names_the_variable_and_not_its_value() {
        for (variable, value) in [
            ("INIT_ADMIN_API_TOKENS", "default:development.sesame"),
            ("INIT_FRONTEND_API_TOKENS", "sesame"),
            ("UNLEASH_API_TOKENS_LIMIT", "sesame"),
            ("UNLEASH_API_TOKENS_LIMIT", "-1"),
            ("TOKENHOUSE_UNLEASH_KEEP_SECRETS", "sesame"),
            ("TOKENHOUSE_UNLEASH_VALIDATIONS_PER_MINUTE", "1.5"),
        ] {
            let error = Settings::read(&environment(false, &[(variable, value)])).unwrap_err();
            assert_eq!(error.name, variable);
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn zero_validations_is_no_limit() {
        let zero = environment(false, &[("TOKENHOUSE_UNLEASH_VALIDATIONS_PER_MINUTE", "0")]);
        assert_eq!(Settings::read(&zero).unwrap().validations_per_minute, None);
        let some = environment(
            false,
            &[("TOKENHOUSE_UNLEASH_VALIDATIONS_PER_MINUTE", "60")],
        );
        assert_eq!(
            Settings::read(&some).unwrap().validations_per_minute,
            Some(60)
        );
    }
}
