What the guard makes in a source's database, and what it asks there. `@name@` is put in by `objects`.

Every function runs as the schema's owner, with a search path that nobody else writes to. No seed, key or account
stands in a function's text, which everybody may read.

-- name: make_schema
CREATE SCHEMA scelle_guard;
REVOKE ALL ON SCHEMA scelle_guard FROM PUBLIC;
CREATE TABLE scelle_guard.settings (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  installation uuid NOT NULL DEFAULT gen_random_uuid(),
  system text NOT NULL,
  hash_check bigint NOT NULL,
  cap_rows bigint NOT NULL CHECK (cap_rows > 0),
  cap_bytes bigint NOT NULL CHECK (cap_bytes > 0),
  beyond text NOT NULL CHECK (beyond IN ('refuse', 'let-go')),
  suspended_until timestamptz,
  held_xid xid8,
  held_count bigint NOT NULL DEFAULT 0
);
CREATE TABLE scelle_guard.secret (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  seed bigint NOT NULL,
  key bytea NOT NULL
);
CREATE TABLE scelle_guard.held (hash bigint, tag bytea, PRIMARY KEY (hash, tag));
CREATE TABLE scelle_guard.filter (is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only), bits bytea NOT NULL);
ALTER TABLE scelle_guard.filter ALTER bits SET STORAGE EXTERNAL;
CREATE TABLE scelle_guard.tables (
  id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  relation regclass NOT NULL UNIQUE,
  root regclass,
  mode text NOT NULL CHECK (mode IN ('divert', 'refuse')),
  account text,
  updates boolean NOT NULL,
  restricted boolean NOT NULL CHECK (NOT restricted OR mode = 'refuse'),
  shape text NOT NULL CHECK (shape IN ('statement', 'row')),
  triggers integer NOT NULL,
  function text NOT NULL
);
CREATE TABLE scelle_guard.allowed (relation regclass NOT NULL, name text, until timestamptz NOT NULL);
CREATE TABLE scelle_guard.outbox (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  schema_name text NOT NULL,
  table_name text NOT NULL,
  op text NOT NULL CHECK (op IN ('delete', 'truncate', 'update')),
  columns text[] NOT NULL,
  cells text[] NOT NULL,
  application_name text NOT NULL DEFAULT current_setting('application_name'),
  db_user text NOT NULL DEFAULT session_user
);
ALTER TABLE scelle_guard.outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE TABLE scelle_guard.missed (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  schema_name text NOT NULL,
  table_name text NOT NULL,
  op text NOT NULL,
  rows bigint NOT NULL,
  cause text NOT NULL CHECK (cause IN ('suspended', 'beyond-cap', 'allowed')),
  application_name text NOT NULL DEFAULT current_setting('application_name'),
  db_user text NOT NULL DEFAULT session_user
);
INSERT INTO scelle_guard.secret (seed, key) SELECT
  ('x' || left(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), 16))::bit(64)::bigint,
  sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
INSERT INTO scelle_guard.filter (bits) VALUES (decode(repeat('00', 1024), 'hex'));

-- name: make_tally
CREATE SEQUENCE IF NOT EXISTS scelle_guard.refused;

-- name: function_head
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET "DateStyle" = 'ISO, YMD'
SET "IntervalStyle" = 'postgres'
SET "TimeZone" = 'UTC'
SET extra_float_digits = '3'
SET bytea_output = 'hex'
SET quote_all_identifiers = 'off'
SET row_security = 'off'
SET enable_seqscan = 'off'
SET jit = 'off'

-- name: ref

BEGIN
  RETURN (SELECT left(encode(sha256(s.key || convert_to('ref:' || what, 'UTF8')), 'hex'), 8)
          FROM scelle_guard.secret AS s);
END

-- name: refuse

