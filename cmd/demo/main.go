// Demo runs the whole of keastream on this machine, with a throw-away
// PostgreSQL and a simulated SOLIDserver, shows how reservations flow through
// it, and removes everything at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type settings struct {
	Bin     string        `default:"bin" help:"Directory with the programs, as made by make build (default: ${default})."`
	Latency time.Duration `default:"100ms" help:"How long the simulated SOLIDserver takes for a call (default: ${default}, as a real one)."`
	Once    bool          `help:"Show the scenario, check the result and end."`
}

func main() {
	var s settings
	kong.Parse(&s, kong.Name("demo"), kong.Description("Runs keastream on this machine, with a simulated SOLIDserver."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil && !(errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		stop()
		os.Exit(1)
	}
}
