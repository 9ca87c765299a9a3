// Package byhand makes one record for a person: after the checks that a person
// forgets, and with a verdict that is true also when SOLIDserver's answer is lost.
//
// A record made by hand carries no mark. It is not ours: nothing here, nor in the
// reconciler, will ever change or remove it.
package byhand

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

// What a check or the creation may say. Each is an error of its own to whoever
// called the replaced system's dns-add.
var (
	// ErrExists: something stands at the name, of whatever type and value.
	ErrExists = errors.New("the name exists")
	// ErrNoTarget: the target of a CNAME does not resolve.
	ErrNoTarget = errors.New("the target does not resolve")
	// ErrNoZone: the zone is not there, or not exactly once, or is not the one that
	// the name belongs to.
	ErrNoZone = errors.New("the zone was not found")
	// ErrUnknown: it is not known whether the record was made, or will be.
	ErrUnknown = errors.New("it is not known whether the record was created")
)

// Request is a record that somebody wants. See NewRequest.
type Request struct {
	Zone   string // canonical
	Record dns.Record
}

// NewRequest reads what a person gives. The name is one in the zone, or complete:
// then it ends in the zone's. Types are A, AAAA and CNAME, in any case. The error
// names all that cannot be, each by its flag.
func NewRequest(name, zone, rtype, target string, ttl uint32) (Request, error) {
	var errs []error
	wrong := func(flag, value string, err error) { errs = append(errs, fmt.Errorf("%s=%s: %w", flag, value, err)) }
	r := Request{Record: dns.Record{Type: dns.Type(strings.ToUpper(rtype)), TTL: ttl}}
	var err error
	if r.Zone, err = events.CanonicalHostname(zone); err != nil {
		wrong("--zone", zone, err)
	} else if r.Record.Name, err = complete(name, r.Zone); err != nil {
		wrong("--name", name, err)
	}
	switch r.Record.Type {
	case dns.A, dns.AAAA:
		if r.Record.Value, err = dns.CanonicalValue(r.Record.Type, target); err != nil {
			wrong("--target", target, fmt.Errorf("not an address for a record of type %s", r.Record.Type))
		}
	case dns.CNAME:
		r.Record.Value, err = events.CanonicalHostname(target)
		if _, notAddr := netip.ParseAddr(target); notAddr == nil {
			err = errors.New("an alias leads to a name, not to an address: use --type A or AAAA")
		}
		if err == nil && r.Record.Value == r.Record.Name {
			err = errors.New("an alias cannot lead to itself")
		}
		if err != nil {
			wrong("--target", target, err)
		}
	default:
		wrong("--type", rtype, errors.New("not A, AAAA or CNAME"))
	}
	if err := errors.Join(errs...); err != nil {
		return Request{}, err
	}
	return r, nil
}

// complete returns the canonical name of a host in a zone.
func complete(name, zone string) (string, error) {
	full, err := events.CanonicalHostname(name)
	switch {
	case err != nil:
		return "", err
	case strings.HasSuffix(full, "."+zone):
		return full, nil
	case full == zone:
		return "", fmt.Errorf("it is the zone itself: give a name in it")
	case strings.HasSuffix(name, "."):
		return "", fmt.Errorf("it is a complete name outside of zone %s", zone)
	}
	return events.CanonicalHostname(full + "." + zone)
}

// Adder makes records in one scope. It is safe for concurrent use.
type Adder struct {
	// Scope is where they are made.
	Scope *solidserver.Scope
	// Resolver resolves targets that are in no zone of the scope; nil means that of
	// the system.
	Resolver *net.Resolver
	// Pauses are the times between looking whether a record is there whose creation
	// was not answered; nil means 1, 2 and 5 seconds.
	Pauses []time.Duration
}

// resolveTimeout bounds the resolution of a target that is in no zone of the scope.
const resolveTimeout = 10 * time.Second

// Check looks whether the record may be made, and writes nothing. The error is
// ErrNoZone, ErrExists or ErrNoTarget, or says why it could not be found out.
func (a Adder) Check(ctx context.Context, r Request) error {
	zones, zonesErr := a.Scope.Zones(ctx)
	rows, err := a.Scope.Standing(ctx, r.Zone, r.Record.Name) // says more of a zone that is not there
	switch {
	case errors.Is(err, solidserver.ErrNoZone):
		return fmt.Errorf("%w: %w", ErrNoZone, err)
	case err != nil:
		return err
	case zonesErr != nil:
		return zonesErr
	}
	if nearer := nearest(zones, r.Record.Name); nearer != r.Zone {
		return fmt.Errorf("%w: %s belongs into zone %s, which is nearer to it than %s", ErrNoZone, r.Record.Name, nearer, r.Zone)
	}
	if len(rows) > 0 {
		return standsThere(rows)
	}
	if r.Record.Type == dns.CNAME {
		return a.checkTarget(ctx, zones, r.Record.Value)
	}
	return nil
}

// standsThere is the error for a name that is not empty.
func standsThere(rows []dns.Row) error {
	const most = 5
	var parts []string
	for _, row := range rows[:min(most, len(rows))] {
		part := fmt.Sprintf("%s %s %s", row.Name, row.Type, shown(row.Value))
		switch {
		case row.Deleting:
			part += " (on its way out)"
		case row.Owner != nil:
			part += " (made by keastream)"
		}
		parts = append(parts, part)
	}
	if len(rows) > most {
		parts = append(parts, "and others")
	}
	return fmt.Errorf("%w: %s", ErrExists, strings.Join(parts, ", "))
}

