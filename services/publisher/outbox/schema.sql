-- Part 1 of 3: checks, roles, tables. Script in install.go puts a head with
-- the settings before the parts and a COMMIT behind them; all is one transaction.
--
-- For PostgreSQL 13 and newer and for Kea's schema 13.0 (Kea 2.2) to 34.0
-- (Kea 3.2). Running it again changes nothing. It keeps these rules:
--
--   Nothing is created in schema public: kea-admin db-init refuses a database
--   that shows a relation there.
--   Nothing is made that ALTER TABLE ipv6_reservations ALTER COLUMN address
--   TYPE inet (Kea 17 -> 18) stumbles over: no view, no column list and no
--   WHEN on a trigger, no function with a parsed body (BEGIN ATOMIC).
--   No string has a backslash: with standard_conforming_strings off, which a
--   session of Kea's may have, it would mean something else. All is ASCII: the
--   database may have any encoding.

SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL check_function_bodies = on;

-- Two installations in one database wait for each other. 1801806195 is 'keas'.
DO $$ BEGIN PERFORM pg_advisory_xact_lock(1801806195, 0); END $$;

-- May it be installed here, and may this role do it? All that is missing is named at once.
DO $check$
DECLARE
  v_version constant int  := current_setting('server_version_num')::int;
  v_channel constant text := current_setting('keastream.channel');
  v_absent  text;
  v_lacks   text[] := '{}';
  v_self    pg_roles;
BEGIN
  IF v_version < 130000 THEN
    RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
      MESSAGE = format('PostgreSQL %s is too old', current_setting('server_version')),
      HINT = 'keastream needs PostgreSQL 13 or newer';
  END IF;
  IF v_channel !~ '^[A-Za-z_][A-Za-z0-9_]*$' OR octet_length(v_channel) > 63 THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
      MESSAGE = format('channel %L is not an identifier', v_channel),
      HINT = 'letters, digits and _, not a digit first, at most 63 of them';
  END IF;

  SELECT string_agg('public.' || w.name, ', ') INTO v_absent
    FROM unnest(ARRAY['hosts', 'ipv6_reservations', 'schema_version']) w(name)
   WHERE NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'public' AND c.relname = w.name AND c.relkind = 'r');
  IF v_absent IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'undefined_table',
      MESSAGE = format('database %I is not that of Kea, it lacks %s', current_database(), v_absent),
      HINT = 'connect to the database that Kea keeps its reservations in, after kea-admin db-init has made its tables';
  END IF;

  SELECT string_agg(format('%I', g.name), ', ') INTO v_absent
    FROM json_array_elements_text(current_setting('keastream.grant_to')::json) g(name)
   WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = g.name);
  IF v_absent IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'undefined_object',
      MESSAGE = format('no such role: %s', v_absent),
      HINT = 'the publisher''s role must exist before it is granted keastream_relay: create it, then run the installation again';
  END IF;

  SELECT * INTO v_self FROM pg_roles WHERE rolname = current_user;
  IF v_self.rolsuper THEN
    RETURN;
  END IF;
  v_lacks := v_lacks || ARRAY(
    SELECT DISTINCT format('membership in %I, the owner of Kea''s tables', pg_get_userbyid(c.relowner))
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'public' AND c.relname IN ('hosts', 'ipv6_reservations', 'schema_version')
       AND NOT pg_has_role(c.relowner, 'USAGE'));
  IF NOT v_self.rolcreaterole THEN
    v_lacks := v_lacks || ARRAY(
      SELECT format('CREATEROLE, to create role %s', w.name)
        FROM unnest(ARRAY['keastream_owner', 'keastream_relay']) w(name)
       WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = w.name));
  END IF;
  -- Since 16 CREATEROLE gives rights over the roles that oneself created, and no others.
  v_lacks := v_lacks || ARRAY(
    SELECT format('membership in %s', r.rolname)
      FROM pg_roles r
     WHERE r.rolname = 'keastream_owner' AND NOT (v_self.rolcreaterole AND v_version < 160000)
       AND NOT pg_has_role(r.oid, 'USAGE') AND NOT pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION'));
  v_lacks := v_lacks || ARRAY(
    SELECT format('the admin option for %s, to grant it', r.rolname)
      FROM pg_roles r
     WHERE r.rolname = 'keastream_relay' AND NOT (v_self.rolcreaterole AND v_version < 160000)
       AND NOT pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION')
       AND json_array_length(current_setting('keastream.grant_to')::json) > 0);
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'keastream')
     AND NOT has_database_privilege(current_database(), 'CREATE') THEN
    v_lacks := v_lacks || format('CREATE on database %I', current_database());
  END IF;
  IF v_lacks <> '{}' THEN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
      MESSAGE = format('role %I may not install keastream in database %I, it lacks: %s',
                       current_user, current_database(), array_to_string(v_lacks, '; ')),
      HINT = 'run the installation as superuser, or give the role these rights for as long as it takes';
  END IF;
END
$check$;

