package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/solidsim"
)

// A Kea is taken out of service as the README says, on the host that has
// nothing else: the database is gone, the stream was served by the publisher,
// and one consumer is down meanwhile.
func TestRetiredKeaLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, e2e.Options{})
	foreign := solidsim.Record{Name: "by-hand.site.com", Type: "A", Value: "10.0.0.1", TTL: 300}
	must(t, s.Sim.Add(solidsim.InternalServer, foreign))
	exec1(t, s, insert(1, "us3-cab10-ru1-idrac"))
	exec1(t, s, insert(2, "us3-cab11-ru2-ilo"))
	await(t, s.Checker(foreign))

	must(t, s.Inventory.Stop())
	must(t, s.Publisher.Stop())
	must(t, s.PG.Halt(pgtest.Immediate))
	retire := exec.CommandContext(t.Context(), filepath.Join(bin, e2e.PublisherProgram), "retire", "--source", e2e.Database,
		"--embedded-nats", "--nats-listen", s.NATSAddr, "--nats-store-dir", filepath.Join(filepath.Dir(s.OutputDir), "nats"))
	retire.Env = []string{"HOME=" + t.TempDir()}
	if out, err := retire.CombinedOutput(); err != nil {
		t.Fatalf("retire: %v\n%s", err, out)
	}
	must(t, s.Publisher.Start()) // it serves the stream
	must(t, s.Inventory.Start())

	for deadline := time.After(time.Minute); ; {
		records := s.Sim.Records(solidsim.InternalServer)
		files, err := os.ReadDir(s.OutputDir)
		must(t, err)
		if slices.Equal(records, []solidsim.Record{foreign}) && len(files) == 0 {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("after a minute there are the records %+v and the files %v", records, files)
		}
	}
}
