package soak_test

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/internal/soak"
)

var (
	length = flag.Duration("soak", 15*time.Second, "how long new rounds of faults begin")
	seed   = flag.Uint64("seed", 1, "what happens; 0 takes one by chance")
	sweep  = flag.Duration("sweep", 0, "time between two checks of the DNS writer; 0 lets the seed choose")
	form   = flag.String("form", "", "where NATS is: single, cluster or embedded; empty lets the seed choose")
)

// programs are the files that TestMain builds.
var programs struct{ publisher, dnswriter, natsServer string }

// interrupted ends with SIGINT and SIGTERM, so that a soak can clean up.
var interrupted context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	interrupted = ctx
	dir, err := os.MkdirTemp("", "keastream-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs.publisher, programs.dnswriter = filepath.Join(dir, "keastream-publisher"), filepath.Join(dir, "keastream-dnswriter")
	programs.natsServer = filepath.Join(dir, "nats-server")
	for file, pkg := range map[string]string{
		programs.publisher:  "github.com/keastream/keastream/services/publisher",
		programs.dnswriter:  "github.com/keastream/keastream/services/dnswriter",
		programs.natsServer: "github.com/nats-io/nats-server/v2",
	} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", file, pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", pkg, err, out)
			return 1
		}
	}
	return pgtest.Run(m)
}

// options are those of a soak of a publisher and a DNS writer. Without a seed each
// has another one.
func options(t *testing.T, publisher, dnswriter string) soak.Options {
	o := soak.Options{
		Publisher: publisher, DNSWriter: dnswriter, NATSServer: programs.natsServer,
		Seed: *seed, Form: soak.Form(*form), Length: *length, Sweep: *sweep, Log: t.Logf,
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64N(1 << 32) // short enough to be typed again
	}
	return o
}

// dependOnSources looks at the sources of the programs. The go command keeps a
// result until something that the test looked at has changed, and does not see
// what go build and git look at for the test.
func dependOnSources(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"../../services/publisher", "../../services/dnswriter", "../../pkg", "../../internal"} {
		if err := filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSoak(t *testing.T) {
	dependOnSources(t)
	table, err := soak.Run(interrupted, options(t, programs.publisher, programs.dnswriter))
	t.Log(table)
	if err != nil {
		t.Fatal(err)
	}
}
