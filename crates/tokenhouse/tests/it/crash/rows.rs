//! What holds of the rows at any time, read from the file itself.
//!
//! The one thing to know: these are the invariants that no dialect shows: a half-applied batch would be found here.

use std::path::Path;

/// Each finds rows that must not be.
const FORBIDDEN: [(&str, &str); 9] = [
    (
        "a locator points to nothing",
        "SELECT count(*) FROM locator l WHERE NOT EXISTS (SELECT 1 FROM token t WHERE t.realm = l.realm AND t.id = l.holder) AND NOT EXISTS (SELECT 1 FROM value v WHERE v.realm = l.realm AND v.id = l.holder) AND NOT EXISTS (SELECT 1 FROM record r WHERE r.realm = l.realm AND r.id = l.holder)",
    ),
    (
        "a place that a token or record holds is no locator of its",
        "SELECT count(*) FROM (SELECT realm, id, locators FROM token UNION ALL SELECT realm, id, locators FROM record WHERE state <> 'deleted') h WHERE json_array_length(h.locators) > (SELECT count(*) FROM locator l WHERE l.realm = h.realm AND l.holder = h.id) AND NOT EXISTS (SELECT 1 FROM token t JOIN record r ON r.realm = t.realm AND r.id = t.parent WHERE t.realm = h.realm AND t.id = h.id AND r.state = 'deleted')",
    ),
    (
        "a mark points to nothing",
        "SELECT count(*) FROM mark m WHERE NOT EXISTS (SELECT 1 FROM token t WHERE t.realm = m.realm AND t.id = m.holder) AND NOT EXISTS (SELECT 1 FROM record r WHERE r.realm = m.realm AND r.id = m.holder)",
    ),
    (
        "a data token has no value",
        "SELECT count(*) FROM token t WHERE t.value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM value v WHERE v.realm = t.realm AND v.id = t.value)",
    ),
    (
        "a token hangs from no record",
        "SELECT count(*) FROM token t WHERE t.parent IS NOT NULL AND NOT EXISTS (SELECT 1 FROM record r WHERE r.realm = t.realm AND r.id = t.parent)",
    ),
    (
        "a token has not one change for each version",
        "SELECT count(*) FROM token t WHERE t.version <> (SELECT count(*) FROM change c WHERE c.realm = t.realm AND c.subject = 'token' AND c.id = t.id)",
    ),
    (
        "a record has not one change for each version",
        "SELECT count(*) FROM record r WHERE r.version <> (SELECT count(*) FROM change c WHERE c.realm = r.realm AND c.subject = 'record' AND c.id = r.id)",
    ),
    (
        "a change has no event",
        "SELECT count(*) FROM change c WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.realm = c.realm AND e.id = c.event AND e.outcome = 'done')",
    ),
    (
        "something of a refused call is there",
        "SELECT (SELECT count(*) FROM token WHERE tags LIKE '%refused%' OR name LIKE '%refused%') + (SELECT count(*) FROM record WHERE body LIKE '%refused%') + (SELECT count(*) FROM change WHERE after LIKE '%refused%') + (SELECT count(*) FROM locator WHERE CAST(key AS TEXT) LIKE '%refused%')",
    ),
];

/// Fails unless all of them hold, and the file is one.
pub(super) fn inspect(data: &Path) {
    let connection = rusqlite::Connection::open(data.join("store.sqlite")).unwrap();
    let intact: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(intact, "ok");
    let count = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    for (what, sql) in FORBIDDEN {
        assert_eq!(count(sql), 0, "{what}");
    }
    // Otherwise nothing was looked at.
    for table in ["token", "record", "locator", "mark", "change", "event"] {
        assert!(
            count(&format!("SELECT count(*) FROM {table}")) > 0,
            "{table}"
        );
    }
}
