package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel { // they wait more than they work
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	var err error
	if programs, err = os.MkdirTemp("", "keastream-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return pgtest.Run(m)
}

// programs is the directory of what is built.
var programs string

// publisherProgram builds the publisher, once for all tests.
var publisherProgram = sync.OnceValues(func() (string, error) {
	program := filepath.Join(programs, "keastream-publisher")
	if out, err := exec.Command("go", "build", "-o", program, "../publisher").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// kea is a database of Kea with a publisher into the NATS of the world.
type kea struct {
	w   *world
	dsn string
	sql *pgx.Conn
}

func (w *world) kea(schema pgtest.Schema) *kea {
	w.t.Helper()
	k := &kea{w: w, dsn: pgtest.SchemaDB(w.t, schema)}
	conn, err := pgx.Connect(w.t.Context(), k.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.WithoutCancel(w.t.Context())) })
	k.sql = conn
	k.publisher(pgtest.As(w.t, k.dsn, pgtest.Superuser), "install", "--grant-to", pgtest.Kea)
	return k
}

// publisher runs a verb of the publisher with the database of a DSN.
func (k *kea) publisher(dsn string, args ...string) {
	k.w.t.Helper()
	program, err := publisherProgram()
	if err != nil {
		k.w.t.Fatal(err)
	}
	cmd := exec.CommandContext(k.w.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "KEASTREAM_DB_URL="+dsn)
	if out, err := cmd.CombinedOutput(); err != nil {
		k.w.t.Fatalf("keastream-publisher %s: %v\n%s", args[0], err, out)
	}
}

// publish has everything that is committed published.
func (k *kea) publish() {
	k.w.t.Helper()
	k.publisher(k.dsn, "run", "--once", "--source", "kea", "--nats-url", k.w.url, "--http-addr", "off")
}

func (k *kea) exec(sql string, args ...any) {
	k.w.t.Helper()
	if len(args) > 0 {
		if _, err := k.sql.Exec(k.w.t.Context(), sql, args...); err != nil {
			k.w.t.Fatalf("%s: %v", sql, err)
		}
		return
	}
	if _, err := k.sql.PgConn().Exec(k.w.t.Context(), sql).ReadAll(); err != nil {
		k.w.t.Fatalf("%s: %v", sql, err)
	}
}

// snapshot is what the publisher would publish of all rows.
func (k *kea) snapshot() (states []string) {
	k.w.t.Helper()
	rows, err := k.sql.Query(k.w.t.Context(), "SELECT state::text FROM keastream.snapshot(NULL) ORDER BY host_id")
	if err != nil {
		k.w.t.Fatal(err)
	}
	if states, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		k.w.t.Fatal(err)
	}
	return states
}

// hostileNames are host names that somebody may have written into Kea.
var hostileNames = []string{
	`'); DROP TABLE hosts; --`, `\'); DROP TABLE hosts; --`, "a\nCOMMIT;\nDROP TABLE hosts;", "$$||pg_sleep(1)||$$", `E'\x41'`,
	"\x1b[2J\x07red", "ünïcödé-\u202ename", "%s %d {{.}}", `"; \! rm -rf /`, strings.Repeat("'", 255), "tab\there", "-- ", "/*",
}

// A reservation that was deleted is there again, as if nothing had been, after the
// SQL of explain was run: with every schema of Kea, whatever its host name is.
func TestRestoreFromTombstone(t *testing.T) {
	t.Parallel()
	for _, schema := range pgtest.Schemas() {
		t.Run(string(schema), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k := w.kea(schema)
			insert := `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname) VALUES ($1, $2, $3, $4, $5, $6, $7)`
			ip := func(n int64) int64 { return 10<<24 + n }
			k.exec(insert, 1, []byte{0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, 0, 1, nil, ip(1), "us3-cab10-ru20-idrac")
			k.exec(insert, 2, []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, 1, nil, 2, nil, "six.site.com.")
			k.exec(insert, 3, []byte("circuit\x00'7"), 2, 3, 4, ip(3), "both")
			k.exec(insert, 4, []byte{1}, 3, 0, nil, ip(4), nil)
			k.exec(insert, 5, []byte{0xff}, 4, nil, nil, ip(5), nil) // of an empty name an event says as little as of none
			for i, name := range hostileNames {
				k.exec(insert, 100+i, []byte{2, byte(i)}, 0, 1, nil, ip(100+int64(i)), name)
			}
			for host, address := range map[int]string{2: "2001:db8::2", 3: "2001:db8::3"} {
				k.exec(fmt.Sprintf("INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES ('%s', 128, 0, %d), ('%[1]s:1', 128, 0, %[2]d)", address, host))
			}
			before := k.snapshot()
			k.publish()
			k.exec("DELETE FROM hosts")
			k.publish()

			questions := []string{"us3-cab10-ru20-idrac", "2001:db8::2", "both", "10.0.0.4", "10.0.0.5"}
			for i := range hostileNames {
				questions = append(questions, netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + i)}).String())
			}
			for _, question := range questions {
				k.restore(question)
			}
			if diff := cmp.Diff(before, k.snapshot()); diff != "" {
				t.Errorf("before the deletion and after the restoration (-before +after):\n%s", diff)
			}
			if len(before) != 5+len(hostileNames) {
				t.Errorf("%d reservations were there", len(before))
			}
		})
	}
}

// restore asks for what is gone and runs the SQL that brings it back, in the order
// of lines and with all that a terminal would show.
func (k *kea) restore(question string) {
	k.w.t.Helper()
	code, output := k.w.call("explain", question, "--url", "off", "--json")
	var answer explainAnswer
	if err := json.Unmarshal([]byte(output), &answer); err != nil || code != 0 {
		k.w.t.Fatalf("%s: exit code %d, %v: %s", question, code, err, output)
	}
	restored := make(map[int64]bool)
	for _, name := range answer.Names {
		for _, gone := range name.Removed {
			if !restored[gone.HostID] {
				k.exec(gone.RestoreSQL)
			}
			restored[gone.HostID] = true
			if strings.ContainsFunc(gone.RestoreSQL, func(r rune) bool { return r != '\n' && printable(string(r)) != string(r) }) {
				k.w.t.Errorf("there are control characters in %q", gone.RestoreSQL)
			}
		}
	}
	if len(restored) != 1 {
		k.w.t.Errorf("%s: %d reservations are gone", question, len(restored))
	}
}

func TestWhatCannotBeRestored(t *testing.T) {
	t.Parallel()
	whole := reconcile.RemovedItem{Source: "us3", HostID: 5, IdentifierType: "hw-address", Identifier: "aabbccddeeff"}
	for name, change := range map[string]func(*reconcile.RemovedItem){
		"identifier is in this subnet again": func(r *reconcile.RemovedItem) { r.Replaced = true },
		"identifier is not known whole":      func(r *reconcile.RemovedItem) { r.Invalid = []string{"identifier: cut\nDROP TABLE hosts;"} },
		" not known whole":                   func(r *reconcile.RemovedItem) { r.Identifier = "'); DROP TABLE hosts; --" },
		"not known whole":                    func(r *reconcile.RemovedItem) { r.IdentifierType = "1); DROP TABLE hosts; --" },
	} {
		gone := whole
		change(&gone)
		sql := restoreSQL(gone)
		if !strings.Contains(sql, name) || slices.ContainsFunc(slices.Collect(strings.Lines(sql)), func(l string) bool { return !strings.HasPrefix(l, "-- ") }) {
			t.Errorf("%s: the SQL is\n%s", name, sql)
		}
	}
}
