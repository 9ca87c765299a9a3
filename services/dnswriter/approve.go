package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/internal/natsconn"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// approveVerb lets go what the brake withholds.
type approveVerb struct {
	NATS natsconn.Settings `embed:""`
	Hash string            `arg:"" name:"hash" help:"Hash of the list, as plan, /readyz and the log show it."`
}

// Validate reports every setting that cannot work.
func (v approveVerb) Validate() error {
	if !listHash.MatchString(strings.ToLower(v.Hash)) {
		return fmt.Errorf("%.40q is no hash of a list: give its 12 hex digits", v.Hash)
	}
	return nil
}

// Run stores the approval and prints what it covers. The list is looked for among
// those of all targets. It needs NATS alone: a
// dnswriter that runs takes it in at once, another one when it starts.
func (v *approveVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	conn, err := v.NATS.Connect(ctx, name, d.Log)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !conn.IsConnected() {
		return errors.New("NATS is not reachable: nothing was approved; give its address with --nats-url")
	}
	list, err := brake.Approve(ctx, bucket.New(conn), v.Hash)
	if err != nil {
		return fmt.Errorf("nothing was approved: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "approved list %s of scope %s: %s of %s, for 24 hours\n", list.Hash, list.Scope, list.Kind, plural(list.Names, "name"))
	fmt.Fprintf(&text, "  (%s)\n", printable(list.Where()))
	for _, item := range list.Items {
		fmt.Fprintf(&text, "  %s\n", printable(item.Record))
	}
	_, err = fmt.Fprint(d.Out, text.String())
	return err
}
