//! Where settings come from: flags, environment, file.
//!
//! The one thing to know: an unknown key in the file or in `--set` is an error, so that a misspelt setting is not silently
//! the default. An unknown `TOKENHOUSE_…` variable is not: some systems put variables of that form into every process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::table::{rows, variable_of};
use super::{ConfigError, Variables};

/// Begins the keys of products' variables.
const PRODUCTS: &str = "environment.";

/// The variable that names the settings file.
pub(crate) const CONFIG_FILE: &str = "TOKENHOUSE_CONFIG";

/// Begins our own variables.
const OURS: &str = "TOKENHOUSE_";

/// All that was given, as text.
#[derive(Clone, Default)]
pub struct Layers {
    flags: Variables,
    environment: Variables,
    file: BTreeMap<String, String>,
    path: PathBuf,
}

impl fmt::Debug for Layers {
    /// Names only: values may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("flags", &self.flags.keys())
            .field("file", &self.file.keys())
            .finish_non_exhaustive()
    }
}

/// Who said something.
pub(super) enum Source {
    Flag(String),
    Environment(String),
    File(String, PathBuf),
    Default(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => f.write_str(name),
            Self::File(key, path) => write!(f, "{key} in {}", path.display()),
            Self::Default(key) => write!(f, "the default of {key}"),
        }
    }
}

impl Layers {
    /// Flags by the keys of their settings, and the environment.
    pub fn new(flags: Variables, environment: Variables) -> Result<Self, ConfigError> {
        for key in flags.keys() {
            check_key(key).map_err(|rule| ConfigError::new(format!("--set {key}: {rule}")))?;
        }
        Ok(Self {
            flags,
            environment,
            ..Self::default()
        })
    }

    /// Reads the file, if one is named.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(format!("{} cannot be read: {error}", path.display()))
        })?;
        self.read_text(path, &text)
    }

    /// Reads the text of a file.
    pub fn read_text(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let refuse = |message: &str| ConfigError::new(format!("{}: {message}", path.display()));
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // The full text quotes the line, which may hold a credential.
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            refuse(&format!("line {line}: {}", error.message()))
        })?;
        let mut file = BTreeMap::new();
        flatten("", &table, &mut file).map_err(|message| refuse(&message))?;
        for key in file.keys() {
            check_key(key).map_err(|rule| refuse(&format!("{key}: {rule}")))?;
        }
        self.file = file;
        path.clone_into(&mut self.path);
        Ok(())
    }

    /// What is said of a key, and by whom.
    pub(super) fn value(&self, key: &str) -> (String, Source) {
        let (_, setting) = rows()
            .find(|(one, _)| one == key)
            .expect("only keys of the table are asked for");
        if let Some(value) = self.flags.get(key) {
            let flag = setting
                .flag
                .map_or_else(|| format!("--set {key}"), |flag| format!("--{flag}"));
            return (value.clone(), Source::Flag(flag));
        }
        let variable = variable_of(key);
        if let Some(value) = self.environment.get(&variable) {
            return (value.clone(), Source::Environment(variable));
        }
        if let Some(value) = self.file.get(key) {
            let source = Source::File(key.to_owned(), self.path.clone());
            return (value.clone(), source);
        }
        (setting.default.to_owned(), Source::Default(key.to_owned()))
    }

    /// Variables that look like ours and that nothing reads. They are no error: some platforms set such ones by themselves,
    /// named after a service.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = |name: &str| {
            let ours = rows().any(|(key, _)| variable_of(&key) == name);
            let mut openers = web::dialects::ALL.iter();
            ours || name == CONFIG_FILE || openers.any(|opener| opener.variables.contains(&name))
        };
        let names = self.environment.keys().map(String::as_str);
        names
            .filter(|name| name.starts_with(OURS) && !read(name))
            .map(str::to_owned)
            .collect()
    }

    /// The products' variables of all layers. Relative to each other the layers are as for our own settings.
    pub(super) fn products(&self) -> Variables {
        let under = |layer: &Variables| -> Variables {
            let entries = layer.iter();
            entries
                .filter_map(|(key, value)| {
                    let name = key.strip_prefix(PRODUCTS)?;
                    Some((name.to_owned(), value.clone()))
                })
                .collect()
        };
        let mut variables = under(&self.file);
        let theirs = self
            .environment
            .iter()
            .filter(|(name, _)| !name.starts_with(OURS) || of_a_dialect(name));
        variables.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
        variables.extend(under(&self.flags));
        variables
    }
}

/// Whether a variable is a dialect's own switch (`TOKENHOUSE_<DIALECT>_…`), which only that dialect reads.
fn of_a_dialect(name: &str) -> bool {
    web::dialects::ALL.iter().any(|opener| {
        let switch = format!("{OURS}{}_", opener.name.to_uppercase());
        name.starts_with(&switch)
    })
}

fn check_key(key: &str) -> Result<(), String> {
    if let Some(name) = key.strip_prefix(PRODUCTS) {
        if name.starts_with(OURS) && !of_a_dialect(name) {
            return Err(
                "a setting of our own stands under its key, not under environment".to_owned(),
            );
        }
        // In the environment there are many that are nobody's; who writes one here means something by it.
        let openers = web::dialects::ALL.iter();
        let read: Vec<&str> = openers
            .flat_map(|opener| opener.variables)
            .copied()
            .collect();
        if read.contains(&name) {
            return Ok(());
        }
        return Err(format!(
            "no dialect reads such a variable; there are: {}",
            read.join(", ")
        ));
    }
    let mut known: Vec<String> = rows().map(|(known, _)| known).collect();
    if known.iter().any(|one| one == key) {
        return Ok(());
    }
    let group = key.rsplit_once('.').map_or("", |(group, _)| group);
    let of_group = |one: &String| one.rsplit_once('.').map_or("", |(group, _)| group) == group;
    if known.iter().any(of_group) {
        known.retain(of_group);
    }
    Err(format!(
        "there is no such setting; there are: {}",
        known.join(", ")
    ))
}

fn flatten(
    prefix: &str,
    table: &toml::Table,
    into: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Table(inner) => {
                flatten(&format!("{key}."), inner, into)?;
                continue;
            }
            Value::Float(_) | Value::Datetime(_) | Value::Array(_) => {
                return Err(format!(
                    "{key} must be a text, a whole number, true or false"
                ));
            }
        };
        into.insert(key, text);
    }
    Ok(())
}
