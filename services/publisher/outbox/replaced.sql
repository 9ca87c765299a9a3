      -- Triggers of the system that this one replaces, or of others under the same name.
      SELECT t.oid, c.relname, t.tgname, t.tgenabled, t.tgfoid
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE c.relnamespace = to_regnamespace('public') AND c.relname IN ('hosts', 'ipv6_reservations')
         AND NOT t.tgisinternal AND p.pronamespace <> to_regnamespace('keastream')
         AND (starts_with(t.tgname::text, 'reservation_notify_trigger') OR p.proname = 'notify_reservation_changes')
