//! The list of all settings.
//!
//! The one thing to know: the order here is the order of the reference page; defaults are written as a user would write
//! them, and pass through the same checks.

use web::dialects;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key in the file.
    pub key: &'static str,
    /// The flag of `serve`, if it has one of its own.
    pub flag: Option<&'static str>,
    /// What it is if nobody says anything; empty is nothing.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

const fn setting(
    key: &'static str,
    flag: Option<&'static str>,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        flag,
        default,
        meaning,
    }
}

/// Settings of the house.
pub const TABLE: &[Setting] = &[
    setting(
        "data",
        Some("data"),
        "./tokenhouse-data",
        "The data directory: keyring, store, control socket. Made with mode 0700 if it is not there. One process owns it.",
    ),
    setting(
        "store",
        Some("store"),
        "",
        "Where tokens are kept, as a URL: `sqlite:///absolute/path` or `postgres://user@host:5432/database`. A SQLite file \
         in the data directory if empty.",
    ),
    setting(
        "store_password",
        None,
        "",
        "The password of the database's user, so that it need not stand in the URL; best given by its variable.",
    ),
    setting(
        "store_password_file",
        None,
        "",
        "A file whose first line is that password.",
    ),
    setting(
        "store_distributed",
        Some("distributed"),
        "",
        "`citus` where the PostgreSQL at `store` is a Citus cluster: tables are then distributed by realm. Read when the \
         tables are made.",
    ),
    setting(
        "keyring",
        Some("keyring"),
        "",
        "The keyring's file, mode 0600. All nodes that share a store need the same keyring; new keys are added by \
         `tokenhouse keyring add`. `keyring.json` in the data directory if empty.",
    ),
    setting(
        "listen",
        Some("listen"),
        "127.0.0.1:7600",
        "Address and port of the main listener; port 0 lets the system choose. An address other than the loopback needs \
         `tls_cert` and `tls_key`, or `behind_proxy`.",
    ),
    setting(
        "tls_cert",
        Some("tls-cert"),
        "",
        "PEM file with the chain of certificates. With `tls_key`, all listeners speak TLS.",
    ),
    setting(
        "tls_key",
        Some("tls-key"),
        "",
        "PEM file with the private key.",
    ),
    setting(
        "behind_proxy",
        Some("behind-proxy"),
        "false",
        "A proxy in front ends TLS. The client's address is then the last one in `X-Forwarded-For`; only the proxy may \
         be able to reach the listener.",
    ),
    setting(
        "metrics",
        None,
        "false",
        "Show `/metrics` on the main listener.",
    ),
    setting(
        "openapi",
        None,
        "false",
        "Show `/openapi/<dialect>.json` on the listener that speaks the dialect.",
    ),
    setting(
        "log_format",
        Some("log-format"),
        "human",
        "`human` or `json`.",
    ),
    setting(
        "log_level",
        Some("log-level"),
        "info",
        "`off`, `error`, `warn`, `info`, `debug` or `trace`. One line for each request is `info`.",
    ),
    setting(
        "retention",
        None,
        "720h",
        "How long what has ended, was deleted or was superseded is kept before it is purged for good.",
    ),
    setting(
        "purge_interval",
        None,
        "1h",
        "Between two purges; `0` is never.",
    ),
    setting(
        "flush_interval",
        None,
        "5s",
        "Between two writes of what is only counted (uses of tokens, repeated refusals): what a crash can lose of them.",
    ),
    setting(
        "head_timeout",
        None,
        "60s",
        "How long a connection may take for the head of its next request, the idle time before it included.",
    ),
    setting(
        "request_timeout",
        None,
        "60s",
        "How long a request may take from its head to its answer. A write that has begun is finished all the same.",
    ),
    setting(
        "stop_delay",
        None,
        "0s",
        "How long the server goes on as before after it was asked to stop, while `/readyz` answers 503, so that a load \
         balancer sends nothing more when the listener closes. Behind one, longer than it takes to notice; a second \
         signal ends it.",
    ),
    setting(
        "stop_timeout",
        None,
        "10s",
        "How long requests under way may take after the server was asked to stop.",
    ),
    setting(
        "connections_max",
        None,
        "10000",
        "Connections at a time, on all listeners together; more wait until one ends.",
    ),
    setting(
        "live_entries",
        None,
        "200000",
        "Entries of the index in memory from which tokens are verified, about 1 KiB each; `0` asks the store every time.",
    ),
];

/// Settings of each dialect; their keys begin with `dialects.<name>.`.
pub const DIALECT_TABLE: &[Setting] = &[
    setting("enabled", None, "true", "Whether it is spoken at all."),
    setting(
        "listen",
        None,
        "",
        "An address and port of its own, instead of the main listener.",
    ),
    setting(
        "keep_ended",
        None,
        "",
        "Whether tokens that have merely ended are kept for ever; as the product does if empty.",
    ),
];

/// Every key with its setting, those of the dialects included.
pub fn rows() -> impl Iterator<Item = (String, Setting)> {
    let own = TABLE
        .iter()
        .map(|setting| (setting.key.to_owned(), *setting));
    let theirs = dialects::ALL.iter().flat_map(|dialect| {
        let rows = DIALECT_TABLE.iter();
        rows.map(|setting| {
            (
                format!("dialects.{}.{}", dialect.name, setting.key),
                *setting,
            )
        })
    });
    own.chain(theirs)
}

/// The environment variable of a key.
pub fn variable_of(key: &str) -> String {
    let name = key.replace('.', "_").to_ascii_uppercase();
    format!("TOKENHOUSE_{name}")
}
