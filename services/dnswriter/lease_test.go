package main

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/lease"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/solidsim"
)

// leads tells whether an instance holds the lease.
func (s *service) leads() bool {
	s.w.t.Helper()
	_, body := s.get("/api/v1/status")
	var answer statusAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		s.w.t.Fatalf("%v: %s", err, body)
	}
	return answer.Lease.Leads
}

// Of two instances one writes; the other one is ready, says who works, and goes on
// when the first one ends.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	one := w.start("--hold-down", "1s")
	one.checked(1)
	two := w.start("--hold-down", "1s")
	w.await("the second one stands by", func() bool { status, _ := two.get("/readyz"); return status == 200 })
	if !one.leads() || two.leads() {
		t.Errorf("the first one leads: %v, the second one: %v", one.leads(), two.leads())
	}
	if code, output := two.ask("a"); code != 0 || !strings.Contains(output, "this instance stands by") {
		t.Errorf("the standby explains, exit code %d: %s", code, output)
	}
	one.stop()
	w.await("the second one leads", two.leads)
	w.src.Put(host(2, "b", "192.0.2.2"))
	w.awaitRecord("b", "192.0.2.2")
	if _, output := two.ask("a"); !strings.Contains(output, "in step") {
		t.Errorf("the new leader explains: %s", output)
	}
}

// A change whose reading takes longer than the lease is still held for is not sent,
// and that is no failure. It is made when the lease is held again.
func TestReadingOutlastsTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	s.quiet()
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once onlyOnce
	w.sim.SetFaults(func(ctx context.Context, c solidsim.Call) solidsim.Fault {
		if c.Service == "dns_rr_list" && once.first() {
			close(reading)
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
		return solidsim.Fault{}
	})
	w.src.Put(host(1, "a", "192.0.2.2"))
	<-reading
	w.nats.Stop() // the lease cannot be renewed
	w.await("too little is left of the lease", func() bool {
		_, output := s.ask("a")
		return strings.Contains(output, "the lease is not held for long enough")
	})
	writes, calls := w.sim.Calls().Writes, s.log.count("solidserver call")
	close(goOn)
	w.await("it was read", func() bool { return s.log.count("solidserver call") > calls })
	if _, output := s.ask("a"); !strings.Contains(output, "the lease is not held for long enough") {
		t.Errorf("what is not sent is explained: %s", output)
	}
	if n := w.sim.Calls().Writes - writes; n != 0 || len(w.values("a")) != 1 || w.values("a")[0] != "192.0.2.1" {
		t.Errorf("%d changes were sent, and the name has %v", n, w.values("a"))
	}
	w.nats.Resume()
	w.awaitRecord("a", "192.0.2.2")
	if n := s.log.count("dns change failed") + s.log.count("the dns server does not answer"); n != 0 {
		t.Errorf("%d failures are told", n)
	}
}

// Who does not know the reservations leaves the lease to those who do.
func TestNoLeaseBeforeTheStreamIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	zones, err := dns.ParseZones([]string{"site.com"})
	if err != nil {
		t.Fatal(err)
	}
	behind := scopes{newScope(reconcile.Config{View: events.NewView(), Zones: zones}, brake.Config{})}
	contend := func(run func(context.Context, *lease.Lease) error) (*lease.Lease, func()) {
		l := lease.New(lease.Config{Bucket: bucket.New(w.nats.Connect()), Name: "default", Term: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		var running conc.WaitGroup
		running.Go(func() {
			if err := run(ctx, l); err != nil {
				t.Error(err)
			}
		})
		end := sync.OnceFunc(func() { cancel(); running.Wait() })
		t.Cleanup(end)
		return l, end
	}
	first, _ := contend(behind.compete)
	second, end := contend(func(ctx context.Context, l *lease.Lease) error { return l.Run(ctx) })
	w.await("who can work holds the lease", func() bool { return second.Held(0) })
	if first.Held(0) {
		t.Error("who has not read the stream holds the lease")
	}
	behind[0].Handlers().CaughtUp()
	end()
	w.await("it is held by the other one once the stream is read", func() bool { return first.Held(0) })
}

// Instances take turns only if they write the same records of the same
// reservations, and never to observe or for a single check.
func TestLeaseNames(t *testing.T) {
	t.Parallel()
	of := func(change func(*runVerb)) string {
		v := runVerb{Lease: auto}
		v.Sight.Appliance.Host = "SDS.site.com"
		v.Sight.Target.Scopes = []string{"internal"}
		v.Sight.Placing.Zones = []string{"site.com"}
		change(&v)
		return v.leaseName()
	}
	usual := of(func(*runVerb) {})
	if err := lease.CheckName(usual); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*runVerb){
		"another host":   func(v *runVerb) { v.Sight.Appliance.Host = "other.site.com" },
		"another scope":  func(v *runVerb) { v.Sight.Target.Scopes = []string{"external"} },
		"another server": func(v *runVerb) { v.Sight.Target.Names.Servers = []string{"internal=other"} },
		"another view":   func(v *runVerb) { v.Sight.Target.Names.Views = []string{"internal=in"} },
		"another zone":   func(v *runVerb) { v.Sight.Placing.Zones = []string{"lab.site.com"} },
		"another filter": func(v *runVerb) { v.Sight.Filter.Subnets = []string{"7"} },
	} {
		if of(change) == usual {
			t.Errorf("with %s the lease is the same", what)
		}
	}
	if of(func(v *runVerb) { v.Sight.Appliance.Host = "sds.site.com"; v.Workers = 3 }) != usual {
		t.Error("what does not matter makes another lease")
	}
	for what, v := range map[string]runVerb{
		"off":     {Lease: off},
		"once":    {Lease: auto, Once: true},
		"observe": {Lease: auto, Caution: caution{Policy: "observe"}},
	} {
		if v.newLease(nil, nil) != nil {
			t.Errorf("with %s there is a lease", what)
		}
	}
}
