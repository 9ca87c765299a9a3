      -- The triggers, as pg_get_triggerdef writes them.
      SELECT w.tab, w.name, format('CREATE TRIGGER %I AFTER %s ON public.%I %sFOR EACH STATEMENT EXECUTE FUNCTION keastream.%I(%L)',
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
