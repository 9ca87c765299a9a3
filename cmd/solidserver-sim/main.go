// Command solidserver-sim behaves like an EfficientIP SOLIDserver appliance
// and the DNS servers behind it: package solidsim as a process. It needs nothing
// else, and keeps all data in memory, or in a file.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

func main() {
	os.Exit(daemon.Main("solidserver-sim",
		"An EfficientIP SOLIDserver for tests: the DNS part of its API, and DNS servers with the same data.",
		&cli{}, nil))
}

// Run serves until the context ends. The CA is written when all addresses
// answer: who waits for the file can connect.
func (c *cli) Run(ctx context.Context, d *daemon.Daemon) (err error) {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.Log = d.Log
	sim, err := solidsim.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	for _, name := range sim.DNSNames() {
		d.Log.InfoContext(ctx, "answering dns", "server", name, "addr", sim.DNSAddr(name))
	}
	d.Log.InfoContext(ctx, "listening", "api", sim.URL(), "control", sim.ControlAddr())
	if err := writeCA(c.TLSSelfSigned, sim.CAPEM()); err != nil {
		return err
	}
	return d.Run(ctx, daemon.Task{Name: "simulator", Run: sim.Wait})
}
