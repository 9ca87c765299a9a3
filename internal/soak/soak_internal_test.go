package soak

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
)

func event(host, version int64, op events.Operation) events.Change {
	return events.Change{Operation: op, Reservation: events.Reservation{Source: source, HostID: host, Subnet4: &version}}
}

// The observer must see each way to go back, and nothing else.
func TestLedgerSeesWhatGoesBack(t *testing.T) {
	t.Parallel()
	type seen struct {
		sequence uint64
		version  int64
		op       events.Operation
	}
	for name, test := range map[string]struct {
		events []seen
		bad    bool // the last one goes back
	}{
		"grows":                           {[]seen{{1, 5, events.Insert}, {2, 6, events.Update}}, false},
		"stays, for IPv6 alone":           {[]seen{{1, 5, events.Insert}, {2, 5, events.Update}}, false},
		"goes back":                       {[]seen{{1, 5, events.Insert}, {2, 4, events.Update}}, true},
		"is deleted with an older state":  {[]seen{{1, 5, events.Insert}, {2, 3, events.Delete}}, false},
		"comes back as another":           {[]seen{{1, 5, events.Insert}, {2, 5, events.Delete}, {3, 6, events.Insert}}, false},
		"comes back from the dead":        {[]seen{{1, 5, events.Insert}, {2, 5, events.Delete}, {3, 5, events.Insert}}, true},
		"comes back older":                {[]seen{{1, 5, events.Insert}, {2, 5, events.Delete}, {3, 4, events.Snapshot}}, true},
		"is read again from the first on": {[]seen{{1, 5, events.Insert}, {3, 7, events.Update}, {1, 5, events.Insert}, {3, 7, events.Update}}, false},
	} {
		l := make(ledger)
		for i, e := range test.events {
			err := l.take(e.sequence, event(1, e.version, e.op))
			if want := test.bad && i == len(test.events)-1; (err != nil) != want {
				t.Errorf("%s: event %d gives %v, want an error: %v", name, i+1, err, want)
			}
			if err := l.take(e.sequence, event(2, 1000, events.Update)); err != nil {
				t.Errorf("%s: another host: %v", name, err)
			}
		}
	}
}

// What the writers rely on, see sqlVersion: the UPDATE that waited for a lock
// has a version above what the holder of the lock drew meanwhile.
func TestVersionsGrowInTheOrderOfCommits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := pgtest.DB(t)
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
		return conn
	}
	first, second, look := connect(), connect(), connect()
	if _, err := first.Exec(ctx, sqlPrepare); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Exec(ctx, `INSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type) VALUES (1, 'a', 0)`); err != nil {
		t.Fatal(err)
	}
	const draw = `UPDATE hosts SET dhcp4_subnet_id = ` + sqlVersion + ` WHERE host_id = 1 RETURNING dhcp4_subnet_id`
	tx, err := first.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var before, after, waited int64
	if err := tx.QueryRow(ctx, draw).Scan(&before); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- second.QueryRow(ctx, draw).Scan(&waited) }()
	for deadline := time.Now().Add(time.Minute); ; pause(ctx, 10*time.Millisecond) {
		var waiting bool
		err := look.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)`, second.PgConn().PID()).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if waiting {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the second UPDATE does not wait for the first")
		}
	}
	if err := tx.QueryRow(ctx, draw).Scan(&after); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if waited <= after || after <= before {
		t.Errorf("the versions are %d and %d in the first transaction, and %d in the one that committed later", before, after, waited)
	}
}

// Every kind of fault comes once before any comes again, the same ones for the
// same seed, and those that must be alone are.
func TestScheduleDealsEveryKindOnce(t *testing.T) {
	t.Parallel()
	for i, form := range []Form{Single, Cluster, Embedded, Single} {
		kinds := kinds
		if i == 3 {
			kinds = dnsKinds
		}
		o := Options{Seed: 7, Form: form, Length: time.Hour}
		s, again := newSchedule(o, 0, kinds), newSchedule(o, 0, kinds)
		for deck := range 2 {
			seen := make(map[string]int)
			for first := true; first || len(s.deck) > 0; first = false {
				round := s.round()
				if !slices.Equal(round, again.round()) {
					t.Fatalf("%s: two schedules of one seed differ", form)
				}
				classes := make(map[class]bool)
				for _, p := range round {
					seen[p.kind.name]++
					classes[p.kind.class] = true
					if p.kind.alone && len(round) > 1 || p.lasts < p.kind.shortest || p.lasts > p.kind.longest {
						t.Errorf("%s: %q lasts %v in a round of %d", form, p.kind.name, p.lasts, len(round))
					}
				}
				if len(classes) != len(round) {
					t.Errorf("%s: a round of %d faults has %d classes", form, len(round), len(classes))
				}
			}
			if len(seen) != len(s.kinds) || slices.ContainsFunc(slices.Collect(maps.Values(seen)), func(n int) bool { return n != 1 }) {
				t.Errorf("%s: deck %d has %v", form, deck+1, seen)
			}
		}
	}
	if short := newSchedule(Options{Seed: 7, Form: Single, Length: 10 * time.Second}, 0, kinds); slices.ContainsFunc(short.kinds, func(k *kind) bool { return k.name == "active publisher frozen for more than the time-outs" }) {
		t.Error("a short soak has faults that last longer than itself")
	}
}

// A soak of five minutes has about twenty rounds, fewer on a busy machine.
func TestScheduleDealsEveryKindSoon(t *testing.T) {
	t.Parallel()
	const most = 15
	for i, form := range []Form{Single, Cluster, Embedded, Single} {
		kinds := kinds
		if i == 3 {
			kinds = dnsKinds
		}
		for seed := range uint64(100) {
			s := newSchedule(Options{Seed: seed, Form: form, Length: 5 * time.Minute}, 0, kinds)
			rounds := 0
			for ; !s.complete(); rounds++ {
				s.round()
			}
			if rounds > most {
				t.Errorf("%s, seed %d: %d kinds take %d rounds", form, seed, len(kinds), rounds)
			}
		}
	}
}

// A run that missed something must say so.
func TestCoverageNamesWhatWasMissed(t *testing.T) {
	t.Parallel()
	c := newCoverage(false)
	for _, name := range hardCases {
		c.add(c.reached, name, 1)
	}
	for _, k := range kinds {
		c.add(c.dealt, k.name, 1)
		c.add(c.struck, k.name, 1)
	}
	if missed := c.missed(); missed != nil {
		t.Errorf("everything was reached, and missed is %v", missed)
	}
	c.struck[kinds[3].name], c.reached[caseRefill] = 0, 0
	missed := strings.Join(c.missed(), "\n")
	if !strings.Contains(missed, kinds[3].name) || !strings.Contains(missed, caseRefill) || strings.Count(missed, "\n") != 1 {
		t.Errorf("a fault and a case were missed, and missed is %q", missed)
	}
}
