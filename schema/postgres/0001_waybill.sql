-- Waybill's tables. Nothing here is updated or deleted per message: published means "behind a cursor and not parked".
CREATE SCHEMA IF NOT EXISTS waybill;

CREATE TABLE waybill.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE waybill.outbox (
    pos          bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    xid          xid8        NOT NULL DEFAULT pg_current_xact_id(),
    id           text        NOT NULL,
    topic        text        NOT NULL,
    key          text        NOT NULL DEFAULT '',
    type         text        NOT NULL,
    payload      bytea,
    content_type text        NOT NULL DEFAULT '',
    headers      text,
    time         timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX outbox_xid_pos ON waybill.outbox (xid, pos);
COMMENT ON COLUMN waybill.outbox.payload IS 'NULL is a tombstone, which is not the same as empty';
COMMENT ON COLUMN waybill.outbox.headers IS 'JSON array of pairs: [["name","value"],...]';
COMMENT ON COLUMN waybill.outbox.time IS 'when it happened; NULL means created_at';

CREATE TABLE waybill.lease (
    relay      text        PRIMARY KEY,
    owner      text        NOT NULL,
    epoch      bigint      NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE waybill.cursor (
    relay    text        NOT NULL,
    branch   text        NOT NULL DEFAULT '',
    epoch    bigint      NOT NULL,
    position text        NOT NULL DEFAULT '',
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (relay, branch)
);

CREATE TABLE waybill.parked (
    relay        text        NOT NULL,
    pos          bigint      NOT NULL,
    incarnation  bigint      NOT NULL,
    lane         text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('held', 'parked')),
    attempts     integer     NOT NULL DEFAULT 0,
    error        text        NOT NULL DEFAULT '',
    id           text        NOT NULL,
    topic        text        NOT NULL,
    key          text        NOT NULL DEFAULT '',
    type         text        NOT NULL,
    payload      bytea,
    content_type text        NOT NULL DEFAULT '',
    headers      text,
    time         timestamptz,
    parked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (relay, pos)
);
CREATE INDEX parked_lane ON waybill.parked (relay, lane, pos);

CREATE TABLE waybill.log (
    name              text   PRIMARY KEY,
    incarnation       bigint NOT NULL,
    system_identifier text,
    timeline          bigint
);

-- A cursor's position is "S0" or "S0 last S1": everything that snapshot S0 sees is done, and of what S1 sees besides,
-- everything up to pos last.
CREATE VIEW waybill.outbox_status AS
SELECT c.relay, o.pos, o.id,
       coalesce(pg_visible_in_snapshot(o.xid, c.s0) OR (o.pos <= c.last AND pg_visible_in_snapshot(o.xid, c.s1)), false)
           AND NOT EXISTS (SELECT FROM waybill.parked p WHERE p.relay = c.relay AND p.pos = o.pos) AS is_published
FROM (
    SELECT relay,
           nullif(split_part(position, ' ', 1), '')::pg_snapshot AS s0,
           nullif(split_part(position, ' ', 2), '')::bigint AS last,
           nullif(split_part(position, ' ', 3), '')::pg_snapshot AS s1
    FROM waybill.cursor WHERE branch = '' AND position NOT LIKE 'flagged%' -- those are of tables with a flag
) AS c CROSS JOIN waybill.outbox o;

-- For producers that are not in Go: docs/sql-contract.md.
CREATE FUNCTION waybill.publish(
    topic text, key text, type text, payload bytea,
    content_type text DEFAULT 'application/octet-stream',
    headers text DEFAULT NULL,
    id text DEFAULT gen_random_uuid()::text
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    fault text := CASE
        WHEN coalesce(topic, '') = '' THEN 'WB3101 the topic is required'
        WHEN octet_length(topic) > 249 THEN 'WB3102 the topic has more than 249 bytes'
        WHEN topic ~ '[[:cntrl:][:space:]*>#+]' THEN 'WB3103 the topic holds a space, a control character or one of * > # +'
        WHEN coalesce(type, '') = '' THEN 'WB3101 the type is required'
        WHEN octet_length(type) > 255 THEN 'WB3102 the type has more than 255 bytes'
        WHEN coalesce(id, '') !~ '^[!-~]{1,128}$' THEN 'WB3103 the id is not 1 to 128 printable ASCII characters without space'
        WHEN json_typeof(headers::json) <> 'array' THEN 'WB3009 the headers are not a JSON array of pairs of text'
        WHEN EXISTS (
            SELECT FROM json_array_elements(headers::json) AS h
            WHERE CASE WHEN json_typeof(h) = 'array' THEN json_array_length(h) <> 2 ELSE true END
               OR json_typeof(h -> 0) <> 'string' OR json_typeof(h -> 1) <> 'string'
        ) THEN 'WB3009 the headers are not a JSON array of pairs of text'
    END;
BEGIN
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION 'waybill: %', fault USING ERRCODE = 'check_violation',
            DETAIL = format('topic %L, type %L, id %L, headers %L', left(topic, 60), left(type, 60), left(id, 60), left(headers, 60)),
            HINT = 'See docs/sql-contract.md for what a message may be.';
    END IF;
    INSERT INTO waybill.outbox (id, topic, key, type, payload, content_type, headers)
    VALUES (publish.id, publish.topic, coalesce(publish.key, ''), publish.type, publish.payload, coalesce(publish.content_type, ''), publish.headers);
    RETURN id;
END $$;

-- The same for text, such as JSON. An untyped literal is text: cast a bytea literal with ::bytea.
CREATE FUNCTION waybill.publish(
    topic text, key text, type text, payload text,
    content_type text DEFAULT 'application/json',
    headers text DEFAULT NULL,
    id text DEFAULT gen_random_uuid()::text
) RETURNS text LANGUAGE sql AS $$
    SELECT waybill.publish(topic, key, type, convert_to(payload, 'UTF8'), content_type, headers, id)
$$;

INSERT INTO waybill.migration (version, name) VALUES (1, 'waybill');