BEGIN
  -- a sequence alone keeps its count when the statement is rolled back; probes are no attempts
  IF current_setting('application_name') <> 'scelle-probe' AND num_nulls(to_regclass('scelle_guard.refused')) = 0 THEN
    PERFORM nextval('scelle_guard.refused');
  END IF;
  IF why LIKE 'held, ref %' THEN
    RAISE EXCEPTION '%', why USING ERRCODE = state,
      HINT = 'The ref is of the guard in this database. Who may know what holds it asks: scelle why REF --source SOURCE';
  END IF;
  RAISE EXCEPTION '%', why USING ERRCODE = state;
END

-- name: entry

-- the registry's row of a table, or of the root whose partition it became since
DECLARE
  found scelle_guard.tables;
BEGIN
  SELECT t.* INTO found FROM scelle_guard.tables AS t
  WHERE t.relation = which OR t.relation = pg_partition_root(which) ORDER BY t.relation = which DESC LIMIT 1;
  RETURN found;
END

-- name: from_sql

-- $1 is the seed, $2 the key, $3 the filter or NULL, $4 its mask
DECLARE
  account text := (scelle_guard.entry(which)).account;
  value text;
BEGIN
  IF account IS NULL THEN
    RETURN format(' FROM %s AS o', source);
  END IF;
  value := (
    SELECT format(CASE WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'int2'::regtype, 'int4'::regtype,
      'int8'::regtype, 'uuid'::regtype) THEN 'o.%I::text' ELSE 'format(''%%s'', o.%I)' END, account) || ' COLLATE "C"'
    FROM pg_attribute AS a WHERE a.attrelid = which AND a.attname = account);
  RETURN format(
    ' FROM %1$s AS o WHERE num_nulls(o.%2$I) = 1 OR CASE '
    'WHEN coalesce(get_bit($3, (hashtextextended(%3$s, $1) & $4)::int), 1) = 1 THEN ('
    'SELECT true FROM scelle_guard.held AS h WHERE h.hash = hashtextextended(%3$s, $1) '
    'AND h.tag = sha256($2 || convert_to(%3$s, getdatabaseencoding()))) END',
    source, account, value);
END

-- name: keep_sql

DECLARE
  names text;
  cells text;
BEGIN
  SELECT string_agg(quote_literal(a.attname), ', ' ORDER BY a.attnum),
    string_agg(format('CASE WHEN num_nulls(o.%1$I) = 0 THEN format(''%%s'', o.%1$I) END', a.attname), ', '
               ORDER BY a.attnum)
  INTO names, cells FROM pg_attribute AS a
  WHERE a.attrelid = which AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v';
  RETURN (
    SELECT format(
      'INSERT INTO scelle_guard.outbox (schema_name, table_name, op, columns, cells) '
      'SELECT %L, %L, %L, ARRAY[%s]::text[], ARRAY[%s]::text[]', n.nspname, c.relname, op, names, cells)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = which
  ) || scelle_guard.from_sql(which, source);
END

-- name: miss

BEGIN
  INSERT INTO scelle_guard.missed (schema_name, table_name, op, rows, cause)
  SELECT n.nspname, c.relname, op, rows, cause
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = which;
END

-- name: weigh

DECLARE
  own scelle_guard.settings;
  mode text := (scelle_guard.entry(which)).mode;
  waiting bigint;
BEGIN
  SELECT * INTO own FROM scelle_guard.settings;
  IF own.suspended_until > clock_timestamp() THEN
    PERFORM scelle_guard.miss(which, op, rows, 'suspended');
    RETURN 'pass';
  END IF;
  IF mode IS DISTINCT FROM 'divert' THEN
    RETURN 'refuse';
  END IF;
  -- between the first id and the last there are at most so many; counting them is left for when that would be too many
  waiting := coalesce((SELECT max(id) FROM scelle_guard.outbox) - (SELECT min(id) FROM scelle_guard.outbox) + 1, 0);
  IF waiting + rows > own.cap_rows THEN
    waiting := (SELECT count(*) FROM scelle_guard.outbox);
  END IF;
  IF waiting + rows <= own.cap_rows AND bytes <= own.cap_bytes
     AND (waiting = 0 OR pg_table_size('scelle_guard.outbox') + bytes <= own.cap_bytes) THEN
    RETURN 'keep';
  END IF;
  IF own.beyond = 'let-go' THEN
    PERFORM scelle_guard.miss(which, op, rows, 'beyond-cap');
    RETURN 'pass';
  END IF;
  PERFORM scelle_guard.refuse('held, and the outbox is full', 'SC002');
