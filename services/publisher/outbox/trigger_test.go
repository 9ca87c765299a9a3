package outbox_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/services/publisher/outbox"
)

// fixture has a host with IPv4 (1), one with two IPv6 rows (2) and a bare one (3).
var fixture = []string{
	`TRUNCATE hosts, ipv6_reservations, dhcp4_options, dhcp6_options RESTART IDENTITY CASCADE`,
	`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address, hostname) VALUES ('\x020000000001', 0, 1, 3232235777, 'one')`,
	`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp6_subnet_id, ipv4_address, hostname) VALUES ('\x00030001020000000002', 1, 1, 0, '')`,
	`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES ('\x020000000003', 2)`,
	`INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) VALUES ('2001:db8::1', 128, 0, 7, 2), ('2001:db8:1::', 48, 2, 7, 2)`,
}

const insertHost = `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, hostname) `

// TestMarks runs each kind of statement on the fixture. The marks tell which
// hosts it changed: once per host and transaction, and nothing else.
func TestMarks(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn := connect(t, dsn)
	for _, c := range []struct {
		name string
		sql  []string
		want []int
	}{
		{"insert one", []string{insertHost + `VALUES ('\x04', 0, 1, 'four')`}, []int{4}},
		{"insert several", []string{insertHost + `SELECT int4send(n), 0, 1, n FROM generate_series(4, 6) n`}, []int{4, 5, 6}},
		{"insert none", []string{insertHost + `SELECT '\x04', 0, 1, 'four' WHERE EXISTS (SELECT FROM hosts WHERE hostname = 'nobody')`}, nil},
		{"insert that meets a row and does nothing", []string{insertHost + `VALUES ('\x020000000001', 0, 1, 'new') ON CONFLICT DO NOTHING`}, nil},
		{"insert that becomes an update, beside one that does not", []string{
			insertHost + `VALUES ('\x020000000001', 0, 1, 'new'), ('\x04', 0, 1, 'four')
			ON CONFLICT (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id) WHERE dhcp4_subnet_id IS NOT NULL DO UPDATE SET hostname = excluded.hostname`,
		}, []int{1, 5}}, // 4 was the number of the row that met the other
		{"insert that becomes an update of nothing", []string{
			insertHost + `VALUES ('\x020000000001', 0, 1, 'one')
			ON CONFLICT (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id) WHERE dhcp4_subnet_id IS NOT NULL DO UPDATE SET hostname = excluded.hostname`,
		}, nil},

		{"update identifier", []string{`UPDATE hosts SET dhcp_identifier = '\x04' WHERE host_id = 1`}, []int{1}},
		{"update identifier type", []string{`UPDATE hosts SET dhcp_identifier_type = 4 WHERE host_id = 1`}, []int{1}},
		{"update IPv4 subnet", []string{`UPDATE hosts SET dhcp4_subnet_id = 2 WHERE host_id = 1`}, []int{1}},
		{"update IPv6 subnet", []string{`UPDATE hosts SET dhcp6_subnet_id = 2 WHERE host_id = 1`}, []int{1}},
		{"update address", []string{`UPDATE hosts SET ipv4_address = NULL WHERE host_id = 1`}, []int{1}},
		{"update name", []string{`UPDATE hosts SET hostname = 'ONE' WHERE host_id = 1`}, []int{1}},
		{"update unused subnet to global", []string{`UPDATE hosts SET dhcp4_subnet_id = 0 WHERE host_id = 3`}, []int{3}},
		{"update from Kea's none to a person's none", []string{`UPDATE hosts SET ipv4_address = NULL, hostname = NULL WHERE host_id = 2`}, nil},
		{"update from a person's none to Kea's none", []string{`UPDATE hosts SET ipv4_address = 0, hostname = '' WHERE host_id = 3`}, nil},
		{"update what is not published", []string{`UPDATE hosts SET auth_key = 'secret', user_context = '{}', dhcp4_boot_file_name = 'b',
			dhcp4_client_classes = 'c', dhcp6_client_classes = 'c', dhcp4_next_server = 1, dhcp4_server_hostname = 's'`}, nil},
		{"update to the same", []string{`UPDATE hosts SET hostname = hostname`}, nil},
		{"update all, of which one changes", []string{`UPDATE hosts SET hostname = 'one'  WHERE host_id < 3`}, []int{2}},
		{"update none", []string{`UPDATE hosts SET hostname = 'x' WHERE host_id = 99`}, nil},
		{"renumber", []string{`UPDATE hosts SET host_id = 30 WHERE host_id = 3`}, []int{3, 30}},
		{"renumber in a row", []string{`UPDATE hosts SET host_id = host_id + 10 WHERE host_id <> 2`}, []int{1, 3, 11, 13}},

		{"insert IPv6 rows of one host", []string{`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::2', 2), ('2001:db8::3', 2)`}, []int{2}},
		{"insert IPv6 rows of several hosts", []string{`INSERT INTO ipv6_reservations (address, host_id) SELECT '2001:db8::' || n, n FROM generate_series(1, 3) n`}, []int{1, 2, 3}},
		{"insert no IPv6 row", []string{`INSERT INTO ipv6_reservations (address, host_id) SELECT 'x', 1 WHERE false`}, nil},
		{"update IPv6 address", []string{`UPDATE ipv6_reservations SET address = '2001:db8::9' WHERE type = 0`}, []int{2}},
		{"update IPv6 prefix length", []string{`UPDATE ipv6_reservations SET prefix_len = 64 WHERE type = 2`}, []int{2}},
		{"update IPv6 type", []string{`UPDATE ipv6_reservations SET type = 2 WHERE type = 0`}, []int{2}},
		{"update IPv6 row number", []string{`UPDATE ipv6_reservations SET reservation_id = 99 WHERE type = 0`}, []int{2}},
		{"update what is not published of IPv6", []string{`UPDATE ipv6_reservations SET dhcp6_iaid = 99`}, nil},
		{"update no IPv6 row", []string{`UPDATE ipv6_reservations SET address = 'x' WHERE host_id = 99`}, nil},
		{"move IPv6 row to another host", []string{`UPDATE ipv6_reservations SET host_id = 3 WHERE type = 0`}, []int{2, 3}},
		{"delete IPv6 row", []string{`DELETE FROM ipv6_reservations WHERE type = 0`}, []int{2}},
		{"delete no IPv6 row", []string{`DELETE FROM ipv6_reservations WHERE host_id = 1`}, nil},

		{"delete host", []string{`DELETE FROM hosts WHERE host_id = 1`}, []int{1}},
		{"delete host with its IPv6 rows", []string{`DELETE FROM hosts WHERE host_id = 2`}, []int{2}},
		{"delete all", []string{`DELETE FROM hosts`}, []int{1, 2, 3}},
		{"delete none", []string{`DELETE FROM hosts WHERE host_id = 99`}, nil},
		{"delete by way of the type", []string{`BEGIN`, `DELETE FROM host_identifier_type WHERE type = 1`, `INSERT INTO host_identifier_type VALUES (1, 'duid')`, `COMMIT`}, []int{2}},
		{"delete and insert in one statement", []string{`WITH gone AS (DELETE FROM hosts WHERE host_id = 1 RETURNING *) ` +
			insertHost + `SELECT dhcp_identifier, dhcp_identifier_type, 2, hostname FROM gone`}, []int{1, 4}},
		{"truncate hosts", []string{`TRUNCATE hosts CASCADE`}, []int{-1, -1}}, // and the table that refers to it
		{"truncate IPv6", []string{`TRUNCATE ipv6_reservations`}, []int{-1}},
		{"options", []string{`INSERT INTO dhcp4_options (code, value, host_id, scope_id) VALUES (6, '\x01', 1, 3)`, `DELETE FROM dhcp4_options`}, nil},

		{"Kea's way to add", []string{
			`START TRANSACTION`, insertHost + `SELECT '\x04', 0, 1, 'four' WHERE NOT EXISTS (SELECT FROM hosts WHERE ipv4_address = 1)`,
			`INSERT INTO dhcp4_options (code, value, host_id, scope_id) VALUES (6, '\x01', 4, 3)`,
			`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::2', 4)`,
			`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::3', 4)`, `COMMIT`,
		}, []int{4}},
		{"insert and delete in one transaction", []string{`BEGIN`, insertHost + `VALUES ('\x04', 0, 1, 'four')`, `DELETE FROM hosts WHERE host_id = 4`, `COMMIT`}, []int{4}},
		{"two transactions", []string{`UPDATE hosts SET hostname = 'a' WHERE host_id = 1`, `UPDATE hosts SET hostname = 'b' WHERE host_id = 1`}, []int{1, 1}},
		{"rollback", []string{`BEGIN`, `DELETE FROM hosts`, `TRUNCATE ipv6_reservations`, `ROLLBACK`}, nil},
		{"savepoint kept", []string{`BEGIN`, `SAVEPOINT s`, `UPDATE hosts SET hostname = 'a' WHERE host_id = 1`, `RELEASE s`, `UPDATE hosts SET hostname = 'b' WHERE host_id = 1`, `COMMIT`}, []int{1}},
		{"savepoint rolled back", []string{`BEGIN`, `UPDATE hosts SET hostname = 'a' WHERE host_id = 1`, `SAVEPOINT s`, `UPDATE hosts SET hostname = 'b'`, `ROLLBACK TO s`, `COMMIT`}, []int{1}},
		{"changed again after the first mark was rolled back", []string{
			`BEGIN`, `SAVEPOINT s`, `UPDATE hosts SET hostname = 'a' WHERE host_id = 1`, `ROLLBACK TO s`, `UPDATE hosts SET hostname = 'b' WHERE host_id = 1`, `COMMIT`,
		}, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sql := range fixture {
				execute(t, conn, sql)
			}
			takeMarks(t, dsn)
			for _, sql := range c.sql {
				execute(t, conn, sql)
			}
			if got := takeMarks(t, dsn); !slices.Equal(got, c.want) {
				t.Errorf("marks %v, want %v", got, c.want)
			}
		})
	}
}

