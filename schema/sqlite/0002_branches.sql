-- Branches, topic patterns, and what people ask of a relay. The words are those of PostgreSQL's migration of this name.
ALTER TABLE waybill_lease ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE waybill_cursor ADD COLUMN topics TEXT;
ALTER TABLE waybill_cursor ADD COLUMN since INTEGER;
ALTER TABLE waybill_cursor ADD COLUMN error TEXT NOT NULL DEFAULT '';
ALTER TABLE waybill_parked ADD COLUMN request TEXT CHECK (request IN ('retry', 'edit', 'discard'));
ALTER TABLE waybill_parked ADD COLUMN requested_by TEXT;
ALTER TABLE waybill_parked ADD COLUMN edit TEXT;
CREATE INDEX waybill_parked_held ON waybill_parked (relay, lane) WHERE state = 'held';
CREATE INDEX waybill_parked_request ON waybill_parked (relay) WHERE request IS NOT NULL;

CREATE TABLE waybill_audit (
    n      INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    who    TEXT    NOT NULL,
    action TEXT    NOT NULL,
    relay  TEXT    NOT NULL,
    pos    INTEGER,
    id     TEXT    NOT NULL DEFAULT '',
    before TEXT
);

DROP VIEW waybill_outbox_status;
CREATE VIEW waybill_outbox_status AS
SELECT c.relay, o.pos, o.id,
       CASE WHEN c.topics IS NULL OR EXISTS (
           SELECT 1 FROM json_each(c.topics) WHERE o.topic GLOB replace(replace(value, '[', '[[]'), '?', '[?]')
       ) THEN
           o.pos <= (SELECT CAST(at.position AS INTEGER) FROM waybill_cursor AS at
                     WHERE at.relay = c.relay AND at.branch IN ('', o.topic) ORDER BY at.branch DESC LIMIT 1)
           AND NOT EXISTS (SELECT 1 FROM waybill_parked p WHERE p.relay = c.relay AND p.pos = o.pos)
       END AS is_published
FROM waybill_cursor c CROSS JOIN waybill_outbox o
WHERE c.branch = '' AND c.position NOT LIKE 'flagged%'; -- those are of tables with a flag

INSERT INTO waybill_migration (version, name) VALUES (2, 'branches');
