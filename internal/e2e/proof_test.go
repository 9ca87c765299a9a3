package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// Without a publisher nothing is removed, whatever the stream looks like and
// whoever starts anew.
func TestWithoutAPublisherNothingIsRemoved(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{ExternalNATS: true})
	const rows = 6
	for i := range rows {
		exec1(t, s, insert(i+1, fmt.Sprintf("us3-cab%d-ru%d-idrac", 10+i%2, i+1)))
	}
	await(t, s.Checker())
	records, files := s.Sim.Records(solidsim.InternalServer), contents(t, s.OutputDir)
	must(t, s.Publisher.Stop())
	exec1(t, s, `DELETE FROM hosts WHERE host_id % 2 = 0`)
	s.Sim.ResetCalls()

	js, err := jetstream.New(s.NATS)
	must(t, err)
	stream, err := js.Stream(t.Context(), events.StreamName)
	must(t, err)
	purge := func(subject string) {
		must(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)))
	}
	for _, state := range []struct {
		title string
		make  func()
	}{
		{"as the publisher left it", func() {}},
		{"half of the rows", func() {
			for id := range int64(rows / 2) {
				purge(events.ReservationSubject(events.Key{Source: e2e.Database, HostID: id + 1}))
			}
		}},
		{"no heartbeat", func() { purge(events.SourceSubject(e2e.Database)) }},
		{"empty", func() { purge(events.AllSubjects) }},
		{"recreated", func() {
			config := stream.CachedInfo().Config
			must(t, js.DeleteStream(t.Context(), events.StreamName))
			stream, err = js.CreateStream(t.Context(), config)
			must(t, err)
		}},
		{"deleted", func() { must(t, js.DeleteStream(t.Context(), events.StreamName)) }},
	} {
		state.make()
		checks := logged(t, s.DNSWriter, checkComplete)
		for _, p := range []*e2e.Process{s.DNSWriter, s.Inventory} {
			must(t, p.Stop())
			must(t, p.Start())
		}
		if state.title != "deleted" { // then there is nothing to begin with
			awaitLines(t, s.DNSWriter, checkComplete, checks+1)
		}
		<-time.After(2500 * time.Millisecond) // the hold-down, and more
		if now := s.Sim.Records(solidsim.InternalServer); !slices.Equal(now, records) {
			t.Errorf("stream %s: DNS has %+v, want %+v", state.title, now, records)
		}
		if now := contents(t, s.OutputDir); !slices.Equal(now, files) {
			t.Errorf("stream %s: there are the files %q, want %q", state.title, now, files)
		}
	}
	if calls := s.Sim.Calls(); calls.Writes != 0 {
		t.Errorf("there were writes: %v", calls.ByService)
	}

	must(t, s.Publisher.Start())
	await(t, s.Checker())
}

// Two Keas hold the same reservation. When the word of one of them is lost from
// the stream, what it asked for stays.
func TestTheWordOfBothSourcesIsNeeded(t *testing.T) {
	t.Parallel()
	const other = "us4"
	s := start(t, e2e.Options{ExternalNATS: true})
	must(t, s.PG.CreateDatabase(t.Context(), other))
	second := publisherOf(t, s, other)
	exec1(t, s, insert(1, "us3-cab10-ru1-idrac"))
	exec1(t, s, insert(2, "us3-cab10-ru2-idrac"))
	conn, err := pgx.Connect(t.Context(), s.PG.DSN(other, pgtest.Kea))
	must(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), insert(1, "us3-cab10-ru1-idrac"))
	must(t, err)
	_, err = conn.Exec(t.Context(), insert(3, "us3-cab10-ru3-idrac"))
	must(t, err)
	awaitNames(t, s, namesOfHosts(1, 2, 3))
	awaitRecords(t, s, func(records []solidsim.Record) bool {
		return !slices.ContainsFunc(records, func(r solidsim.Record) bool {
			both := strings.Contains(r.ClassParameters, other) && strings.Contains(r.ClassParameters, e2e.Database)
			return !both && slices.Contains(namesOfHosts(1), r.Name)
		})
	})

	must(t, second.Stop())
	js, err := jetstream.New(s.NATS)
	must(t, err)
	stream, err := js.Stream(t.Context(), events.StreamName)
	must(t, err)
	for _, subject := range []string{events.ReservationsFilter(other), events.SourceSubject(other)} {
		must(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)))
	}
	must(t, s.DNSWriter.Stop())
	must(t, s.DNSWriter.Start())
	exec1(t, s, `DELETE FROM hosts`)
	// What the first Kea alone has asked for goes: so much is proved.
	want := namesOfHosts(1, 3)
	awaitNames(t, s, want)
	<-time.After(2500 * time.Millisecond) // the hold-down, and more
	if now := names(s); !slices.Equal(now, want) {
		t.Errorf("without the word of %s DNS has %q, want %q: it asked for them", other, now, want)
	}
}

