package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/verify"
	"github.com/keastream/keastream/solidsim"
)

const (
	host  = "us3-cab10-ru20-idrac.site.com"
	smart = "smart.site.com"
)

func record(value string) dns.Record {
	return dns.Record{Name: host, Type: dns.A, Value: value, TTL: 600}
}

func theirs(rec dns.Record) solidsim.Record {
	return solidsim.Record{Name: rec.Name, Type: string(rec.Type), Value: rec.Value, TTL: int(rec.TTL)}
}

// start starts a simulator with a SMART that has two members, each of which
// answers DNS.
func start(t *testing.T) *solidsim.Sim {
	t.Helper()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{Servers: []solidsim.Server{{
		Name: smart, Members: []string{"ns1.site.com", "ns2.site.com"},
		Zones: []solidsim.Zone{{Name: "site.com"}, {Name: "30.172.in-addr.arpa"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

func both(sim *solidsim.Sim) []string {
	return []string{sim.DNSAddr("ns1.site.com"), sim.DNSAddr("ns2.site.com")}
}

func add(t *testing.T, sim *solidsim.Sim, rec dns.Record) {
	t.Helper()
	if err := sim.Add(smart, theirs(rec)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, sim *solidsim.Sim, rec dns.Record) {
	t.Helper()
	if err := sim.Remove(smart, theirs(rec)); err != nil {
		t.Fatal(err)
	}
}

// run makes a Verifier that asks in quick succession, and runs it until the end of
// the test.
func run(t *testing.T, cfg verify.Config) *verify.Verifier {
	t.Helper()
	cfg.Scope = "internal"
	if cfg.Pause == 0 {
		cfg.Pause = time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	v := verify.New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return v
}

// await waits until the only change of a name is as it should be.
func await(t *testing.T, v *verify.Verifier, what string, as func(verify.State) bool) verify.State {
	t.Helper()
	for range time.Tick(2 * time.Millisecond) { // the limit is that of go test
		if states := v.State(host); len(states) == 1 && as(states[0]) {
			return states[0]
		}
		if err := t.Context().Err(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	panic("not reached")
}

func awaitStage(t *testing.T, v *verify.Verifier, stage verify.Stage) verify.State {
	t.Helper()
	return await(t, v, string(stage), func(s verify.State) bool { return s.Stage == stage })
}

// sample is the value of a counter or a gauge, or the count of a histogram, of the
// scope internal.
func sample(t *testing.T, from *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels strings.Builder
			for _, pair := range m.GetLabel() {
				if pair.GetName() != "scope" {
					labels.WriteString(pair.GetValue())
				} else if pair.GetValue() != "internal" {
					t.Errorf("%s is of scope %s", name, pair.GetValue())
				}
			}
			if family.GetName() == name && labels.String() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// From accepted by way of published to verified, with a time for each.
func TestStages(t *testing.T) {
	t.Parallel()
	sim := start(t)
	registry := prometheus.NewRegistry()
	v := run(t, verify.Config{Servers: both(sim), Metrics: verify.NewMetrics(registry)})
	rec, since := record("172.30.19.42"), time.Now().Add(-time.Second)
	add(t, sim, rec)

	v.Accepted(rec, false, since)
	if s := awaitStage(t, v, verify.Accepted); !s.Accepted.Equal(since) || !s.Asked.IsZero() || s.Record != rec {
		t.Errorf("accepted: %+v", s)
	}
	if n := sample(t, registry, "keastream_dns_verification_records", "accepted"); n != 1 {
		t.Errorf("%v are accepted", n)
	}
	v.Published(rec, false, since)
	s := awaitStage(t, v, verify.Verified)
	if s.Published.Before(since) || s.Verified.Before(s.Published) || s.Asked.IsZero() || s.Reason != "" || !s.Accepted.Equal(since) {
		t.Errorf("verified: %+v", s)
	}
	for name, want := range map[string]map[string]float64{
		"keastream_dns_verification_records":       {"accepted": 0, "published": 0, "verified": 1, "unverified": 0},
		"keastream_dns_verifications_total":        {"verified": 1, "unverified": 0},
		"keastream_dns_verification_answers_total": {"agrees": 2},
		"keastream_dns_verification_delay_seconds": {"": 1},
	} {
		for label, value := range want {
			if got := sample(t, registry, name, label); got != value {
				t.Errorf("%s %s is %v, want %v", name, label, got, value)
			}
		}
	}
	v.Published(rec, false, since) // told again
	if got := v.State(host)[0]; got.Stage != verify.Verified {
		t.Errorf("told again: %+v", got)
	}
}

// A push that comes late is waited for; one that does not come makes a change
// unverified, and one that comes after all makes it verified. One of two servers
// is not enough.
func TestLatePushes(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone=%t", gone), func(t *testing.T) {
			t.Parallel()
			sim := start(t)
			rec := record("172.30.19.42")
			if gone {
				add(t, sim, rec)
			}
			if err := sim.HoldPushes("ns2.site.com"); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			registry := prometheus.NewRegistry()
			v := run(t, verify.Config{
				Servers: both(sim), Deadline: 300 * time.Millisecond, Metrics: verify.NewMetrics(registry),
				Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			want := "NXDOMAIN"
			if gone {
				remove(t, sim, rec)
				want = "still answers with 172.30.19.42"
			} else {
				add(t, sim, rec)
			}
			v.Published(rec, gone, time.Now())
			await(t, v, "asked", func(s verify.State) bool { return s.Stage == verify.Published && s.Reason != "" })
			s := awaitStage(t, v, verify.Unverified)
			if !strings.HasPrefix(s.Reason, sim.DNSAddr("ns2.site.com")+": ") || !strings.Contains(s.Reason, want) || strings.Contains(s.Reason, "; ") {
				t.Errorf("the reason is %s", s.Reason)
			}
			if s.Gone != gone || !s.Verified.IsZero() {
				t.Errorf("unverified: %+v", s)
			}
			if err := sim.ReleasePushes("ns2.site.com"); err != nil {
				t.Fatal(err)
			}
			if s := awaitStage(t, v, verify.Verified); s.Reason != "" || s.Verified.IsZero() {
				t.Errorf("verified: %+v", s)
			}
			if n := sample(t, registry, "keastream_dns_verifications_total", "unverified"); n != 1 {
				t.Errorf("%v became unverified", n)
			}
			if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "level=INFO") != 1 {
				t.Errorf("the log is:\n%s", text)
			}
		})
	}
}

// lockedBuffer keeps what is logged.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// All types, as the name server of the appliance has them.
func TestTypes(t *testing.T) {
	t.Parallel()
	sim := start(t)
	v := run(t, verify.Config{Servers: both(sim)})
	for _, rec := range []dns.Record{
		record("172.30.19.42"),
		{Name: host, Type: dns.AAAA, Value: "2001:db8::10", TTL: 600},
		{Name: "42.19.30.172.in-addr.arpa", Type: dns.PTR, Value: host, TTL: 600},
		{Name: "alias.site.com", Type: dns.CNAME, Value: host, TTL: 600},
	} {
		add(t, sim, rec)
		v.Published(rec, false, time.Now())
	}
	for range time.Tick(2 * time.Millisecond) {
		if v.Counts()[verify.Verified] == 4 {
			return
		}
		if err := t.Context().Err(); err != nil {
			t.Fatalf("%v: %v", v.Counts(), err)
		}
	}
}

// An answer that does not fit is asked for by TCP.
func TestAnswersByTCP(t *testing.T) {
	t.Parallel()
	sim := start(t)
	v := run(t, verify.Config{Servers: both(sim)})
	var rec dns.Record
	for i := range 200 {
		rec = record(fmt.Sprintf("172.30.20.%d", i+1))
		add(t, sim, rec)
	}
	v.Published(rec, false, time.Now())
	awaitStage(t, v, verify.Verified)
}

// A newer change takes the place of an older one, also while that is asked for, and
// an older one that is told late changes nothing.
func TestNewerChanges(t *testing.T) {
	t.Parallel()
	sim := start(t)
	v := run(t, verify.Config{Servers: both(sim)})
	rec, now := record("172.30.19.42"), time.Now()
	v.Published(rec, false, now) // is not there, and will not be
	await(t, v, "asked", func(s verify.State) bool { return s.Reason != "" })
	v.Accepted(rec, true, now.Add(time.Second))
	if s := v.State(host)[0]; !s.Gone || s.Stage != verify.Accepted || s.Reason != "" {
		t.Errorf("the newer change: %+v", s)
	}
	v.Published(rec, false, now)
	if s := v.State(host)[0]; !s.Gone || s.Stage != verify.Accepted {
		t.Errorf("after an older one: %+v", s)
	}
	v.Published(rec, true, now.Add(time.Second))
	if s := awaitStage(t, v, verify.Verified); !s.Gone {
		t.Errorf("verified: %+v", s)
	}
}

// What is remembered is bounded: verified changes go first, then those that nobody
// is asked for; a new one does not take the place of one that is asked for.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	v := verify.New(verify.Config{Scope: "internal", Keep: 2, Metrics: verify.NewMetrics(registry)}) // nobody asks
	name := func(i int) dns.Record {
		return dns.Record{Name: fmt.Sprintf("h%d.site.com", i), Type: dns.A, Value: "10.0.0.1", TTL: 600}
	}
	for i := range 4 {
		v.Accepted(name(i), false, time.Now())
	}
	if len(v.State("h1.site.com")) != 0 || len(v.State("h2.site.com")) != 1 || len(v.State("h3.site.com")) != 1 {
		t.Errorf("the oldest ones were not forgotten: %v", v.Counts())
	}
	v.Published(name(3), false, v.State("h3.site.com")[0].Accepted)
	v.Published(name(4), false, time.Now()) // takes the place of 2
	v.Published(name(5), false, time.Now()) // there is no room
	if len(v.State("h2.site.com")) != 0 || len(v.State("h5.site.com")) != 0 || v.Counts()[verify.Published] != 2 {
		t.Errorf("what is asked for: %v", v.Counts())
	}
	if n := sample(t, registry, "keastream_dns_verifications_dropped_total", ""); n != 4 {
		t.Errorf("%v were dropped", n)
	}
	if n := sample(t, registry, "keastream_dns_verification_records", "published"); n != 2 {
		t.Errorf("%v are published", n)
	}
}

func TestVerifiedChangesAreForgottenFirst(t *testing.T) {
	t.Parallel()
	sim := start(t)
	registry := prometheus.NewRegistry()
	v := run(t, verify.Config{Servers: both(sim), Keep: 2, Metrics: verify.NewMetrics(registry)})
	older := dns.Record{Name: "older.site.com", Type: dns.A, Value: "10.0.0.1"}
	v.Accepted(older, false, time.Now())
	rec := record("172.30.19.42")
	add(t, sim, rec)
	v.Published(rec, false, time.Now())
	awaitStage(t, v, verify.Verified)
	v.Accepted(dns.Record{Name: "newer.site.com", Type: dns.A, Value: "10.0.0.1"}, false, time.Now())
	if len(v.State(older.Name)) != 1 || len(v.State(host)) != 0 {
		t.Errorf("%v", v.Counts())
	}
	if n := sample(t, registry, "keastream_dns_verifications_dropped_total", ""); n != 0 {
		t.Errorf("%v were dropped", n)
	}
}

// A scope without --verify-dns has a Verifier that is nil.
func TestNoVerifier(t *testing.T) {
	t.Parallel()
	var v *verify.Verifier
	v.Accepted(record("10.0.0.1"), false, time.Now())
	v.Published(record("10.0.0.1"), false, time.Now())
	if states := v.State(host); states != nil || len(v.Counts()) != 0 {
		t.Errorf("it knows %v", states)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Run(ctx); err != nil {
		t.Error(err)
	}
}
