-- Part 2 of 3: functions, made by and owned by keastream_owner.
--
-- A trigger function that fails takes Kea's own write with it. So those below
-- call nothing that can fail for any value that a row may have, take no lock
-- that anybody waits for, and read no table of Kea's. They are SECURITY
-- DEFINER because whoever writes hosts has no right on the outbox. Parameters
-- are wider than Kea's columns: should a Kea widen one, they still fit.

-- {{"{{...}}"}} is text of shared.sql, which says what it does.

CREATE OR REPLACE FUNCTION keastream.readable(p_text text) RETURNS text
LANGUAGE sql STABLE AS $f$
  SELECT {{template "readable" "p_text"}}
$f$;

-- The address of a varchar(39) (Kea's schema 17 and older) or an inet column.
CREATE OR REPLACE FUNCTION keastream.address(p_address text) RETURNS text
LANGUAGE sql STABLE AS $f$
  SELECT keastream.readable(split_part(p_address, '/', 1))
$f$;

-- The MAC of an identifier, or NULL: a hw-address (type 0) of 6 bytes; 6 bytes
-- stored as a DUID (type 1), which people do; a DUID-LL (3) or DUID-LLT (1) of
-- Ethernet (hardware type 1), RFC 8415 section 11.
CREATE OR REPLACE FUNCTION keastream.mac(p_type int, p_identifier bytea) RETURNS text
LANGUAGE sql IMMUTABLE AS $f$
  -- 12 hexadecimal digits are always a macaddr.
  SELECT encode(CASE
    WHEN p_type IN (0, 1) AND octet_length(p_identifier) = 6
      THEN p_identifier
    WHEN p_type = 1 AND octet_length(p_identifier) = 10 AND substring(p_identifier, 1, 4) = decode('00030001', 'hex')
      THEN substring(p_identifier, 5, 6)
    WHEN p_type = 1 AND octet_length(p_identifier) = 14 AND substring(p_identifier, 1, 4) = decode('00010001', 'hex')
      THEN substring(p_identifier, 9, 6)
  END, 'hex')::macaddr::text
$f$;

-- The payload for a row of hosts. Its first four keys are those of the system
-- that this one replaces, in its spelling.
CREATE OR REPLACE FUNCTION keastream.host_payload(p_operation text, p_host_id bigint, p_type int, p_identifier bytea,
                                                  p_ipv4 bigint, p_hostname text) RETURNS text
LANGUAGE sql STABLE AS $f$
  SELECT '{"operation":"' || p_operation ||
         '","hostname":' || coalesce(to_json(keastream.readable(left(p_hostname, 255)))::text, 'null') ||
         ',"ipv4_address":' || coalesce(p_ipv4::text, 'null') ||
         ',"dhcp_identifier":"' || encode(substring(p_identifier, 1, 128), 'hex') || '"' ||
         coalesce(',"ip":"' || CASE WHEN p_ipv4 BETWEEN 1 AND 4294967295 THEN host('0.0.0.0'::inet + p_ipv4) END || '"', '') ||
         coalesce(',"mac":"' || keastream.mac(p_type, p_identifier) || '"', '') ||
         ',"host_id":' || p_host_id || '}'
$f$;

-- The payload for the rows of ipv6_reservations of one host.
CREATE OR REPLACE FUNCTION keastream.v6_payload(p_operation text, p_host_id bigint, p_address text) RETURNS text
LANGUAGE sql STABLE AS $f$
  SELECT '{"operation":"' || p_operation || '","host_id":' || p_host_id ||
         coalesce(',"address":' || to_json(keastream.address(p_address)), '') || '}'
$f$;

-- May this transaction wake others? Asked before payloads are made, which are
-- half of what a trigger costs.
--
-- NOTIFY makes committing transactions wait for each other, so only the one
-- that gets the lock (1801806195, 1) sends; a sleeper that is not woken looks
-- for himself a little later. They wait in all databases of a cluster, and
-- COMMIT fails if the session has a limit for such waiting: with one it does
-- not send. PostgreSQL refuses a commit, too, while the queue is full: far away
-- from that it is not tried.
CREATE OR REPLACE FUNCTION keastream.may_wake() RETURNS boolean
LANGUAGE sql AS $f$
  SELECT current_setting('lock_timeout') = '0'
     AND pg_try_advisory_xact_lock(1801806195, 1)
     AND pg_notification_queue_usage() <= 0.5
$f$;

-- Wakes whoever listens: one payload per host, or a bare wake-up if there are
-- none or more than 100. PostgreSQL refuses a payload of 8000 bytes.
CREATE OR REPLACE FUNCTION keastream.wake(p_channel text, p_payloads text[]) RETURNS void
LANGUAGE plpgsql AS $f$
DECLARE
  v_bare constant text := '{"operation":"WAKE"}';
BEGIN
  IF cardinality(p_payloads) BETWEEN 1 AND 100 THEN
    PERFORM pg_notify(p_channel, CASE WHEN octet_length(p.text) <= 4000 THEN p.text ELSE v_bare END)
       FROM unnest(p_payloads) p(text);
  ELSE
    PERFORM pg_notify(p_channel, v_bare);
  END IF;
END
$f$;

-- The trigger functions. Their argument is the channel.
--
-- ON CONFLICT stands without a target: a seq that is there already, after
-- somebody set the sequence back, must not fail either.

-- INSERT and DELETE on hosts.
CREATE OR REPLACE FUNCTION keastream.hosts_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
  -- A statement without a row, Kea's INSERT ... WHERE NOT EXISTS for one, must
  -- not take the lock and keep the others from sending.
  IF NOT EXISTS (SELECT FROM changed) THEN
    RETURN NULL;
  END IF;
  INSERT INTO keastream.outbox (host_id) SELECT c.host_id FROM changed c ON CONFLICT DO NOTHING;
  IF keastream.may_wake() THEN
    PERFORM keastream.wake(TG_ARGV[0], ARRAY(
      SELECT keastream.host_payload(TG_OP, c.host_id, c.dhcp_identifier_type, c.dhcp_identifier, c.ipv4_address, c.hostname)
        FROM changed c LIMIT 101));
  END IF;
  RETURN NULL;
END
$f$;

-- UPDATE on hosts. Kea writes 0 and '' where a person writes NULL.
CREATE OR REPLACE FUNCTION keastream.hosts_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  v_ids      int[];
  v_payloads text[] := '{}';
BEGIN
  -- A row whose host_id changed stands here twice, each time without its other half.
  SELECT array_agg(coalesce(n.host_id, o.host_id)) INTO v_ids
    FROM old_rows o FULL JOIN new_rows n ON n.host_id = o.host_id
   WHERE (o.host_id, o.dhcp_identifier, o.dhcp_identifier_type, o.dhcp4_subnet_id, o.dhcp6_subnet_id,
          coalesce(o.ipv4_address, 0), coalesce(o.hostname, ''))
         IS DISTINCT FROM
         (n.host_id, n.dhcp_identifier, n.dhcp_identifier_type, n.dhcp4_subnet_id, n.dhcp6_subnet_id,
          coalesce(n.ipv4_address, 0), coalesce(n.hostname, ''));
  IF v_ids IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO keastream.outbox (host_id) SELECT i.id FROM unnest(v_ids) i(id) ON CONFLICT DO NOTHING;
  IF NOT keastream.may_wake() THEN
    RETURN NULL;
  END IF;
  IF cardinality(v_ids) <= 100 THEN
    v_payloads := ARRAY(SELECT keastream.host_payload(TG_OP, n.host_id, n.dhcp_identifier_type, n.dhcp_identifier,
                                                      n.ipv4_address, n.hostname)
                          FROM new_rows n WHERE n.host_id = ANY (v_ids));
  END IF;
  PERFORM keastream.wake(TG_ARGV[0], v_payloads);
  RETURN NULL;
END
$f$;

-- INSERT and DELETE on ipv6_reservations. The deletion of a host comes by here
-- as well, with or without a row.
CREATE OR REPLACE FUNCTION keastream.v6_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
  IF NOT EXISTS (SELECT FROM changed) THEN
    RETURN NULL;
  END IF;
  INSERT INTO keastream.outbox (host_id) SELECT DISTINCT c.host_id FROM changed c ON CONFLICT DO NOTHING;
  IF keastream.may_wake() THEN
    PERFORM keastream.wake(TG_ARGV[0], ARRAY(
      SELECT keastream.v6_payload(TG_OP, c.host_id, min(c.address::text)) FROM changed c GROUP BY c.host_id LIMIT 101));
  END IF;
  RETURN NULL;
END
$f$;

-- UPDATE on ipv6_reservations. A row that moves to another host changes both.
CREATE OR REPLACE FUNCTION keastream.v6_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
DECLARE
  v_ids      int[];
  v_payloads text[] := '{}';
BEGIN
  SELECT array_agg(DISTINCT i.id) INTO v_ids
    FROM old_rows o FULL JOIN new_rows n ON n.reservation_id = o.reservation_id
         CROSS JOIN LATERAL (VALUES (o.host_id), (n.host_id)) i(id)
   WHERE (o.host_id, o.address, o.prefix_len, o.type) IS DISTINCT FROM (n.host_id, n.address, n.prefix_len, n.type)
     AND i.id IS NOT NULL;
  IF v_ids IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO keastream.outbox (host_id) SELECT i.id FROM unnest(v_ids) i(id) ON CONFLICT DO NOTHING;
  IF NOT keastream.may_wake() THEN
    RETURN NULL;
  END IF;
  IF cardinality(v_ids) <= 100 THEN
    v_payloads := ARRAY(SELECT keastream.v6_payload(TG_OP, n.host_id, min(n.address::text))
                          FROM new_rows n WHERE n.host_id = ANY (v_ids) GROUP BY n.host_id);
  END IF;
  PERFORM keastream.wake(TG_ARGV[0], v_payloads);
  RETURN NULL;
END
$f$;

-- TRUNCATE on either table tells no rows: a mark without host_id.
CREATE OR REPLACE FUNCTION keastream.truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
  INSERT INTO keastream.outbox (host_id) VALUES (NULL) ON CONFLICT DO NOTHING;
  IF keastream.may_wake() THEN
    PERFORM keastream.wake(TG_ARGV[0], '{}');
  END IF;
  RETURN NULL;
END
$f$;

-- The state of the hosts with these numbers, or of all hosts if p_ids is NULL.
-- A number without a row gives none.
--
-- EXECUTE, because that plans each call for the size that the tables have now:
-- a plan from before a bulk load may be quadratic after it.
CREATE OR REPLACE FUNCTION keastream.snapshot(p_ids int[] DEFAULT NULL) RETURNS TABLE (host_id int, state jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $f$
BEGIN
  IF p_ids IS NULL THEN
    RETURN QUERY EXECUTE $q$
      {{template "snapshot"}}
    $q$;
  ELSE
    RETURN QUERY EXECUTE $q$
      SELECT {{template "state"}}
        FROM (SELECT DISTINCT u.id FROM unnest($1) u(id)) i
        JOIN public.hosts h ON h.host_id = i.id
        LEFT JOIN LATERAL (SELECT {{template "v6"}}
                             FROM public.ipv6_reservations r WHERE r.host_id = h.host_id) v ON true
    $q$ USING p_ids;
  END IF;
END
$f$;

-- Where a connection leads to: one row.
--   database, timeline, in_recovery
--   kea_schema  Kea's schema_version, "13.0"
--   at          begin of the transaction: what was committed then, the transaction sees
CREATE OR REPLACE FUNCTION keastream.position()
RETURNS TABLE (database text, timeline bigint, in_recovery boolean, kea_schema text, at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
  RETURN QUERY SELECT p.database, p.timeline, p.in_recovery,
                      (SELECT s.version || '.' || s.minor FROM public.schema_version s LIMIT 1), now()
    FROM ({{template "position"}}) p;
END
$f$;
