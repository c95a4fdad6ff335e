What PostgreSQL's catalogs say of the tables that are read; all of it inside the snapshot, with no lock on any table.

-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: settings
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC';
SET LOCAL extra_float_digits = 3;
SET LOCAL bytea_output = 'hex';
SET LOCAL search_path = '';
SET LOCAL quote_all_identifiers = off;
SET LOCAL row_security = off;
SET LOCAL synchronize_seqscans = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off;
SET LOCAL lock_timeout = '30s';
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL statement_timeout = 0;

-- name: replayed
-- A standby's snapshot does not say which transactions still run: what it has replayed before it, the snapshot sees.
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END;

-- name: export
SELECT pg_export_snapshot(), (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint,
  pg_is_in_recovery(), current_setting('server_encoding'),
  CASE WHEN current_setting('server_version_num')::integer >= 130000 THEN pg_current_snapshot()::text ELSE txid_current_snapshot()::text END,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text;

-- name: held_back
SELECT coalesce(age(backend_xmin), 0)::bigint FROM pg_stat_activity WHERE pid = pg_backend_pid();

-- name: relations
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
  has_schema_privilege(n.oid, 'USAGE')
    AND CASE WHEN c.relkind = 'S' THEN true ELSE has_table_privilege(c.oid, 'SELECT') END,
  row_security_active(c.oid),
  EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')),
  (c.relpages::bigint + coalesce(t.relpages, 0)) * current_setting('block_size')::bigint
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";

-- name: columns
WITH RECURSIVE base (oid, base) AS (
  SELECT oid, oid FROM pg_type WHERE typtype <> 'd'
  UNION ALL
  SELECT d.oid, b.base FROM pg_type d JOIN base b ON d.typbasetype = b.oid WHERE d.typtype = 'd'
)
SELECT a.attrelid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN bn.nspname = 'pg_catalog' THEN bt.typname ELSE bn.nspname || '.' || bt.typname END,
  bt.typlen, CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE t.typtypmod END, a.attnotnull,
  CASE a.attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' ELSE
    CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END END,
  CASE WHEN a.attcollation <> 0 THEN quote_ident(cn.nspname) || '.' || quote_ident(co.collname) END,
  col_description(a.attrelid, a.attnum)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN base b ON b.oid = a.atttypid
JOIN pg_type bt ON bt.oid = b.base
JOIN pg_namespace bn ON bn.oid = bt.typnamespace
LEFT JOIN pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum;

-- name: types
-- What the stream names by number only, where the table itself is gone.
WITH RECURSIVE base (oid, base) AS (
  SELECT oid, oid FROM pg_type WHERE typtype <> 'd'
  UNION ALL
  SELECT d.oid, b.base FROM pg_type d JOIN base b ON d.typbasetype = b.oid WHERE d.typtype = 'd'
)
SELECT b.oid::bigint, CASE WHEN n.nspname = 'pg_catalog' THEN t.typname ELSE n.nspname || '.' || t.typname END, t.typlen
FROM base b JOIN pg_type t ON t.oid = b.base JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE b.oid = ANY(%s::oid[]);

-- name: keys
SELECT i.indrelid, k.attnum
FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
WHERE i.indrelid = ANY(%s) AND i.indisprimary AND k.place <= i.indnkeyatts
ORDER BY i.indrelid, k.place;

-- name: descendants
WITH RECURSIVE tree (root, oid) AS (
  SELECT h.inhparent, h.inhrelid FROM pg_inherits h WHERE h.inhparent = ANY(%s)
  UNION ALL
  SELECT t.root, h.inhrelid FROM tree t JOIN pg_inherits h ON h.inhparent = t.oid
)
SELECT t.root, t.oid, c.relkind::text, n.nspname, c.relname, c.relpersistence::text,
  (c.relpages::bigint + coalesce(s.relpages, 0)) * current_setting('block_size')::bigint
FROM tree t
JOIN pg_class c ON c.oid = t.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class s ON s.oid = c.reltoastrelid
ORDER BY t.root, t.oid;

-- name: is_same_table
-- The functions in this and the next two queries look at now, whatever the snapshot is: they find a table that was
-- dropped and made again, one that was emptied or rewritten, partitions that came or went.
SELECT to_regclass(%s)::oid IS NOT DISTINCT FROM %s::oid;

-- name: rewritten
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.oid = ANY(%s) AND c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
ORDER BY c.oid LIMIT 1;

-- name: leaves_now
SELECT coalesce(array_agg(relid::oid::bigint ORDER BY relid::oid), '{}') FROM pg_partition_tree(%s::oid::regclass) WHERE isleaf;

-- name: large_object_piece
SELECT lo_get(%s::oid, %s::bigint, %s::integer);

-- name: large_objects
SELECT m.oid, pg_get_userbyid(m.lomowner),
  CASE WHEN count(DISTINCT r.account) = 1 THEN min(r.account) END, min(r.time)::text
FROM pg_largeobject_metadata m JOIN (/*rows*/) r ON r.oid = m.oid
WHERE m.oid > %s
GROUP BY m.oid, m.lomowner
ORDER BY m.oid;

-- name: server
-- Which server this is, and how far its WAL is. The control file names a new timeline only at the next checkpoint.
SELECT (pg_control_system()).system_identifier::text,
  CASE WHEN pg_is_in_recovery() THEN (pg_control_checkpoint()).timeline_id
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END, current_setting('wal_level'),
  (SELECT u.rolreplication OR u.rolsuper OR EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication'
    AND pg_has_role(u.oid, m.oid, 'MEMBER')) FROM pg_roles u WHERE u.rolname = current_user), pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text,
  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: live_tables