func TestMarksOfCopy(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn := connect(t, dsn)
	rows := [][]any{{[]byte{1}, int16(0)}, {[]byte{2}, int16(0)}}
	if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"hosts"}, []string{"dhcp_identifier", "dhcp_identifier_type"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	if got, want := takeMarks(t, dsn), []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}

// TestSequenceSetBack breaks the outbox in a way that must not break Kea.
func TestSequenceSetBack(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn := connect(t, dsn)
	execute(t, conn, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, connect(t, superuser(t, dsn)), `ALTER TABLE keastream.outbox ALTER seq RESTART`)
	execute(t, conn, insertHost+`VALUES ('\x02', 0, 1, 'two')`)
	if got := one[int](t, conn, `SELECT count(*) FROM hosts`); got != 2 {
		t.Errorf("%d hosts, want 2", got)
	}
}

// TestHostileSessions writes with settings that change the meaning of SQL.
func TestHostileSessions(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	for _, c := range []struct{ name, setting string }{
		{"backslashes", `SET standard_conforming_strings = off; SET escape_string_warning = on`},
		{"strict plpgsql", `SET plpgsql.extra_errors = 'all'; SET plpgsql.extra_warnings = 'all'`},
		{"no join that FULL JOIN needs", `SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off; SET enable_hashagg = off`},
		{"own objects first", `CREATE TEMP TABLE outbox (host_id int PRIMARY KEY); CREATE TEMP TABLE changed (host_id int);
			CREATE TEMP TABLE old_rows (host_id int); CREATE TEMP TABLE new_rows (host_id int);
			CREATE FUNCTION pg_temp.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0'; SET search_path = pg_temp, public, pg_catalog`},
		{"formats", `SET bytea_output = escape; SET DateStyle = 'SQL, DMY'; SET client_encoding = 'SQL_ASCII'; SET quote_all_identifiers = on; SET array_nulls = off`},
		{"serializable", `SET default_transaction_isolation = serializable`},
		{"little memory", `SET work_mem = '64kB'; SET jit = on; SET jit_above_cost = 0; SET plan_cache_mode = force_generic_plan`},
		{"impatient", `SET lock_timeout = 1; SET statement_timeout = '10s'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := connect(t, dsn)
			for _, sql := range fixture {
				execute(t, conn, sql)
			}
			takeMarks(t, dsn)
			if _, err := conn.PgConn().Exec(t.Context(), c.setting).ReadAll(); err != nil {
				t.Fatal(err)
			}
			execute(t, conn, `INSERT INTO public.hosts (dhcp_identifier, dhcp_identifier_type, ipv4_address, hostname) VALUES (decode('00', 'hex'), 1, 1, 'four')`)
			execute(t, conn, `UPDATE public.hosts SET hostname = 'x' WHERE host_id = 1`)
			execute(t, conn, `UPDATE public.ipv6_reservations SET address = 'x' WHERE type = 0`)
			execute(t, conn, `DELETE FROM public.hosts WHERE host_id = 2`)
			if got, want := takeMarks(t, dsn), []int{1, 2, 2, 4}; !slices.Equal(got, want) {
				t.Errorf("marks %v, want %v", got, want)
			}
		})
	}
}
