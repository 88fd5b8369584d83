//! Rules for the SQL of the backend that is meant to run on distributed engines too, checked by reading it.
//!
//! The one thing to know: no such engine is at hand here, so what would only fail there must be refused by its look. A rule
//! says why; a statement that breaks it is found by [`faults`], which is tried on bad ones below.

use std::fs;

use super::tidy::{none, root, sources};

const BACKEND: &str = "crates/store/src/postgres";

/// One statement and where it stands.
struct Statement {
    home: String,
    sql: String,
}

/// Words by which a text is known as SQL.
const BEGINNINGS: [&str; 9] = [
    "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "CREATE ", "ALTER ", "DROP ", "MERGE ",
];

/// Statements that name no realm, each with the reason why it need not.
const OVER_ALL_REALMS: [(&str, &str); 2] = [
    (
        "SELECT realm, id, process, keys FROM hold",
        "a node that renews its lease reads all holds: there are few, and an index or cursor would need an order",
    ),
    (
        "DELETE FROM acknowledgement AS said WHERE NOT EXISTS (SELECT 1 FROM hold WHERE hold.realm = said.realm AND hold.id = \
         said.hold)",
        "what was said about holds that are gone is cleared now and then; nobody waits for it",
    ),
];

/// The texts of a Rust file; those that a macro joins are one, with a blank for what stands between them.
fn texts(source: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut characters = source.chars().peekable();
    // Code since the last text: a macro's arguments are parted by nothing but commas and other macros.
    let mut between = String::new();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => {
                while characters.next().is_some_and(|one| one != '\n') {}
            }
            '\'' => {
                // A character, unless it is a lifetime.
                let first = characters.next();
                if first == Some('\\') {
                    while characters.next().is_some_and(|one| one != '\'') {}
                } else if characters.peek() == Some(&'\'') {
                    characters.next();
                }
                between.push('\'');
            }
            '"' => {
                let mut text = String::new();
                while let Some(one) = characters.next() {
                    match one {
                        '"' => break,
                        '\\' => match characters.next() {
                            // A line that goes on: the blanks before the next word are not part of it.
                            Some('\n') => {
                                while characters.peek().is_some_and(|one| one.is_whitespace()) {
                                    characters.next();
                                }
                            }
                            Some(escaped) => text.push(escaped),
                            None => break,
                        },
                        other => text.push(other),
                    }
                }
                let joined = between
                    .replace("columns!()", "")
                    .replace("unnested!(", "")
                    .chars()
                    .all(|one| one.is_whitespace() || one == ',' || one == ')');
                let joined = joined || between.trim_start_matches(',').trim().starts_with('$');
                match texts.last_mut() {
                    Some(last) if joined && between.contains(',') => {
                        last.push(' ');
                        last.push_str(&text);
                    }
                    _ => texts.push(text),
                }
                between.clear();
            }
            other => between.push(other),
        }
    }
    texts
}

/// All statements of the backend, its tests left out.
fn statements() -> Vec<Statement> {
    let mut found = Vec::new();
    for (home, source) in sources(BACKEND) {
        if home.contains("/tests") {
            continue;
        }
        let program = source.split("#[cfg(test)]\nmod tests {").next();
        for sql in texts(program.unwrap_or_default()) {
            if BEGINNINGS.iter().any(|word| sql.starts_with(word)) {
                let home = home.clone();
                found.push(Statement { home, sql });
            }
        }
    }
    for entry in fs::read_dir(root().join(BACKEND).join("migrations")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"));
        let code: Vec<&str> = lines.collect();
        for sql in code.join("\n").split(";\n") {
            found.push(Statement {
                home: path.file_name().unwrap().display().to_string(),
                sql: sql.trim().trim_end_matches(';').to_owned(),
            });
        }
    }
    found.retain(|statement| !statement.sql.is_empty());
    found
}

/// The names of the tables that the statements make.
fn tables(statements: &[Statement]) -> Vec<String> {
    let names = statements.iter().filter_map(|statement| {
        let rest = statement.sql.strip_prefix("CREATE TABLE ")?;
        let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
        rest.split([' ', '(']).next().map(str::to_owned)
    });
    names.collect()
}

