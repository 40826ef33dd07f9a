-- Branches, topic patterns, and what people ask of a relay.
ALTER TABLE waybill.lease ADD COLUMN asked boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN waybill.lease.asked IS 'somebody wants what only happens between two tenures: the owner ends this one cleanly';

ALTER TABLE waybill.cursor ADD COLUMN topics text, ADD COLUMN since timestamptz, ADD COLUMN error text NOT NULL DEFAULT '';
COMMENT ON COLUMN waybill.cursor.branch IS 'empty, or the topic that waits: then the row is the cursor of that topic alone';
COMMENT ON COLUMN waybill.cursor.topics IS 'JSON array of patterns, * is any run of characters; NULL is every topic';
COMMENT ON COLUMN waybill.cursor.since IS 'when the branch began';
COMMENT ON COLUMN waybill.cursor.error IS 'why the branch waits';

ALTER TABLE waybill.parked ADD COLUMN request text CHECK (request IN ('retry', 'edit', 'discard')), ADD COLUMN requested_by text, ADD COLUMN edit text;
COMMENT ON COLUMN waybill.parked.request IS 'what a person asked for; done when the relay is next taken over';
COMMENT ON COLUMN waybill.parked.edit IS 'JSON object of what is to change';
CREATE INDEX parked_held ON waybill.parked (relay, lane) WHERE state = 'held';
CREATE INDEX parked_request ON waybill.parked (relay) WHERE request IS NOT NULL;

CREATE TABLE waybill.audit (
    n      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    who    text        NOT NULL,
    action text        NOT NULL,
    relay  text        NOT NULL,
    pos    bigint,
    id     text        NOT NULL DEFAULT '',
    before text
);
COMMENT ON COLUMN waybill.audit.before IS 'JSON object of the message as it was before it was edited or discarded';

-- true: behind the cursor of its relay, or of its topic where that waits, and not set aside. NULL: not this relay's topic.
CREATE OR REPLACE VIEW waybill.outbox_status AS
WITH s AS (
    SELECT relay, branch, topics,
           nullif(split_part(position, ' ', 1), '')::pg_snapshot AS s0,
           nullif(split_part(position, ' ', 2), '')::bigint AS last,
           nullif(split_part(position, ' ', 3), '')::pg_snapshot AS s1
    FROM waybill.cursor WHERE position NOT LIKE 'flagged%' -- those are of tables with a flag
)
SELECT c.relay, o.pos, o.id,
       CASE WHEN c.topics IS NULL OR EXISTS (
           SELECT FROM json_array_elements_text(c.topics::json) AS p
           WHERE o.topic LIKE replace(replace(replace(replace(p, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
       ) THEN
           (SELECT coalesce(pg_visible_in_snapshot(o.xid, at.s0) OR (o.pos <= at.last AND pg_visible_in_snapshot(o.xid, at.s1)), false)
            FROM s AS at WHERE at.relay = c.relay AND at.branch IN ('', o.topic) ORDER BY at.branch DESC LIMIT 1)
           AND NOT EXISTS (SELECT FROM waybill.parked p WHERE p.relay = c.relay AND p.pos = o.pos)
       END AS is_published
FROM s AS c CROSS JOIN waybill.outbox o WHERE c.branch = '';

INSERT INTO waybill.migration (version, name) VALUES (2, 'branches');