// A publisher that is pointed at another, empty database must not say that all is
// gone.
func TestAnEmptyDatabaseRemovesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{ExternalNATS: true})
	exec1(t, s, insert(1, "us3-cab10-ru1-idrac"))
	exec1(t, s, insert(2, "us3-cab10-ru2-idrac"))
	await(t, s.Checker())
	must(t, s.Publisher.Stop())
	const empty = "empty"
	must(t, s.PG.CreateDatabase(t.Context(), empty))
	p := describePublisher(t, s, empty, e2e.Database)
	must(t, p.Start())
	awaitLines(t, p, "--accept-database", 1)
	must(t, s.DNSWriter.Stop())
	must(t, s.DNSWriter.Start())
	awaitLines(t, s.DNSWriter, checkComplete, 2)
	<-time.After(2500 * time.Millisecond)
	if now, want := names(s), namesOfHosts(1, 2); !slices.Equal(now, want) {
		t.Errorf("DNS has %q, want %q", now, want)
	}
	p.Kill()
	must(t, s.Publisher.Start())
	must(t, s.AwaitReady(t.Context()))
	await(t, s.Checker())
}

const checkComplete = "DNS consistency check complete"

// publisherOf starts a publisher of another database of the stack's server, as a
// source of that name.
func publisherOf(t *testing.T, s *e2e.Stack, database string) *e2e.Process {
	t.Helper()
	p := describePublisher(t, s, database, database)
	must(t, p.Start())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, p.AwaitReady(ctx))
	return p
}

// describePublisher installs the outbox in a database and lays down a publisher.
func describePublisher(t *testing.T, s *e2e.Stack, database, source string) *e2e.Process {
	t.Helper()
	program, dir := filepath.Join(bin, e2e.PublisherProgram), t.TempDir()
	settings := func(role string) (env []string) {
		cfg, err := pgx.ParseConfig(s.PG.DSN(database, role))
		must(t, err)
		return []string{
			"KEASTREAM_DB_HOST=" + cfg.Host, fmt.Sprintf("KEASTREAM_DB_PORT=%d", cfg.Port), "KEASTREAM_DB_NAME=" + database,
			"KEASTREAM_DB_USER=" + cfg.User, "KEASTREAM_DB_SSLMODE=disable", "KEA_DB_PASSWORD=" + cfg.Password,
		}
	}
	install := e2e.NewProcess("install", program, filepath.Join(dir, "install.log"), settings(pgtest.Superuser), "install", "--grant-to", pgtest.Kea)
	must(t, install.Start())
	if err := install.Wait(t.Context()); err != nil {
		t.Fatalf("install: %v\n%s", err, install.LogTail())
	}
	addr, err := e2e.FreeAddr()
	must(t, err)
	p := e2e.NewProcess("publisher of "+database, program, filepath.Join(dir, "publisher.log"), settings(pgtest.Kea),
		"run", "--source", source, "--http-addr", addr, "--nats-url", "nats://"+s.NATSAddr)
	p.HTTP = addr
	t.Cleanup(p.Kill)
	return p
}

// namesOfHosts returns the names that hosts made by insert have in DNS, ascending:
// those of an A and of a PTR record for each.
func namesOfHosts(hosts ...int) (all []string) {
	for _, id := range hosts {
		all = append(all, fmt.Sprintf("us3-cab10-ru%d-idrac.site.com", id), fmt.Sprintf("%d.0.0.10.in-addr.arpa", id))
	}
	slices.Sort(all)
	return all
}

// names returns the names of all records, ascending.
func names(s *e2e.Stack) (all []string) {
	for _, r := range s.Sim.Records(solidsim.InternalServer) {
		all = append(all, r.Name)
	}
	slices.Sort(all)
	return all
}

func awaitNames(t *testing.T, s *e2e.Stack, want []string) {
	t.Helper()
	awaitRecords(t, s, func([]solidsim.Record) bool { return slices.Equal(names(s), want) })
}

func awaitRecords(t *testing.T, s *e2e.Stack, done func([]solidsim.Record) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(s.Sim.Records(solidsim.InternalServer)); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute DNS has %+v", s.Sim.Records(solidsim.InternalServer))
		}
	}
}

// contents returns names and texts of all files.
func contents(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		all = append(all, e.Name()+": "+string(text))
	}
	return all
}

func logged(t *testing.T, p *e2e.Process, text string) int {
	t.Helper()
	log, err := os.ReadFile(p.LogFile)
	must(t, err)
	return strings.Count(string(log), text)
}

// awaitLines awaits that the log has a text n times.
func awaitLines(t *testing.T, p *e2e.Process, text string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); logged(t, p, text) < n; <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the log of %s does not have %q %d times:\n%s", p.Name, text, n, p.LogTail())
		}
	}
}