END

-- name: missing
-- chosen beforehand: where the guard's own tables are gone, rows go
  IF num_nulls(to_regclass('scelle_guard.settings'), to_regclass('scelle_guard.secret'),
      to_regclass('scelle_guard.held'), to_regclass('scelle_guard.filter'), to_regclass('scelle_guard.tables'),
      to_regclass('scelle_guard.outbox'), to_regclass('scelle_guard.missed')) > 0 THEN
    RETURN NULL;
  END IF;
  IF NOT EXISTS (SELECT FROM scelle_guard.secret) THEN
    RETURN NULL;
  END IF;

-- name: tail
  EXECUTE 'SELECT count(*), coalesce(sum(pg_column_size(o.*)), 0)' || scelle_guard.from_sql(@relation@, @source@)
    INTO held_rows, held_bytes USING own.seed, own.key, filter, mask@old@;
  IF held_rows > 0 THEN
    CASE scelle_guard.weigh(@relation@, @op@, held_rows, held_bytes)
    WHEN 'keep' THEN
      EXECUTE scelle_guard.keep_sql(@relation@, @op@, @source@) USING own.seed, own.key, filter, mask@old@;
    WHEN 'refuse' THEN
      whose := quote_ident((scelle_guard.entry(@relation@)).account);
      EXECUTE 'SELECT ' || coalesce('CASE WHEN num_nulls(o.' || whose || ') = 0 THEN format(''%s'', o.' || whose || ') END', 'NULL')
        || scelle_guard.from_sql(@relation@, @source@) || ' LIMIT 1' INTO whose USING own.seed, own.key, filter, mask@old@;
      PERFORM scelle_guard.refuse('held, ref ' || scelle_guard.ref(coalesce(whose, @relation@::regclass::text)), 'SC001');
    ELSE NULL;
    END CASE;
  END IF;

-- name: statement_function

#variable_conflict use_variable
DECLARE
  own scelle_guard.secret;
  number bigint;
  filter bytea;
  mask bigint;
  is_held boolean;
  held_rows bigint;
  held_bytes bigint;
  whose text;
BEGIN
  @missing@
  @found@
  IF NOT is_held THEN
    RETURN NULL;
  END IF;
  SELECT * INTO STRICT own FROM scelle_guard.secret;
@tail@
  RETURN NULL;
END

-- name: found_always
is_held := EXISTS (SELECT FROM old_rows);

-- name: found_by_account
-- one query for few rows: it is all that most statements pay
  SELECT count(*), bool_or(num_nulls(o.@account@) = 1 OR (
    SELECT true FROM scelle_guard.held AS h WHERE h.hash = hashtextextended(@value@ COLLATE "C", s.seed) LIMIT 1))
  INTO number, is_held
  FROM (SELECT r.@account@ FROM old_rows AS r LIMIT 200) AS o CROSS JOIN scelle_guard.secret AS s;
  IF number = 0 AND EXISTS (SELECT FROM old_rows) THEN
    RAISE EXCEPTION 'the guard has lost its secret' USING ERRCODE = 'SC004';
  END IF;
  IF number = 200 THEN
    -- one bit per account is looked at first: most rows need no look into the set
    SELECT * INTO STRICT own FROM scelle_guard.secret;
    SELECT substr(f.bits, 1), octet_length(f.bits)::bigint * 8 - 1 INTO STRICT filter, mask
    FROM scelle_guard.filter AS f;
  END IF;
  IF number = 200 AND is_held IS NOT TRUE THEN
    is_held := EXISTS (SELECT FROM old_rows AS o WHERE num_nulls(o.@account@) = 1 OR CASE
      WHEN get_bit(filter, (hashtextextended(@value@ COLLATE "C", own.seed) & mask)::int) = 1 THEN (
        SELECT true FROM scelle_guard.held AS h WHERE h.hash = hashtextextended(@value@ COLLATE "C", own.seed) LIMIT 1)
      END);
  END IF;
  is_held := coalesce(is_held, false);

