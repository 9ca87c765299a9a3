package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// naming says how names of hosts tell their places.
type naming struct {
	Pattern []string `name:"pattern" sep:";" placeholder:"REGEXP" help:"Regular expression that finds the place in the first label of a host name, with the named groups site and cabinet and, optional, ru and ru_end. Several, separated by semicolons or by repeating the flag, are tried in order; they replace the built-in one."`
}

// Validate reports every pattern that cannot be used.
func (n naming) Validate() error {
	if _, err := n.patterns(); err != nil {
		return fmt.Errorf("--pattern: %w", err)
	}
	return nil
}

func (n naming) patterns() (cabinet.Patterns, error) { return cabinet.ParsePatterns(n.Pattern) }

// matchVerb shows what the patterns make of names.
type matchVerb struct {
	Names []string `arg:"" name:"name" help:"Host names as they are reserved."`
}

// Run prints one line per name. The error is daemon.ErrDifference if a name has
// no place.
func (v *matchVerb) Run(d *daemon.Daemon, c *cli) error {
	patterns, err := c.Naming.patterns()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFILE\tRACK UNIT\tMANUFACTURER")
	var problems []error
	for _, name := range v.Names {
		canonical, err := events.CanonicalHostname(name)
		place, ok := patterns.Place(canonical)
		switch {
		case err != nil:
			problems = append(problems, err)
		case !ok:
			problems = append(problems, fmt.Errorf("no pattern matches %s", canonical))
		default:
			fmt.Fprintln(table, strings.Join([]string{canonical, place.File(), place.Units.String(), place.Manufacturer}, "\t"))
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the places: %w", err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", daemon.ErrDifference, errors.Join(problems...))
	}
	return nil
}
