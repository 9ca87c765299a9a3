-- Part 3 of 3: rights, triggers, the record of the installation.

-- In schema keastream nobody has a right but these.
REVOKE ALL ON SCHEMA keastream FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA keastream FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA keastream FROM PUBLIC;
GRANT USAGE ON SCHEMA keastream TO keastream_relay;
GRANT SELECT, DELETE ON keastream.outbox TO keastream_relay;
GRANT SELECT ON keastream.installation TO keastream_relay;
GRANT EXECUTE ON FUNCTION keastream.snapshot(int[]), keastream.position() TO keastream_relay;

-- pg_dump locks every table of the database: without these rights Kea's role
-- could no longer make its backup. To fire a trigger it needs none.
DO $dump$
DECLARE
  v_owner name;
BEGIN
  FOR v_owner IN SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class c
                  WHERE c.oid IN ('public.hosts'::regclass, 'public.ipv6_reservations'::regclass) LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA keastream TO %I', v_owner);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA keastream TO %I', v_owner);
    EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA keastream TO %I', v_owner);
  END LOOP;
END
$dump$;

DO $$ BEGIN PERFORM set_config('role', current_setting('keastream.installer'), true); END $$;

-- From here on Kea's tables are locked. Kea must not wait for long behind an
-- installation that itself waits for somebody. And the installation must give
-- up before the deadlock detector (1 s) makes Kea the one that fails: it locks
-- the two tables in one order, Kea's statements lock them in both.
SET LOCAL lock_timeout = '500ms';

DO $triggers$
DECLARE
  v_replaced jsonb := '[]';
  v_old      record;
  v_new      record;
  v_made     boolean := false;
BEGIN
  -- Both would work side by side, and every change would wake twice.
  FOR v_old IN
    SELECT r.*, pg_get_triggerdef(r.oid) AS definition, pg_get_functiondef(r.tgfoid) AS function,
           format('%I.%I()', p.pronamespace::regnamespace::name, p.proname) AS function_name, pg_get_userbyid(p.proowner) AS function_owner
      FROM (
{{template "replaced"}}
      ) r JOIN pg_proc p ON p.oid = r.tgfoid
     ORDER BY r.relname, r.tgname
  LOOP
    EXECUTE format('DROP TRIGGER %I ON public.%I', v_old.tgname, v_old.relname);
    v_replaced := v_replaced || jsonb_build_object('table', v_old.relname, 'trigger', v_old.tgname,
      'enabled', v_old.tgenabled, 'definition', v_old.definition, 'function', v_old.function,
      'function_name', v_old.function_name, 'function_owner', v_old.function_owner);
  END LOOP;

  -- A trigger that is as it should be is left alone: no lock. The text is that
  -- of pg_get_triggerdef; should a PostgreSQL write it differently, the trigger
  -- is made anew. DROP TRIGGER locks readers out, even if there is nothing to
  -- drop, so that a long pg_dump would be in the way; CREATE TRIGGER does not.
  FOR v_new IN
    SELECT w.*, t.oid AS present, t.tgenabled AS enabled, pg_get_triggerdef(t.oid) AS present_definition
      FROM (
{{template "wanted"}}
      ) w
      LEFT JOIN pg_trigger t ON t.tgrelid = format('public.%I', w.tab)::regclass AND t.tgname = w.name
  LOOP
    CONTINUE WHEN v_new.enabled IN ('O', 'A') AND v_new.present_definition = v_new.definition;
    IF v_new.present IS NOT NULL THEN
      EXECUTE format('DROP TRIGGER %I ON public.%I', v_new.name, v_new.tab);
    END IF;
    EXECUTE v_new.definition;
    v_made := true;
  END LOOP;
  PERFORM set_config('keastream.made', v_made::text, true);

  PERFORM set_config('keastream.replaced', v_replaced::text, true);
END
$triggers$;

-- As the owner, not as superuser: nothing that somebody may have attached to
-- these tables is to run with all rights.
SET LOCAL ROLE keastream_owner;

-- What was written while a trigger of an installation was missing left no mark:
-- have everything compared.
INSERT INTO keastream.outbox (host_id)
SELECT NULL WHERE current_setting('keastream.made')::boolean AND current_setting('keastream.previous')::int > 0;

INSERT INTO keastream.installation AS i (version, installed_at, kea_schema, channel, replaced)
VALUES (current_setting('keastream.version')::int, now(),
        coalesce((SELECT s.version || '.' || s.minor FROM public.schema_version s LIMIT 1), 'unknown'),
        current_setting('keastream.channel'), current_setting('keastream.replaced')::jsonb)
ON CONFLICT (only_row) DO UPDATE
   SET version = EXCLUDED.version, installed_at = EXCLUDED.installed_at, kea_schema = EXCLUDED.kea_schema,
       channel = EXCLUDED.channel,
       replaced = coalesce((SELECT jsonb_agg(o) FROM jsonb_array_elements(i.replaced) o
                             WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(EXCLUDED.replaced) n
                                                WHERE (n->'table', n->'trigger') = (o->'table', o->'trigger'))),
                           '[]'::jsonb) || EXCLUDED.replaced;

-- The report, for people and for Install.
SELECT json_build_object(
         'version',    i.version,
         'previous',   current_setting('keastream.previous')::int,
         'kea_schema', i.kea_schema,
         'channel',    i.channel,
         'replaced',   (SELECT coalesce(json_agg(r->>'trigger'), '[]'::json)
                          FROM jsonb_array_elements(current_setting('keastream.replaced')::jsonb) r)) AS installed
  FROM keastream.installation i;

DO $$
BEGIN
  PERFORM set_config('role', current_setting('keastream.installer'), true);
  IF current_setting('keastream.joined') <> '' THEN
    EXECUTE format('REVOKE keastream_owner FROM %I', current_user);
  END IF;
END
$$;
