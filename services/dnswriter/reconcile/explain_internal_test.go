package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// explains runs a Reconciler that can be asked, whose View are the rows of the
// bench.
func explains(t *testing.T, cfg Config, m *memory, hosts []string, test func(*bench)) {
	t.Helper()
	inBubble(t, cfg, m, hosts, func(b *bench) {
		b.r.find = func(match func(events.Change) bool) (found []events.Change) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, c := range b.rows {
				if match(c) {
					found = append(found, c)
				}
			}
			slices.SortFunc(found, func(a, b events.Change) int { return a.Reservation.Key().Compare(b.Reservation.Key()) })
			return found
		}
		b.run(func() {
			time.Sleep(lateness / 2)
			test(b)
		})
	})
}

// about asks and returns what was said of one name, with all of it in JSON.
func (b *bench) about(name string) (Explanation, string) {
	b.t.Helper()
	list, total, err := b.r.Explain(name, 10)
	if err != nil || len(list) != 1 || total != 1 {
		b.t.Fatalf("%s: %d of %d explanations, %v", name, len(list), total, err)
	}
	text, err := json.Marshal(list[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return list[0], string(text)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("stranger", "192.0.2.99")
	m.put("taken", "192.0.2.98")
	m.put("agreed", "192.0.2.4")
	m.put("left", "192.0.2.9", "us3")
	hosts := []string{"a 192.0.2.1", "taken 192.0.2.2", "two 192.0.2.3", "two 192.0.2.33", "agreed 192.0.2.4", "bad_name 192.0.2.5", "fails 192.0.2.6"}
	m.before = func(call, name string) error {
		return onlyFor(call == "create" && strings.HasPrefix(name, "fails"), fmt.Errorf("%w: no such right", dns.ErrRefused))
	}
	explains(t, Config{}, m, hosts, func(b *bench) {
		b.gone(1)
		for _, test := range []struct{ name, state, says string }{
			{"stranger.lab.example.com", "nothing", `"owner":"foreign"`},
			{"taken.lab.example.com", "conflict", `"kind":"foreign"`},
			{"two.lab.example.com", "conflict", `"wanted":["192.0.2.3 (us3/3`},
			{"agreed.lab.example.com", "foreign", "adopt takes them over"},
			{"AGREED.lab.example.com.", "foreign", `"host_id":5`},
			{"left.lab.example.com", "withheld", "source us3 is not in the stream"},
			{"a.lab.example.com", "withheld", `"removed":[{"source":"us3","host_id":1`},
			{"fails.lab.example.com", "withheld", "no such right"},
			{"nobody.lab.example.com", "nothing", "DNS has nothing"},
			{"a.example.org", "outside", "none of the zones of --dns-zone"},
			{"1.2.0.192.in-addr.arpa", "outside", "no reverse zone"},
			{"nobody", "nothing", `"name":"nobody.lab.example.com"`},
			{"a", "withheld", `"last_change":{"at":"2000-`},
		} {
			if e, text := b.about(test.name); e.State != test.state || !strings.Contains(text, test.says) || e.Decision == "" {
				t.Errorf("%s is %s, want %s with %q: %s", test.name, e.State, test.state, test.says, text)
			}
		}
		for _, bad := range []string{"", "bad_name.lab.example.com", "*.lab.example.com", "192.0.2.1/24", "a b"} {
			if _, _, err := b.r.Explain(bad, 10); err == nil {
				t.Errorf("%q is a question", bad)
			}
		}
	})
}

func TestExplainOfWhatIsInStep(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.serve(labZone, "2.0.192.in-addr.arpa")
	m.put("other", "192.0.2.1")
	explains(t, Config{}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		e, text := b.about("a.lab.example.com")
		if e.State != "in_step" || len(e.Claims) != 1 || len(e.Rows) != 1 || e.Rows[0].Owner != "ours" || e.Rows[0].Hosts[0] != "us3/1" ||
			e.LastChange == nil || e.LastChange.Op != Create || e.LastChange.Record != "A 192.0.2.1" || strings.Contains(text, "null,") && !strings.Contains(text, `"last_failure":null`) {
			t.Errorf("it says %s", text)
		}
		list, total, err := b.r.Explain("192.0.2.1", 2)
		if err != nil || total != 3 || len(list) != 2 || list[0].Name != "a.lab.example.com" || list[1].Name != "other.lab.example.com" {
			t.Fatalf("of the address it says %+v, %d, %v", list, total, err)
		}
		if list, _, _ = b.r.Explain("192.0.2.1", 3); list[2].Name != "1.2.0.192.in-addr.arpa" || list[2].State != "in_step" || list[2].Rows[0].Value != "a.lab.example.com" {
			t.Errorf("of the reverse name it says %+v", list[2])
		}
		b.put(1, "a 192.0.2.7")
		time.Sleep(time.Second)
		if e, text := b.about("a.lab.example.com"); e.State != "in_step" || e.LastChange.Op != Update || e.LastChange.Was != "192.0.2.1" {
			t.Errorf("after an update it says %s", text)
		}
	})
}

// A step that may not be taken names the policy, and one of a server that is away
// what it says.
func TestExplainOfWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	m := &memory{}
	explains(t, Config{Policy: Observe}, m, []string{"a 192.0.2.1"}, func(b *bench) {
		if e, text := b.about("a.lab.example.com"); e.State != "skipped" || !strings.Contains(text, "the policy is observe") {
			t.Errorf("it says %s", text)
		}
	})
	m = &memory{before: func(call, _ string) error { return onlyFor(call == "create", errNoAnswer) }}
	explains(t, Config{}, m, manyHosts(5), func(b *bench) {
		if e, text := b.about("h0.lab.example.com"); e.State != "withheld" || !strings.Contains(text, "has not answered since") {
			t.Errorf("it says %s", text)
		}
	})
	m = &memory{before: func(call, _ string) error { return onlyFor(call == "records", dns.ErrRefused) }}
	explains(t, Config{}, m, manyHosts(1), func(b *bench) {
		if e, text := b.about("h0.lab.example.com"); e.State != "unread" || !strings.Contains(text, "zone lab.example.com cannot be read") {
			t.Errorf("it says %s", text)
		}
	})
}

