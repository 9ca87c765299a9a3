// Keastream-inventory keeps one inventory file per cabinet equal to Kea's host
// reservations, as the stream KEA tells them.
//
// # How it is put together
//
// Two loops share a view of all reservations:
//
//	events.Watch ──> view <── keeper.round: view -> cabinets -> files
//	     │                        ▲
//	     └─> pending, absences ───┘  what to look at, what is proven to be gone
//
// A round derives every cabinet anew from the whole view, and compares those
// that changed, or that are pending, with what the files say. The files are
// the only memory: a line that no reservation asks for is one that stands in a
// file and not in the view, whether it vanished a moment ago, while the service
// was down, or before it replaced another one. All of them go the same way: when
// every database that the file names has said for the hold-down that it is
// complete without them.
package main

import (
	"os"

	"github.com/alecthomas/kong"
	"github.com/keastream/keastream/internal/daemon"
)

// cli is the command line; the first verb is the default one.
type cli struct {
	Daemon daemon.Settings `embed:""`
	Naming naming          `embed:""`

	Run   runVerb   `cmd:"" default:"withargs" help:"Keep the files up to date until told to stop (the default)."`
	Match matchVerb `cmd:"" help:"Print the place that the patterns find in host names."`
}

func main() {
	os.Exit(daemon.Main("keastream-inventory",
		"Keeps one inventory file per cabinet equal to Kea's host reservations.",
		&cli{}, kong.Vars{"http_addr": "127.0.0.1:9643"}))
}
