package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// planVerb says what run would do. It reads the stream and DNS, and writes nothing
// anywhere.
type planVerb struct {
	Sight   sight   `embed:""`
	Caution caution `embed:""`
	JSON    bool    `name:"json" env:"-" help:"Print one JSON object."`
}

// Validate reports every setting that cannot work.
func (v planVerb) Validate() error {
	return errors.Join(append(v.Sight.check(), v.Caution.check()...)...)
}

// planned is the plan of one scope.
type planned struct {
	Scope  string                 `json:"scope"`
	Policy string                 `json:"policy"`
	Plan   reconcile.Examination  `json:"plan"`
	Parked []reconcile.ParkedItem `json:"parked"`
}

// Run prints the plan of all scopes.
func (v *planVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	return v.Sight.look(ctx, d, v.Caution, func(ctx context.Context, seen seen) error {
		plans := make([]planned, len(seen.scopes))
		err := seen.scopes.each(func(i int, s scope) error {
			x, err := s.Examine(ctx)
			parked, _ := s.Parked(math.MaxInt)
			plans[i] = planned{Scope: s.name, Policy: v.Caution.Policy, Plan: x, Parked: parked}
			return err
		})
		if err != nil {
			return err
		}
		if err := v.print(d.Out, plans); err != nil {
			return err
		}
		var open int
		for _, p := range plans {
			open += len(p.Plan.Steps) + len(p.Plan.Skipped)
		}
		if open > 0 {
			return fmt.Errorf("%s to be made: %w", plural(open, "change"), daemon.ErrDifference)
		}
		return nil
	})
}

func (v *planVerb) print(out io.Writer, plans []planned) error {
	if v.JSON {
		return json.NewEncoder(out).Encode(map[string]any{"scopes": plans})
	}
	for _, p := range plans {
		if _, err := io.WriteString(out, p.text()); err != nil {
			return err
		}
	}
	return nil
}

// text is the plan for people: what is to be done, and then what cannot be.
func (p planned) text() string {
	var text strings.Builder
	withheld := 0
	for _, s := range p.Plan.Proposals {
		if len(s.Withheld) > 0 {
			withheld++
		}
	}
	fmt.Fprintf(&text, "scope %s: %s to be made, %d of them withheld, %d not allowed by --policy %s, %s, %d parked\n",
		p.Scope, plural(len(p.Plan.Steps), "change"), withheld, len(p.Plan.Skipped), p.Policy, plural(len(p.Plan.Conflicts), "conflict"), len(p.Parked))
	for _, list := range p.Plan.Lists {
		fmt.Fprintf(&text, "  list %s: %s\n", list.Hash, printable(list.String()))
	}
	for _, s := range p.Plan.Proposals {
		fmt.Fprintf(&text, "  %s\n", printable(s.Step.String()))
		for _, why := range s.Withheld {
			fmt.Fprintf(&text, "      withheld: %s\n", printable(why))
		}
	}
	for _, s := range p.Plan.Skipped {
		fmt.Fprintf(&text, "  not allowed: %s\n", printable(s.String()))
	}
	for _, c := range p.Plan.Conflicts {
		fmt.Fprintf(&text, "  conflict: %s\n", printable(c.String()))
	}
	for _, item := range p.Parked {
		fmt.Fprintf(&text, "  parked: %s/%d: %s: %s\n", item.Source, item.HostID, item.Reason, printable(item.Detail))
	}
	return text.String()
}

// plural says how many there are of something whose plural has an s.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printable keeps what somebody wrote into Kea or DNS from moving the cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