func TestListsForPeople(t *testing.T) {
	t.Parallel()
	m := &memory{}
	m.put("taken", "192.0.2.98")
	hosts := []string{"two 192.0.2.3", "two 192.0.2.33", "taken 192.0.2.2", "bad_name 192.0.2.5", "ok 127.0.0.1", "fails 192.0.2.6"}
	m.before = func(call, name string) error {
		return onlyFor(call == "create" && strings.HasPrefix(name, "fails"), dns.ErrRefused)
	}
	explains(t, Config{}, m, hosts, func(b *bench) {
		conflicts, total := b.r.Conflicts(10)
		if total != 2 || len(conflicts) != 2 || conflicts[0].Name != "taken.lab.example.com" || conflicts[1].Kind != Claimants || !conflicts[1].Raised {
			t.Errorf("%d conflicts: %+v", total, conflicts)
		}
		if conflicts, total = b.r.Conflicts(1); total != 2 || len(conflicts) != 1 {
			t.Errorf("cut after the first there are %d of %d conflicts", len(conflicts), total)
		}
		parked, total := b.r.Parked(10)
		if total != 3 || len(parked) != 3 || parked[0].Hostname != "bad_name" || parked[0].HostID != 4 || parked[1].Address.String() != "127.0.0.1" ||
			parked[2].Name != "fails.lab.example.com" || parked[2].Retry.IsZero() || parked[2].Detail == "" {
			t.Errorf("%d parked: %+v", total, parked)
		}
		for limit := range 3 {
			if parked, total = b.r.Parked(limit); total != 3 || len(parked) != limit {
				t.Errorf("cut after %d there are %d of %d parked", limit, len(parked), total)
			}
		}
		s := b.r.Status()
		if s.Conflicts != 2 || s.Parked["invalid_name"] != 1 || s.Failing != 1 || s.Names != 3 || s.Phase != "following the stream" || s.Policy != "sync" ||
			!s.CaughtUp || !s.InStep || len(s.Problems) != 0 || s.Records["A"]["missing"] == 0 || !s.LastCheck.Whole || s.Marks != "unknown" {
			t.Errorf("the status is %+v", s)
		}
	})
}

// History remembers the last of many names, and nothing of those before.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h history
	for i := range remembered + 10 {
		for range 2 {
			h.changed(fmt.Sprint(i), Step{Op: Create}, time.Now())
			h.failed(fmt.Sprint(i), dns.ErrRefused, time.Now(), 0)
		}
	}
	if len(h.changes) != remembered || len(h.recent) != remembered || len(h.failures) != explained {
		t.Errorf("%d changes, %d names, %d failures are kept", len(h.changes), len(h.recent), len(h.failures))
	}
	if _, kept := h.changes["9"]; kept {
		t.Error("the oldest is kept")
	}
	if _, kept := h.changes[fmt.Sprint(remembered+9)]; !kept {
		t.Error("the newest is not kept")
	}
}

// A host name that a whole site has, or that was updated again and again, must not
// make an answer of any length. Who asks for the name now is told first.
func TestExplainManyReservations(t *testing.T) {
	t.Parallel()
	var hosts []string
	for i := range 150 {
		hosts = append(hosts, fmt.Sprintf("crowded 192.0.2.%d", i+1))
	}
	explains(t, Config{}, &memory{}, hosts, func(b *bench) {
		for id := int64(1); id <= 90; id++ {
			b.gone(id)
		}
		e, _ := b.about("crowded.lab.example.com")
		if len(e.Claims) != 60 || len(e.Removed) != 40 || e.LeftOut != 50 {
			t.Errorf("%d claims, %d that are gone, %d left out", len(e.Claims), len(e.Removed), e.LeftOut)
		}
		for id := int64(1); id <= 90; id++ {
			b.put(id, fmt.Sprintf("crowded 192.0.2.%d", id))
		}
		e, _ = b.about("crowded.lab.example.com")
		if len(e.Claims) != 100 || e.LeftOut != 50 {
			t.Errorf("%d claims, %d left out", len(e.Claims), e.LeftOut)
		}
	})
}
