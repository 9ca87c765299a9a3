package outbox_test

import (
	"errors"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// reservations reads all rows.
func reservations(t *testing.T, conn *pgx.Conn, q outbox.Query) map[int64]events.Reservation {
	t.Helper()
	got := make(map[int64]events.Reservation)
	q.Source = "us3"
	_, err := outbox.Read(t.Context(), conn, q, func(_ outbox.Reading, rows iter.Seq[events.Reservation]) {
		for r := range rows {
			got[r.HostID] = r
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A role that may read the columns that matter, and nothing else, reads what
// the snapshot function gives to one that has the outbox.
func TestDirectReadingEqualsSnapshot(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"UTF8", "SQL_ASCII", "LATIN1"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			dsn, reader, relay := pgtest.EncodedDB(t, encoding), pgtest.Role(t), pgtest.Role(t)
			kea := connect(t, dsn)
			for _, sql := range slices.Concat(fixture, []string{
				`GRANT SELECT (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname) ON hosts TO ` + reader,
				`GRANT SELECT ON ipv6_reservations TO ` + reader,
				`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, ipv4_address, hostname) VALUES
					(11, decode(repeat('ab', 2000), 'hex'), 4, -1, E'a"b\\c\t{{.}}'), (12, '\x', 0, 99999999999, convert_from('\x61c3a4', getdatabaseencoding()))`,
				`INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES ('not-an-ip', 128, 0, 11), ('2001:DB8:0::9/64', 128, 0, 11)`,
			}) {
				execute(t, kea, sql)
			}
			direct := connect(t, pgtest.As(t, dsn, reader)+"&client_encoding=UTF8")
			if err := outbox.CheckInstalled(t.Context(), direct); !errors.Is(err, outbox.ErrNotInstalled) {
				t.Errorf("without an outbox CheckInstalled returns %v", err)
			}
			if err := outbox.CheckTables(t.Context(), direct); err != nil {
				t.Error(err)
			}
			before, err := outbox.ReadPosition(t.Context(), direct)
			if err != nil {
				t.Error(err)
			}
			got := reservations(t, direct, outbox.Query{Direct: true})
			if len(got) != 5 {
				t.Errorf("%d rows, want 5", len(got))
			}

			install(t, dsn, outbox.InstallOptions{GrantTo: []string{relay}})
			conn := connect(t, pgtest.As(t, dsn, relay)+"&client_encoding=UTF8")
			if diff := cmp.Diff(reservations(t, conn, outbox.Query{All: true}), got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("the snapshot function and the tables themselves differ\n%s", diff)
			}
			var after outbox.Position
			if err := conn.QueryRow(t.Context(), `SELECT database, timeline FROM keastream.position()`).Scan(&after.Database, &after.Timeline); err != nil {
				t.Fatal(err)
			}
			if before != after {
				t.Errorf("the position is %+v, and %+v by the function", before, after)
			}

			// Kea's upgrade from schema 17 to 18.
			execute(t, kea, `DELETE FROM ipv6_reservations WHERE address = 'not-an-ip'`)
			execute(t, kea, `ALTER TABLE ipv6_reservations ALTER COLUMN address TYPE inet USING split_part(address, '/', 1)::inet`)
			got = reservations(t, connect(t, pgtest.As(t, dsn, reader)+"&client_encoding=UTF8"), outbox.Query{Direct: true})
			want := reservations(t, connect(t, pgtest.As(t, dsn, relay)+"&client_encoding=UTF8"), outbox.Query{All: true})
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || len(got[11].IPv6) != 1 {
				t.Errorf("after the upgrade the snapshot function and the tables themselves differ\n%s", diff)
			}
		})
	}
}

func TestCheckTablesNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	dsn, role := pgtest.DB(t), pgtest.Role(t)
	kea, conn := connect(t, dsn), connect(t, pgtest.As(t, dsn, role))
	expect := func(wanted ...string) {
		t.Helper()
		err := outbox.CheckTables(t.Context(), conn)
		for _, text := range wanted {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("the error is %v, want it to say %q", err, text)
			}
		}
	}
	expect("table public.hosts: GRANT SELECT (host_id, ", ") ON public.hosts TO "+role, ") ON public.ipv6_reservations TO "+role)
	execute(t, kea, `GRANT SELECT (host_id, hostname) ON hosts TO `+role)
	execute(t, kea, `GRANT SELECT ON ipv6_reservations TO `+role)
	expect(") ON public.hosts TO " + role)
	execute(t, connect(t, superuser(t, dsn)), `REVOKE USAGE ON SCHEMA public FROM PUBLIC`)
	expect("GRANT USAGE ON SCHEMA public TO "+role, ") ON public.hosts TO "+role)
	execute(t, kea, `DROP TABLE ipv6_reservations`)
	expect("there is no table public.ipv6_reservations")
}

// A user of the rows may stop early; the session is fit for the next reading.
func TestReadingStopsEarly(t *testing.T) {
	t.Parallel()
	conn := connect(t, pgtest.DB(t))
	execute(t, conn, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT int4send(n), 0 FROM generate_series(1, 5000) n`)
	_, err := outbox.Read(t.Context(), conn, outbox.Query{Source: "us3", Direct: true}, func(_ outbox.Reading, rows iter.Seq[events.Reservation]) {
		for range rows {
			break
		}
	})
	if err != nil {
		t.Error(err)
	}
	if got := reservations(t, conn, outbox.Query{Direct: true}); len(got) != 5000 {
		t.Errorf("%d rows, want 5000", len(got))
	}
}
