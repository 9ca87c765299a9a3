-- Takes keastream out of Kea's database. UninstallScript in uninstall.go puts a
-- head with the settings before this and a COMMIT behind it; all is one
-- transaction. Every step looks whether there is anything to do, so that it
-- finishes whatever half of an installation it finds. It takes off what install
-- put there, by name and owner and never by CASCADE: what others have attached
-- to it is named, and stays. (to_regclass is not used for Kea's tables: it fails
-- for a role that may not use schema public.)

SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Not beside an installation in this database. 1801806195 is 'keas'.
DO $$ BEGIN PERFORM pg_advisory_xact_lock(1801806195, 0); END $$;

-- Is it ours, is it in use, and may this role take it out? All rights that are
-- missing are named at once.
DO $check$
DECLARE
  v_version   constant int := current_setting('server_version_num')::int;
  v_database  constant oid := (SELECT oid FROM pg_database WHERE datname = current_database());
  v_schema    constant oid := to_regnamespace('keastream');
  v_owner     name;
  v_holder    text;
  v_elsewhere boolean;
  v_here      boolean;
  v_lacks     text[] := '{}';
  v_self      pg_roles;
BEGIN
  SELECT pg_get_userbyid(nspowner) INTO v_owner FROM pg_namespace WHERE oid = v_schema;
  IF v_owner <> 'keastream_owner' THEN
    RAISE EXCEPTION USING ERRCODE = 'duplicate_schema',
      MESSAGE = format('schema keastream belongs to role %I and not to keastream_owner', v_owner),
      HINT = 'it was not made by this program: whoever made it has to rename or drop it';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = v_schema AND relname = 'installation' AND relkind = 'r')
     AND EXISTS (SELECT FROM pg_class WHERE relnamespace = v_schema) THEN
    RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
      MESSAGE = format('schema keastream of database %I holds tables, but no record of an installation', current_database()),
      HINT = 'it was not made by this program: whoever made it has to rename or drop it';
  END IF;

  -- Until this transaction ends no publisher begins its work either.
  IF v_schema IS NOT NULL AND NOT pg_try_advisory_xact_lock(current_setting('keastream.publisher_lock')::bigint) THEN
    SELECT string_agg(format('%L (pid %s)', a.application_name, a.pid), ', ') INTO v_holder
      FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.database = v_database
       AND (l.classid::bigint << 32 | l.objid::bigint) = current_setting('keastream.publisher_lock')::bigint;
    RAISE EXCEPTION USING ERRCODE = 'object_in_use',
      MESSAGE = format('a publisher works on database %I: session %s', current_database(), coalesce(v_holder, 'unknown')),
      HINT = 'stop it, and those that stand by, then try again; if the session has no publisher any more, end it with SELECT pg_terminate_backend(PID)';
  END IF;

  -- Roles are common to all databases of the cluster.
  SELECT coalesce(bool_or(d.dbid NOT IN (0, v_database)), false), coalesce(bool_or(d.dbid = v_database), false)
    INTO v_elsewhere, v_here
    FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
   WHERE r.rolname IN ('keastream_owner', 'keastream_relay');

  SELECT * INTO v_self FROM pg_roles WHERE rolname = current_user;
  IF NOT v_self.rolsuper THEN
    IF v_here THEN
      v_lacks := v_lacks || ARRAY(
        SELECT DISTINCT format('membership in %I, the owner of Kea''s tables', pg_get_userbyid(c.relowner))
          FROM pg_class c
         WHERE c.relnamespace = to_regnamespace('public') AND c.relname IN ('hosts', 'ipv6_reservations', 'schema_version')
           AND NOT pg_has_role(c.relowner, 'USAGE'));
      v_lacks := v_lacks || ARRAY(
        SELECT format('membership in %I, the owner of schema public', pg_get_userbyid(n.nspowner))
          FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
         WHERE n.nspname = 'public' AND a.grantee = to_regrole('keastream_owner') AND NOT pg_has_role(n.nspowner, 'USAGE'));
    END IF;
    -- Since 16 CREATEROLE gives rights over the roles that oneself created, and no others.
    v_lacks := v_lacks || ARRAY(
      SELECT format('membership in %s', r.rolname)
        FROM pg_roles r
       WHERE v_schema IS NOT NULL AND r.rolname = 'keastream_owner' AND NOT (v_self.rolcreaterole AND v_version < 160000)
         AND NOT pg_has_role(r.oid, 'USAGE') AND NOT pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION'));
    IF NOT v_elsewhere THEN
      v_lacks := v_lacks || ARRAY(
        SELECT format('%s, to drop role %s',
                      CASE WHEN v_self.rolcreaterole THEN 'the admin option' ELSE 'CREATEROLE' END, r.rolname)
          FROM pg_roles r
         WHERE r.rolname IN ('keastream_owner', 'keastream_relay')
           AND NOT (v_self.rolcreaterole AND (v_version < 160000 OR pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION')))
         ORDER BY r.rolname);
    END IF;
  END IF;
  IF v_lacks <> '{}' THEN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
      MESSAGE = format('role %I may not take keastream out of database %I, it lacks: %s',
                       current_user, current_database(), array_to_string(v_lacks, '; ')),
      HINT = 'do it as superuser, or give the role these rights for as long as it takes';
  END IF;
END
$check$;

-- For the same reasons as in the installation no lock is waited for longer than this.
SET LOCAL lock_timeout = '500ms';

-- What is there, read as its owner: nothing that somebody may have attached to
-- it is to run with all rights. To become the owner one must be a member.
DO $state$
DECLARE
  v_installed boolean := false;
  v_joined    text := '';
  v_version   int;
  v_replaced  jsonb := '[]';
  v_marks     bigint := 0;
BEGIN
  PERFORM set_config('keastream.remover', current_user, true);
  IF to_regnamespace('keastream') IS NOT NULL THEN
    IF NOT pg_has_role('keastream_owner', CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'USAGE' END) THEN
      EXECUTE format('GRANT keastream_owner TO %I', current_user);
      v_joined := 'joined';
    END IF;
    PERFORM set_config('role', 'keastream_owner', true);
    IF to_regclass('keastream.installation') IS NOT NULL THEN
      SELECT i.version, i.replaced INTO v_version, v_replaced FROM keastream.installation i;
      v_installed := FOUND;
    END IF;
    IF v_version > current_setting('keastream.version')::int THEN
      RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('a newer keastream is installed in database %I: version %s, this program knows version %s',
                         current_database(), v_version, current_setting('keastream.version')),
        HINT = 'take it out with a program that is as new as the installation';
    END IF;
    -- Before anything is locked: there may be many. Then whoever stays in a
    -- transaction with the outbox is waited for, and the lock given back at once:
    -- further down Kea would wait too.
    IF to_regclass('keastream.outbox') IS NOT NULL THEN
      SELECT count(*) INTO v_marks FROM keastream.outbox;
      BEGIN
        LOCK TABLE keastream.outbox IN ACCESS EXCLUSIVE MODE;
        RAISE EXCEPTION USING ERRCODE = 'KS000';
      EXCEPTION WHEN SQLSTATE 'KS000' THEN
        NULL;
      END;
    END IF;
    PERFORM set_config('role', current_setting('keastream.remover'), true);
  END IF;
  PERFORM set_config('keastream.joined', v_joined, true);
  PERFORM set_config('keastream.installed', v_installed::text, true);
  PERFORM set_config('keastream.found', coalesce(v_version, 0)::text, true);
  PERFORM set_config('keastream.replaced', coalesce(v_replaced, '[]')::text, true);
  PERFORM set_config('keastream.marks', v_marks::text, true);
END
$state$;

-- From here on Kea's tables are locked.
DO $triggers$
DECLARE
  v_ours record;
BEGIN
  FOR v_ours IN
    SELECT t.tgname, t.tgrelid::regclass AS tab
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE c.relnamespace = to_regnamespace('public') AND c.relname IN ('hosts', 'ipv6_reservations')
       AND NOT t.tgisinternal AND p.pronamespace = to_regnamespace('keastream')
     ORDER BY c.relname, t.tgname
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', v_ours.tgname, v_ours.tab);
  END LOOP;
END
$triggers$;

-- The triggers that the installation took off. What is there by now is not
-- touched: neither a trigger of the same name nor the function. It is done as
-- the owner of the table, who could have made them, and not with all rights.
-- One that cannot be made does not keep keastream in the database: the report
-- has its definition.
DO $restore$
DECLARE
  v_old      jsonb;
  v_tab      regclass;
  v_owner    name;
  v_present  text;
  v_why      text;
  v_restored jsonb := '[]';
  v_left     jsonb := '[]';
BEGIN
  FOR v_old IN SELECT o FROM jsonb_array_elements(current_setting('keastream.replaced')::jsonb) o LOOP
    v_tab := NULL; v_present := NULL; v_why := NULL;
    SELECT c.oid::regclass, pg_get_userbyid(c.relowner) INTO v_tab, v_owner
      FROM pg_class c WHERE c.relnamespace = to_regnamespace('public') AND c.relname = v_old->>'table' AND c.relkind = 'r';
    SELECT pg_get_triggerdef(t.oid) INTO v_present
      FROM pg_trigger t WHERE t.tgrelid = v_tab AND t.tgname = v_old->>'trigger';
    CONTINUE WHEN v_present = v_old->>'definition';
    IF v_tab IS NULL THEN
      v_why := 'the table is gone';
    ELSIF v_present IS NOT NULL THEN
      v_why := 'another trigger has its name now';
    ELSIF to_regprocedure(v_old->>'function_name') IS NULL THEN
      -- Its text is not run: it would become a function of whoever owns the table,
      -- who may be a superuser, and it may be SECURITY DEFINER.
      v_why := 'its function is gone';
    ELSIF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = to_regprocedure(v_old->>'function_name')
                                             AND pg_get_userbyid(p.proowner) = v_old->>'function_owner') THEN
      v_why := 'its function belongs to another role now';
    ELSIF v_old->>'definition' !~ '^CREATE (CONSTRAINT )?TRIGGER [^;]*$' THEN
      v_why := 'its definition is not that of a trigger';
    ELSE
      BEGIN
        PERFORM set_config('role', v_owner, true);
        EXECUTE v_old->>'definition';
        IF v_old->>'enabled' <> 'O' THEN
          EXECUTE format('ALTER TABLE %s %s TRIGGER %I', v_tab, CASE v_old->>'enabled'
            WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' END, v_old->>'trigger');
        END IF;
        PERFORM set_config('role', current_setting('keastream.remover'), true);
      EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN
          RAISE;
        WHEN OTHERS THEN  -- the role is what it was before the block
          v_why := SQLERRM;
      END;
    END IF;
    IF v_why IS NULL THEN
      v_restored := v_restored || jsonb_build_array(v_old->>'trigger');
    ELSE
      v_left := v_left || jsonb_build_object('table', v_old->>'table', 'trigger', v_old->>'trigger', 'why', v_why,
                                             'definition', v_old->>'definition', 'function', v_old->>'function');
    END IF;
  END LOOP;
  PERFORM set_config('keastream.restored', v_restored::text, true);
  PERFORM set_config('keastream.left', v_left::text, true);
END
$restore$;

-- The schema, as its owner, who can drop nothing of others.
DO $schema$
DECLARE
  v_drop   text;
  v_text   text;
  v_detail text;
BEGIN
  IF to_regnamespace('keastream') IS NULL THEN
    RETURN;
  END IF;
  PERFORM set_config('role', 'keastream_owner', true);
  FOR v_drop IN
    SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
     WHERE p.pronamespace = to_regnamespace('keastream') AND p.proowner = to_regrole('keastream_owner') AND p.prokind = 'f'
    UNION ALL
    SELECT format('TABLE %s', c.oid::regclass) FROM pg_class c
     WHERE c.relnamespace = to_regnamespace('keastream') AND c.relowner = to_regrole('keastream_owner') AND c.relkind = 'r'
    UNION ALL
    SELECT 'SCHEMA keastream'
  LOOP
    EXECUTE 'DROP ' || v_drop;
  END LOOP;
  PERFORM set_config('role', current_setting('keastream.remover'), true);
EXCEPTION WHEN dependent_objects_still_exist THEN
  GET STACKED DIAGNOSTICS v_text = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL;
  RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
    MESSAGE = format('%s: %s', v_text, replace(v_detail, chr(10), ', ')),
    HINT = 'it was not made by this program: whoever made it has to drop it, then try again';
END
$schema$;

-- The rights on Kea's tables. Those on single columns go with the table's.
DO $rights$
DECLARE
  v_grant record;
BEGIN
  FOR v_grant IN
    SELECT DISTINCT r.rolname, CASE WHEN d.classid = 'pg_class'::regclass THEN format('TABLE %s', d.objid::regclass)
                                    ELSE format('SCHEMA %s', d.objid::regnamespace) END AS object
      FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid AND d.refclassid = 'pg_authid'::regclass
     WHERE r.rolname IN ('keastream_owner', 'keastream_relay') AND d.deptype = 'a'
       AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (d.classid = 'pg_class'::regclass
            AND d.objid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = to_regnamespace('public')
                                                            AND c.relname IN ('hosts', 'ipv6_reservations', 'schema_version'))
            OR d.classid = 'pg_namespace'::regclass AND d.objid = to_regnamespace('public'))
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %I', v_grant.object, v_grant.rolname);
  END LOOP;
END
$rights$;

-- The roles, unless something is left that is theirs, in this or in another
-- database. Memberships in them go with them.
DO $roles$
DECLARE
  v_role    text;
  v_why     text;
  v_dropped jsonb := '[]';
  v_kept    jsonb := '[]';
BEGIN
  FOR v_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('keastream_owner', 'keastream_relay') ORDER BY 1 LOOP
    -- Asked and not tried: without CREATEROLE one may not even try.
    SELECT 'it has rights in ' || string_agg(format('database %I', b.datname), ', ' ORDER BY b.datname) INTO v_why
      FROM pg_database b
     WHERE b.datname <> current_database()
       AND EXISTS (SELECT FROM pg_shdepend d
                    WHERE d.dbid = b.oid AND d.refclassid = 'pg_authid'::regclass AND d.refobjid = to_regrole(v_role));
    IF v_why IS NULL THEN
      BEGIN
        EXECUTE format('DROP ROLE %I', v_role);
      EXCEPTION WHEN dependent_objects_still_exist THEN
        GET STACKED DIAGNOSTICS v_why = PG_EXCEPTION_DETAIL;
        v_why := replace(v_why, chr(10), ', ');
      END;
    END IF;
    IF v_why IS NULL THEN
      v_dropped := v_dropped || jsonb_build_array(v_role);
    ELSE
      v_kept := v_kept || jsonb_build_object('role', v_role, 'why', v_why);
    END IF;
  END LOOP;
  IF current_setting('keastream.joined') <> '' AND to_regrole('keastream_owner') IS NOT NULL THEN
    EXECUTE format('REVOKE keastream_owner FROM %I', current_user);
  END IF;
  PERFORM set_config('keastream.dropped', v_dropped::text, true);
  PERFORM set_config('keastream.kept', v_kept::text, true);
END
$roles$;

-- The report, for people and for Uninstall.
SELECT json_build_object(
         'installed',     current_setting('keastream.installed')::boolean,
         'version',       current_setting('keastream.found')::int,
         'marks',         current_setting('keastream.marks')::bigint,
         'restored',      current_setting('keastream.restored')::json,
         'not_restored',  current_setting('keastream.left')::json,
         'dropped_roles', current_setting('keastream.dropped')::json,
         'kept_roles',    current_setting('keastream.kept')::json) AS uninstalled;
