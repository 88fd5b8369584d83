-- The eight tables of every product, and what writing needs beside them.
--
-- This file is history: it is never edited, a later file changes what it made. A migration that programs of today
-- cannot work with also raises schema.minimum_program. Each statement ends with a semicolon at the end of its line, runs
-- in a transaction of its own and may be run again: a start that was killed in between goes on from the beginning.
--
-- Every key begins with the realm. Instants are microseconds since the Unix epoch; lists and bodies are JSON as text,
-- written and read whole. Text that is compared or ordered does not depend on the server's locale. There are no foreign
-- keys: what hangs together is written by one batch, and the engine decides what goes when.

-- One row for each realm: every transaction that writes in a realm begins by locking it.
CREATE TABLE IF NOT EXISTS realm_lock (
    realm uuid NOT NULL,
    PRIMARY KEY (realm)
);

-- Small rows that are updated often, so no secondary index: whatever finds a token is a locator or a mark. A third of each
-- page stays free for the next version of its rows, so that an update need not touch the key's index.
CREATE TABLE IF NOT EXISTS token (
    realm         uuid   NOT NULL,
    id            uuid   NOT NULL,
    version       bigint NOT NULL,
    state         text   NOT NULL,
    expires_at    bigint,
    updated_at    bigint NOT NULL,
    updated_by    text   NOT NULL,
    class         text   NOT NULL,
    container     uuid,
    parent        uuid,
    name          text,
    tags          text   NOT NULL,
    tenant        text,
    created_at    bigint NOT NULL,
    created_by    text   NOT NULL,
    -- Places of its dialect at which it is marked; the truth is in the table of marks.
    marks         text   NOT NULL,
    -- The places it holds; the truth is in the table of locators.
    locators      text   NOT NULL,
    -- What its dialect says about it.
    attributes    text   NOT NULL,
    -- A data token has a value; an access token has a proof and the columns below it.
    value         uuid,
    proof         bytea,
    hint          text,
    sealed_secret uuid,
    permissions   text,
    addresses     text,
    uses_max      bigint,
    PRIMARY KEY (realm, id)
) WITH (fillfactor = 70);

-- A chain of versions, the highest is the present one.
CREATE TABLE IF NOT EXISTS value (
    realm         uuid   NOT NULL,
    id            uuid   NOT NULL,
    version       bigint NOT NULL,
    class         text   NOT NULL,
    container     uuid,
    external_id   text,
    scope_name    text,
    scope_global  boolean,
    identity      bytea,
    refers_to     uuid,
    created_at    bigint NOT NULL,
    superseded_at bigint,
    body          text   NOT NULL,
    sealed        bytea,
    PRIMARY KEY (realm, id, version)
);
CREATE INDEX IF NOT EXISTS value_superseded ON value (realm, superseded_at, id, version) WHERE superseded_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS record (
    realm      uuid   NOT NULL,
    id         uuid   NOT NULL,
    kind       text   COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    state      text   NOT NULL,
    expires_at bigint,
    parent     uuid,
    created_at bigint NOT NULL,
    created_by text   NOT NULL,
    updated_at bigint NOT NULL,
    updated_by text   NOT NULL,
    addresses  text   NOT NULL,
    -- The places it holds and is marked at, so that they can be cleared with it; the truth is in the tables below.
    locators   text   NOT NULL,
    marks      text   NOT NULL,
    body       text   NOT NULL,
    PRIMARY KEY (realm, id)
);
CREATE INDEX IF NOT EXISTS record_kind ON record (realm, kind, id);
CREATE INDEX IF NOT EXISTS record_deleted ON record (realm, id) WHERE state = 'deleted';

CREATE TABLE IF NOT EXISTS locator (
    realm       uuid  NOT NULL,
    space       text  COLLATE "C" NOT NULL,
    key         bytea NOT NULL,
    holder_kind text  NOT NULL,
    holder      uuid  NOT NULL,
    PRIMARY KEY (realm, space, key)
);

CREATE TABLE IF NOT EXISTS mark (
    realm       uuid  NOT NULL,
    space       text  COLLATE "C" NOT NULL,
    key         bytea NOT NULL,
    holder      uuid  NOT NULL,
    holder_kind text  COLLATE "C" NOT NULL,
    PRIMARY KEY (realm, space, key, holder, holder_kind)
);

-- Event ids grow with time, so both tables are appended to at the end of their realm.
CREATE TABLE IF NOT EXISTS event (
    realm      uuid   NOT NULL,
    id         uuid   NOT NULL,
    at         bigint NOT NULL,
    actor_kind text   NOT NULL,
    actor_id   text   NOT NULL,
    actor_name text   NOT NULL,
    verb       text   NOT NULL,
    outcome    text   NOT NULL,
    reason     text,
    request    text   NOT NULL,
    count      bigint NOT NULL,
    -- SHA-256 over the event and its changes, for a tamper-evident log.
    digest     bytea  NOT NULL,
    PRIMARY KEY (realm, id)
);

CREATE TABLE IF NOT EXISTS change (
    realm    uuid   NOT NULL,
    event    uuid   NOT NULL,
    position bigint NOT NULL,
    subject  text   COLLATE "C" NOT NULL,
    id       uuid   NOT NULL,
    version  bigint NOT NULL,
    before   text   NOT NULL,
    after    text   NOT NULL,
    PRIMARY KEY (realm, event, position)
);
CREATE INDEX IF NOT EXISTS change_history ON change (realm, subject, id, version);

-- Apart from the tokens, because counting uses must touch neither their rows nor their versions.
CREATE TABLE IF NOT EXISTS usage (
    realm        uuid   NOT NULL,
    token        uuid   NOT NULL,
    uses         bigint NOT NULL,
    last_used_at bigint NOT NULL,
    PRIMARY KEY (realm, token)
) WITH (fillfactor = 70);
