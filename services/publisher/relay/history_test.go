package relay_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/relay"
)

var historySeed = flag.Uint64("history.seed", 0, "`seed` of TestHistory: the same seed makes the same statements; 0 takes a new one")

const (
	rounds = 5
	steps  = 150 // of a crew in a round
)

// TestHistory lets several writers do to Kea's tables whatever can be done to
// them, at the same time and on every schema, while a relay runs: when all is
// quiet the stream equals the rows. The hard cases must really have happened.
//
// A history is made from a seed by math/rand and not by rapid: that would look
// for a shorter history that fails, and how transactions of several sessions
// fall together is another thing each time.
func TestHistory(t *testing.T) {
	t.Parallel()
	seed := *historySeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, schema := range pgtest.Schemas() {
		t.Run(string(schema), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the same statements again: go test ./services/publisher/relay -run %s -history.seed=%d", t.Name(), seed)
				}
			})
			h := &history{rig: newRigOn(t, pgtest.SchemaDB(t, schema)), schema: schema, happened: make(map[string]int)}
			h.observer = h.connect(h.dsn)
			h.long = h.openWriter(nil)
			for c := range h.crews {
				rng := rand.New(rand.NewPCG(seed, uint64(c)))
				h.crews[c].rng = rng
				if c == 0 { // alone, and patient, it also sends wake-ups
					h.crews[c].writers = []*writer{h.openWriter(rng)}
					continue
				}
				// They have one goroutine: if one of them waits for another one, it
				// waits in vain.
				for range 3 {
					w := h.openWriter(rng)
					w.control("SET lock_timeout = '15ms'")
					h.crews[c].writers = append(h.crews[c].writers, w)
				}
			}
			// A check waits for a heartbeat that counts all rows.
			run := h.start(func(r *relay.Relay) {
				r.Heartbeat = 100 * time.Millisecond
				r.Log = slog.New(quiet{r.Log.Handler()})
			})
			run.log.await(compared, 1)
			for n := range rounds {
				h.round(n)
				if t.Failed() {
					return
				}
			}
			if schema == pgtest.Kea34 {
				h.bulk(10_000)
			}
			h.checkCoverage()
			if got, want := strings.Count(run.log.String(), compared), 1+h.happened["truncations"]; got != want {
				t.Errorf("%d comparisons, want %d, of the start and of each truncation: others hide what marks do not tell", got, want)
			}
		})
	}
}

// quiet leaves out the line for each single change.
type quiet struct{ slog.Handler }

func (quiet) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

type history struct {
	*rig
	schema pgtest.Schema

	observer *pgx.Conn
	long     *writer // is in one transaction for a whole round
	crews    [2]crew

	commits  atomic.Int64 // of all writers
	mu       sync.Mutex
	happened map[string]int
}

func (h *history) count(what string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.happened[what] += n
}

// checkCoverage wants every hard case at least once or a few times.
func (h *history) checkCoverage() {
	h.t.Helper()
	want := map[string]int{
		"commits": 100, "rollbacks": 20, "rollbacks to a savepoint": 5, "late commits": 20, "commits after later marks were removed": rounds,
		"serialization failures": 1, "unique violations": 5, "lock timeouts": 1,
		"truncations": rounds - 1, "truncations rolled back": 1,
		"hosts inserted": 10, "hosts updated": 10, "hosts deleted": 5, "hosts inserted again": 1, "hosts renumbered": 1, "hosts copied": 1, "hosts upserted": 1,
		"v6 inserted": 5, "v6 updated": 1, "v6 moved": 1, "v6 deleted": 1, "prefixes inserted": 1,
	}
	if h.hasExcludedPrefix() {
		want["prefixes excluded"] = 1
	}
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if got := h.happened[what]; got < want[what] {
			h.t.Errorf("%s: %d, want at least %d for the test to mean anything", what, got, want[what])
		}
	}
	h.t.Log(h.happened)
}

func (h *history) hasExcludedPrefix() bool {
	return !slices.Contains([]pgtest.Schema{pgtest.Kea13, pgtest.Kea18, pgtest.Kea22}, h.schema)
}

