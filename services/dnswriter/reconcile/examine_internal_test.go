package reconcile

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// untouchable is a server that must not be written to.
type untouchable struct{ *memory }

func (untouchable) Create(context.Context, string, dns.Record, dns.Owner, bool) (string, error) {
	panic("something was created")
}

func (untouchable) Update(context.Context, dns.Row, dns.Record, dns.Owner) error {
	panic("something was updated")
}

func (untouchable) Delete(context.Context, dns.Row) error { panic("something was deleted") }

func TestExamineSaysEverythingAndWritesNothing(t *testing.T) {
	t.Parallel()
	for _, policy := range []Policy{Sync, UpsertOnly, Observe} {
		m := &memory{}
		m.serve(labZone, "2.0.192.in-addr.arpa")
		m.put("moved", "192.0.2.9", "us3")
		m.put("stale", "192.0.2.8", "us3")
		m.put("taken", "192.0.2.7")
		hosts := []string{"a 192.0.2.1", "moved 192.0.2.2", "taken 192.0.2.3"}
		inBubble(t, Config{Policy: policy}, m, hosts, func(b *bench) {
			b.r.cfg.Provider = untouchable{m}
			x, err := b.r.Examine(b.t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all := x.Changes.String()
			for _, want := range []string{
				"create A a.lab.example.com -> 192.0.2.1", "update A moved.lab.example.com: 192.0.2.9 -> 192.0.2.2",
				"remove A stale.lab.example.com -> 192.0.2.8", "conflict foreign A taken.lab.example.com",
				"create PTR 1.2.0.192.in-addr.arpa -> a.lab.example.com (ttl 600), after A a.lab.example.com",
			} {
				if !strings.Contains(all, want) {
					t.Errorf("%s: the plan does not say %q:\n%s", policy, want, all)
				}
			}
			skipped := map[Policy]int{Sync: 0, UpsertOnly: 1, Observe: 5}[policy]
			if len(x.Skipped) != skipped || len(x.Steps) != 5-skipped || len(x.Proposals) != len(x.Steps) {
				t.Errorf("%s: %d steps, %d proposals, %d skipped", policy, len(x.Steps), len(x.Proposals), len(x.Skipped))
			}
			for _, p := range x.Proposals {
				// What became of the row's reservation is not known: its source is not.
				if held := strings.Join(p.Withheld, "; "); (p.Op == Remove) != strings.Contains(held, "source us3 is not in the stream") {
					t.Errorf("%s: %s is withheld by %q", policy, p.Step, held)
				}
			}
		})
	}
}

// Whatever happens, a Reconciler that is to observe calls nothing that writes.
func TestObserveNeverWrites(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "2.0.192.in-addr.arpa")
	m.put("moved", "192.0.2.9", "us3")
	m.put("stale", "192.0.2.8", "us3")
	m.put("taken", "192.0.2.7")
	inBubble(t, Config{Policy: Observe, HoldDown: time.Second, Sweep: time.Minute}, m, []string{"a 192.0.2.1", "moved 192.0.2.2", "taken 192.0.2.3"}, func(b *bench) {
		b.r.cfg.Provider = untouchable{m} // without the guard that New puts before it
		b.run(func() {
			time.Sleep(90 * time.Second)
			b.put(4, "late 192.0.2.4")
			b.put(1, "a 192.0.2.11")
			b.gone(2)
			time.Sleep(10 * time.Minute)
			if n := b.logged("the policy does not allow it"); n < 8 {
				t.Errorf("%d changes are told of", n)
			}
		})
		result, err := b.r.RunOnce(b.t.Context())
		if err != nil || result.Skipped == 0 || result.Created+result.Updated+result.Removed != 0 {
			t.Errorf("a single check says %+v, %v", result, err)
		}
	})
}

func TestExamineWithoutAZoneFails(t *testing.T) {
	t.Parallel()
	m := &memory{before: func(call, _ string) error { return onlyFor(call == "records", dns.ErrRefused) }}
	inBubble(t, Config{}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		if _, err := b.r.Examine(b.t.Context()); err == nil || !strings.Contains(err.Error(), "zone lab.example.com: refused") {
			t.Errorf("the error is %v", err)
		}
	})
}

// Look reads no more than what it was asked for, and that is enough to explain it.
func TestLookReadsSingleNames(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "2.0.192.in-addr.arpa")
	m.put("a", "192.0.2.1", "us3")
	m.putPTR("2.0.192.in-addr.arpa", "192.0.2.1", "a", "us3")
	inBubble(t, Config{}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		b.r.find = func(match func(events.Change) bool) (found []events.Change) {
			for _, c := range b.rows {
				if match(c) {
					found = append(found, c)
				}
			}
			return found
		}
		b.r.cfg.Provider = untouchable{m}
		for query, names := range map[string]int{"a": 1, "192.0.2.1": 2, "1.2.0.192.in-addr.arpa": 1} {
			if err := b.r.Look(b.t.Context(), query); err != nil {
				t.Fatal(err)
			}
			list, total, err := b.r.Explain(query, 10)
			if err != nil || total != names {
				t.Fatalf("%s: %d names, %v", query, total, err)
			}
			for _, e := range list {
				if e.State != "in_step" || len(e.Rows) != 1 {
					t.Errorf("%s: %+v", query, e)
				}
			}
		}
		if m.count("records")+m.count("reverse") != 0 {
			t.Errorf("whole zones were read: %s", m.made())
		}
	})
}
