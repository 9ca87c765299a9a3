package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// adoptVerb takes over records of others that are as reservations ask for them.
type adoptVerb struct {
	Sight sight `embed:""`

	Zones  []string `name:"zone" env:"-" placeholder:"ZONE" help:"Adopt only records of this zone, forward or reverse; a list or repeated."`
	Names  []string `name:"name" env:"-" placeholder:"NAME" help:"Adopt only records of this complete name, and PTR records that lead to it; a list or repeated."`
	DryRun bool     `name:"dry-run" env:"-" help:"Print the list and its hash, and adopt nothing. Exit code 3 if there is something to adopt."`
	Hash   string   `arg:"" optional:"" name:"hash" help:"Adopt only if the list is still the one with this hash, which --dry-run printed."`
}

// listHash is the form of the hash of a list.
var listHash = regexp.MustCompile(`^[0-9a-f]{12}$`)

// Validate reports every setting that cannot work.
func (v adoptVerb) Validate() error {
	errs := v.Sight.check()
	if v.Hash != "" && !listHash.MatchString(v.Hash) {
		errs = append(errs, fmt.Errorf("%.40q is no hash of a list: give the 12 hex digits that --dry-run prints", v.Hash))
	}
	for _, name := range slices.Concat(v.Zones, v.Names) {
		if _, err := events.CanonicalHostname(name); err != nil && !dns.IsReverse(dns.CanonicalName(name)) {
			errs = append(errs, fmt.Errorf("--zone, --name: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Run lists what can be adopted, and adopts it unless it is told not to.
func (v *adoptVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	return v.Sight.look(ctx, d, caution{Policy: "sync", HoldDown: 10 * time.Second, MaxRemovals: brake.DefaultLimit}, func(ctx context.Context, seen seen) error {
		all := make([]reconcile.Findings, len(seen.scopes))
		err := seen.scopes.each(func(i int, s scope) (err error) {
			all[i], err = s.FindAdoptions(ctx)
			return err
		})
		if err != nil {
			return err
		}
		var list []reconcile.Adoption
		for i, found := range all {
			all[i] = v.narrow(found)
			list = append(list, all[i].Adoptions...)
		}
		slices.SortFunc(list, reconcile.CompareAdoptions)
		hash := adoptionHash(list)
		if err := v.print(d.Out, seen.scopes, all, len(list), hash); err != nil {
			return err
		}
		switch {
		case v.Hash != "" && v.Hash != hash:
			return fmt.Errorf("nothing was adopted: the list is another one than %s now: look at it, and give %s if it is right", v.Hash, hash)
		case len(list) == 0:
			return nil
		case v.DryRun:
			return fmt.Errorf("%s to adopt: %w", plural(len(list), "record"), daemon.ErrDifference)
		}
		return seen.adopt(ctx, d, list)
	})
}

// narrow leaves out what --zone and --name do not name.
func (v *adoptVerb) narrow(found reconcile.Findings) reconcile.Findings {
	canonical := func(names []string) (all []string) {
		for _, name := range names {
			all = append(all, dns.CanonicalName(name))
		}
		return all
	}
	zones, names := canonical(v.Zones), canonical(v.Names)
	out := func(zone, name, target string) bool {
		return len(zones) > 0 && !slices.Contains(zones, zone) ||
			len(names) > 0 && !slices.Contains(names, name) && !slices.Contains(names, target)
	}
	ofRow := func(row dns.Row) bool {
		target := ""
		if row.Type == dns.PTR {
			target = row.Value
		}
		return out(row.Zone, row.Name, target)
	}
	found.Adoptions = slices.DeleteFunc(found.Adoptions, func(a reconcile.Adoption) bool { return ofRow(a.Row) })
	found.Stale = slices.DeleteFunc(found.Stale, ofRow)
	found.Conflicts = slices.DeleteFunc(found.Conflicts, func(c reconcile.Conflict) bool {
		return len(names) > 0 && !slices.Contains(names, c.Name) ||
			len(zones) > 0 && !slices.ContainsFunc(zones, func(zone string) bool { return strings.HasSuffix(c.Name, "."+zone) })
	})
	return found
}

// adoptionHash names exactly these records.
func adoptionHash(list []reconcile.Adoption) string {
	sum := sha256.New()
	for _, a := range list {
		fmt.Fprintf(sum, "%s %s\n", a.Scope, a)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

func (v *adoptVerb) print(out io.Writer, scopes scopes, all []reconcile.Findings, total int, hash string) error {
	var text strings.Builder
	for i, found := range all {
		fmt.Fprintf(&text, "scope %s: %s to adopt, %s, %s that no reservation asks for\n",
			scopes[i].name, plural(len(found.Adoptions), "record"), plural(len(found.Conflicts), "conflict"), plural(len(found.Stale), "record"))
		for _, a := range found.Adoptions {
			var hosts []string
			for _, key := range a.Owner.Hosts {
				hosts = append(hosts, fmt.Sprintf("%s/%d", key.Source, key.HostID))
			}
			fmt.Fprintf(&text, "  adopt: %s, for %s\n", printable(a.String()), strings.Join(hosts, " "))
		}
		for _, c := range found.Conflicts {
			fmt.Fprintf(&text, "  conflict: %s\n", printable(c.String()))
		}
		for _, row := range found.Stale {
			fmt.Fprintf(&text, "  no reservation asks for it: %s\n", printable(fmt.Sprintf("%s %s %s", row.Name, row.Type, row.Value)))
		}
	}
	fmt.Fprintf(&text, "list %s: %s to adopt\n", hash, plural(total, "record"))
	if v.DryRun && total > 0 {
		fmt.Fprintf(&text, "to adopt exactly these, with the same settings: keastream-dnswriter adopt %s\n", hash)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// adoptions is how many records are adopted at a time.
const adoptions = 4

var errNotKept = errors.New("the mark is not there when the record is read back: SOLIDserver keeps class parameters from 8.0 on, and " +
	"without them nothing can be adopted")

// adopt sets the marks. The first one that is set is read back before others are: a
// server that keeps no marks must not be written to a thousand times for nothing.
func (s seen) adopt(ctx context.Context, d *daemon.Daemon, list []reconcile.Adoption) error {
	var mu sync.Mutex
	var done, changed int
	var failed []error
	one := func(a reconcile.Adoption) {
		err := s.take(ctx, a)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			done++
			d.Log.InfoContext(ctx, "adopted a record", "scope", a.Scope, "record", a.String())
		case errors.Is(err, dns.ErrChanged):
			changed++
			fmt.Fprintf(d.Out, "  not adopted: %s: %s\n", printable(a.String()), printable(err.Error()))
		default:
			failed = append(failed, err)
		}
	}
	rest := list
	for ; done == 0 && len(rest) > 0 && ctx.Err() == nil; rest = rest[1:] {
		one(rest[0])
		if done == 0 {
			continue
		}
		if err := s.kept(ctx, rest[0]); err != nil {
			return fmt.Errorf("%s: %w", rest[0], err)
		}
	}
	tasks := pool.New().WithMaxGoroutines(adoptions)
	for _, a := range rest {
		tasks.Go(func() {
			if ctx.Err() == nil {
				one(a)
			}
		})
	}
	tasks.Wait()
	fmt.Fprintf(d.Out, "adopted %d of %s; %d had changed meanwhile, %d failed\n", done, plural(len(list), "record"), changed, len(failed))
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d of %s could not be adopted, the first one: %w", len(failed), plural(len(list), "record"), failed[0])
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case changed > 0:
		return fmt.Errorf("%d of %s had changed meanwhile: %w", changed, plural(len(list), "record"), daemon.ErrDifference)
	}
	return nil
}

// take adopts one record. If it is unclear whether that was done, it is done again,
// which reads the row first.
func (s seen) take(ctx context.Context, a reconcile.Adoption) error {
	writer := s.writers[a.Scope]
	err := writer.Adopt(ctx, a.Row, a.Owner)
	if errors.Is(err, dns.ErrUnclear) {
		err = writer.Adopt(ctx, a.Row, a.Owner)
	}
	return err
}

// kept tells whether a record that was adopted has its mark.
func (s seen) kept(ctx context.Context, a reconcile.Adoption) error {
	rows, err := s.writers[a.Scope].Lookup(ctx, a.Row.Zone, a.Row.Name)
	if err != nil {
		return err
	}
	marked := func(row dns.Row) bool { return row.Record.Same(a.Row.Record) && row.Owner != nil }
	if !slices.ContainsFunc(rows, marked) {
		return cmp.Or(ctx.Err(), errNotKept)
	}
	return nil
}
