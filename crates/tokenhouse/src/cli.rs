//! The command line, as clap reads it.
//!
//! The one thing to know: what stands here is the help and the reference page. A flag that is a setting only passes its
//! text on: its rule and its default are those of the settings' table.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Variables;
use crate::exit;

/// A self-hosted token server that speaks its products' own APIs over one engine.
#[derive(Debug, Parser)]
#[command(
    name = "tokenhouse",
    version,
    after_help = exit::HELP,
    after_long_help = concat!(
        "Examples:\n",
        "  tokenhouse demo                  watch a token of each family being updated\n",
        "  tokenhouse serve --dev           try it: temporary data, development credentials\n",
        "  tokenhouse serve                 serve real tokens from ./tokenhouse-data\n",
        "  tokenhouse token list --realm unleash\n",
        "\n",
        "Exit codes:\n",
        "  0  done; for serve: stopped as asked\n",
        "  1  failed or refused; the message on standard error says what and why\n",
        "  2  wrong arguments or settings; nothing was done\n",
        "  3  the server that holds the data directory does not answer on its control socket",
    ),
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until it is asked to stop (SIGTERM, SIGINT).
    #[command(after_long_help = "\
Examples:
  tokenhouse serve --data /var/lib/tokenhouse
  tokenhouse serve --dev --listen 127.0.0.1:0
  tokenhouse serve --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem
  tokenhouse serve --set dialects.unleash.listen=127.0.0.1:4242

When it is ready, it prints one line `listening on http://ADDRESS` for each listener to standard output.
Every setting can be given by flag, environment, file or default, in this order of precedence;
settings without a flag of their own are given by --set. All are listed in docs/generated/settings.md.")]
    Serve(ServeArguments),
    /// Show at work, over HTTP and with temporary data, that an update is in force at the next request.
    #[command(after_long_help = "\
A server is started on a free port of the loopback, with temporary data. In each dialect a token is made, updated
with the product's own call, and used: the table shows before, after, and how long the update took.
The exit code is 0 only if every line of it is true.")]
    Demo(DemoArguments),
    /// Issue, list, show, update and revoke tokens: on a running server, or on the store if no server holds it.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add keys to the keyring, and show which keys there are and which are in use.
    #[command(subcommand)]
    Keyring(KeyringCommand),
    /// Copy everything from one store into another, empty one, of the same or another kind, and verify it.
    #[command(after_long_help = "\
Examples:
  tokenhouse copy --from sqlite:///var/lib/tokenhouse/store.sqlite --to postgres://tokenhouse@db/tokenhouse \\
      --to-password-file /etc/tokenhouse/password
  tokenhouse copy --from postgres://tokenhouse@db/tokenhouse --to sqlite:///backup/store.sqlite

Stop all servers of both stores first. Tokens, values (all versions, sealed as they are), records, events and
uses are copied; no keyring is read, and the destination is served with that of the source. A copy that was
interrupted goes on where it was when the same command is given again. In the end both stores are read and
compared; until they are the same, the destination cannot be served. The source is never changed.")]
    Copy(CopyArguments),
    /// Write the reference pages of settings and command line.
    #[command(hide = true)]
    GenerateDocs(GenerateDocsArguments),
}

