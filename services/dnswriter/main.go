// Keastream-dnswriter keeps the records of a SOLIDserver equal to the host
// reservations in the stream KEA.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/internal/daemon"
)

// cli is the command line; the first verb is the default one.
type cli struct {
	Daemon daemon.Settings `embed:""`

	Run     runVerb     `cmd:"" default:"withargs" help:"Create, update and remove DNS records until told to stop (the default)."`
	Plan    planVerb    `cmd:"" help:"Print what run would do now, what is withheld and why, and change nothing. Exit code 3 if anything is to be done, 0 if DNS is in step."`
	Approve approveVerb `cmd:"" help:"Let go exactly the names of one list that --max-removals withholds, by the hash of the list. Names that are wanted again by then stay; names that come later are not covered."`
	Explain explainVerb `cmd:"" help:"Say why a name or an address is in DNS as it is: who asks for it, what is there and whose it is, what is to be done and what it waits for. For a reservation that is gone, the SQL that brings it back."`
	Adopt   adoptVerb   `cmd:"" help:"Take over records that others made and that are exactly as reservations ask for them: they get the mark of keastream. Lists also what it leaves alone."`
	Add     addVerb     `cmd:"" help:"Create one record by hand, which keastream does not own."`
}

func main() {
	os.Exit(daemon.Main(name, description, &cli{}, kong.Vars{"http_addr": "127.0.0.1:9642"}))
}

const (
	name        = "keastream-dnswriter"
	description = "Writes the host reservations of Kea, as they stand in NATS JetStream, into the DNS of a SOLIDserver."
)
