package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/relay"
)

// keaServer writes as Kea's own program does: prepared statements, in the
// transactions that it makes.
type keaServer struct {
	t      testing.TB
	conn   *pgx.Conn
	schema pgtest.Schema
}

func (k keaServer) exec(sql string, args ...any) (rows int64, err error) {
	tag, err := k.conn.Exec(k.t.Context(), sql, args...)
	return tag.RowsAffected(), err
}

func (k keaServer) must(sql string, args ...any) {
	k.t.Helper()
	if _, err := k.exec(sql, args...); err != nil {
		k.t.Fatalf("%s: %v", sql, err)
	}
}

// v6 is a row of ipv6_reservations.
type v6 struct {
	address string
	length  int
	kind    int // 0 an address, 2 a prefix
}

// add inserts a host in one transaction, and gives its number: 0 if the address
// or the identifier is taken, and all of it is rolled back.
func (k keaServer) add(identifier byte, subnet4, subnet6 *int64, ipv4 int64, name string, v6s ...v6) (id int64) {
	k.t.Helper()
	k.must("START TRANSACTION")
	err := k.conn.QueryRow(k.t.Context(), `
		INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname)
		SELECT $1::bytea, 0, $2::bigint, $3::bigint, $4::bigint, $5::text
		 WHERE NOT EXISTS (SELECT 1 FROM hosts WHERE ipv4_address = $4 AND ipv4_address <> 0 AND dhcp4_subnet_id = $2)
		RETURNING host_id`, []byte{2, 0, 0, 0, 0, identifier}, subnet4, subnet6, ipv4, name).Scan(&id)
	if err != nil {
		k.must("ROLLBACK")
		return 0
	}
	columns, values := "", ""
	if !slices.Contains([]pgtest.Schema{pgtest.Kea13, pgtest.Kea18, pgtest.Kea22}, k.schema) {
		columns, values = ", client_classes", ", ''"
	}
	for _, table := range []string{"dhcp4_options", "dhcp6_options"} {
		k.must(`INSERT INTO `+table+` (code, value, persistent, host_id, scope_id`+columns+`) VALUES (6, '\x0a000001', false, $1, 3`+values+`)`, id)
	}
	for _, r := range v6s {
		k.must(`INSERT INTO ipv6_reservations (address, prefix_len, type, dhcp6_iaid, host_id) VALUES (`+k.address("$1")+`, $2, $3, 7, $4)`, r.address, r.length, r.kind, id)
	}
	k.must("COMMIT")
	return id
}

// address is a parameter as the type of the column.
func (k keaServer) address(parameter string) string {
	if k.schema == pgtest.Kea13 {
		return parameter
	}
	return "CAST(" + parameter + "::text AS inet)"
}

// TestKeaStatements runs what Kea itself writes: its INSERT is one transaction
// with several statements, its DELETEs find rows by anything but their number,
// its update is a deletion and an insertion.
func TestKeaStatements(t *testing.T) {
	t.Parallel()
	for _, schema := range pgtest.Schemas() {
		t.Run(string(schema), func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, pgtest.SchemaDB(t, schema))
			marks := r.watchMarks()
			run := r.start(func(r *relay.Relay) { r.Heartbeat = 100 * time.Millisecond })
			run.log.await(compared, 1)
			k := keaServer{t: t, conn: r.connect(r.dsn), schema: schema}
			check := func(step string, want ...[]int64) {
				t.Helper()
				r.await()
				if d := cmp.Diff(want, marks(), cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%s: marks of each transaction (-want +got)\n%s", step, d)
				}
			}
			subnet, none := new(int64(1)), (*int64)(nil)

			one := k.add(1, subnet, none, 167772161, "one")
			check("add IPv4", []int64{one})
			two := k.add(2, none, subnet, 0, "two", v6{"2001:DB8:0:0::2", 128, 0}, v6{"2001:db8::3", 128, 0}, v6{"2001:db8:1::", 48, 2})
			check("add IPv6", []int64{two})
			if k.add(3, subnet, none, 167772161, "taken") != 0 || k.add(1, subnet, none, 167772162, "twice") != 0 {
				t.Error("a host was added over one that is there")
			}
			check("add what is taken")

			deleted := func(want int64, sql string, args ...any) {
				t.Helper()
				if rows, err := k.exec(sql, args...); err != nil || rows != want {
					t.Errorf("%s: %d rows, %v, want %d", sql, rows, err, want)
				}
			}
			deleted(1, `DELETE FROM hosts WHERE dhcp4_subnet_id = $1 AND ipv4_address = $2`, 1, 167772161)
			check("delete by IPv4", []int64{one})
			deleted(1, `DELETE FROM hosts USING ipv6_reservations r WHERE dhcp6_subnet_id = $1 AND r.host_id = hosts.host_id AND r.address = `+k.address("$2"), 1, "2001:db8::3")
			check("delete by IPv6", []int64{two})
			three := k.add(3, subnet, none, 167772163, "three")
			check("add again", []int64{three})
			deleted(1, `DELETE FROM hosts WHERE dhcp4_subnet_id = $1 AND dhcp_identifier_type = $2 AND dhcp_identifier = $3`, 1, 0, []byte{2, 0, 0, 0, 0, 3})
			four := k.add(3, subnet, none, 167772164, "four")
			check("update", []int64{three}, []int64{four})
			deleted(0, `DELETE FROM hosts WHERE dhcp4_subnet_id = $1 AND ipv4_address = $2`, 1, 1)
			check("delete what is not there")

			// Kea before 2.5.8 forgot the join.
			var added [][]int64
			for i := range byte(20) {
				added = append(added, []int64{k.add(100+i, none, subnet, 0, "many", v6{fmt.Sprintf("2001:db8::1%d", i%10), 128, 0})})
			}
			check("add many", added...)
			deleted(20, `DELETE FROM hosts USING ipv6_reservations WHERE dhcp6_subnet_id = $1 AND ipv6_reservations.address = `+k.address("$2"), 1, "2001:db8::15")
			check("delete a whole subnet by mistake", slices.Concat(added...))
		})
	}
}

