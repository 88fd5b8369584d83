//! What an operator can set: the product's own environment variables, and ours beside them.
//!
//! The one thing a newcomer would get wrong: without `AUTH_SECRET` there is a key all the same, made from the keyring, so
//! that access tokens outlive a restart. Setting or changing the variable ends all tokens that were signed before.

use std::fmt;

use zeroize::Zeroizing;

use crate::dialects::{Environment, SettingError};

/// Seconds that a token lives at the most unless a setting says otherwise: the product's own 90 days.
const TTL_SECS_MAX_DEFAULT: u64 = 7_776_000;

/// Seconds that the setting may say at the most: the product's limit of every TTL, ten years.
pub(super) const TTL_SECS_LIMIT: u64 = 315_360_000;

/// Bytes that a signing key has at the least: fewer can be guessed from one token.
const AUTH_SECRET_BYTES_MIN: usize = 16;

/// The name of an organization that nobody has named.
const ORGANIZATION_DEFAULT: &str = "Tokenhouse";

/// Settings that are read; the README's table says the same at more length.
mod name {
    /// The key that signs access tokens.
    pub(super) const AUTH_SECRET: &str = "AUTH_SECRET";
    /// Seconds that a token lives at the most.
    pub(super) const TTL_SECS_MAX: &str = "MAX_MACHINE_IDENTITY_TOKEN_AGE";
    /// What the organization of a first start is called.
    pub(super) const ORGANIZATION: &str = "TOKENHOUSE_INFISICAL_ORGANIZATION";
}

/// All variables that are read here.
pub(super) const VARIABLES: &[&str] = &[name::AUTH_SECRET, name::TTL_SECS_MAX, name::ORGANIZATION];

/// All settings, checked.
#[derive(Clone)]
pub(super) struct Settings {
    /// The key that signs access tokens, if it is given.
    pub auth_secret: Option<Zeroizing<String>>,
    /// Seconds that a token lives at the most.
    pub ttl_secs_max: u64,
    /// What the organization of a first start is called.
    pub organization: String,
    /// A development server: whoever comes first sets the instance up over HTTP.
    pub open_until_bootstrapped: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("ttl_secs_max", &self.ttl_secs_max)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads and checks all of them.
    pub(super) fn read(environment: &Environment) -> Result<Self, SettingError> {
        let auth_secret = environment.value(name::AUTH_SECRET);
        if auth_secret.is_some_and(|secret| secret.len() < AUTH_SECRET_BYTES_MIN) {
            let rule = format!("has at least {AUTH_SECRET_BYTES_MIN} bytes");
            return Err(SettingError::new(name::AUTH_SECRET, rule));
        }
        let ttl_secs_max = match environment.value(name::TTL_SECS_MAX) {
            None => TTL_SECS_MAX_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|secs| (1..=TTL_SECS_LIMIT).contains(secs))
                .ok_or_else(|| {
                    let rule = format!("is a number of seconds from 1 to {TTL_SECS_LIMIT}");
                    SettingError::new(name::TTL_SECS_MAX, rule)
                })?,
        };
        let organization = environment
            .value(name::ORGANIZATION)
            .unwrap_or(ORGANIZATION_DEFAULT);
        if organization.chars().count() > 64 || organization.contains('\0') {
            let rule = "has 1 to 64 characters, none of them NUL";
            return Err(SettingError::new(name::ORGANIZATION, rule));
        }
        Ok(Self {
            auth_secret: auth_secret.map(|secret| Zeroizing::new(secret.to_owned())),
            ttl_secs_max,
            organization: organization.to_owned(),
            open_until_bootstrapped: environment.dev,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, SettingError> {
        let variables = [(name.to_owned(), value.to_owned())].into();
        Settings::read(&Environment {
            variables,
            dev: false,
        })
    }

    #[test]
    fn defaults_are_the_products() {
        let settings = Settings::read(&Environment::default()).unwrap();
        assert_eq!(settings.ttl_secs_max, 7_776_000);
        assert!(settings.auth_secret.is_none());
        assert!(!settings.open_until_bootstrapped);
    }

    #[test]
    fn what_breaks_a_rule_names_the_variable_and_not_its_value() {
        for (name, value) in [
            (name::AUTH_SECRET, "sesame"),
            (name::TTL_SECS_MAX, "sesame"),
            (name::TTL_SECS_MAX, "0"),
            (name::TTL_SECS_MAX, "315360001"),
            (name::ORGANIZATION, "sesame".repeat(11).as_str()),
        ] {
            let error = read(name, value).unwrap_err();
            assert_eq!(error.name, name);
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn debug_has_no_key() {
        let settings = read(name::AUTH_SECRET, "0123456789abcdef").unwrap();
        assert!(!format!("{settings:?}").contains("0123"));
    }
}