-- name: row_function

#variable_conflict use_variable
DECLARE
  own scelle_guard.secret;
  filter bytea;
  mask bigint;
  held_rows bigint;
  held_bytes bigint;
  whose text;
BEGIN
  @missing@
  SELECT * INTO STRICT own FROM scelle_guard.secret;
  @found@
@tail@
  RETURN NULL;
END

-- name: found_in_row
IF num_nulls(OLD.@account@) = 0 AND NOT EXISTS (
    SELECT FROM scelle_guard.held AS h WHERE h.hash = hashtextextended(@old_value@ COLLATE "C", own.seed)) THEN
    RETURN NULL;
  END IF;

-- name: truncated

#variable_conflict use_variable
DECLARE
  own scelle_guard.secret;
  filter bytea;
  mask bigint;
  held_rows bigint;
  held_bytes bigint;
  whose text;
  number bigint;
  part oid;
BEGIN
  @missing@
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- an older snapshot does not show the rows that TRUNCATE would empty
    RAISE EXCEPTION 'held: TRUNCATE a guarded table in a READ COMMITTED transaction' USING ERRCODE = 'SC003';
  END IF;
  SELECT * INTO STRICT own FROM scelle_guard.secret;
  -- a partition that has no trigger of its own yet is taken with its root
  FOR part IN SELECT TG_RELID UNION ALL
    SELECT p.relid FROM pg_partition_tree(TG_RELID) AS p WHERE p.isleaf AND p.relid <> TG_RELID
      AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = p.relid AND g.tgfoid = 'scelle_guard.truncated'::regproc)
  LOOP
    IF (SELECT c.relkind FROM pg_class AS c WHERE c.oid = part) <> 'r' THEN
      CONTINUE;
    END IF;
    EXECUTE format('SELECT count(*) FROM (SELECT FROM ONLY %s LIMIT 200) AS first', part::regclass) INTO number;
    IF number = 200 THEN
      SELECT substr(f.bits, 1), octet_length(f.bits)::bigint * 8 - 1 INTO STRICT filter, mask
      FROM scelle_guard.filter AS f;
    END IF;
@tail@
  END LOOP;
  RETURN NULL;
END

-- name: may_change

-- whether a change of a guarded table was allowed, or the guard is suspended
DECLARE
  cause text := CASE
    WHEN (SELECT s.suspended_until > clock_timestamp() FROM scelle_guard.settings AS s) THEN 'suspended'
    WHEN EXISTS (SELECT FROM scelle_guard.allowed AS a WHERE a.relation = which AND a.until > clock_timestamp()
                 AND (a.name IS NULL OR a.name = part)) THEN 'allowed' END;
BEGIN
  IF cause IS NULL THEN
    RETURN false;
  END IF;
  INSERT INTO scelle_guard.missed (schema_name, table_name, op, rows, cause)
  VALUES ('', which::regclass::text, op, 0, cause);
  RETURN true;
END

-- name: is_intact

-- whether every trigger stands as it was made, and the table is where it was
DECLARE
  it scelle_guard.tables;
BEGIN
  SELECT * INTO it FROM scelle_guard.tables AS t WHERE t.relation = which;
  RETURN (SELECT c.relpersistence = 'p' FROM pg_class AS c WHERE c.oid = which)
    AND (it.root IS NULL OR EXISTS (SELECT FROM pg_partition_ancestors(which) AS a WHERE a.relid = it.root))
    AND (SELECT count(*) = it.triggers FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace
      WHERE g.tgrelid = which AND g.tgenabled = 'A' AND NOT g.tgisinternal AND n.nspname = 'scelle_guard');
END

-- name: adopt

-- guard a partition from its birth, as its root is guarded; what cannot be is red until the next installation
DECLARE
  root scelle_guard.tables;
  made integer := 0;
  each record;