/// What is wrong with a statement.
fn faults(sql: &str, tables: &[String]) -> Vec<&'static str> {
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let upper = sql.to_uppercase();
    let mut faults = Vec::new();
    let mut refuse = |broken: bool, why| {
        if broken {
            faults.push(why);
        }
    };

    let keyed = |from: &str| {
        let parts = upper.match_indices(from);
        let mut parts = parts.map(|(at, _)| upper[at + from.len()..].trim_start());
        parts.all(|rest| rest.starts_with("(REALM,") || rest.starts_with("(REALM)"))
    };
    refuse(
        upper.starts_with("CREATE TABLE") && upper.contains('(') && !upper.contains("PRIMARY KEY"),
        "a table has an explicit primary key: engines lay rows out by it",
    );
    refuse(
        !keyed("PRIMARY KEY") || (upper.starts_with("CREATE TABLE") && !keyed(" UNIQUE")),
        "a key begins with the realm: a distributed engine keeps no other unique",
    );
    let index = upper
        .split(" INDEX ")
        .nth(1)
        .and_then(|rest| rest.split(" ON ").nth(1));
    refuse(
        upper.starts_with("CREATE ")
            && index.is_some_and(|rest| {
                let columns = rest.split_once('(').map_or("", |(_, columns)| columns);
                !columns.starts_with("REALM,") && !columns.starts_with("REALM)")
            }),
        "an index begins with the realm, so that it lies beside the rows",
    );

    let realm = upper.contains("REALM = $1") || upper.contains("REALM = '");
    let ours = tables.iter().any(|table| {
        let from = [" FROM ", " JOIN "].map(|word| format!("{word}{} ", table.to_uppercase()));
        from.iter()
            .any(|from| format!("{upper} ").contains(from.as_str()))
    });
    refuse(
        (upper.starts_with("UPDATE ") || upper.starts_with("DELETE ")) && !realm,
        "a change names one realm: without it a distributed engine changes every shard in a distributed transaction",
    );
    refuse(
        upper.contains(" FOR UPDATE") && !realm,
        "a lock names one realm: without it a distributed engine refuses it",
    );
    refuse(
        (upper.starts_with("SELECT ") || upper.starts_with("WITH ")) && ours && !realm,
        "a read names one realm: without it every shard is asked",
    );
    refuse(
        !keyed("ON CONFLICT"),
        "the target of ON CONFLICT is a key, which begins with the realm",
    );

    let set = upper.split(" SET ").skip(1).map(|rest| {
        // What stands in WHERE is evaluated by whoever has the row.
        rest.split(" WHERE ").next().unwrap_or_default().to_owned()
    });
    let volatile = [
        "NOW(",
        "CLOCK_TIMESTAMP(",
        "STATEMENT_TIMESTAMP(",
        "TRANSACTION_TIMESTAMP(",
        "CURRENT_",
        "RANDOM(",
        "GEN_RANDOM_",
        "UUID_GENERATE",
        "NEXTVAL(",
        "LOCALTIME",
    ];
    let assigned = set.collect::<Vec<_>>().join(" ");
    refuse(
        volatile.iter().any(|function| assigned.contains(function)),
        "no clock, chance or sequence in SET: distributed engines refuse it, and copies would differ. Bind a parameter",
    );
    refuse(
        upper.starts_with("WITH ")
            && ["UPDATE ", "INSERT ", "DELETE "]
                .iter()
                .any(|word| upper.contains(&format!("({word}"))),
        "no change inside WITH: it is slow where the tables are distributed. Send two statements",
    );
    for (word, why) in [
        ("TRIGGER", "no trigger: distributed engines have none"),
        (
            "SEQUENCE",
            "no sequence: its numbers are in no order of time on several servers",
        ),
        ("SERIAL", "no sequence, also not as a type"),
        ("AS IDENTITY", "no sequence, also not as an identity"),
        (
            "ADVISORY",
            "no advisory lock: distributed engines ignore or refuse it",
        ),
        (
            "CONSTRAINT",
            "no named constraint: on a shard it has another name",
        ),
        ("TEMPORARY", "no temporary table: not every engine has them"),
        ("LANGUAGE ", "no procedure: not every engine runs them"),
        (
            "JSONB",
            "no jsonb: not every engine has it; JSON is text that is written and read whole",
        ),
        (
            "REFERENCES ",
            "no foreign key: what hangs together is written by one batch",
        ),
    ] {
        refuse(upper.contains(word), why);
    }
    faults
}

