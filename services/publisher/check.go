package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// checkVerb looks at Kea's database and changes nothing.
type checkVerb struct {
	MaxAge   time.Duration `name:"max-age" default:"1m" help:"How long a change may wait for the publisher, and a transaction may stay open, before that is reported (default: ${default})."`
	Examples int           `name:"examples" default:"10" help:"How many host_ids are named for each thing that is wrong with rows (default: ${default})."`
	JSON     bool          `name:"json" help:"Print JSON instead of text."`
}

// Validate reports every setting that cannot work.
func (v checkVerb) Validate() error {
	var errs []error
	if v.MaxAge <= 0 {
		errs = append(errs, fmt.Errorf("--max-age %v: must be more than 0", v.MaxAge))
	}
	if v.Examples < 1 {
		errs = append(errs, fmt.Errorf("--examples %d: must be at least 1", v.Examples))
	}
	return errors.Join(errs...)
}

// Run prints what it sees. The error is daemon.ErrDifference if something is
// not as it should be.
func (v *checkVerb) Run(ctx context.Context, d *daemon.Daemon, c *cli) error {
	conn, err := c.Database.connectAny(ctx, "keastream-publisher check")
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	checkup, err := outbox.Check(ctx, conn, outbox.CheckOptions{Patience: v.MaxAge, Examples: v.Examples})
	if err != nil {
		return err
	}
	write := writeText
	if v.JSON {
		write = writeJSON
	}
	if err := write(d.Out, checkup); err != nil {
		return fmt.Errorf("print the findings: %w", err)
	}
	if n := len(checkup.Findings); n > 0 {
		return fmt.Errorf("%w: %d findings in database %s", daemon.ErrDifference, n, checkup.Database)
	}
	return nil
}

func writeJSON(w io.Writer, c outbox.Checkup) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(c)
}

func writeText(w io.Writer, c outbox.Checkup) error {
	var text strings.Builder
	fmt.Fprintf(&text, "database   %s, PostgreSQL %s, Kea's schema %s\n", c.Database, c.Server, cmp.Or(c.KeaSchema, "unknown"))
	if c.Version > 0 {
		since := ""
		if !c.OldestMark.IsZero() {
			since = " since " + c.OldestMark.Format(time.RFC3339)
		}
		fmt.Fprintf(&text, "outbox     version %d, %d changes wait%s\n", c.Version, c.Marks, since)
		fmt.Fprintf(&text, "publisher  %s\n", cmp.Or(c.Publisher, "none"))
	}
	for _, f := range c.Findings {
		fmt.Fprintf(&text, "\n%s: %s\n  -> %s\n", f.Severity, f.Text, f.Remedy)
	}
	if len(c.Findings) == 0 {
		text.WriteString("\nall is well\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}
