//! Why a store cannot be opened.
//!
//! The one thing to know: each message ends with what to do, and none holds a password: not the URL, not what stands in it
//! beside the names of server, database and user.

use std::path::PathBuf;

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No backend answers to this kind of URL.
    #[error(
        "no store speaks \"{scheme}\": use sqlite:///absolute/path, sqlite:relative/path or postgres://user@host/database"
    )]
    Unsupported {
        /// What stands before the colon; never the rest, which may hold a password.
        scheme: String,
    },
    /// A URL of the right kind with something wrong in it.
    #[error("the store's URL is not usable: {message}")]
    Url {
        /// What, and how to write it.
        message: &'static str,
    },
    /// A parameter of a URL.
    #[error("the parameter {name} of the store's URL {message}")]
    Parameter {
        /// Which.
        name: String,
        /// What is wrong with it, and what to write.
        message: String,
    },
    /// A file is to be spread over several servers.
    #[error(
        "a SQLite file lies on one machine and cannot be distributed: leave that out, or name a cluster by postgres://"
    )]
    OneFile,
    /// Nothing is where a store is looked for that is not to be made.
    #[error("{place} holds no store")]
    Nothing {
        /// Path, or server and database.
        place: String,
    },
    /// The path names a directory.
    #[error("{} is a directory: name a file in it", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// The directory that would hold the file is missing.
    #[error("the directory of {} does not exist: create it first", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The operating system does not let us write there.
    #[error("{} cannot be written ({message}): give this user the right to write the file and its directory", path.display())]
    Rights {
        /// The path.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// Somebody else has it open.
    #[error("{} is in use by another process: stop that one, or use it through its socket", path.display())]
    Locked {
        /// The path.
        path: PathBuf,
    },
    /// Written by a newer program in a way that this one cannot work with.
    #[error("{} has a schema for programs of schema version {needs} or later, this one has {program}: use a newer program", path.display())]
    Newer {
        /// The path.
        path: PathBuf,
        /// The schema version that a program must have at least.
        needs: i64,
        /// The schema version of this program.
        program: i64,
    },
    /// The history of migrations does not fit this program.
    #[error("{} was made by a different line of programs: {message}", path.display())]
    History {
        /// The path.
        path: PathBuf,
        /// Which migration, and how it differs.
        message: String,
    },
    /// A file of another program.
    #[error("{} belongs to another program: name another file", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// Not readable as a store.
    #[error("{} is damaged or no store ({message}): restore it from a backup", path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What the backend says.
        message: String,
    },
    /// No connection to the server.
    #[error(
        "{place} cannot be reached ({message}): check host, port, network and sslmode, and that the server runs"
    )]
    Unreachable {
        /// Server and database.
        place: String,
        /// What the system or the server says.
        message: String,
    },
    /// The server is there and cannot serve for the moment.
    #[error(
        "{place} cannot serve at present ({message}): look into the server's log, and start again when it can"
    )]
    Busy {
        /// Server and database.
        place: String,
        /// What the server says.
        message: String,
    },
    /// The server's certificate is not believed.
    #[error(
        "{place} shows a certificate that is not accepted ({message}): name the file of its authority as sslrootcert, \
         and the server by a name that is in the certificate; sslmode says what is looked at"
    )]
    Untrusted {
        /// Server and database.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// The server is too old.
    #[error("{place} is PostgreSQL {version}: take {oldest} or later")]
    TooOld {
        /// Server and database.
        place: String,
        /// What it says it is.
        version: String,
        /// The first version that will do.
        oldest: u32,
    },
    /// The server does not write.
    #[error("{place} does not accept writes: {message}")]
    ReadOnly {
        /// Server and database.
        place: String,
        /// Why, and what to do.
        message: &'static str,
    },
    /// The server asks for a password, and there is none.
    #[error("{place} asks for the password of \"{user}\", and none is given")]
    NoPassword {
        /// Server and database.
        place: String,
        /// Whose.
        user: String,
    },
    /// The server does not let this user in.
    #[error(
        "{place} does not let \"{user}\" in ({message}): check the user, the password and the server's pg_hba.conf"
    )]
    Login {
        /// Server and database.
        place: String,
        /// Who.
        user: String,
        /// What the server says.
        message: String,
    },
    /// The server has no such database.
    #[error(
        "{place} does not exist: CREATE DATABASE \"{database}\" ENCODING 'UTF8' TEMPLATE template0 makes it"
    )]
    NoDatabase {
        /// Server and database.
        place: String,
        /// Its name.
        database: String,
    },
    /// The user may not do what is necessary.
    #[error(
        "{place} does not let \"{user}\" do what is necessary ({message}): let it own the database, or a schema that its \
         search_path begins with, and the tables in it; where others own them, they migrate, and it needs SELECT, INSERT, \
         UPDATE and DELETE on each"
    )]
    DatabaseRights {
        /// Server and database.
        place: String,
        /// Who.
        user: String,
        /// What is missing.
        message: String,
    },
    /// It is to be spread over several servers and is on one.
    #[error(
        "{place} is no Citus cluster, because it knows no create_distributed_table: say CREATE EXTENSION citus there first, \
         or do not ask for tables that are distributed. Nothing was made"
    )]
    NotDistributed {
        /// Server and database.
        place: String,
    },
    /// The database does not keep Unicode.
    #[error("{place} has the encoding {encoding}: make it with ENCODING 'UTF8'")]
    Encoding {
        /// Server and database.
        place: String,
        /// Its encoding.
        encoding: String,
    },
    /// Made by an earlier program, and not to be changed by this one.
    #[error(
        "{place} has the schema of an earlier version, which only a server of this version brings up to date"
    )]
    Behind {
        /// Server and database.
        place: String,
    },
    /// Tables of another program.
    #[error(
        "{place} holds tables of another program: give the store a database or a schema of its own"
    )]
    ForeignDatabase {
        /// Server and database.
        place: String,
    },
    /// Written by a newer program in a way that this one cannot work with.
    #[error(
        "{place} has a schema for programs of schema version {needs} or later, this one has {program}: use a newer program"
    )]
    NewerDatabase {
        /// Server and database.
        place: String,
        /// The schema version that a program must have at least.
        needs: i64,
        /// The schema version of this program.
        program: i64,
    },
    /// The history of migrations does not fit this program.
    #[error("{place} was made by a different line of programs: {message}")]
    DatabaseHistory {
        /// Server and database.
        place: String,
        /// Which migration, and how it differs.
        message: String,
    },
    /// Another node migrates, and does not come to an end.
    #[error("{place} is being migrated by another node: wait until it has ended, then start again")]
    MigrationWaits {
        /// Server and database.
        place: String,
    },
    /// A copy into it was begun and has not come to its end.
    #[error(
        "{place} holds a copy that is not complete: run `tokenhouse copy` again with the same --from and --to until it says \
         that all is verified"
    )]
    UnfinishedCopy {
        /// Path, or server and database.
        place: String,
    },
    /// The file of root certificates is of no use.
    #[error("{} holds no root certificates that can be used ({message}): name a PEM file", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Anything else about a database.
    #[error("{place} cannot be opened: {message}")]
    DatabaseFailed {
        /// Server and database.
        place: String,
        /// The cause.
        message: String,
    },
    /// Anything else.
    #[error("{} cannot be opened: {message}", path.display())]
    Failed {
        /// The path.
        path: PathBuf,
        /// The cause.
        message: String,
    },
}

impl OpenError {
    /// Whether what was asked for cannot be, whatever is there.
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unsupported { .. } | Self::Url { .. } | Self::Parameter { .. } | Self::OneFile
        )
    }

    /// Whether it is the password that is missing or wrong, or may be.
    pub const fn is_login(&self) -> bool {
        matches!(self, Self::NoPassword { .. } | Self::Login { .. })
    }
}