// watchMarks gives a function that tells which hosts each transaction has marked
// since the last call, also when the relay has removed the marks.
func (r *rig) watchMarks() func() [][]int64 {
	r.t.Helper()
	super := r.connect(pgtest.As(r.t, r.dsn, pgtest.Superuser))
	for _, sql := range []string{
		`CREATE TABLE seen (txid xid8, host_id int)`,
		`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
			$$ BEGIN INSERT INTO public.seen VALUES (NEW.txid, NEW.host_id); RETURN NULL; END $$`,
		`CREATE TRIGGER see AFTER INSERT ON keastream.outbox FOR EACH ROW EXECUTE FUNCTION see()`,
	} {
		if _, err := super.Exec(r.t.Context(), sql); err != nil {
			r.t.Fatal(err)
		}
	}
	return func() [][]int64 {
		r.t.Helper()
		rows, err := super.Query(r.t.Context(), `
			WITH gone AS (DELETE FROM seen RETURNING *)
			SELECT array_agg(host_id::bigint ORDER BY host_id) FROM gone GROUP BY txid ORDER BY txid`)
		if err != nil {
			r.t.Fatal(err)
		}
		marks, err := pgx.CollectRows(rows, pgx.RowTo[[]int64])
		if err != nil {
			r.t.Fatal(err)
		}
		return marks
	}
}

// TestKeaUpgradeBesideRelay does to the tables what Kea's upgrades do, while a
// relay runs and keeps the session with which it read the tables before.
func TestKeaUpgradeBesideRelay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.start(func(r *relay.Relay) { r.Heartbeat = 100 * time.Millisecond })
	run.log.await(compared, 1)
	number := 0
	change := func() {
		t.Helper()
		for range 6 { // PostgreSQL may settle for one plan after five
			number++
			r.exec(insert(number, "before"),
				fmt.Sprintf(`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::%[1]d', %[1]d), ('2001:db8:f::%[1]d', %[1]d)`, number),
				`UPDATE ipv6_reservations SET address = '2001:db8::aaaa' WHERE host_id % 3 = 0 AND prefix_len = 128`,
				`UPDATE hosts SET hostname = 'after' WHERE host_id % 2 = 0`,
				`DELETE FROM hosts WHERE host_id % 5 = 0`)
			r.await()
		}
	}
	change()
	for _, upgrade := range [][]string{
		{"18", `ALTER TABLE ipv6_reservations ALTER COLUMN address TYPE inet USING address::inet`},
		{"25", `ALTER TABLE ipv6_reservations ADD COLUMN excluded_prefix inet DEFAULT NULL, ADD COLUMN excluded_prefix_len smallint NOT NULL DEFAULT 0`},
		{"26", `ALTER TABLE dhcp4_options ADD COLUMN client_classes text DEFAULT NULL`, `ALTER TABLE dhcp6_options ADD COLUMN client_classes text DEFAULT NULL`},
		{"30", `UPDATE dhcp4_options SET client_classes = ''`, `UPDATE dhcp6_options SET client_classes = ''`,
			`ALTER TABLE dhcp4_options ALTER COLUMN client_classes SET NOT NULL`, `ALTER TABLE dhcp6_options ALTER COLUMN client_classes SET NOT NULL`},
	} {
		r.exec(slices.Concat([]string{`BEGIN`}, upgrade[1:], []string{`UPDATE schema_version SET version = ` + upgrade[0] + `, minor = 0`, `COMMIT`})...)
		r.await()
		change()
	}
	log := run.log.String()
	if strings.Contains(log, "publishing was interrupted") || strings.Count(log, compared) != 1 {
		t.Error("an upgrade interrupted the relay, or had everything compared")
	}
}