#[test]
fn statements_suit_distributed_engines() {
    let statements = statements();
    let tables = tables(&statements);
    assert!(statements.len() > 40, "the SQL was not found");
    assert!(tables.len() >= 11, "the tables were not found: {tables:?}");
    for (sql, _) in OVER_ALL_REALMS {
        assert!(
            statements.iter().any(|statement| statement.sql == sql),
            "an exception for nothing: {sql}"
        );
    }
    let mut findings = Vec::new();
    let excepted = |sql: &str| OVER_ALL_REALMS.iter().any(|(known, _)| *known == sql);
    for statement in &statements {
        if excepted(&statement.sql) {
            continue;
        }
        for why in faults(&statement.sql, &tables) {
            findings.push(format!("{}: {}\n    {why}", statement.home, statement.sql));
        }
    }
    none(&findings, "SQL that does not run everywhere");
}

#[test]
fn errors_are_told_apart_by_their_code() {
    let mut findings = Vec::new();
    for (path, text) in sources(BACKEND) {
        for word in [".constraint()", "_pkey"] {
            if text.contains(word) {
                findings.push(format!("{path}: {word}"));
            }
        }
    }
    none(
        &findings,
        "the name of a constraint is another one on each shard: tell errors apart by their code",
    );
}

#[test]
fn what_breaks_a_rule_is_found() {
    let tables = ["token".to_owned(), "event".to_owned()];
    let good = [
        "SELECT id FROM token WHERE realm = $1 AND id = $2",
        "SELECT 1",
        "INSERT INTO token (realm, id) VALUES ($1, $2) ON CONFLICT (realm, id) DO UPDATE SET id = excluded.id",
        "UPDATE token SET id = row.id FROM unnest($2) AS row (id) WHERE token.realm = $1",
        "CREATE TABLE IF NOT EXISTS token (realm uuid, id uuid, PRIMARY KEY (realm, id))",
        "CREATE UNIQUE INDEX IF NOT EXISTS a ON token (realm, id) WHERE id IS NOT NULL",
    ];
    for sql in good {
        assert_eq!(faults(sql, &tables), [""; 0], "{sql}");
    }
    let bad = [
        "CREATE TABLE token (id uuid)",
        "CREATE TABLE token (id uuid PRIMARY KEY)",
        "CREATE TABLE token (realm uuid, id uuid, PRIMARY KEY (id, realm))",
        "CREATE TABLE token (realm uuid, id uuid UNIQUE, PRIMARY KEY (realm, id))",
        "CREATE TABLE token (realm uuid, id bigserial, PRIMARY KEY (realm, id))",
        "CREATE TABLE token (realm uuid, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (realm, id))",
        "CREATE TABLE token (realm uuid, CONSTRAINT name PRIMARY KEY (realm))",
        "CREATE TABLE token (realm uuid REFERENCES event, PRIMARY KEY (realm))",
        "CREATE TABLE token (realm uuid, body jsonb, PRIMARY KEY (realm))",
        "CREATE TEMPORARY TABLE token (realm uuid, PRIMARY KEY (realm))",
        "CREATE INDEX a ON token (id)",
        "CREATE UNIQUE INDEX IF NOT EXISTS a ON token (id, realm)",
        "CREATE TRIGGER a BEFORE INSERT ON token EXECUTE FUNCTION b()",
        "CREATE SEQUENCE a",
        "UPDATE token SET id = $1",
        "UPDATE token SET at = now() WHERE realm = $1",
        "UPDATE token SET at = clock_timestamp() WHERE realm = $1",
        "DELETE FROM token WHERE id = $1",
        "SELECT id FROM token WHERE id = $1",
        "SELECT id FROM event JOIN token ON token.id = event.id",
        "SELECT 1 FROM realm_lock FOR UPDATE",
        "SELECT pg_advisory_lock(1)",
        "INSERT INTO token (realm, id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        "INSERT INTO token (realm, id) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        "INSERT INTO token (realm, id) VALUES ($1, $2) ON CONFLICT ON CONSTRAINT a DO NOTHING",
        "INSERT INTO token (realm) VALUES ($1) ON CONFLICT (realm) DO UPDATE SET at = random()",
        "WITH a AS (UPDATE token SET id = $2 WHERE realm = $1 RETURNING id) SELECT id FROM a",
    ];
    for sql in bad {
        assert!(!faults(sql, &tables).is_empty(), "{sql}");
    }
}

#[test]
fn texts_are_read_as_the_compiler_joins_them() {
    let source = "const A: &str = \"SELECT a \\\n    b\"; // \"no\"\nconst B: &str = concat!(\"UPDATE \", columns!(), \
                  \" SET\", unnested!(\", $1\", \"\"), \" x\"); f('\"', \"last\");";
    assert_eq!(
        texts(source),
        ["SELECT a b", "UPDATE   SET , $1   x", "last"].map(str::to_owned)
    );
}
