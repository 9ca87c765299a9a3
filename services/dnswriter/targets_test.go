package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/dnswriter/brake"
)

// Two SOLIDservers are kept in step over one NATS, with the same scope and the same
// records. What is withheld of one is approved by its own list, and that alone.
func TestTwoTargetsOnOneNATS(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	other.nats, other.url, other.src = w.nats, w.url, w.src
	hosts, ids := rack(1, 10)
	w.src.Put(hosts...)
	w.src.Beat(time.Second)
	settings := []string{"--hold-down", "1s", "--max-removals", "2,10%,200"}
	worlds := []*world{w, other}
	var services []*service
	for _, w := range worlds {
		services = append(services, w.start(settings...))
	}
	for _, s := range services {
		s.checked(1)
	}
	w.src.Delete(ids[:6]...)
	var hashes []string
	for i, w := range worlds {
		w.beating("it is withheld", func() bool {
			_, body := services[i].get("/readyz")
			return strings.Contains(body, "6 names are withheld")
		})
		_, planned := w.call("plan", settings...)
		hashes = append(hashes, hash(t, planned))
		if _, body := services[i].get("/api/v1/withheld"); !strings.Contains(body, hashes[i]) || !strings.Contains(body, w.sim.Addr()) {
			t.Errorf("plan has another list than the dnswriter, %s: %s", hashes[i], body)
		}
	}
	for i, w := range worlds {
		code, output := w.approve(hashes[i])
		if code != daemon.ExitOK {
			t.Errorf("the exit code of approve is %d", code)
		}
		says(t, output, "of scope internal: removal of 6 names", "server dns-internal-smart.site.com of "+w.sim.Addr()+", zones site.com, withheld for ")
		w.beating("they are gone", func() bool { return w.names() == 4 })
		w.await("it is ready again", func() bool { status, _ := services[i].get("/readyz"); return status == http.StatusOK })
		if i == 0 && other.names() != 10 {
			t.Errorf("%d names are left on the other one", other.names())
		}
	}
}

// The documents of the brake belong to what is written and for which reservations;
// all verbs find the same ones.
func TestNamesOfDocuments(t *testing.T) {
	t.Parallel()
	of := func(change func(*sight)) brake.Config {
		var s sight
		s.Appliance.Host, s.Appliance.Username = "SDS.site.com", "secretive"
		s.Target.Scopes = []string{"internal"}
		s.Placing.Zones = []string{"site.com", "lab.site.com"}
		s.Filter.Subnets = []string{"7", "8"}
		change(&s)
		return s.braked("internal", brake.Config{Limit: brake.Limit{Max: 7}})
	}
	usual := of(func(*sight) {})
	if !strings.HasPrefix(usual.Key, "internal-") || usual.Limit.Max != 7 {
		t.Errorf("the settings are %+v", usual)
	}
	if want := "server dns-internal-smart.site.com of sds.site.com, zones lab.site.com site.com, subnets 7 8"; usual.Target != want {
		t.Errorf("the target is %q, want %q", usual.Target, want)
	}
	for what, change := range map[string]func(*sight){
		"another host":    func(s *sight) { s.Appliance.Host = "other.site.com" },
		"another port":    func(s *sight) { s.Appliance.Host = "sds.site.com:8443" },
		"another server":  func(s *sight) { s.Target.Names.Servers = []string{"internal=other"} },
		"another view":    func(s *sight) { s.Target.Names.Views = []string{"internal=in"} },
		"another zone":    func(s *sight) { s.Placing.Zones = []string{"site.com"} },
		"another subnet":  func(s *sight) { s.Filter.Subnets = []string{"7"} },
		"another pattern": func(s *sight) { s.Filter.Patterns = []string{"^a"} },
	} {
		if of(change).Key == usual.Key {
			t.Errorf("with %s the documents are the same", what)
		}
	}
	for what, change := range map[string]func(*sight){
		"spelling": func(s *sight) { s.Appliance.Host = "https://sds.site.com:443/" },
		"order":    func(s *sight) { s.Filter.Subnets = []string{"8", "7", "8"} },
		"scopes":   func(s *sight) { s.Target.Scopes = []string{"external", "internal"} },
		"default":  func(s *sight) { s.Target.Names.Servers = []string{"internal=dns-internal-smart.site.com"} },
		"user":     func(s *sight) { s.Appliance.Username = "another" },
	} {
		if got := of(change); got.Key != usual.Key || got.Target != usual.Target {
			t.Errorf("with another %s the documents are others", what)
		}
	}
	long := of(func(s *sight) { s.Filter.Patterns = []string{strings.Repeat("ä", 10000)} })
	if len(long.Target) > 700 || !strings.HasSuffix(long.Target, "…") {
		t.Errorf("the target has %d bytes", len(long.Target))
	}
}
