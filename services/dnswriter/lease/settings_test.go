package lease_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/lease"
)

func TestNoLease(t *testing.T) {
	t.Parallel()
	var none *lease.Lease
	if !none.Held(time.Hour) {
		t.Error("not held")
	}
	if name, mine := none.Holder(); name != "" || !mine {
		t.Errorf("held by %q, by this one: %v", name, mine)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running conc.WaitGroup
	running.Go(func() {
		if err := none.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	calls := 0
	none.Lead(ctx, func(context.Context) {
		calls++
		cancel()
	})
	running.Wait()
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, cfg := range []lease.Config{
		{Name: ""}, {Name: "A"}, {Name: "a.b"}, {Name: "a b"}, {Name: strings.Repeat("a", 65)},
		{Name: "a", Term: time.Second, Renew: time.Second}, {Name: "a", Renew: -time.Second},
	} {
		if err := lease.New(cfg).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "give ") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	for _, name := range []string{"a", "default", "site_a-1", strings.Repeat("a", 64)} {
		if err := lease.CheckName(name); err != nil {
			t.Error(err)
		}
	}
}

func TestAutoName(t *testing.T) {
	t.Parallel()
	// Fixed: two versions of the program have to find each other.
	if got, want := lease.AutoName("sds.example.com", "internal"), "auto-8258d1394b58"; got != want {
		t.Errorf("name %s, want %s", got, want)
	}
	seen := map[string][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"a"}, {"a", "b"}, {"ab"}, {"b", "a"}, {"a", "b", ""}, {"1:a"}, {"a1:b"}} {
		name := lease.AutoName(parts...)
		if err := lease.CheckName(name); err != nil {
			t.Error(err)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q have the same name", parts, other)
		}
		seen[name] = parts
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	srv := start(t)
	c := contend(t, srv.Connect(), time.Hour)
	await(t, "it leads", c.holds)
	want := `# HELP keastream_dns_lease_held 1 if this process holds the lease and writes to DNS, 0 if it stands by.
# TYPE keastream_dns_lease_held gauge
keastream_dns_lease_held{lease="default"} 1
# HELP keastream_dns_lease_transitions_total Changes of whether this process holds the lease, by what they led to: held, lost, given_back.
# TYPE keastream_dns_lease_transitions_total counter
keastream_dns_lease_transitions_total{lease="default",to="given_back"} 0
keastream_dns_lease_transitions_total{lease="default",to="held"} 1
keastream_dns_lease_transitions_total{lease="default",to="lost"} 0
`
	if err := testutil.GatherAndCompare(c.metrics, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