// round lets the crews work, with one transaction open all the time and beyond.
func (h *history) round(n int) {
	h.t.Helper()
	if n > 0 {
		// Only here: a truncation has everything compared, which would repair what
		// marks fail to tell.
		h.truncate(n)
	}
	long := h.long
	long.begin([]string{"READ COMMITTED", "REPEATABLE READ"}[n%2])
	long.do("hosts inserted", fmt.Sprintf(`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, hostname) VALUES (%d, '\xff', 0, %[1]d, 'long')`, 1_000_000+n))
	long.do("v6 inserted", fmt.Sprintf(`INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8:f::1', %d)`, 1_000_000+n))

	var work sync.WaitGroup
	for i := range h.crews {
		work.Go(h.crews[i].work)
	}
	work.Wait()
	h.awaitNoMarks()
	if err := long.commit(); err != nil {
		h.t.Errorf("commit the long transaction: %v", err)
	}
	h.count("commits after later marks were removed", 1)
	h.await()
}

// crew makes statements in its sessions, one after the other. Each is in a
// transaction of its own, so that transactions overlap and end in any order.
type crew struct {
	rng     *rand.Rand
	writers []*writer
}

func (c *crew) work() {
	for range steps {
		w := c.writers[c.rng.IntN(len(c.writers))]
		switch dice := c.rng.IntN(100); {
		case !w.open && dice < 80:
			w.begin([]string{"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}[c.rng.IntN(4)])
			w.change()
		case dice < 12 && w.open:
			w.save()
		case dice < 18 && w.open:
			w.backToSavepoint()
		case dice < 25 && w.open:
			w.rollback()
		case dice < 50 && w.open:
			_ = w.commit() // a serialization failure is counted
		default:
			w.change()
		}
	}
	for _, w := range c.writers {
		if w.open {
			_ = w.commit()
		}
	}
}

// truncate empties the tables, after it was rolled back once. Numbers are given
// out again afterwards, in every other round.
func (h *history) truncate(n int) {
	h.t.Helper()
	h.exec(`BEGIN`, `TRUNCATE hosts CASCADE`, `ROLLBACK`)
	h.count("truncations rolled back", 1)
	sql := []string{`TRUNCATE hosts CASCADE`, `TRUNCATE hosts, ipv6_reservations RESTART IDENTITY CASCADE`}[n%2]
	h.exec(`BEGIN`, insert(800+n, "before"), sql, insert(850+n, "after"), `COMMIT`)
	h.count("truncations", 1)
	h.await()
}

// bulk changes very many rows in one statement each. The checker, which asks
// for every single message, would take long for them.
func (h *history) bulk(rows int) {
	h.t.Helper()
	h.exec(`BEGIN`,
		fmt.Sprintf(`INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp6_subnet_id, hostname) SELECT 100000 + n, int4send(n), 1, 77, 'bulk-' || n FROM generate_series(1, %d) n`, rows),
		`INSERT INTO ipv6_reservations (reservation_id, address, host_id) SELECT 100000 + host_id, '2001:db8:b::1', host_id FROM hosts WHERE dhcp6_subnet_id = 77`,
		`COMMIT`, `BEGIN`,
		`UPDATE hosts SET hostname = hostname || '.lab' WHERE dhcp6_subnet_id = 77`,
		`UPDATE ipv6_reservations SET address = '2001:db8:b::2' WHERE address = '2001:db8:b::1'`,
		`DELETE FROM hosts WHERE dhcp6_subnet_id = 77 AND host_id % 4 <> 0`,
		`COMMIT`)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		h.awaitNoMarks()
		left, wrong := 0, 0
		for id, s := range h.stored() {
			if id <= 100_000 || id > 200_000 || s.Change.Deleted() {
				continue
			}
			left++
			if r := s.Change.Reservation; id%4 != 0 || r.Hostname != fmt.Sprintf("bulk-%d.lab", id-100_000) || len(r.IPv6) != 1 || r.IPv6[0].String() != "2001:db8:b::2" {
				wrong++
			}
		}
		if left == rows/4 && wrong == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("of %d rows the stream has %d, of which %d are wrong", rows/4, left, wrong)
		}
	}
}

