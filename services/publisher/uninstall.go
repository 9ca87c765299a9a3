package main

import (
	"context"
	"fmt"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// uninstallVerb takes out of Kea's database what installVerb put there.
type uninstallVerb struct {
	Print bool `name:"print" help:"Print the SQL for psql instead of running it."`
}

// Run uninstalls and says what is left to do.
func (v *uninstallVerb) Run(ctx context.Context, d *daemon.Daemon, c *cli) error {
	if v.Print {
		_, err := fmt.Fprint(d.Out, outbox.UninstallScript())
		return err
	}
	conn, err := c.Database.connect(ctx, "keastream-publisher uninstall")
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	removal, err := outbox.Uninstall(ctx, conn)
	if err != nil {
		return err
	}
	log := d.Log.With("database", conn.Config().Database)
	if removal.Installed {
		log.InfoContext(ctx, "uninstalled", "version", removal.Version, "unpublished_changes", removal.Marks,
			"restored_triggers", removal.Restored, "dropped_roles", removal.DroppedRoles)
	} else {
		log.InfoContext(ctx, "nothing was installed", "dropped_roles", removal.DroppedRoles)
	}
	for _, role := range removal.KeptRoles {
		log.InfoContext(ctx, "a role stays: take keastream out of the other databases too, or revoke what is named and drop it",
			"role", role.Role, "why", role.Why)
	}
	for _, lost := range removal.NotRestored {
		log.WarnContext(ctx, "a trigger of the replaced system was not put back: make it by hand if it is wanted",
			"table", lost.Table, "trigger", lost.Trigger, "why", lost.Why, "definition", lost.Definition, "function", lost.Function)
	}
	return nil
}