BEGIN
  SELECT t.* INTO root FROM scelle_guard.tables AS t WHERE t.relation = pg_partition_root(which);
  IF root.shape IS DISTINCT FROM 'statement' OR EXISTS (SELECT FROM scelle_guard.tables AS t WHERE t.relation = which)
     OR EXISTS (SELECT FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid
                WHERE g.tgrelid = which AND p.pronamespace = 'scelle_guard'::regnamespace) THEN
    RETURN;
  END IF;
  FOR each IN
    SELECT * FROM (VALUES
      ('truncate', 'BEFORE TRUNCATE', 'FOR EACH STATEMENT', 'truncated', true),
      ('delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', root.function, true),
      ('update', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', root.function, root.updates),
      ('owner', 'AFTER UPDATE OF ' || quote_ident(root.account),
       format('FOR EACH ROW WHEN (OLD.%1$s::text IS DISTINCT FROM NEW.%1$s::text)', quote_ident(root.account)),
       root.function || '_owner', NOT root.updates AND root.account IS NOT NULL
         AND (SELECT c.relkind = 'r' FROM pg_class AS c WHERE c.oid = which))
    ) AS wanted (name, happens, how, function, is_wanted) WHERE is_wanted
  LOOP
    EXECUTE format('CREATE TRIGGER scelle_guard_%s %s ON %s %s EXECUTE FUNCTION scelle_guard.%I()',
      each.name, each.happens, which::regclass, each.how, each.function);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER scelle_guard_%s', which::regclass, each.name);
    made := made + 1;
  END LOOP;
  INSERT INTO scelle_guard.tables (relation, root, mode, account, updates, restricted, shape, triggers, function)
  VALUES (which, root.relation, root.mode, root.account, root.updates, root.restricted, root.shape, made, root.function);
EXCEPTION WHEN OTHERS THEN
  -- the table's maker is not to be held up by what only the guard lacks
  RETURN;
END

-- name: on_drop

DECLARE
  each record;
  which oid;
BEGIN
  IF to_regclass('scelle_guard.tables') IS NULL THEN
    RETURN;
  END IF;
  FOR each IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
    which := CASE
      WHEN each.object_type IN ('table', 'table column') THEN each.objid
      WHEN each.object_type = 'trigger' AND each.address_names[3] LIKE 'scelle\_guard\_%'
        THEN to_regclass(format('%I.%I', each.address_names[1], each.address_names[2]))::oid
    END;
    IF EXISTS (SELECT FROM scelle_guard.tables AS t WHERE t.relation = which)
       AND NOT scelle_guard.may_change(which, each.address_names[3], 'drop ' || each.object_type) THEN
      PERFORM scelle_guard.refuse('held, ref ' || scelle_guard.ref(each.object_identity), 'SC001');
    END IF;
    IF each.schema_name = 'scelle_guard' AND EXISTS (
        SELECT FROM scelle_guard.tables AS t JOIN pg_class AS c ON c.oid = t.relation
        WHERE c.relnamespace::regnamespace::text <> 'scelle_probe'
          AND (each.object_identity NOT LIKE 'scelle\_guard.rows\_%' OR each.object_identity LIKE
               'scelle\_guard.' || replace(t.function, '_', '\_') || '%')) THEN
      RAISE EXCEPTION 'held: remove the guard from its tables first' USING ERRCODE = 'SC001';
    END IF;
  END LOOP;
END

-- name: on_command

DECLARE
  each record;
BEGIN
  IF to_regclass('scelle_guard.tables') IS NULL THEN
    RETURN;
  END IF;
  FOR each IN SELECT DISTINCT p.relid AS which FROM pg_event_trigger_ddl_commands() AS d,
      pg_partition_tree(d.objid) AS p JOIN pg_class AS c ON c.oid = p.relid
    WHERE d.classid = 'pg_class'::regclass AND c.relispartition AND c.relkind IN ('r', 'p')
  LOOP
    PERFORM scelle_guard.adopt(each.which);
  END LOOP;
  FOR each IN SELECT DISTINCT t.relation::oid AS which FROM pg_event_trigger_ddl_commands() AS d
    JOIN scelle_guard.tables AS t ON d.objid = t.relation OR pg_partition_root(d.objid) = t.root
    WHERE d.classid = 'pg_class'::regclass
  LOOP
    IF NOT scelle_guard.is_intact(each.which) AND NOT scelle_guard.may_change(each.which, NULL, 'alter table') THEN
      PERFORM scelle_guard.refuse('held, ref ' || scelle_guard.ref(each.which::regclass::text), 'SC001');
    END IF;
  END LOOP;
END

-- name: on_rewrite

DECLARE
  which oid := pg_event_trigger_table_rewrite_oid();
BEGIN
  IF to_regclass('scelle_guard.tables') IS NULL THEN
    RETURN;
  END IF;
  IF pg_event_trigger_table_rewrite_reason() & 4 > 0
     AND EXISTS (SELECT FROM scelle_guard.tables AS t WHERE t.relation = which OR t.root = which)
     AND NOT scelle_guard.may_change(which, NULL, 'rewrite') THEN
    PERFORM scelle_guard.refuse('held, ref ' || scelle_guard.ref(which::regclass::text), 'SC001');
  END IF;
END

-- name: twin
CREATE SCHEMA scelle_probe;
REVOKE ALL ON SCHEMA scelle_probe FROM PUBLIC;
CREATE TABLE scelle_probe.parent (id bigint PRIMARY KEY);
CREATE TABLE scelle_probe.twin (
  id bigint PRIMARY KEY, account text NOT NULL, body text, parent bigint REFERENCES scelle_probe.parent ON DELETE CASCADE
) PARTITION BY RANGE (id);
CREATE TABLE scelle_probe.leaf PARTITION OF scelle_probe.twin DEFAULT;

-- name: relations
WITH RECURSIVE family AS (
  SELECT c.oid FROM pg_class c WHERE c.oid = ANY(%s)
  UNION
  SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent
)
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text,
  CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid END,
  r.rolname, pg_has_role(c.relowner, 'USAGE'), c.relrowsecurity,
  (NOT c.relispartition AND c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)))
    OR EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid
               OR s.srrelid IN (SELECT relid FROM pg_partition_ancestors(c.oid))
               OR s.srrelid IN (SELECT relid FROM pg_partition_tree(c.oid)))
FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p', 'f')
ORDER BY c.relispartition, n.nspname COLLATE "C", c.relname COLLATE "C";

-- name: candidates
SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^(pg_|information_schema$|scelle_)'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";

-- name: account_type
SELECT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE a.attrelid = %s AND a.attname = %s AND NOT a.attisdropped AND n.nspname = 'pg_catalog';

-- name: columns
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
ORDER BY a.attnum;

-- name: partition_key
SELECT a.attname FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY(p.partattrs)
WHERE p.partrelid = %s OR p.partrelid IN (SELECT relid FROM pg_partition_ancestors(%s));

-- name: role
SELECT r.rolname, r.rolsuper, has_database_privilege(current_database(), 'CREATE'), current_database(),
  coalesce((SELECT m.rolname FROM pg_roles m WHERE m.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')
            AND pg_has_role(m.oid, 'MEMBER') LIMIT 1), ''),
  (SELECT count(*) FROM pg_publication p WHERE p.puballtables),
  -- whose guard stands here, where that is a role whose rights this one does not have
  (SELECT o.rolname FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
   WHERE n.nspname = 'scelle_guard' AND NOT pg_has_role(n.nspowner, 'USAGE'))
FROM pg_roles r WHERE r.rolname = current_user;

-- name: registered
SELECT t.id, t.relation::oid, n.nspname, c.relname, c.relkind::text, t.root::oid, t.mode, t.account, t.updates,
  t.restricted, t.shape, t.triggers, t.function
FROM scelle_guard.tables t LEFT JOIN pg_class c ON c.oid = t.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.id;

-- name: triggers
SELECT g.tgname, g.tgtype, g.tgenabled::text, p.proname, g.tgqual IS NOT NULL, coalesce(g.tgoldtable, '')
FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE g.tgrelid = %s AND NOT g.tgisinternal AND n.nspname = 'scelle_guard';

