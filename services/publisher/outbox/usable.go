package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNotInstalled is what CheckInstalled returns for a database that has no
// outbox.
var ErrNotInstalled = errors.New("there is no outbox")

// CheckInstalled returns an error that says what to do unless the outbox that
// this program works with is installed and the role of the connection may use it.
// It is ErrNotInstalled if there is none at all, and no other error is.
func CheckInstalled(ctx context.Context, conn *pgx.Conn) error {
	database, user := conn.Config().Database, conn.Config().User
	version, ok, err := Installed(ctx, conn)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w in database %s: run `keastream-publisher install` on it", ErrNotInstalled, database)
	case version < Version:
		return fmt.Errorf("the outbox in database %s has version %d, and %d is needed: run `keastream-publisher install` on it",
			database, version, Version)
	case version > Version:
		return fmt.Errorf("the outbox in database %s has version %d, and this program knows %d: use the program that installed it",
			database, version, Version)
	}
	var allowed bool
	err = conn.QueryRow(ctx, `SELECT has_table_privilege('keastream.outbox', 'SELECT') AND has_table_privilege('keastream.outbox', 'DELETE')
		AND has_function_privilege('keastream.snapshot(integer[])', 'EXECUTE')`).Scan(&allowed)
	switch {
	case err != nil:
		return fmt.Errorf("look for rights on the outbox: %w", err)
	case !allowed:
		return fmt.Errorf("role %q may not use the outbox: run the installation with --grant-to %s", user, user)
	}
	return nil
}

// CheckTables returns an error unless the role of the connection may read what
// Read with Direct reads. The error names each table with the GRANT that is
// missing, and a table that does not exist.
func CheckTables(ctx context.Context, conn *pgx.Conn) error {
	missing, err := missingOnTables(ctx, conn.Query)
	switch {
	case err != nil:
		return fmt.Errorf("look for rights on Kea's tables: %w", err)
	case len(missing) > 0:
		return errors.New(strings.Join(missing, "; "))
	}
	return nil
}

// missingOnTables says what CheckTables says, as a list.
func missingOnTables(ctx context.Context, query func(context.Context, string, ...any) (pgx.Rows, error)) ([]string, error) {
	rows, err := query(ctx, `
		SELECT CASE WHEN c.oid IS NULL THEN format('database %I is not that of Kea: there is no table public.%s', current_database(), w.name)
		            ELSE format('role %1$I may not read table public.%2$s: GRANT SELECT (%3$s) ON public.%2$s TO %1$I', current_user, w.name, w.columns) END
		  FROM (VALUES ('hosts', 'host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname'),
		               ('ipv6_reservations', 'reservation_id, host_id, address, type, prefix_len')) w(name, columns)
		  LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public')
		       ON c.relname = w.name AND c.relkind IN ('r', 'p')
		 WHERE c.oid IS NULL OR (SELECT bool_or(NOT has_column_privilege(c.oid, a.attnum, 'SELECT')) FROM pg_attribute a
		                          WHERE a.attrelid = c.oid AND a.attname = ANY (string_to_array(w.columns, ', ')))
		UNION ALL
		SELECT format('role %1$I may not use schema public: GRANT USAGE ON SCHEMA public TO %1$I', current_user)
		 WHERE NOT has_schema_privilege('public', 'USAGE')`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
