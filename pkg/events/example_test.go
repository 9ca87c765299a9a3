package events_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
)

// A complete consumer: it prints what becomes of every reservation, first those
// that are there, then each change as it comes.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	conn, err := nats.Connect(nats.DefaultURL, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer conn.Close()

	view := events.NewView()
	_ = events.Watch(ctx, conn, view, events.Handlers{ // returns when ctx ends
		Changed: func(d events.Difference) {
			switch {
			case d.After == nil:
				fmt.Println("gone:", d.Before.Hostname)
			case d.Before == nil:
				fmt.Println("new:", d.After.Hostname, d.After.IP)
			default:
				fmt.Println("changed:", d.After.Hostname, d.Before.IP, "->", d.After.IP)
			}
		},
		CaughtUp: func() { fmt.Println(view.Len(), "reservations") },
	})
}