-- Roles are common to all databases of a cluster, so an installation in another
-- database may be doing the same at this moment; the advisory lock does not see it.
DO $roles$
DECLARE
  v_role   text;
  v_grant  record;
  v_tries  int := 0;
  v_joined text := '';
BEGIN
  FOREACH v_role IN ARRAY ARRAY['keastream_owner', 'keastream_relay'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
      END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;  -- the other one was faster
    END;
  END LOOP;

  FOR v_grant IN
    SELECT 'keastream_relay' AS role, g.name AS member
      FROM json_array_elements_text(current_setting('keastream.grant_to')::json) g(name)
    UNION ALL
    -- To create what keastream_owner owns one must be a member of it, for the time being.
    SELECT 'keastream_owner', current_user
     WHERE NOT pg_has_role('keastream_owner', 'USAGE')
        OR current_setting('server_version_num')::int >= 160000 AND NOT pg_has_role('keastream_owner',
             CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'USAGE' END)
  LOOP
    LOOP
      BEGIN
        EXECUTE format('GRANT %I TO %I', v_grant.role, v_grant.member);
        EXIT;
      EXCEPTION WHEN unique_violation OR internal_error THEN  -- "tuple concurrently updated"
        v_tries := v_tries + 1;
        IF v_tries > 50 THEN
          RAISE;
        END IF;
        PERFORM pg_sleep(0.02);
      END;
    END LOOP;
    IF v_grant.role = 'keastream_owner' THEN
      v_joined := 'joined';
    END IF;
  END LOOP;
  PERFORM set_config('keastream.joined', v_joined, true);
  PERFORM set_config('keastream.installer', current_user, true);
END
$roles$;

-- AUTHORIZATION on its own would not look at the owner of a schema that is there.
CREATE SCHEMA IF NOT EXISTS keastream AUTHORIZATION keastream_owner;

-- What the functions need of Kea's tables. auth_key is a secret and left out.
GRANT SELECT (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id,
              ipv4_address, hostname)
   ON public.hosts TO keastream_owner;
GRANT SELECT ON public.ipv6_reservations, public.schema_version TO keastream_owner;
DO $$
BEGIN
  IF NOT has_schema_privilege('keastream_owner', 'public', 'USAGE') THEN
    GRANT USAGE ON SCHEMA public TO keastream_owner;
  END IF;
END
$$;

SET LOCAL ROLE keastream_owner;

DO $state$
DECLARE
  v_owner   name;
  v_version int;
  v_program constant int := current_setting('keastream.version')::int;
BEGIN
  SELECT pg_get_userbyid(nspowner) INTO v_owner FROM pg_namespace WHERE nspname = 'keastream';
  IF v_owner <> 'keastream_owner' THEN
    -- Its owner could put other functions there, which would run with others' rights.
    RAISE EXCEPTION USING ERRCODE = 'duplicate_schema',
      MESSAGE = format('schema keastream belongs to role %I and not to keastream_owner', v_owner),
      HINT = 'it was not made by this program: rename or drop it, then run the installation again';
  END IF;
  IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('keastream.installation')) THEN
    SELECT i.version INTO v_version FROM keastream.installation i;
    IF v_version > v_program THEN
      RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('a newer keastream is installed in database %I: version %s, this program installs version %s',
                         current_database(), v_version, v_program),
        HINT = 'install with a program that is as new as the installation';
    END IF;
  ELSIF EXISTS (SELECT FROM pg_class WHERE relnamespace = 'keastream'::regnamespace) THEN
    RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
      MESSAGE = format('schema keastream of database %I holds tables, but no record of an installation', current_database()),
      HINT = 'it was not made by this program: rename or drop it, then run the installation again';
  END IF;
  PERFORM set_config('keastream.previous', coalesce(v_version, 0)::text, true);
END
$state$;

-- What is installed here, in one row.
CREATE TABLE IF NOT EXISTS keastream.installation (
  only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
  version      integer     NOT NULL,               -- of this schema, not of the program
  installed_at timestamptz NOT NULL,               -- the last run
  kea_schema   text        NOT NULL,               -- Kea's schema_version then, "13.0"
  channel      text        NOT NULL,               -- of NOTIFY
  -- Triggers of others that had to go, so that they can be put back: an array
  -- of {"table", "trigger", "enabled", "definition", "function", "function_name",
  -- "function_owner"}, definition and function in SQL. The function itself is still there.
  replaced     jsonb       NOT NULL
);

-- Marks: "this host changed", not what it became. The relay reads the state
-- when it reads the mark, in one snapshot, and deletes the marks that it has dealt with.
--
-- The transaction is part of the unique key, so that two transactions never
-- meet in it and never wait for each other.
CREATE TABLE IF NOT EXISTS keastream.outbox (
  seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  txid       xid8        NOT NULL DEFAULT pg_current_xact_id(),
  host_id    integer,                              -- NULL: any host, after TRUNCATE
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (txid, host_id)
) WITH (  -- A queue: dead rows come fast and must go fast.
  autovacuum_vacuum_scale_factor  = 0, autovacuum_vacuum_threshold  = 1000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
