// Keastream-publisher publishes the host reservations of one Kea database to
// the stream KEA.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/internal/daemon"
)

// cli is the command line; the first verb is the default one.
type cli struct {
	Daemon   daemon.Settings `embed:""`
	Database database        `embed:"" prefix:"db-"`

	Run       runVerb       `cmd:"" default:"withargs" help:"Publish reservations and their changes until told to stop (the default)."`
	Install   installVerb   `cmd:"" help:"Install triggers, outbox and roles in Kea's database; may be run again at any time."`
	Check     checkVerb     `cmd:"" help:"Look whether all is well in Kea's database, and print what is not, with its remedy; changes nothing. Exit code 3 if there is something."`
	Uninstall uninstallVerb `cmd:"" help:"Take everything of keastream out of Kea's database and put back what install took off."`
	Retire    retireVerb    `cmd:"" help:"Take a source out of service for good: its records and files go, though no publisher of it runs any more."`
}

func main() {
	os.Exit(daemon.Main("keastream-publisher",
		"Publishes the host reservations of a Kea database to NATS JetStream.",
		&cli{}, kong.Vars{"http_addr": "127.0.0.1:9641"}))
}
