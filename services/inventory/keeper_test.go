package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
	"github.com/keastream/keastream/services/inventory/files"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestAFileThatFailsStopsNoOther gives one file a name that fits into a
// directory while its hidden twin does not, so that writing it fails for root
// too.
func TestAFileThatFailsStopsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	view := events.NewView()
	log := newJournal(t)
	k := &keeper{
		directory: dir, layout: cabinet.Both, view: view, absences: newAbsences(view, 0),
		metrics: newMetrics(prometheus.NewRegistry()), log: slog.New(log), alive: func() {},
		status: make(map[string]status), digests: make(map[string][32]byte),
	}
	d, err := files.Open(dir, files.Config{Ours: func([]byte) error { return nil }, Same: cabinet.Same})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, line, _ := cabinet.Patterns{}.Line(host(1, "us3-cab10-ru17-idrac"))
	want := func(site string) cabinet.Cabinet {
		return cabinet.Cabinet{Site: site, Cabinet: "cab10"}.With([]cabinet.Target{line}, []string{"us3"})
	}
	bad := want(strings.Repeat("x", 230))
	for range 2 {
		for _, c := range []cabinet.Cabinet{bad, want("us3")} {
			k.note(t.Context(), c.File(), k.file(t.Context(), d, c.File(), c))
		}
		k.publish(nil)
	}
	if got := k.status[cab10].state; got != current {
		t.Errorf("the other file is %q", got)
	}
	if got := k.status[bad.File()]; got.state != failed || !got.wanted || !strings.Contains(got.reason, "file name too long") {
		t.Errorf("the file that fails is %+v", got)
	}
	if n := log.count("ERROR inventory file is not up to date"); n != 1 {
		t.Errorf("the failure was logged %d times, want once", n)
	}
	r := k.last.Load()
	if err := r.failure(); err == nil || !strings.Contains(err.Error(), "1 inventory files") {
		t.Errorf("the report says %v", err)
	}
	if failures, writes := testutil.ToFloat64(k.metrics.failed), testutil.ToFloat64(k.metrics.written); failures != 2 || writes != 1 {
		t.Errorf("%v failures and %v writes are counted, want 2 and 1", failures, writes)
	}
	if _, err := os.Stat(filepath.Join(dir, bad.File())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file that fails is there: %v", err)
	}
	k.layout = "unknown" // and one that cannot even be made
	if got := k.file(t.Context(), d, cab11, want("us3")); got.state != failed {
		t.Errorf("a file that cannot be rendered is %+v", got)
	}
}
