Where contents stand. Derived from the packs: rebuilt by a scan, never evidence.

A content is known by the keyed BLAKE2b-256 of its SHA-256, so that whoever reads this file without the vault's key
cannot tell whether the vault holds a given file. A pack is complete when it is sealed and all its frames are here.

-- name: contents_tables
CREATE TABLE packs (
  number INTEGER PRIMARY KEY,
  pack_id TEXT NOT NULL UNIQUE,
  is_complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE contents (
  content BLOB PRIMARY KEY,
  pack INTEGER NOT NULL,
  frame_offset INTEGER NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL
) WITHOUT ROWID;

-- name: find_content
SELECT pack, frame_offset, start, size FROM contents WHERE content = ?

-- name: find_pack_of_content
SELECT pack FROM contents WHERE content = ?

-- name: some_contents
SELECT content FROM contents LIMIT ?

-- name: add_content
INSERT OR IGNORE INTO contents (content, pack, frame_offset, start, size) VALUES (?, ?, ?, ?, ?)

-- name: add_pack
INSERT OR IGNORE INTO packs (pack_id) VALUES (?)

-- name: all_packs
SELECT number, pack_id, is_complete FROM packs

-- name: complete_pack
UPDATE packs SET is_complete = 1 WHERE pack_id = ?

-- name: remove_contents_of_pack
DELETE FROM contents WHERE pack = ?

-- name: remove_content
DELETE FROM contents WHERE content = ?

-- name: remove_pack
DELETE FROM packs WHERE number = ?

-- name: remove_all_contents
DELETE FROM contents

-- name: remove_all_packs
DELETE FROM packs
