-- The literal pattern: is_published is false at first and set by the relay after the broker's confirmation.
CREATE TABLE waybill.outbox_flagged (
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
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_published boolean     NOT NULL DEFAULT false
);
CREATE INDEX outbox_flagged_unpublished ON waybill.outbox_flagged (pos) WHERE NOT is_published;
