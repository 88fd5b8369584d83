-- The eight tables of every product, and what the store knows about itself.
--
-- This file is history: it is never edited, a later file changes what it made. A migration that programs of today
-- cannot work with also raises schema.minimum_program.
--
-- Every key begins with the realm. Ids are 16 bytes; instants are microseconds since the Unix epoch; lists are JSON.
-- There are no foreign keys: what hangs together is written by one batch, and the engine decides what goes when.

CREATE TABLE schema (
    one             INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- Programs that know only smaller migration numbers must not open this store.
    minimum_program INTEGER NOT NULL,
    -- Written to find out whether writing succeeds; means nothing.
    probe           INTEGER NOT NULL
) STRICT;
INSERT INTO schema (one, minimum_program, probe) VALUES (1, 1, 0);

-- Small rows that are updated often, so no secondary index: whatever finds a token is a locator or a mark.
CREATE TABLE token (
    realm         BLOB    NOT NULL,
    id            BLOB    NOT NULL,
    version       INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    expires_at    INTEGER,
    updated_at    INTEGER NOT NULL,
    updated_by    TEXT    NOT NULL,
    class         TEXT    NOT NULL,
    container     BLOB,
    parent        BLOB,
    name          TEXT,
    tags          TEXT    NOT NULL,
    tenant        TEXT,
    created_at    INTEGER NOT NULL,
    created_by    TEXT    NOT NULL,
    -- Places of its dialect at which it is marked; the truth is in the table of marks.
    marks         TEXT    NOT NULL,
    -- The places it holds; the truth is in the table of locators.
    locators      TEXT    NOT NULL,
    -- What its dialect says about it.
    attributes    TEXT    NOT NULL,
    -- A data token has a value; an access token has a proof and the columns below it.
    value         BLOB,
    proof         BLOB,
    hint          TEXT,
    sealed_secret BLOB,
    permissions   TEXT,
    addresses     TEXT,
    uses_max      INTEGER,
    PRIMARY KEY (realm, id)
) STRICT, WITHOUT ROWID;

-- A chain of versions, the highest is the present one. Rows may be megabytes, so they lie outside the key's tree, and
-- the sealed bytes come last, where reading the other columns does not touch their pages.
CREATE TABLE value (
    realm         BLOB    NOT NULL,
    id            BLOB    NOT NULL,
    version       INTEGER NOT NULL,
    class         TEXT    NOT NULL,
    container     BLOB,
    external_id   TEXT,
    scope_name    TEXT,
    scope_global  INTEGER,
    identity      BLOB,
    refers_to     BLOB,
    created_at    INTEGER NOT NULL,
    superseded_at INTEGER,
    body          TEXT    NOT NULL,
    sealed        BLOB,
    PRIMARY KEY (realm, id, version)
) STRICT;
CREATE INDEX value_superseded ON value (realm, superseded_at, id, version) WHERE superseded_at IS NOT NULL;

CREATE TABLE record (
    realm      BLOB    NOT NULL,
    id         BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    expires_at INTEGER,
    parent     BLOB,
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL,
    addresses  TEXT    NOT NULL,
    -- The places it holds and is marked at, so that they can be cleared with it; the truth is in the tables below.
    locators   TEXT    NOT NULL,
    marks      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (realm, id)
) STRICT;
CREATE INDEX record_kind ON record (realm, kind, id);
CREATE INDEX record_deleted ON record (realm, id) WHERE state = 'deleted';

CREATE TABLE locator (
    realm       BLOB NOT NULL,
    space       TEXT NOT NULL,
    key         BLOB NOT NULL,
    holder_kind TEXT NOT NULL,
    holder      BLOB NOT NULL,
    PRIMARY KEY (realm, space, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE mark (
    realm       BLOB NOT NULL,
    space       TEXT NOT NULL,
    key         BLOB NOT NULL,
    holder      BLOB NOT NULL,
    holder_kind TEXT NOT NULL,
    PRIMARY KEY (realm, space, key, holder, holder_kind)
) STRICT, WITHOUT ROWID;

-- Event ids grow with time, so both tables are appended to at the end of their realm.
CREATE TABLE event (
    realm      BLOB    NOT NULL,
    id         BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL,
    actor_id   TEXT    NOT NULL,
    actor_name TEXT    NOT NULL,
    verb       TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    reason     TEXT,
    request    TEXT    NOT NULL,
    count      INTEGER NOT NULL,
    -- SHA-256 over the event and its changes, for a tamper-evident log.
    digest     BLOB    NOT NULL,
    PRIMARY KEY (realm, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE change (
    realm    BLOB    NOT NULL,
    event    BLOB    NOT NULL,
    position INTEGER NOT NULL,
    subject  TEXT    NOT NULL,
    id       BLOB    NOT NULL,
    version  INTEGER NOT NULL,
    before   TEXT    NOT NULL,
    after    TEXT    NOT NULL,
    PRIMARY KEY (realm, event, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX change_history ON change (realm, subject, id, version);

-- Apart from the tokens, because counting uses must touch neither their rows nor their versions.
CREATE TABLE usage (
    realm        BLOB    NOT NULL,
    token        BLOB    NOT NULL,
    uses         INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (realm, token)
) STRICT, WITHOUT ROWID;
