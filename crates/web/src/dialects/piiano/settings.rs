//! The settings that the product documents as environment variables, read once when the dialect is opened.
//!
//! The one thing a newcomer would get wrong: nothing here asks the environment; the program has read it (with file and
//! flags) into [`Environment`]. A value that cannot be used stops the start, and is never repeated in the message.

use engine::limits;
use engine::secret::Secret;

use super::vocabulary::data_type::ValueRules;
use super::vocabulary::expiration::DefaultExpiration;
use crate::dialects::{Environment, SettingError};

/// The administrator's key.
pub(super) const ADMIN_API_KEY: &str = "PVAULT_SERVICE_ADMIN_API_KEY";
const FORCE_ACCESS_REASON: &str = "PVAULT_SERVICE_FORCE_ACCESS_REASON";
const ALLOW_ORIGINS: &str = "PVAULT_SERVICE_ALLOW_ORIGINS";
const EXPIRATION_TOKENS: &str = "PVAULT_EXPIRATION_TOKENS";
const EXPIRATION_ASSOCIATED: &str = "PVAULT_EXPIRATION_ASSOCIATED_OBJECTS";
const EXPIRATION_UNASSOCIATED: &str = "PVAULT_EXPIRATION_UNASSOCIATED_OBJECTS";
const MAX_TOKEN_TAGS: &str = "PVAULT_DB_MAX_TOKEN_TAGS";
const MAX_STRING_LENGTH: &str = "PVAULT_DB_MAX_STRING_LENGTH";
const MAX_BLOB_LENGTH: &str = "PVAULT_DB_MAX_BLOB_LENGTH";
const DISABLE_LUHN: &str = "PVAULT_FEATURES_DISABLE_CC_LUHN_VALIDATION";

/// All variables that are read here.
pub(super) const VARIABLES: &[&str] = &[
    ADMIN_API_KEY,
    FORCE_ACCESS_REASON,
    ALLOW_ORIGINS,
    EXPIRATION_TOKENS,
    EXPIRATION_ASSOCIATED,
    EXPIRATION_UNASSOCIATED,
    MAX_TOKEN_TAGS,
    MAX_STRING_LENGTH,
    MAX_BLOB_LENGTH,
    DISABLE_LUHN,
];

/// The documented key of development servers. Everybody knows it.
pub(super) const DEVELOPMENT_KEY: &str = "pvaultauth";

/// The most characters a string may be allowed: the product documents none; a value is sealed as a whole.
const STRING_CHARS_MAX: usize = 1_000_000;

/// What the dialect is told at the start.
#[derive(Debug)]
pub(super) struct Settings {
    /// `serve --dev`.
    pub(super) dev: bool,
    /// The administrator's key, if the environment gives one.
    pub(super) admin_key: Option<Secret>,
    /// Whether data calls must say why.
    pub(super) reason_required: bool,
    /// Which browser origins may call.
    pub(super) origins: Origins,
    /// The life of tokens that are made without an expiration.
    pub(super) token_life: DefaultExpiration,
    /// The life of objects that belong to no other.
    pub(super) object_life: DefaultExpiration,
    /// Tags of one token at the most.
    pub(super) tags_max: usize,
    /// What values must be like.
    pub(super) values: ValueRules,
}

/// Browser origins that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origins {
    /// None: no answer carries a word of CORS.
    None,
    /// Any.
    Any,
    /// These, compared exactly.
    Listed(Vec<String>),
}

impl Settings {
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingError> {
        let defaults = ValueRules::default();
        // Objects that belong to others are not served yet; a wrong value is still a mistake to be told of.
        life(environment, EXPIRATION_ASSOCIATED)?;
        Ok(Self {
            dev: environment.dev,
            admin_key: admin_key(environment)?,
            reason_required: environment.flag(FORCE_ACCESS_REASON, false)?,
            origins: origins(environment)?,
            token_life: life(environment, EXPIRATION_TOKENS)?,
            object_life: life(environment, EXPIRATION_UNASSOCIATED)?,
            tags_max: number(environment, MAX_TOKEN_TAGS, 10, limits::TAGS_MAX)?,
            values: ValueRules {
                string_chars_max: number(
                    environment,
                    MAX_STRING_LENGTH,
                    defaults.string_chars_max,
                    STRING_CHARS_MAX,
                )?,
                blob_bytes_max: number(
                    environment,
                    MAX_BLOB_LENGTH,
                    defaults.blob_bytes_max,
                    defaults.blob_bytes_max,
                )?,
                luhn_required: !environment.flag(DISABLE_LUHN, false)?,
            },
        })
    }
}