// awaitNoMarks returns when the relay has dealt with all that has committed.
func (h *history) awaitNoMarks() {
	h.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var marks int
		if err := h.observer.QueryRow(h.t.Context(), `SELECT count(*) FROM keastream.outbox`).Scan(&marks); err != nil {
			h.t.Fatal(err)
		}
		if marks == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d marks are left after 2 minutes", marks)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// writer is one session of Kea's role.
type writer struct {
	h    *history
	conn *pgx.Conn
	rng  *rand.Rand

	open    bool // in a transaction
	saved   bool // with a savepoint
	pending map[string]int
	began   int64 // commits before the first change of the transaction, -1 before that
}

func (h *history) openWriter(rng *rand.Rand) *writer {
	h.t.Helper()
	conn := h.connect(h.dsn + "&default_query_exec_mode=simple_protocol")
	return &writer{h: h, conn: conn, rng: rng, pending: make(map[string]int), began: -1}
}

func (w *writer) begin(level string) {
	w.control("BEGIN ISOLATION LEVEL " + level)
	w.control("SELECT count(*) FROM hosts") // the snapshot, and what SERIALIZABLE is about
	w.open = true
}

// do makes a change and counts the rows under what.
func (w *writer) do(what, sql string) {
	tag, err := w.conn.Exec(w.h.t.Context(), sql)
	w.done(what, int(tag.RowsAffected()), sql, err)
}

func (w *writer) done(what string, rows int, sql string, err error) {
	if err != nil {
		w.failed(sql, err)
		return
	}
	w.pending[what] += rows
	if !w.open {
		w.committed()
	} else if w.began < 0 && rows > 0 {
		w.began = w.h.commits.Load()
	}
}

// failed counts a failure that writers have with and without us, and goes on as
// a program would.
func (w *writer) failed(sql string, err error) {
	refused, _ := errors.AsType[*pgconn.PgError](err)
	switch {
	case refused != nil && refused.Code == "40001":
		w.h.count("serialization failures", 1)
	case refused != nil && refused.Code == "23505":
		w.h.count("unique violations", 1)
	case refused != nil && refused.Code == "55P03":
		w.h.count("lock timeouts", 1)
	case refused != nil && slices.Contains([]string{"23503", "40P01", "21000"}, refused.Code): // foreign key, deadlock, twice in one upsert
		w.h.count("other refusals", 1)
	default:
		w.h.t.Errorf("%s: %v", sql, err)
	}
	if w.open && w.saved && w.conn.PgConn().TxStatus() == 'E' {
		w.backToSavepoint()
	} else if w.open {
		w.rollback()
	}
}

func (w *writer) save() {
	w.control("SAVEPOINT s")
	w.saved = true
}

func (w *writer) backToSavepoint() {
	if !w.saved {
		return
	}
	w.control("ROLLBACK TO s")
	w.h.count("rollbacks to a savepoint", 1)
}

func (w *writer) rollback() {
	w.control("ROLLBACK")
	w.h.count("rollbacks", 1)
	w.forget()
}

func (w *writer) commit() error {
	if _, err := w.conn.Exec(w.h.t.Context(), "COMMIT"); err != nil {
		w.failed("COMMIT", err)
		return err
	}
	if w.began >= 0 && w.h.commits.Load() > w.began {
		w.h.count("late commits", 1) // others made their changes later and committed before
	}
	w.committed()
	return nil
}

func (w *writer) committed() {
	w.h.commits.Add(1)
	w.h.count("commits", 1)
	for what, n := range w.pending {
		w.h.count(what, n)
	}
	w.forget()
}

func (w *writer) forget() {
	w.open, w.saved, w.began = false, false, -1
	clear(w.pending)
}

// control runs a statement that must not fail.
func (w *writer) control(sql string) {
	if _, err := w.conn.Exec(w.h.t.Context(), sql); err != nil {
		w.h.t.Errorf("%s: %v", sql, err)
	}
}
