-- The literal pattern: is_published is false at first and set by the relay after the broker's confirmation.
CREATE TABLE waybill_outbox_flagged (
    pos          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    "key"        TEXT    NOT NULL DEFAULT '',
    type         TEXT    NOT NULL,
    payload      BLOB,
    content_type TEXT    NOT NULL DEFAULT '',
    headers      TEXT,
    time         INTEGER,
    created_at   INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    is_published INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX waybill_outbox_flagged_unpublished ON waybill_outbox_flagged (pos) WHERE NOT is_published;
