package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/inventory/cabinet"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	cab10 = "us3-cab10-discovery.yml"
	cab11 = "us3-cab11-discovery.yml"
	cab99 = "us3-cab99-discovery.yml"
)

// fixture is a stream with a source, and an empty directory.
type fixture struct {
	server *eventstest.Server
	url    string
	src    *eventstest.Source
	dir    string
}

func newFixture(t testing.TB) fixture {
	t.Helper()
	server := eventstest.Start(t)
	return fixture{server: server, url: server.URL(), src: eventstest.NewSource(t, server.Connect(), "us3"), dir: t.TempDir()}
}

// lose deletes the stream, as a server does that loses its disk.
func (f fixture) lose(t testing.TB) {
	t.Helper()
	js, err := jetstream.New(f.server.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), events.StreamName); err != nil {
		t.Fatal(err)
	}
}

// barrier returns when the service has worked off everything that was published
// before, and everything that follows from it: rounds come one after the other.
func (s *service) barrier(src *eventstest.Source, id int64) {
	s.t.Helper()
	src.Put(host(id, "us3-cab99-svr01-bmc"))
	s.beat(src, time.Millisecond)
	s.await("the barrier stands in its file", func() bool {
		return slices.Contains(s.hosts(cab99), strings.TrimPrefix(lineOf(host(id, "us3-cab99-svr01-bmc")), "192.0.2."))
	})
}

func lineOf(r events.Reservation) string {
	return r.Hostname + " " + strings.TrimPrefix(r.IP.String(), "192.0.2.")
}

// checkAll compares the whole directory with what follows from reservations.
func (s *service) checkAll(rs ...events.Reservation) {
	s.t.Helper()
	want := make(map[string][]byte)
	for name, c := range (cabinet.Patterns{}).Group(events.Current(rs)).Cabinets {
		data, err := cabinet.Both.Render(c, time.Time{})
		if err != nil {
			s.t.Fatal(err)
		}
		want[name] = data
	}
	there, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range there {
		names = append(names, e.Name())
		data, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		if !cabinet.Same(data, want[e.Name()]) {
			s.t.Errorf("%s holds\n%s\nwant\n%s", e.Name(), data, want[e.Name()])
		}
	}
	if !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
		s.t.Errorf("the files are %q, want %q", names, slices.Sorted(maps.Keys(want)))
	}
}

func TestFilesFollowReservations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	// Insert, change of the address, rename: each at once.
	f.src.Put(host(3, "us3-cab10-ru38-bmc"))
	s.awaitHosts(cab10, "us3-cab10-ru38-bmc 3", "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	f.src.Put(hostAt(3, "us3-cab10-ru38-bmc", 33))
	s.awaitHosts(cab10, "us3-cab10-ru38-bmc 33", "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	f.src.Put(hostAt(3, "us3-cab10-ru1-bmc", 33))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 33")

	// A move: the new line at once, the old one goes with the proof.
	f.src.Put(host(2, "us3-cab11-ru5-ilo"))
	s.awaitHosts(cab11, "us3-cab11-ru5-ilo 2")
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, 9*time.Second)
	s.barrier(f.src, 101)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 33")
	s.beat(f.src, time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru1-bmc 33")
	if n := s.log.count("INFO wrote inventory file", cab10, "removed_names=[us3-cab10-ru7-9-ilo 192.0.2.2]"); n != 1 {
		t.Errorf("the removed line was named %d times", n)
	}

	// The last line takes the file with it.
	f.src.Delete(2)
	s.awaitLog(1, "wait for the proof", cab11, "withheld=1")
	s.beat(f.src, time.Second, 10*time.Second)
	s.awaitHosts(cab11)
	s.awaitLog(1, "INFO removed inventory file", cab11, "removed_names=[us3-cab11-ru5-ilo 192.0.2.2]")
	s.checkAll(host(1, "us3-cab10-ru17-idrac"), hostAt(3, "us3-cab10-ru1-bmc", 33), host(101, "us3-cab99-svr01-bmc"))
}

func TestARestartTouchesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rs := []events.Reservation{host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab11-ru7-9-ilo"), host(3, "dv-cab1-svr1")}
	f.src.Put(rs...)
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts("dv-cab1-discovery.yml", "dv-cab1-svr1 3")
	s.awaitHosts(cab11, "us3-cab11-ru7-9-ilo 2")
	s.stop()
	s.checkAll(rs...)
	before := make(map[string]fs.FileInfo)
	for _, name := range []string{".", cab10, cab11, "dv-cab1-discovery.yml"} {
		info, err := os.Stat(filepath.Join(f.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = info
	}

	s = start(t, f.url, f.dir, nil)
	s.awaitLog(1, "DEBUG heartbeat")
	f.src.Epoch = "epoch-2" // has the stream read again, and all files looked at
	s.beat(f.src, time.Second)
	s.awaitLog(2, "looked at inventory files", "all=true")
	s.checkAll(rs...)
	for name, was := range before {
		is, err := os.Stat(filepath.Join(f.dir, name))
		if err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
			t.Errorf("%s was touched (%v)", name, err)
		}
	}
	if n := s.log.count("INFO wrote") + s.log.count("INFO removed"); n != 0 {
		t.Errorf("the second run changed %d files", n)
	}
}

func TestHandEditsAreRepaired(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rs := []events.Reservation{host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab11-ru7-9-ilo")}
	f.src.Put(rs...)
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.awaitHosts(cab11, "us3-cab11-ru7-9-ilo 2")
	path := filepath.Join(f.dir, cab10)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := "# by hand\n" + strings.Replace(string(data), "Dell", "HP", 1)
	if err := errors.Join(os.WriteFile(path, []byte(edited), 0o600), os.Remove(filepath.Join(f.dir, cab11))); err != nil {
		t.Fatal(err)
	}
	f.src.Epoch = "epoch-2" // has the stream read again, and all files looked at
	s.beat(f.src, time.Second)
	s.awaitLog(1, "WARN somebody changed an inventory file", cab10)
	s.awaitLog(1, "WARN somebody removed an inventory file", cab11)
	s.awaitLog(2, "INFO wrote inventory file", cab11)
	s.checkAll(rs...)
}

func TestNothingHappensWithoutAStream(t *testing.T) {
	t.Parallel()
	server := eventstest.Start(t)
	dir := t.TempDir()
	path := filepath.Join(dir, cab10)
	const text = "bmc_targets: []\nmetadata:\n  source: keastream\n"
	leftover := filepath.Join(dir, "."+cab10+"."+strings.Repeat("A", 26))
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(leftover, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s := start(t, server.URL(), dir, func(v *runVerb) { v.HoldDown = 0 })
	s.awaitLog(2, "reading the stream again")
	if code, text := s.get("/readyz"); code != 503 || !strings.Contains(text, "has not been read to its end") || !strings.Contains(text, "not been looked at") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if code, text := s.get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if _, err := os.Stat(leftover); err != nil {
		t.Errorf("something was done before the view was full: %v", err)
	}

	// An empty stream proves nothing. With the first word of a source the empty
	// file's hold-down begins.
	src := eventstest.NewSource(t, server.Connect(), "us3")
	s.awaitLog(1, "looked at inventory files", "all=true")
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover of a crash is there still: %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != text {
		t.Errorf("the file is %q, %v", data, err)
	}
	s.beat(src, time.Second)
	s.awaitLog(2, "looked at inventory files", "all=true")
	s.beat(src, time.Second)
	s.await("the file is gone", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
	if code, text := s.get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, text)
	}
}

func TestAServerThatWasAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")
	f.server.Stop()
	s.awaitLog(1, "WARN nats disconnected")
	if code, text := s.get("/readyz"); code != 503 || !strings.Contains(text, "not connected to NATS") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	f.server.Resume()
	f.src = eventstest.NewSource(t, f.server.Connect(), "us3")
	f.src.Now = f.src.Now.Add(time.Hour)
	f.src.Delete(2)
	f.src.Put(host(3, "us3-cab10-ru1-bmc"))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 3")
	s.beat(f.src, time.Second, time.Second, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru1-bmc 3")
}

func TestADirectoryThatIsNotThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"))
	f.src.Beat(time.Second)
	s := start(t, f.url, filepath.Join(f.dir, "later"), nil)
	s.awaitLog(1, "ERROR the directory of the inventory files cannot be used", "no such file or directory")
	if code, text := s.get("/readyz"); code != 503 || !strings.Contains(text, "no such file or directory") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f.src.Put(host(2, "us3-cab10-ru2-bmc"))
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru2-bmc 2")
}

func TestNamesWithoutAPlace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-{{x}}"), host(3, "web1"), host(4, "web2"), host(5, ""), host(7, "us3 cab10"))
	f.src.Beat(time.Second)
	s := start(t, f.url, f.dir, nil)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.barrier(f.src, 101)
	if n := s.log.count("WARN reserved names stand in no", "template", "{{x}}"); n != 1 {
		t.Errorf("the name that is a template was reported %d times", n)
	}
	if n := s.log.count("INFO reserved names stand in no", "no_pattern", "count=2", "web1", "web2"); n != 1 {
		t.Errorf("the names without a place were reported %d times", n)
	}
	f.src.Put(host(6, "web3"))
	s.awaitLog(1, "INFO reserved names stand in no", "no_pattern", "count=1", "names=[web3]")
	s.awaitLog(3, "looked at inventory files")
	s.await("the metrics show it", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, `keastream_inventory_unplaced_hostnames{reason="no_pattern"} 3`) &&
			strings.Contains(text, `keastream_inventory_unplaced_hostnames{reason="template"} 1`) &&
			strings.Contains(text, `keastream_inventory_unplaced_hostnames{reason="not_a_hostname"} 1`) &&
			strings.Contains(text, `keastream_inventory_hosts 2`) && strings.Contains(text, `keastream_inventory_writes_total{result="written"} 2`)
	})
}

func TestOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	f.src.Beat(time.Second)
	run := func(change func(*runVerb)) (*service, error) {
		s := start(t, f.url, f.dir, func(v *runVerb) {
			v.Once, v.OnceWait = true, time.Minute
			if change != nil {
				change(v)
			}
		})
		return s, <-s.ended
	}

	s, err := run(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.checkAll(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))

	// Nobody gives a proof: what is to be added is there, what is to go too.
	f.src.Delete(2)
	f.src.Put(host(3, "us3-cab10-ru1-bmc"))
	f.src.BeatAs(events.Heartbeat{Complete: false})
	s, err = run(func(v *runVerb) { v.HoldDown, v.OnceWait = 0, time.Second })
	if !errors.Is(err, daemon.ErrDifference) || !strings.Contains(err.Error(), `1 lines in 1 files`) || !strings.Contains(err.Error(), `["us3"]`) {
		t.Errorf("with a removal withheld it ends with %v", err)
	}
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 3")

	// It waits for the proof.
	s = start(t, f.url, f.dir, func(v *runVerb) { v.Once, v.OnceWait = true, time.Minute })
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, 10*time.Second)
	if err := <-s.ended; err != nil {
		t.Errorf("with the proof it ends with %v", err)
	}
	s.checkAll(host(1, "us3-cab10-ru17-idrac"), host(3, "us3-cab10-ru1-bmc"))

	// In the way: a directory, which stops no other file.
	f.src.Put(host(4, "us3-cab11-ru1-bmc"), host(5, "us3-cab99-ru1-bmc"))
	f.src.Beat(time.Second)
	if err := os.Mkdir(filepath.Join(f.dir, cab11), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err = run(nil)
	if !errors.Is(err, daemon.ErrDifference) || !strings.Contains(err.Error(), cab11) {
		t.Errorf("with a directory in the place of a file it ends with %v", err)
	}
	s.awaitHosts(cab99, "us3-cab99-ru1-bmc 5")

	if _, err := run(func(v *runVerb) { v.OutputDir = filepath.Join(f.dir, "nowhere") }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory it ends with %v", err)
	}
	f.server.Stop()
	if _, err := run(func(v *runVerb) { v.HoldDown, v.OnceWait = 0, time.Second }); err == nil || errors.Is(err, daemon.ErrDifference) || errors.Is(err, daemon.ErrDone) {
		t.Errorf("without a server it ends with %v", err)
	}
}