fn admin_key(environment: &Environment) -> Result<Option<Secret>, SettingError> {
    let Some(text) = environment.value(ADMIN_API_KEY) else {
        return Ok(None);
    };
    if text == DEVELOPMENT_KEY && !environment.dev {
        let rule = "must not be the documented development key, which everybody knows; choose another one, or leave it \
                    out and let the first start generate one";
        return Err(SettingError::new(ADMIN_API_KEY, rule));
    }
    let travels = text.bytes().all(|byte| byte.is_ascii_graphic());
    match Secret::parse(text) {
        Ok(secret) if travels => Ok(Some(secret)),
        _ => Err(SettingError::new(
            ADMIN_API_KEY,
            format!(
                "is at most {} visible ASCII characters, because it travels in a header",
                limits::SECRET_BYTES_MAX
            ),
        )),
    }
}

fn origins(environment: &Environment) -> Result<Origins, SettingError> {
    let Some(text) = environment.value(ALLOW_ORIGINS) else {
        return Ok(Origins::None);
    };
    if text.trim() == "*" {
        return Ok(Origins::Any);
    }
    let listed: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .map(str::to_owned)
        .collect();
    // A path or a slash at the end would never match what a browser sends.
    let is_origin = |origin: &String| {
        origin.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty() && !host.is_empty() && !host.contains('/')
        }) && origin.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if listed.is_empty() || !listed.iter().all(is_origin) {
        let rule = "is * or a list of origins such as https://shop.example, separated by commas";
        return Err(SettingError::new(ALLOW_ORIGINS, rule));
    }
    Ok(Origins::Listed(listed))
}

fn life(environment: &Environment, name: &'static str) -> Result<DefaultExpiration, SettingError> {
    DefaultExpiration::parse(environment.value(name).unwrap_or_default())
        .map_err(|error| SettingError::new(name, error.to_string()))
}

fn number(
    environment: &Environment,
    name: &'static str,
    default: usize,
    max: usize,
) -> Result<usize, SettingError> {
    let Some(text) = environment.value(name) else {
        return Ok(default);
    };
    text.parse()
        .ok()
        .filter(|number| (1..=max).contains(number))
        .ok_or_else(|| SettingError::new(name, format!("is a number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn environment(dev: bool, pairs: &[(&str, &str)]) -> Environment {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment {
            variables: pairs.iter().map(own).collect(),
            dev,
        }
    }

    #[test]
    fn nothing_set_is_the_products_defaults() {
        let settings = Settings::read(&environment(false, &[])).unwrap();
        assert!(settings.admin_key.is_none() && !settings.reason_required);
        assert_eq!(settings.origins, Origins::None);
        assert_eq!(settings.tags_max, 10);
        assert_eq!(settings.values, ValueRules::default());
    }

    #[test]
    fn the_development_key_stays_in_development() {
        let pairs = [(ADMIN_API_KEY, DEVELOPMENT_KEY)];
        assert!(Settings::read(&environment(true, &pairs)).is_ok());
        let error = Settings::read(&environment(false, &pairs)).unwrap_err();
        assert_eq!(error.name, ADMIN_API_KEY);
        assert!(!error.to_string().contains(DEVELOPMENT_KEY));
    }

    #[test]
    fn values_that_cannot_be_used_name_their_setting_and_not_themselves() {
        for (name, value) in [
            (ADMIN_API_KEY, "with blank"),
            (ADMIN_API_KEY, "ключ"),
            (FORCE_ACCESS_REASON, "sometimes"),
            (ALLOW_ORIGINS, "shop.example"),
            (ALLOW_ORIGINS, "https://shop.example/"),
            (EXPIRATION_TOKENS, "a month"),
            (EXPIRATION_ASSOCIATED, "0"),
            (EXPIRATION_UNASSOCIATED, "-1h"),
            (MAX_TOKEN_TAGS, "0"),
            (MAX_TOKEN_TAGS, "201"),
            (MAX_STRING_LENGTH, "many"),
            (MAX_BLOB_LENGTH, "999999999"),
            (DISABLE_LUHN, "maybe"),
        ] {
            let error = Settings::read(&environment(false, &[(name, value)])).unwrap_err();
            assert_eq!(error.name, name, "{value}");
            // What the rule gives as an example or a bound may look like a part of a wrong value.
            assert!(!error.rule.contains(value) || value.len() < 13, "{value}");
        }
    }

    #[test]
    fn origins_are_split_and_trimmed() {
        let read = |text: &str| {
            Settings::read(&environment(false, &[(ALLOW_ORIGINS, text)])).map(|read| read.origins)
        };
        assert_eq!(read("*").unwrap(), Origins::Any);
        let two = vec![
            "https://a.example".to_owned(),
            "http://localhost:3000".to_owned(),
        ];
        assert_eq!(
            read(" https://a.example, http://localhost:3000,").unwrap(),
            Origins::Listed(two)
        );
    }
}
