package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keastream/keastream/internal/e2e"
)

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
