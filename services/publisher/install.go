package main

import (
	"context"
	"fmt"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// installVerb prepares Kea's database.
type installVerb struct {
	GrantTo []string `name:"grant-to" placeholder:"ROLE" help:"Role that the publisher logs in as; may be repeated. It is allowed to read and empty the outbox."`
	Channel string   `name:"channel" default:"kea_lease_events" help:"Channel on which the triggers notify (default: ${default})."`
	Print   bool     `name:"print" help:"Print the SQL for psql instead of running it."`
}

// Run installs and says what it found.
func (v *installVerb) Run(ctx context.Context, d *daemon.Daemon, c *cli) error {
	options := outbox.InstallOptions{GrantTo: v.GrantTo, Channel: v.Channel}
	if v.Print {
		_, err := fmt.Fprint(d.Out, outbox.Script(options))
		return err
	}
	conn, err := c.Database.connect(ctx, "keastream-publisher install")
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report, err := outbox.Install(ctx, conn, options)
	if err != nil {
		return err
	}
	d.Log.InfoContext(ctx, "installed", "database", conn.Config().Database, "version", report.Version, "previous_version", report.Previous,
		"kea_schema", report.KeaSchema, "channel", report.Channel, "replaced_triggers", report.Replaced, "granted_to", v.GrantTo)
	return nil
}