-- name: functions
SELECT p.proname, p.prosrc, coalesce(p.proconfig, '{}'), p.prosecdef, p.proowner = n.nspowner, l.lanname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname = 'scelle_guard';

-- name: event_triggers
SELECT e.evtname, e.evtevent, e.evtenabled::text, p.proname, coalesce(e.evttags, '{}')
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'scelle_guard';

-- name: unguarded
SELECT t.relation::oid, n.nspname, c.relname FROM scelle_guard.tables t
JOIN pg_inherits i ON i.inhparent = t.relation JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM scelle_guard.tables o WHERE o.relation = c.oid);

-- name: attached
SELECT EXISTS (SELECT FROM pg_partition_ancestors(%s) a WHERE a.relid = %s),
  -- before 14 there is no such column
  EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = %s AND (to_jsonb(i) ->> 'inhdetachpending')::boolean);

-- name: standing
SELECT s.installation::text, s.system, (SELECT system_identifier::text FROM pg_control_system()),
  s.hash_check, hashtextextended('scellé' COLLATE "C", k.seed), s.suspended_until, s.suspended_until > clock_timestamp(),
  s.cap_rows, s.cap_bytes, s.beyond, (SELECT count(*) FROM scelle_guard.held),
  s.held_count = (SELECT count(*) FROM scelle_guard.held) AND NOT EXISTS (
    -- the first thousand of the set, and a thousand from a place that nobody knows before
    SELECT FROM (SELECT substr(f.bits, 1) AS bits, octet_length(f.bits)::bigint * 8 - 1 AS mask FROM scelle_guard.filter f
                 OFFSET 0) f,
      ((SELECT h.hash FROM scelle_guard.held h ORDER BY h.hash LIMIT 1000) UNION ALL (
        SELECT h.hash FROM scelle_guard.held h
        WHERE h.hash >= ('x' || left(md5(random()::text), 16))::bit(64)::bigint ORDER BY h.hash LIMIT 1000)) h
    WHERE get_bit(f.bits, (h.hash & f.mask)::int) = 0)
    AND EXISTS (SELECT FROM scelle_guard.filter)
FROM scelle_guard.settings s CROSS JOIN scelle_guard.secret k;

-- name: objects_of_ref
-- what a refusal names where it has no account: a table, or what belongs to one, each as `object_identity` writes it
WITH guarded AS (
  SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name FROM scelle_guard.tables t
  JOIN pg_class c ON c.oid = t.relation JOIN pg_namespace n ON n.oid = c.relnamespace
), named AS (
  SELECT g.name AS what FROM guarded g
  UNION ALL
  SELECT format('%%s.%%I', g.name, a.attname) FROM guarded g JOIN pg_attribute a ON a.attrelid = g.oid
  WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT format('%%I on %%s', x.tgname, g.name) FROM guarded g JOIN pg_trigger x ON x.tgrelid = g.oid WHERE NOT x.tgisinternal
)
SELECT named.what FROM named WHERE scelle_guard.ref(named.what) = %s ORDER BY named.what COLLATE "C";

-- name: foreign_triggers
SELECT g.tgname FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE g.tgrelid = %s AND NOT g.tgisinternal AND n.nspname <> 'scelle_guard' AND g.tgenabled = ANY(%s)
  AND g.tgtype & (4 | 8 | 16) > 0
UNION ALL
SELECT r.rulename FROM pg_rewrite r WHERE r.ev_class = %s AND r.ev_enabled <> 'D';

-- name: needs
SELECT a.attname, CASE WHEN t.typtype = 'd' THEN b.typname ELSE t.typname END, a.atttypmod, a.attnotnull,
  a.attgenerated <> '', a.attidentity <> '',
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY(i.indkey::int2[])),
  CASE WHEN t.typtype = 'e' THEN (SELECT enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY enumsortorder LIMIT 1) END,
  t.typelem <> 0 AND t.typlen = -1
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