/// Which settings file, and which data directory.
#[derive(Debug, Args)]
pub struct Where {
    /// Settings file (TOML) [env: TOKENHOUSE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: ./tokenhouse-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Where tokens are kept, as in sqlite:///absolute/path or postgres://user@host/database
    /// [default: a file in the data directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Keyring file, shared by all nodes of a store [default: keyring.json in the data directory]
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<String>,
    /// Any setting by its key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// A development server: temporary data, the products' documented credentials, metrics and OpenAPI shown
    #[arg(long, conflicts_with_all = ["data", "store", "keyring"])]
    pub dev: bool,
    /// Where the settings are
    #[command(flatten)]
    pub place: Where,
    /// Address and port of the main listener [default: 127.0.0.1:7600]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Chain of certificates (PEM): speak TLS
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// The PostgreSQL at --store is a cluster of this kind: citus
    #[arg(long, value_name = "KIND")]
    pub distributed: Option<String>,
    /// A proxy in front ends TLS and names the client in X-Forwarded-For
    #[arg(long)]
    pub behind_proxy: bool,
    /// Form of the log on standard error: human or json [default: human]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Flags of `copy`.
#[derive(Debug, Args)]
pub struct CopyArguments {
    /// The store to copy, as in sqlite:///absolute/path or postgres://user@host/database
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// The store to copy into: empty, or with an unfinished copy of the same store
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// File with the password of the user of --from, unless it stands in the URL
    #[arg(long, value_name = "FILE")]
    pub from_password_file: Option<PathBuf>,
    /// File with the password of the user of --to, unless it stands in the URL
    #[arg(long, value_name = "FILE")]
    pub to_password_file: Option<PathBuf>,
    /// The PostgreSQL at --to is a cluster of this kind: citus
    #[arg(long, value_name = "KIND")]
    pub distributed: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `generate-docs`.
#[derive(Debug, Args)]
pub struct GenerateDocsArguments {
    /// Into which directory
    #[arg(long, value_name = "DIR", default_value = "docs/generated")]
    pub into: PathBuf,
}

/// What can be done with the keyring.
#[derive(Debug, Subcommand)]
pub enum KeyringCommand {
    /// Add a new digest key and a new sealing key to the keyring's file.
    #[command(after_long_help = "\
Examples:
  tokenhouse keyring add --data /var/lib/tokenhouse
  tokenhouse keyring add --keyring /etc/tokenhouse/keyring.json

To rotate the keys:
  1. add keys to the file, once, on one machine;
  2. back the file up, and copy it to every node (not `keyring add` on each: those would be different keys);
  3. restart the nodes one after the other. When the last one runs with the new file, all of them go over to the
     new keys by themselves, within seconds; a node with the old file does not start any more.

Secrets that are minted and values that are sealed from then on use the new keys. What was digested and sealed
before stays as it is and needs the old keys, so nothing is ever taken out of the file. The file is replaced at
once: whoever reads it sees it without the new keys or with them.")]
    Add(Reach),
    /// List the keys by id and fingerprint, never the keys: which are in the file, in use and active.
    #[command(after_long_help = "\
Examples:
  tokenhouse keyring show --data /var/lib/tokenhouse
  tokenhouse keyring show --keyring keyring.json --store postgres://tokenhouse@db/tokenhouse --json

FILE      whether the keyring's file has the key (`other`: another key under this id)
IN USE    whether it is on the store's list, so that every node must have it; `active`: new things are made with it
NODES     how many of the nodes that run have it; a key is taken into use when all of them do

The store is asked through the running server, or opened if none holds it. Where neither can be done the file's
keys are listed all the same, and why the rest is not known is said on standard error; the exit code is 0.")]
    Show(Reach),
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Issue an access token; its secret is printed this once.
    #[command(after_long_help = "\
Examples:
  tokenhouse token issue --realm unleash --class backend --name ci --permission project:default --expires-in 90d
  secret=$(tokenhouse token issue --realm unleash --json | jq -r .secret)")]
    Issue(IssueArguments),
    /// List the tokens of a realm, in order of creation.
    List(ListArguments),
    /// Show one token.
    Show(TokenArguments),
    /// Change name, tags or expiry of one token; what is not given stays.
    #[command(after_long_help = "\
Examples:
  tokenhouse token update ID --expires-in 30d
  tokenhouse token update ID --never-expires --name 'deploy key' --tag prod --tag eu
  tokenhouse token update ID --expires-at 2030-01-31T12:00:00Z --if-version 3")]
    Update(UpdateArguments),
    /// Put one token out of force for good.
    Revoke(RevokeArguments),
    /// Show what happened to one token and to the records above it, newest first.
    History(TokenArguments),
}

/// How it is reached and shown.
#[derive(Debug, Args)]
pub struct Reach {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the settings are
    #[command(flatten)]
    pub place: Where,
}

/// Flags of `token issue`.
#[derive(Debug, Args)]
pub struct IssueArguments {
    /// Realm: id, name, or the dialect's name
    #[arg(long)]
    pub realm: String,
    /// Which kind of token, in the dialect's words; unless given, an administrator's
    #[arg(long)]
    pub class: Option<String>,
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// What its bearer may do, in the dialect's words; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION")]
    pub permissions: Vec<String>,
    /// When it ends
    #[command(flatten)]
    pub expiry: IssueExpiry,
    /// How
    #[command(flatten)]
    pub reach: Reach,
}

/// When a new token ends.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct IssueExpiry {
    /// When it ends, as in 2030-01-31T12:00:00Z
    #[arg(long, value_name = "INSTANT")]
    pub expires_at: Option<String>,
    /// In how long it ends, as in 90d
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<String>,
}

/// Flags of `token list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Realm: id, name, or the dialect's name; all realms if absent
    #[arg(long)]
    pub realm: Option<String>,
    /// How
    #[command(flatten)]
    pub reach: Reach,
}

