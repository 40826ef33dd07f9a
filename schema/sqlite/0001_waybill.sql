-- Waybill's tables. Times are microseconds since the Unix epoch, by SQLite's clock.
CREATE TABLE waybill_migration (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
);

CREATE TABLE waybill_outbox (
    pos          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    "key"        TEXT    NOT NULL DEFAULT '',
    type         TEXT    NOT NULL,
    payload      BLOB,
    content_type TEXT    NOT NULL DEFAULT '',
    headers      TEXT,
    time         INTEGER,
    created_at   INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000)
);

CREATE TABLE waybill_lease (
    relay      TEXT    PRIMARY KEY,
    owner      TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE TABLE waybill_cursor (
    relay    TEXT    NOT NULL,
    branch   TEXT    NOT NULL DEFAULT '',
    epoch    INTEGER NOT NULL,
    position TEXT    NOT NULL DEFAULT '',
    saved_at INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    PRIMARY KEY (relay, branch)
);

CREATE TABLE waybill_parked (
    relay        TEXT    NOT NULL,
    pos          INTEGER NOT NULL,
    incarnation  INTEGER NOT NULL,
    lane         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('held', 'parked')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT    NOT NULL DEFAULT '',
    id           TEXT    NOT NULL,
    topic        TEXT    NOT NULL,
    "key"        TEXT    NOT NULL DEFAULT '',
    type         TEXT    NOT NULL,
    payload      BLOB,
    content_type TEXT    NOT NULL DEFAULT '',
    headers      TEXT,
    time         INTEGER,
    parked_at    INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000),
    PRIMARY KEY (relay, pos)
);
CREATE INDEX waybill_parked_lane ON waybill_parked (relay, lane, pos);

CREATE TABLE waybill_log (
    name        TEXT    PRIMARY KEY,
    incarnation INTEGER NOT NULL
);

-- SQLite has one writer, so pos order is commit order and a cursor's position is one pos; '' has published nothing.
CREATE VIEW waybill_outbox_status AS
SELECT c.relay, o.pos, o.id,
       o.pos <= CAST(c.position AS INTEGER)
           AND NOT EXISTS (SELECT 1 FROM waybill_parked p WHERE p.relay = c.relay AND p.pos = o.pos) AS is_published
FROM waybill_cursor c CROSS JOIN waybill_outbox o
WHERE c.branch = '' AND c.position NOT LIKE 'flagged%'; -- those are of tables with a flag

INSERT INTO waybill_migration (version, name) VALUES (1, 'waybill');
