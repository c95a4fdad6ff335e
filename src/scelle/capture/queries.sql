Which version of each item is sealed, per order and source. Derived from the segments: never evidence.

How far the units of sources of records were read is sealed under the vault's key (`capture_unit`).
Orders, items, stamps, versions and contents are keyed hashes, so that whoever reads this file without the vault's key
learns no name and no digest. `learned_*` say up to where the segments were read: their number, the leaf hash of the last
manifest, and the sequence number. `content` is set where only the digest is kept and the bytes stay in place. Of a `restricted` item the version is
random: no hash of its content is here. Items of a source are numbered from 0 as they
come.

-- name: tables
CREATE TABLE capture_scope (
  id INTEGER PRIMARY KEY, order_key BLOB NOT NULL, source TEXT NOT NULL,
  learned_number INTEGER NOT NULL DEFAULT 0, learned_leaf BLOB NOT NULL DEFAULT x'',
  learned_seq INTEGER NOT NULL DEFAULT 0, learned_events INTEGER NOT NULL DEFAULT 0,
  UNIQUE (order_key, source)
) STRICT;
CREATE TABLE capture_item (
  scope INTEGER NOT NULL, item BLOB NOT NULL, number INTEGER NOT NULL, stamp BLOB NOT NULL,
  version BLOB NOT NULL, content BLOB, seq INTEGER NOT NULL, pass INTEGER NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0, restricted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (scope, item)
) STRICT, WITHOUT ROWID;
CREATE TABLE capture_unit (
  scope INTEGER NOT NULL, unit INTEGER NOT NULL, known BLOB NOT NULL, PRIMARY KEY (scope, unit)
) STRICT, WITHOUT ROWID;

-- name: scope
SELECT id, learned_number, learned_leaf, learned_seq, learned_events FROM capture_scope WHERE order_key = ? AND source = ?;

-- name: add_scope
INSERT INTO capture_scope (order_key, source) VALUES (?, ?);

-- name: set_learned
UPDATE capture_scope SET learned_number = ?, learned_leaf = ?, learned_seq = ? WHERE id = ?;

-- name: set_learned_events
UPDATE capture_scope SET learned_events = ? WHERE id = ?;

-- name: find
SELECT item, number, stamp, version, content, seq, pass, gone, restricted FROM capture_item
WHERE scope = ? AND item IN (/*items*/);

-- name: remember
INSERT INTO capture_item (scope, item, number, stamp, version, content, seq, pass, restricted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, item) DO UPDATE SET stamp = excluded.stamp, version = excluded.version,
  content = excluded.content, seq = excluded.seq, pass = excluded.pass, gone = 0,
  restricted = excluded.restricted;

-- name: forget
DELETE FROM capture_item WHERE scope = ?;

-- name: next_number
SELECT coalesce(max(number) + 1, 0) FROM capture_item WHERE scope = ?;

-- name: all
SELECT item, number, seq, content IS NOT NULL, gone FROM capture_item WHERE scope = ?;

-- name: versions
SELECT item, version, seq FROM capture_item JOIN capture_scope ON capture_scope.id = capture_item.scope
WHERE order_key = ? AND source = ?;

-- name: mark_gone
UPDATE capture_item SET gone = ? WHERE scope = ? AND item = ?;

-- name: find_unit
SELECT known FROM capture_unit WHERE scope = ? AND unit = ?;

-- name: remember_unit
INSERT INTO capture_unit (scope, unit, known) VALUES (?, ?, ?)
ON CONFLICT (scope, unit) DO UPDATE SET known = excluded.known;

-- name: all_units
SELECT unit, known FROM capture_unit WHERE scope = ? ORDER BY unit;

-- name: forget_record
DELETE FROM capture_item
WHERE scope = (SELECT id FROM capture_scope WHERE order_key = ? AND source = ?) AND seq = ?;

-- name: forget_units
DELETE FROM capture_unit WHERE scope = ?;

-- name: scopes_of
SELECT id FROM capture_scope WHERE order_key = ?;

-- name: forget_scope
DELETE FROM capture_scope WHERE id = ?;
