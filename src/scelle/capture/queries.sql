-- name: tables
CREATE TABLE capture_scope (
  id INTEGER PRIMARY KEY, "order" TEXT NOT NULL, source TEXT NOT NULL, learned INTEGER NOT NULL DEFAULT 0,
  UNIQUE ("order", source)
) STRICT;
CREATE TABLE capture_item (
  id INTEGER PRIMARY KEY, scope INTEGER NOT NULL, item BLOB NOT NULL, stamp BLOB NOT NULL,
  version BLOB NOT NULL, pass INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0, UNIQUE (scope, item)
) STRICT;
CREATE TABLE capture_pass ("order" TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT;

-- name: scope_id
SELECT id, learned FROM capture_scope WHERE "order" = ? AND source = ?;

-- name: add_scope
INSERT INTO capture_scope ("order", source) VALUES (?, ?);

-- name: set_learned
UPDATE capture_scope SET learned = ? WHERE id = ?;

-- name: find
SELECT id, stamp, version, pass, gone FROM capture_item WHERE scope = ? AND item = ?;

-- name: remember
INSERT INTO capture_item (scope, item, stamp, version, pass) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (scope, item) DO UPDATE SET stamp = excluded.stamp, version = excluded.version, pass = excluded.pass,
  gone = 0;

-- name: bounds
SELECT min(id), max(id) FROM capture_item WHERE scope = ?;

-- name: present_ids
SELECT id FROM capture_item WHERE scope = ? AND gone = 0 ORDER BY id;

-- name: mark_gone
UPDATE capture_item SET gone = ? WHERE id = ?;

-- name: unfinished
SELECT id FROM capture_pass WHERE "order" = ?;

-- name: begin_pass
INSERT INTO capture_pass ("order", id) VALUES (?, ?);

-- name: end_pass
DELETE FROM capture_pass WHERE "order" = ?;
