package solidserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

const (
	user, password = "ipmadmin", "correct horse battery staple"
	site           = "site.com"
	host           = "us3-cab10-ru20-idrac.site.com"
)

// start starts a simulator. At the end of the test no call may have had a
// parameter that the API does not know: a real appliance would ignore it
// without a word.
func start(t testing.TB, zones ...string) *solidsim.Sim {
	t.Helper()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{Zones: zones, Users: map[string]string{user: password}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
			t.Errorf("unknown parameters: %v", unknown)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

func source(text string) secrets.Source {
	return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
}

// open makes a client of the simulator, or of the Host in the config. Only what
// differs from the usual needs to be set.
func open(t testing.TB, sim *solidsim.Sim, cfg solidserver.Config) *solidserver.Client {
	t.Helper()
	if cfg.Host == "" {
		cfg.Host = sim.Addr()
	}
	if cfg.Username == nil {
		cfg.Username, cfg.Password = source(user), source(password)
	}
	if cfg.CAFile == "" && !cfg.Insecure {
		cfg.CAFile = write(t, sim.CAPEM())
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	client, err := solidserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// write writes a file and returns its path.
func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// scope is the internal DNS server of a simulator with the zone site.com.
func scope(t testing.TB) (*solidsim.Sim, *solidserver.Scope) {
	t.Helper()
	sim := start(t)
	return sim, open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
}

func record(name, value string) dns.Record {
	return dns.Record{Name: name, Type: dns.A, Value: value, TTL: 600}
}

func owner(ids ...int64) dns.Owner {
	var hosts []events.Key
	for _, id := range ids {
		hosts = append(hosts, events.Key{Source: "us3", HostID: id})
	}
	return dns.NewOwner(hosts...)
}

// create creates a row and returns it as it stands on the server.
func create(t testing.TB, s *solidserver.Scope, rec dns.Record, by dns.Owner) dns.Row {
	t.Helper()
	id, err := s.Create(t.Context(), site, rec, by, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range lookup(t, s, rec.Name) {
		if row.ID == id {
			return row
		}
	}
	t.Fatalf("row %s is not there", id)
	return dns.Row{}
}

func lookup(t testing.TB, s *solidserver.Scope, name string) []dns.Row {
	t.Helper()
	rows, err := s.Lookup(t.Context(), site, name)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// add puts a record into the internal DNS server as a person does.
func add(t testing.TB, sim *solidsim.Sim, r solidsim.Record) {
	t.Helper()
	if err := sim.Add(solidsim.InternalServer, r); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, sim *solidsim.Sim, r solidsim.Record) {
	t.Helper()
	if err := sim.Remove(solidsim.InternalServer, r); err != nil {
		t.Fatal(err)
	}
}

// stored is the only record of a name, as the simulator has it.
func stored(t testing.TB, sim *solidsim.Sim, name string) solidsim.Record {
	t.Helper()
	var found []solidsim.Record
	for _, r := range sim.Records(solidsim.InternalServer) {
		if r.Name == name {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d records: %v", name, len(found), found)
	}
	return found[0]
}

// fillZone puts n records into the zone of the internal server.
func fillZone(t testing.TB, sim *solidsim.Sim, n int) {
	t.Helper()
	for i := range n {
		add(t, sim, solidsim.Record{
			Name: fmt.Sprintf("h%d.site.com", i), Type: "A", Value: fmt.Sprintf("10.%d.%d.%d", i/62500, i/250%250, i%250), TTL: 600,
		})
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
