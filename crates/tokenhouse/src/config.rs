//! Settings: one table, one struct, four layers – flag over environment over file over default.
//!
//! The one thing to know: [`TABLE`] is the single list of settings; the names of their variables, the reference page and
//! the check for unknown keys are made from it. A new setting is a row there and a line in [`Settings::resolve`].

mod layers;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use web::dialects::{self, Environment};
use zeroize::Zeroizing;

pub(crate) use layers::CONFIG_FILE;
pub use layers::Layers;
pub use table::{DIALECT_TABLE, Setting, TABLE, rows, variable_of};

use crate::data_dir::KEYRING;
use crate::duration;
use crate::keyring_file::KeyringFile;
use crate::password_file;

/// Names and values, as of the environment.
pub type Variables = BTreeMap<String, String>;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Temporary data, development credentials, loopback only.
    pub dev: bool,
    /// Variables of the environment that look like settings of ours and are none.
    pub unread: Vec<String>,
    /// The data directory; not used by a development server.
    pub data: PathBuf,
    /// Another place for the store than the data directory.
    pub store: Option<Confidential>,
    /// The password of the database's user, from wherever it was given.
    pub store_password: Option<Confidential>,
    /// Whether the database is spread over several servers, and by what.
    pub store_distributed: bool,
    /// Another place for the keyring than the data directory.
    pub keyring: Option<PathBuf>,
    /// Where the main listener listens.
    pub listen: SocketAddr,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Whether a proxy in front ends TLS and names the client in `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// Whether `/metrics` is on the main listener.
    pub show_metrics: bool,
    /// Whether `/openapi` is on the public listeners, of each the dialects that it speaks.
    pub show_documents: bool,
    /// What is logged, and how.
    pub log: LogSettings,
    /// How long what has ended, was deleted or was superseded is kept.
    pub retention: Duration,
    /// Between two purges; zero is never.
    pub purge_interval: Duration,
    /// Between two writes of what is only counted.
    pub flush_interval: Duration,
    /// How long a connection may take for the head of a request, the idle time before it included.
    pub head_timeout: Duration,
    /// How long a request may take from its head to its answer.
    pub request_timeout: Duration,
    /// How long the server goes on, not ready, after it was asked to stop.
    pub stop_delay: Duration,
    /// How long requests under way may take after that.
    pub stop_timeout: Duration,
    /// Connections at a time, on all listeners together.
    pub connections_max: usize,
    /// Entries of the live index.
    pub live_entries: usize,
    /// Each dialect's own.
    pub dialects: BTreeMap<&'static str, DialectSettings>,
    /// The products' variables.
    pub environment: Environment,
}

/// A text that holds a password, or may.
#[derive(Clone)]
pub struct Confidential(Zeroizing<String>);

impl Confidential {
    fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// For whoever needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confidential")
    }
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain of certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// How.
    pub format: LogFormat,
    /// From which level on.
    pub level: LogLevel,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The level from which on log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(usize);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogLevel {
    /// Warnings and errors.
    pub const WARN: Self = Self(2);

    /// Its name.
    pub const fn word(self) -> &'static str {
        LEVELS[self.0]
    }
}

/// What is set for one dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectSettings {
    /// Whether it is spoken at all.
    pub enabled: bool,
    /// A listener of its own, instead of the main one.
    pub listen: Option<SocketAddr>,
    /// Whether tokens that have merely ended are kept for ever; the product's habit if absent.
    pub keep_ended: Option<bool>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: String,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Settings {
    /// Checks every setting of all layers.
    pub fn resolve(layers: &Layers, dev: bool) -> Result<Self, ConfigError> {
        let read = Reading { layers };
        let shown = |key| Ok::<_, ConfigError>(dev || read.flag(key)?);
        let settings = Self {
            dev,
            unread: layers.unread(),
            data: PathBuf::from(read.text("data")),
            store: read.optional("store").map(Confidential::new),
            store_password: read.store_password()?,
            store_distributed: read.distributed()?,
            keyring: read.optional("keyring").map(PathBuf::from),
            listen: read.parsed("listen", "an address and port, as in 127.0.0.1:7600")?,
            tls: read.tls()?,
            behind_proxy: read.flag("behind_proxy")?,
            show_metrics: shown("metrics")?,
            show_documents: shown("openapi")?,
            log: read.log()?,
            retention: read.duration("retention")?,
            purge_interval: read.duration("purge_interval")?,
            flush_interval: read.positive_duration("flush_interval")?,
            head_timeout: read.positive_duration("head_timeout")?,
            request_timeout: read.positive_duration("request_timeout")?,
            stop_delay: read.duration("stop_delay")?,
            stop_timeout: read.duration("stop_timeout")?,
            connections_max: read.number("connections_max", 1, 1_000_000)?,
            live_entries: read.number("live_entries", 0, 100_000_000)?,
            dialects: read.dialects()?,
            environment: Environment {
                variables: layers.products(),
                dev,
            },
        };
        settings.check()?;
        Ok(settings)
    }

    /// Where listeners may be: beyond the loopback only if what passes there is encrypted.
    fn check(&self) -> Result<(), ConfigError> {
        let own = self.dialects.values().filter(|dialect| dialect.enabled);
        let addresses = own
            .filter_map(|dialect| dialect.listen)
            .chain([self.listen]);
        for address in addresses {
            if address.ip().to_canonical().is_loopback() {
                continue;
            }
            if self.dev {
                return Err(ConfigError::new(format!(
                    "--dev listens on the loopback only, not on {address}: its credentials are known to everybody"
                )));
            }
            if self.tls.is_none() && !self.behind_proxy {
                return Err(ConfigError::new(format!(
                    "{address} is not a loopback address, and tokens would pass it in clear: give --tls-cert and \
                     --tls-key, or --behind-proxy if a proxy in front ends TLS"
                )));
            }
        }
        if self.dev && (self.store.is_some() || self.keyring.is_some()) {
            return Err(ConfigError::new(
                "--dev has temporary data: leave --store and --keyring out",
            ));
        }
        Ok(())
    }
}

struct Reading<'a> {
    layers: &'a Layers,
}

impl Reading<'_> {
    fn text(&self, key: &str) -> String {
        self.layers.value(key).0
    }

    fn optional(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    /// What was given is not repeated: it may be a secret in the wrong place.
    fn refuse(&self, key: &str, rule: &str) -> ConfigError {
        let (_, source) = self.layers.value(key);
        ConfigError::new(format!("{source} must be {rule}"))
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str, rule: &str) -> Result<T, ConfigError> {
        self.text(key).parse().map_err(|_| self.refuse(key, rule))
    }

    fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        self.parsed(key, "true or false")
    }

    fn number(&self, key: &str, min: usize, max: usize) -> Result<usize, ConfigError> {
        let rule = format!("a whole number from {min} to {max}");
        let number = self.parsed(key, &rule)?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(self.refuse(key, &rule))
        }
    }

    fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        duration::parse(&self.text(key))
            .ok_or_else(|| self.refuse(key, "a duration with its unit, as in 30s, 5m, 720h or 7d"))
    }

    fn positive_duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let duration = self.duration(key)?;
        if duration.is_zero() {
            return Err(self.refuse(key, "longer than nothing"));
        }
        Ok(duration)
    }

    fn distributed(&self) -> Result<bool, ConfigError> {
        match self.optional("store_distributed").as_deref() {
            None => Ok(false),
            Some("citus") => Ok(true),
            Some(_) => Err(self.refuse("store_distributed", "citus, or empty")),
        }
    }

    fn store_password(&self) -> Result<Option<Confidential>, ConfigError> {
        let given = self.optional("store_password").map(Confidential::new);
        let Some(file) = self.optional("store_password_file") else {
            return Ok(given);
        };
        if given.is_some() {
            return Err(ConfigError::new(
                "store_password and store_password_file are two words for one thing: give one",
            ));
        }
        let line = password_file::read(Path::new(&file)).map_err(ConfigError::new)?;
        Ok(Some(Confidential(line)))
    }

    fn tls(&self) -> Result<Option<TlsFiles>, ConfigError> {
        match (self.optional("tls_cert"), self.optional("tls_key")) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            })),
            _ => Err(ConfigError::new(
                "tls_cert and tls_key are given both or not at all",
            )),
        }
    }

    fn log(&self) -> Result<LogSettings, ConfigError> {
        let format = match self.text("log_format").as_str() {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => return Err(self.refuse("log_format", "human or json")),
        };
        let level = self.text("log_level");
        let level = LEVELS
            .iter()
            .position(|word| *word == level)
            .map(LogLevel)
            .ok_or_else(|| self.refuse("log_level", &LEVELS.join(", ")))?;
        Ok(LogSettings { format, level })
    }

    fn dialects(&self) -> Result<BTreeMap<&'static str, DialectSettings>, ConfigError> {
        let mut settings = BTreeMap::new();
        for dialect in dialects::ALL {
            let key = |name: &str| format!("dialects.{}.{name}", dialect.name);
            let listen = key("listen");
            let keep_ended = key("keep_ended");
            settings.insert(
                dialect.name,
                DialectSettings {
                    enabled: self.flag(&key("enabled"))?,
                    listen: match self.optional(&listen) {
                        None => None,
                        Some(_) => {
                            Some(self.parsed(&listen, "an address and port, as in 127.0.0.1:4242")?)
                        }
                    },
                    keep_ended: match self.optional(&keep_ended) {
                        None => None,
                        Some(_) => Some(self.flag(&keep_ended)?),
                    },
                },
            );
        }
        Ok(settings)
    }
}

impl Settings {
    /// Where the keyring is, given the directory that holds the data.
    pub fn keyring_file(&self, data: &Path) -> KeyringFile {
        let path = self.keyring.clone();
        KeyringFile::at(path.unwrap_or_else(|| data.join(KEYRING)))
    }

    /// What all nodes of a store must agree about, because it changes what is answered: names and values.
    pub fn shared_by_nodes(&self) -> Vec<(String, String)> {
        let mut shared = Vec::new();
        for opener in dialects::ALL {
            let enabled = self
                .dialects
                .get(opener.name)
                .is_some_and(|one| one.enabled);
            shared.push((
                format!("dialects.{}.enabled", opener.name),
                enabled.to_string(),
            ));
            let given = opener.variables.iter().filter_map(|name| {
                let value = self.environment.value(name)?;
                Some(((*name).to_owned(), value.to_owned()))
            });
            shared.extend(given.filter(|_| enabled));
        }
        shared
    }

    /// The store's URL, given the directory that holds the data.
    pub fn store_url(&self, data: &Path) -> String {
        if let Some(store) = &self.store {
            return store.expose().to_owned();
        }
        let path = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        format!("sqlite://{}", path.join("store.sqlite").display())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn layers(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> Layers {
        let owned = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let mut layers = Layers::new(owned(flags), owned(environment)).unwrap();
        layers.read_text(Path::new("house.toml"), file).unwrap();
        layers
    }

    fn refusal(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &str) -> String {
        let layers = layers(flags, environment, file);
        Settings::resolve(&layers, false).unwrap_err().to_string()
    }

    #[test]
    fn every_default_is_good() {
        let settings = Settings::resolve(&layers(&[], &[], ""), false).unwrap();
        assert_eq!(settings.listen, "127.0.0.1:7600".parse().unwrap());
        assert_eq!(settings.retention, Duration::from_hours(720));
        assert!(!settings.show_metrics && !settings.show_documents);
        assert_eq!(settings.dialects.len(), dialects::ALL.len());
        let dev = Settings::resolve(&layers(&[], &[], ""), true).unwrap();
        assert!(dev.show_metrics && dev.show_documents && dev.environment.dev);
    }

    #[test]
    fn flag_over_environment_over_file() {
        let file = "listen = \"127.0.0.1:1\"\nconnections_max = 5\n[dialects.unleash]\nlisten = \"127.0.0.1:4\"\n";
        let of = |flags: &[(&str, &str)], environment: &[(&str, &str)]| {
            let settings = Settings::resolve(&layers(flags, environment, file), false).unwrap();
            (settings.listen.port(), settings.connections_max)
        };
        assert_eq!(of(&[], &[]), (1, 5));
        let environment = [("TOKENHOUSE_LISTEN", "127.0.0.1:2")];
        assert_eq!(of(&[], &environment), (2, 5));
        assert_eq!(of(&[("listen", "127.0.0.1:3")], &environment), (3, 5));
        let settings = Settings::resolve(&layers(&[], &[], file), false).unwrap();
        assert_eq!(settings.dialects["unleash"].listen.unwrap().port(), 4);
    }

    #[test]
    fn products_variables_come_from_all_layers_and_are_not_ours() {
        const A: &str = "INIT_ADMIN_API_TOKENS";
        const B: &str = "AUTH_SECRET";
        const C: &str = "UNLEASH_API_TOKENS_LIMIT";
        let file = [A, B, C]
            .map(|name| format!("{name} = \"file\"\n"))
            .concat();
        let layers = layers(
            &[(&format!("environment.{C}"), "flag")],
            &[
                (A, "env"),
                (C, "env"),
                ("SOMEBODY_ELSES", "env"),
                ("TOKENHOUSE_LISTEN", "127.0.0.1:2"),
            ],
            &format!("[environment]\n{file}"),
        );
        let settings = Settings::resolve(&layers, false).unwrap();
        let value = |name| settings.environment.value(name);
        assert_eq!(value(A), Some("env"));
        assert_eq!(value(B), Some("file"));
        assert_eq!(value(C), Some("flag"));
        assert_eq!(value("TOKENHOUSE_LISTEN"), None);
    }

    #[test]
    fn other_addresses_need_protection() {
        let message = refusal(&[("listen", "0.0.0.0:7600")], &[], "");
        assert!(message.contains("--behind-proxy"), "{message}");
        let own = "[dialects.unleash]\nlisten = \"10.0.0.1:4242\"";
        assert!(refusal(&[], &[], own).contains("10.0.0.1"));
        let proxied = layers(
            &[("listen", "[::]:7600"), ("behind_proxy", "true")],
            &[],
            "",
        );
        assert!(Settings::resolve(&proxied, false).is_ok());
        assert!(Settings::resolve(&proxied, true).is_err(), "--dev");
        let off = layers(&[], &[], &format!("{own}\nenabled = false"));
        assert!(Settings::resolve(&off, false).is_ok());
    }

    #[test]
    fn a_refusal_names_the_source_and_not_the_value() {
        for (flags, environment, file, source) in [
            (&[("listen", "hunter2")][..], &[][..], "", "--listen"),
            (
                &[],
                &[("TOKENHOUSE_RETENTION", "hunter2")],
                "",
                "TOKENHOUSE_RETENTION",
            ),
            (
                &[],
                &[],
                "log_level = \"hunter2\"",
                "log_level in house.toml",
            ),
            (
                &[],
                &[],
                "connections_max = 0",
                "connections_max in house.toml",
            ),
            (
                &[],
                &[],
                "flush_interval = \"0\"",
                "flush_interval in house.toml",
            ),
            (
                &[],
                &[],
                "behind_proxy = \"hunter2\"",
                "behind_proxy in house.toml",
            ),
            (&[("tls_cert", "hunter2")], &[], "", "tls_key"),
        ] {
            let message = refusal(flags, environment, file);
            assert!(message.contains(source), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn unknown_keys_of_the_file_are_errors() {
        let read = |text: &str| {
            let mut layers = Layers::new(Variables::new(), Variables::new()).unwrap();
            layers.read_text(Path::new("house.toml"), text)
        };
        for bad in [
            "lisen = \"127.0.0.1:1\"",
            "[dialects.unlaesh]\nlisten = \"127.0.0.1:1\"",
            "[dialects.unleash]\nlisen = \"127.0.0.1:1\"",
            "listen = [\"127.0.0.1:1\"]",
            "listen = 1979-05-27T07:32:00Z",
            "[environment]\nTOKENHOUSE_LISTEN = \"127.0.0.1:1\"",
            "[environment]\nINIT_ADMIN_API_TOKEN = \"one letter is missing\"",
            "listen",
        ] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains("house.toml"), "{message}");
        }
        assert!(
            Layers::new(
                [("lisen".to_owned(), String::new())].into(),
                Variables::new()
            )
            .is_err()
        );
    }
}
