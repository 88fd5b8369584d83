-- Several nodes on one store: who they are, and what is about to be changed. docs/decisions/0010 says how they are used.
--
-- Statements and re-runnability: as in the first file.

-- Who answers from memory. All rows lie in the system realm.
CREATE TABLE IF NOT EXISTS node (
    realm    uuid    NOT NULL,
    -- One membership of one process; who was expelled joins under a new one.
    id       uuid    NOT NULL,
    process  uuid    NOT NULL,
    expelled boolean NOT NULL,
    -- Counts renewals, so that each of them is a write, which only the leader of several servers can commit.
    renewals bigint  NOT NULL,
    -- A keyed digest of the settings that change verdicts.
    settings bytea   NOT NULL,
    PRIMARY KEY (realm, id)
) WITH (fillfactor = 50);

-- What a process is about to change, in the realm of what it changes.
CREATE TABLE IF NOT EXISTS hold (
    realm   uuid NOT NULL,
    id      uuid NOT NULL,
    process uuid NOT NULL,
    -- Seventeen bytes for each key; nothing is the whole realm.
    keys    bytea,
    PRIMARY KEY (realm, id)
);

-- Who has let go of what is held. Losing one only costs time.
CREATE TABLE IF NOT EXISTS acknowledgement (
    realm uuid NOT NULL,
    hold  uuid NOT NULL,
    node  uuid NOT NULL,
    PRIMARY KEY (realm, hold, node)
);
