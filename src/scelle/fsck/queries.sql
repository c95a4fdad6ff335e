What the derived catalog says of contents, to be compared with the packs (tables: scelle.vault, queries.sql).

-- name: packs
SELECT number, pack_id, is_complete FROM packs

-- name: rows
SELECT content, pack, frame_offset, start, size FROM contents ORDER BY content

-- name: place
SELECT pack, frame_offset, start, size FROM contents WHERE content = ?

-- name: count
SELECT count(*) FROM contents

-- name: counts
SELECT pack, count(*) FROM contents GROUP BY pack
