-- What nodes report of their keys. docs/decisions/0012 says how it is used.
--
-- Statements and re-runnability: as in the first file. Programs from before this file write none of these columns: who has
-- said nothing of its keys holds no new one, and is compared by its settings and keys together, as it compares others.

-- The keys that the process holds, by id and check; nothing is a program that does not say.
ALTER TABLE node ADD COLUMN IF NOT EXISTS keys bytea;

-- The settings that change verdicts, without the keys, which may differ for a while: the name of each in clear, so that a
-- difference can be named, with a keyed digest of its value.
ALTER TABLE node ADD COLUMN IF NOT EXISTS settings_alone bytea;

-- Whether it answers from memory, so that whoever changes something has to wait for it.
ALTER TABLE node ADD COLUMN IF NOT EXISTS remembers boolean NOT NULL DEFAULT true;
