package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// naming says how names of hosts tell their places.
type naming struct {
	Pattern      []string          `name:"pattern" sep:";" placeholder:"REGEXP" help:"Regular expression (RE2) that finds the place in the first label of a host name, with the named groups site and cabinet and, optional, ru, ru_end, slot, role and vendor. Several, separated by semicolons or by repeating the flag, are tried in order; they replace the built-in ones."`
	PatternFile  string            `name:"pattern-file" placeholder:"FILE" help:"File with more of them, one per line, tried after those of --pattern; lines that begin with # are comments. It is read at the start."`
	Manufacturer map[string]string `name:"manufacturer" mapsep:"," placeholder:"SUFFIX=NAME" help:"Manufacturer by the last part of a host name, or by what the group vendor finds; besides idrac=Dell, ilo=HP and bmc=Supermicro, or in their place."`
}

// Validate reports every pattern and manufacturer that cannot be used.
func (n naming) Validate() error {
	_, err := n.patterns()
	return err
}

func (n naming) patterns() (cabinet.Patterns, error) {
	var problems []error
	if _, err := cabinet.ParsePatterns(n.Pattern); err != nil {
		problems = append(problems, fmt.Errorf("--pattern: %w", err))
	}
	more, err := n.readFile()
	if err != nil {
		problems = append(problems, err)
	}
	if _, err := (cabinet.Patterns{}).WithManufacturers(n.Manufacturer); err != nil {
		problems = append(problems, fmt.Errorf("--manufacturer: %w", err))
	}
	if len(problems) > 0 {
		return cabinet.Patterns{}, errors.Join(problems...)
	}
	patterns, err := cabinet.ParsePatterns(append(n.Pattern[:len(n.Pattern):len(n.Pattern)], more...))
	if err != nil {
		return cabinet.Patterns{}, err
	}
	return patterns.WithManufacturers(n.Manufacturer)
}

// readFile returns the patterns of the file; the error names the lines of those
// that cannot be used.
func (n naming) readFile() ([]string, error) {
	if n.PatternFile == "" {
		return nil, nil
	}
	data, err := os.ReadFile(n.PatternFile)
	if err != nil {
		return nil, fmt.Errorf("--pattern-file: %w", err)
	}
	var all []string
	var problems []error
	lines := bufio.NewScanner(bytes.NewReader(data))
	for number := 1; lines.Scan(); number++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if _, err := cabinet.ParsePatterns([]string{text}); err != nil {
			problems = append(problems, fmt.Errorf("--pattern-file: %s:%d: %w", n.PatternFile, number, err))
			continue
		}
		all = append(all, text)
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("--pattern-file: %s: %w", n.PatternFile, err))
	}
	if len(all)+len(problems) == 0 {
		problems = append(problems, fmt.Errorf("--pattern-file: %s holds no pattern: write one per line, or leave the flag out", n.PatternFile))
	}
	return all, errors.Join(problems...)
}

// matchVerb shows what the patterns make of names.
type matchVerb struct {
	Names []string `arg:"" name:"hostname" help:"Host names as they are reserved."`
}

// Help says what the output means.
func (v *matchVerb) Help() string {
	return "Each name is shown with every pattern, in the order in which they are tried: the first that finds a place is used. " +
		"The exit code is 0 if each name has a place, and 3 if one has none."
}

// Run prints one line per name and pattern. The error is daemon.ErrDifference if
// a name has no place.
func (v *matchVerb) Run(d *daemon.Daemon, c *cli) error {
	patterns, err := c.Naming.patterns()
	if err != nil {
		return err
	}
	var problems []error
	var rows []string
	for _, name := range v.Names {
		canonical, err := events.CanonicalHostname(name)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		found := false
		for i, f := range patterns.Findings(canonical) {
			rows = append(rows, row(canonical, i+1, f, found))
			found = found || f.Err == nil
		}
		if !found {
			problems = append(problems, fmt.Errorf("no pattern matches %s", canonical))
		}
	}
	for i, f := range patterns.Findings("") {
		fmt.Fprintf(d.Out, "pattern %d: %s\n", i+1, f.Pattern)
	}
	table := tabwriter.NewWriter(d.Out, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(table, "\nNAME\tPATTERN\tRESULT\tFILE\tRACK UNIT\tSLOT\tROLE\tMANUFACTURER")
		fmt.Fprintln(table, strings.Join(rows, "\n"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the places: %w", err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %w", daemon.ErrDifference, errors.Join(problems...))
	}
	return nil
}

// row shows what pattern n makes of a name of which an earlier one may have found
// the place already.
func row(name string, n int, f cabinet.Finding, found bool) string {
	cells := []string{name, strconv.Itoa(n), "used", f.Place.File(), f.Place.Units.String(), f.Place.Slot, f.Place.Role, f.Place.Manufacturer}
	switch {
	case f.Err != nil:
		cells = []string{name, strconv.Itoa(n), f.Err.Error(), "", "", "", "", ""}
	case found:
		cells[2] = "not asked"
	}
	for i, cell := range cells {
		if cell == "" {
			cells[i] = "-"
		}
	}
	return strings.Join(cells, "\t")
}