// shown is the value of a row, which may be the text of anybody.
func shown(value string) string {
	const most = 100
	if len(value) > most {
		value = value[:most] + "…"
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return strconv.Quote(value)
	}
	return value
}

// maxChain is how many aliases may follow one another.
const maxChain = 8

// checkTarget looks whether the target of an alias leads to an address. In a zone of
// the scope that is for its records to say: the system's resolver may see another
// view of it, or remember what is gone.
func (a Adder) checkTarget(ctx context.Context, zones []dns.Zone, target string) error {
	name, seen := target, []string{}
	for len(seen) < maxChain && !slices.Contains(seen, name) {
		seen = append(seen, name)
		zone := nearest(zones, name)
		if zone == "" {
			return a.resolve(ctx, name)
		}
		rows, err := a.Scope.Standing(ctx, zone, name)
		if err != nil {
			return fmt.Errorf("look up the target: %w", err)
		}
		rows = slices.DeleteFunc(rows, func(row dns.Row) bool { return row.Deleting })
		alias := slices.IndexFunc(rows, func(row dns.Row) bool { return row.Type == dns.CNAME })
		switch {
		case slices.ContainsFunc(rows, func(row dns.Row) bool { return row.Type == dns.A || row.Type == dns.AAAA }):
			return nil
		case alias < 0:
			return fmt.Errorf("%w: %s has no address in zone %s", ErrNoTarget, name, zone)
		}
		name = rows[alias].Value
	}
	return fmt.Errorf("%w: the aliases that begin at %s lead to no end", ErrNoTarget, target)
}

// resolve asks the resolver for a name.
func (a Adder) resolve(ctx context.Context, name string) error {
	resolver := a.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	limited, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	_, err := resolver.LookupHost(limited, name+".") // with the dot no search list counts
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("resolve the target: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNoTarget, err)
	}
	return nil
}

// nearest returns the zone with the longest name of those that a name is in, "" if
// it is in none.
func nearest(zones []dns.Zone, name string) (zone string) {
	for _, z := range zones {
		if (name == z.Name || strings.HasSuffix(name, "."+z.Name)) && len(z.Name) > len(zone) {
			zone = z.Name
		}
	}
	return zone
}

// State is how far a record has come that was made.
type State int

// The states.
const (
	// Accepted: SOLIDserver has it, and has not published it yet.
	Accepted State = iota
	// Published: its name servers have it, as it says.
	Published
	// Unread: it has said that the record was made, and could not be asked for it.
	Unread
)

// Add makes the record. It does not check: see Check. What it says is what was seen
// after it, whatever the answer was: the error is ErrExists if something stands
// there that is not the record, and ErrUnknown if the answer was lost and the
// record is not there, or cannot be looked for. It may come later then.
func (a Adder) Add(ctx context.Context, r Request) (State, error) {
	_, err := a.Scope.CreateByHand(ctx, r.Zone, r.Record)
	switch {
	case err == nil:
		return a.confirm(ctx, r)
	case errors.Is(err, dns.ErrUnclear):
		return a.readBack(ctx, r, err)
	case errors.Is(err, dns.ErrExists):
		return 0, fmt.Errorf("%w: %w", ErrExists, err)
	case errors.Is(err, solidserver.ErrNoZone):
		return 0, fmt.Errorf("%w: %w", ErrNoZone, err)
	}
	return 0, err
}

// confirm looks at a record of which SOLIDserver has said that it was made.
func (a Adder) confirm(ctx context.Context, r Request) (State, error) {
	rows, err := a.Scope.Lookup(ctx, r.Zone, r.Record.Name)
	row, there := same(rows, r.Record)
	switch {
	case err != nil:
		return Unread, nil
	case !there:
		return 0, fmt.Errorf("%w: SOLIDserver has said so, but it is not there: has somebody removed it?", ErrUnknown)
	}
	return stateOf(row), nil
}

func stateOf(row dns.Row) State {
	if row.Pending {
		return Accepted
	}
	return Published
}

func same(rows []dns.Row, rec dns.Record) (dns.Row, bool) {
	at := slices.IndexFunc(rows, func(row dns.Row) bool { return row.Same(rec) && !row.Deleting })
	if at < 0 {
		return dns.Row{}, false
	}
	return rows[at], true
}

// readBack finds out what became of a call that had no answer. A request may sit in
// a socket and be carried out later, so it is looked for more than once.
func (a Adder) readBack(ctx context.Context, r Request, cause error) (State, error) {
	pauses := a.Pauses
	if pauses == nil {
		pauses = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second}
	}
	for _, pause := range append([]time.Duration{0}, pauses...) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrUnknown, cause)
		}
		rows, err := a.Scope.Lookup(ctx, r.Zone, r.Record.Name)
		row, there := same(rows, r.Record)
		switch {
		case err != nil:
			cause = errors.Join(cause, err)
			continue
		case there:
			return stateOf(row), nil
		case slices.ContainsFunc(rows, func(row dns.Row) bool { return !row.Deleting && (row.Type == r.Record.Type || row.Type == dns.CNAME) }):
			return 0, standsThere(rows) // ours is refused when it comes
		}
	}
	return 0, fmt.Errorf("%w: it is not there, and may still come: look again before it is given up: %w", ErrUnknown, cause)
}
