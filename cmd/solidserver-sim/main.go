// Command solidserver-sim behaves like an EfficientIP SOLIDserver appliance
// and the DNS servers behind it: package solidsim as a process. It keeps all
// data in memory and needs nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/keastream/keastream/solidsim"
)

// Exit codes.
const (
	exitClean       = 0
	exitFailed      = 1
	exitBadSettings = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	set, cfg, err := readSettings(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "solidserver-sim: bad settings:\n%v\n", err)
		return exitBadSettings
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, set, cfg); err != nil {
		cfg.Log.ErrorContext(ctx, "stopped", "err", err)
		return exitFailed
	}
	cfg.Log.InfoContext(ctx, "stopped", "cause", context.Cause(ctx))
	return exitClean
}

// serve runs until the context ends. The CA is written when all addresses
// answer: who waits for the file can connect.
func serve(ctx context.Context, set settings, cfg solidsim.Config) (err error) {
	sim, err := solidsim.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	cfg.Log.InfoContext(ctx, "listening", "api", sim.URL(),
		"dns_internal", sim.DNSAddr(solidsim.InternalServer), "dns_external", sim.DNSAddr(solidsim.ExternalServer))
	if err := writeCA(set.TLSSelfSigned, sim.CAPEM()); err != nil {
		return err
	}
	return sim.Wait(ctx)
}
