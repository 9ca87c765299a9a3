-- What both the installed functions and the program itself say to PostgreSQL,
-- so that it stands in one place. A database without the outbox is read by the
-- program with the same text, and so gives the same states. These are templates
-- of text/template: functions.sql and shared.go name them.

{{- /* The text as every client can read it. Outside of UTF-8 there may be
characters, or bytes (SQL_ASCII), that cannot be converted to the client's
encoding: one such name would make the whole result unreadable. "?" is no valid
character of a name or address either, so nothing valid comes of it. */ -}}
{{define "readable" -}}
CASE WHEN getdatabaseencoding() = 'UTF8' THEN {{.}}
              ELSE regexp_replace({{.}}, '[^' || chr(1) || '-' || chr(127) || ']', '?', 'g') END
{{- end}}

{{- /* Number and state of a row h of hosts with what "v6" gives as v.v6: what
stands in Kea's tables, nothing interpreted.
  identifier         hex, at most the first 1024 bytes; identifier_length: of all
  identifier_type    0 hw-address, 1 duid, 2 circuit-id, 3 client-id, 4 flex-id
  subnet4, subnet6, ipv4, hostname   absent if NULL; ipv4 is a number
  v6                 in the order of reservation_id; type 0 is an address, 2 a prefix */ -}}
{{define "state" -}}
h.host_id::int AS host_id, jsonb_strip_nulls(jsonb_build_object(
               'identifier',        encode(substring(h.dhcp_identifier, 1, 1024), 'hex'),
               'identifier_length', octet_length(h.dhcp_identifier),
               'identifier_type',   h.dhcp_identifier_type,
               'subnet4',           h.dhcp4_subnet_id,
               'subnet6',           h.dhcp6_subnet_id,
               'ipv4',              h.ipv4_address,
               'hostname',          {{template "readable" "h.hostname"}},
               'v6',                coalesce(v.v6, '[]'::jsonb))) AS state
{{- end}}

{{- /* The rows r of ipv6_reservations of one host. The address is a varchar(39)
(Kea's schema 17 and older) or an inet. */ -}}
{{define "v6" -}}
jsonb_agg(jsonb_build_object(
                              'address',    {{template "readable" "split_part(r.address::text, '/', 1)"}},
                              'type',       r.type,
                              'prefix_len', r.prefix_len) ORDER BY r.reservation_id) AS v6
{{- end}}

{{- /* The states of all hosts. */ -}}
{{define "snapshot" -}}
SELECT {{template "state"}}
        FROM public.hosts h
        LEFT JOIN (SELECT r.host_id, {{template "v6"}}
                     FROM public.ipv6_reservations r GROUP BY r.host_id) v ON v.host_id = h.host_id
{{- end}}

{{- /* Which database this is, and which history of it. Whoever may connect may
ask.
  database     system identifier of the cluster "/" name; the same after a restore
  timeline     of what is written now, not that of the last checkpoint, which
               lags behind a promotion: the first 8 hexadecimal digits of the
               name of a WAL file; NULL on a standby */ -}}
{{define "position" -}}
SELECT c.system_identifier || '/' || current_database() AS database,
           CASE WHEN NOT pg_is_in_recovery()
                THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END AS timeline,
           pg_is_in_recovery() AS in_recovery
      FROM pg_control_system() c
{{- end}}

{{- /* The triggers, as pg_get_triggerdef writes them. The channel is the setting
keastream.channel. */ -}}
{{define "wanted"}}      SELECT w.tab, w.name, format('CREATE TRIGGER %I AFTER %s ON public.%I %sFOR EACH STATEMENT EXECUTE FUNCTION keastream.%I(%L)',
                                   w.name, w.event, w.tab, w.tables, w.function, current_setting('keastream.channel')) AS definition
        FROM (VALUES
          ('hosts', 'reservation_notify_trigger', 'INSERT', 'REFERENCING NEW TABLE AS changed ', 'hosts_changed'),
          ('hosts', 'reservation_notify_trigger_update', 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ', 'hosts_updated'),
          ('hosts', 'reservation_notify_trigger_delete', 'DELETE', 'REFERENCING OLD TABLE AS changed ', 'hosts_changed'),
          ('hosts', 'reservation_notify_trigger_truncate', 'TRUNCATE', '', 'truncated'),
          ('ipv6_reservations', 'reservation_notify_trigger_insert', 'INSERT', 'REFERENCING NEW TABLE AS changed ', 'v6_changed'),
          ('ipv6_reservations', 'reservation_notify_trigger_update', 'UPDATE',
           'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ', 'v6_updated'),
          ('ipv6_reservations', 'reservation_notify_trigger_delete', 'DELETE', 'REFERENCING OLD TABLE AS changed ', 'v6_changed'),
          ('ipv6_reservations', 'reservation_notify_trigger_truncate', 'TRUNCATE', '', 'truncated')
        ) w(tab, name, event, tables, function)
{{- end}}

{{- /* Triggers of the system that this one replaces, or of others under the same
name. */ -}}
{{define "replaced"}}      SELECT t.oid, c.relname, t.tgname, t.tgenabled, t.tgfoid
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE c.relnamespace = to_regnamespace('public') AND c.relname IN ('hosts', 'ipv6_reservations')
         AND NOT t.tgisinternal AND p.pronamespace <> to_regnamespace('keastream')
         AND (starts_with(t.tgname::text, 'reservation_notify_trigger') OR p.proname = 'notify_reservation_changes')
{{- end}}