SELECT c.oid::bigint, n.nspname, c.relname, c.relreplident::text,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), c.relpersistence = 'u'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'scelle_guard', 'scelle_probe')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";

-- name: growth
-- Rows and pages are those of the last VACUUM or ANALYZE, both from one moment; no table is locked for them.
SELECT c.oid::bigint, CASE WHEN current_setting('track_counts')::boolean THEN sum(s.n_tup_upd)::bigint END,
  CASE WHEN current_setting('track_counts')::boolean THEN sum(s.n_tup_del)::bigint END,
  (sum((l.relpages::bigint + coalesce(t.relpages, 0)) * current_setting('block_size')::bigint)
    / nullif(sum(greatest(l.reltuples, 0)), 0))::bigint
FROM pg_class c
CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid::oid FROM pg_partition_tree(c.oid) WHERE isleaf) m (oid)
JOIN pg_class l ON l.oid = m.oid
LEFT JOIN pg_class t ON t.oid = l.reltoastrelid
LEFT JOIN pg_stat_user_tables s ON s.relid = l.oid
WHERE c.oid = ANY(%s::oid[]) AND l.relkind = 'r'
GROUP BY c.oid;

-- name: counted_since
-- From 15 on a database's counters have no beginning until somebody resets them: then it is that of the server's.
SELECT (extract(epoch FROM began) * 1000000)::bigint, extract(epoch FROM clock_timestamp() - began)::float8, whose
FROM (SELECT coalesce(d.stats_reset, b.stats_reset), CASE WHEN d.stats_reset IS NULL THEN 'server' ELSE 'database' END
  FROM pg_stat_database d, pg_stat_bgwriter b WHERE d.datname = current_database()) c (began, whose);

-- name: wal_written
SELECT wal_bytes::bigint, (extract(epoch FROM stats_reset) * 1000000)::bigint,
  extract(epoch FROM clock_timestamp() - stats_reset)::float8, 'server' FROM pg_stat_wal;

-- name: wal_settings
SELECT current_setting('max_slot_wal_keep_size', true),
  (SELECT rolname FROM pg_roles WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser') ORDER BY 1 LIMIT 1),
  current_setting('hot_standby_feedback')::boolean;

-- name: slot
SELECT plugin, database, active, confirmed_flush_lsn::text, wal_status,
  (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - restart_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = %s;

-- name: slot_ended
-- Whoever reads the slot goes, so that it can be dropped.
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NOT NULL
  AND (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - restart_lsn) > %s;

-- name: slot_dropped
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s
  AND (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - restart_lsn) > %s;

-- name: publications
SELECT pubname, concat(CASE WHEN pubinsert THEN 'i' END, CASE WHEN pubupdate THEN 'u' END,
  CASE WHEN pubdelete THEN 'd' END, CASE WHEN pubtruncate THEN 't' END), pubviaroot
FROM pg_publication WHERE pubname = ANY(%s);

-- name: published
-- Row filters and column lists (from 15 on) would hide changes.
SELECT p.pubname, n.nspname, c.relname, to_jsonb(r) ->> 'prqual' IS NULL AND to_jsonb(r) ->> 'prattrs' IS NULL
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = ANY(%s);