/// One token.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// The token's id (never its secret)
    pub id: String,
    /// Its realm; all realms are looked through if absent
    #[arg(long)]
    pub realm: Option<String>,
    /// How
    #[command(flatten)]
    pub reach: Reach,
}

/// Flags of `token update`.
#[derive(Debug, Args)]
pub struct UpdateArguments {
    /// Which
    #[command(flatten)]
    pub token: TokenArguments,
    /// A new name
    #[arg(long, conflicts_with = "no_name")]
    pub name: Option<String>,
    /// No name
    #[arg(long)]
    pub no_name: bool,
    /// All of its tags from now on; may be repeated
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "no_tags")]
    pub tags: Vec<String>,
    /// No tags
    #[arg(long)]
    pub no_tags: bool,
    /// When it ends
    #[command(flatten)]
    pub expiry: UpdateExpiry,
    /// Only if it still has this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
}

/// When an updated token ends.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct UpdateExpiry {
    /// When it ends, as in 2030-01-31T12:00:00Z; a time that has passed ends it now
    #[arg(long, value_name = "INSTANT")]
    pub expires_at: Option<String>,
    /// In how long it ends, as in 90d
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<String>,
    /// It does not end by itself
    #[arg(long)]
    pub never_expires: bool,
}

/// Flags of `token revoke`.
#[derive(Debug, Args)]
pub struct RevokeArguments {
    /// Which
    #[command(flatten)]
    pub token: TokenArguments,
    /// Only if it still has this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<u64>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write KEY=VALUE, as in retention=30d")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Where {
    /// Those that are settings, by their keys.
    pub fn flags(&self) -> Variables {
        let mut flags: Variables = self.set.iter().cloned().collect();
        let own = [
            ("data", &self.data),
            ("store", &self.store),
            ("keyring", &self.keyring),
        ];
        flags.extend(given(&own));
        flags
    }
}

impl ServeArguments {
    /// Those that are settings, by their keys.
    pub fn flags(&self) -> Variables {
        let mut flags = self.place.flags();
        flags.extend(given(&[
            ("listen", &self.listen),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("store_distributed", &self.distributed),
            ("log_format", &self.log_format),
            ("log_level", &self.log_level),
        ]));
        if self.behind_proxy {
            flags.insert("behind_proxy".to_owned(), "true".to_owned());
        }
        flags
    }
}

fn given(flags: &[(&str, &Option<String>)]) -> Variables {
    let flags = flags.iter();
    flags
        .filter_map(|(key, value)| Some(((*key).to_owned(), value.as_ref()?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config;
    use clap::CommandFactory as _;

    #[test]
    fn clap_finds_no_fault() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_is_one_of_serve_and_its_default_is_told() {
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").unwrap();
        for (key, setting) in config::rows() {
            let Some(flag) = setting.flag else { continue };
            let argument = serve
                .get_arguments()
                .find(|argument| argument.get_long() == Some(flag));
            let help = argument
                .unwrap_or_else(|| panic!("{key}: serve has no --{flag}"))
                .get_help()
                .unwrap()
                .to_string();
            if !setting.default.is_empty() && setting.default != "false" {
                let told = format!("[default: {}]", setting.default);
                assert!(help.contains(&told), "--{flag} does not tell {told}");
            }
        }
    }
}
