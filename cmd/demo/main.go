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

	"github.com/keastream/keastream/internal/e2e"
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

// run ends what it starts, also when it is interrupted.
func run(ctx context.Context, s settings) (err error) {
	fmt.Println("Starting PostgreSQL with Kea's schema, the publisher with NATS in it, the SOLIDserver simulator, dnswriter and inventory …")
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	stack, err := e2e.Start(starting, e2e.Options{Bin: s.Bin, Latency: s.Latency})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Println("\nStopping, and removing everything that was made …")
		err = errors.Join(err, stack.Close())
	}()
	fmt.Printf("All ready after %.1f s. Every API call to SOLIDserver takes %v.\n", time.Since(began).Seconds(), s.Latency)
	if err := show(ctx, stack, s.Once); err != nil {
		if ctx.Err() == nil { // the logs are about to be removed
			for _, p := range stack.Processes {
				fmt.Fprintf(os.Stderr, "\nThe log of %s ends with:\n%s", p.Name, p.LogTail())
			}
		}
		return err
	}
	return nil
}
