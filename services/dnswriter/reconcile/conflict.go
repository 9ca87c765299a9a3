package reconcile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// State is how a record stands, for counting.
type State int

// The states. A record is wanted in all but Orphan.
const (
	// InSync: DNS has it, as ours.
	InSync State = iota
	// Missing: DNS does not have it.
	Missing
	// Wrong: a row of ours is to become it.
	Wrong
	// Orphan: a row of ours that is not wanted.
	Orphan
	// ForeignRow: DNS has it, but not as ours.
	ForeignRow
	states
)

// String returns the state as it stands in metrics.
func (s State) String() string {
	return [states]string{"in_sync", "missing", "wrong", "orphan", "foreign"}[s]
}

// Tally counts records by State.
type Tally [states]int

func (t Tally) plus(o Tally) Tally {
	for state, n := range o {
		t[state] += n
	}
	return t
}

// Kind is why a name is in conflict. There are few of them, so they may be
// labels of metrics.
type Kind string

// The kinds of conflicts.
const (
	// Foreign: DNS has rows of the name and type that are not ours, and not all
	// that is wanted.
	Foreign Kind = "foreign"
	// Alias: the name has a CNAME.
	Alias Kind = "cname"
	// Claimants: several devices ask for different values.
	Claimants Kind = "claimants"
)

// Conflict is a name that is left as it is until a person decides.
type Conflict struct {
	Kind Kind
	Name string
	Type dns.Type
	// Wanted says what reservations ask for, and Present what DNS has, both
	// sorted, cut after a few and for reading: "192.0.2.1 (us3/5)",
	// "192.0.2.9 (foreign)".
	Wanted, Present []string
}

// Equal tells whether both are the same conflict, with the same sides.
func (c Conflict) Equal(o Conflict) bool {
	return c.Kind == o.Kind && c.Name == o.Name && c.Type == o.Type &&
		slices.Equal(c.Wanted, o.Wanted) && slices.Equal(c.Present, o.Present)
}

// String names both sides.
func (c Conflict) String() string {
	present := "nothing"
	if len(c.Present) > 0 {
		present = strings.Join(c.Present, ", ")
	}
	return fmt.Sprintf("%s %s %s: wanted %s; DNS has %s", c.Kind, c.Type, c.Name, strings.Join(c.Wanted, ", "), present)
}

// listed is how many rows or claims of a conflict are named.
const listed = 8

// cut keeps the first few of a list.
func cut(list []string) []string { return few(list, func(text string) string { return text }) }

// few says the first few of a list in words.
func few[T any](list []T, say func(T) string) []string {
	var said []string
	for i, item := range list {
		if i == listed {
			return append(said, fmt.Sprintf("and %d more", len(list)-listed))
		}
		said = append(said, say(item))
	}
	return said
}

func rowsConflict(kind Kind, set dns.Set, rows []dns.Row) Conflict {
	c := Conflict{Kind: kind, Name: set.Name, Type: set.Type}
	c.Wanted = few(set.Records, func(w dns.Wanted) string {
		return fmt.Sprintf("%s (%s)", w.Value, strings.Join(few(w.Owner.Hosts, host), " "))
	})
	c.present(rows)
	return c
}

func claimsConflict(conflict dns.Conflict, rows []dns.Row) Conflict {
	c := Conflict{Kind: Claimants, Name: conflict.Name, Type: conflict.Type}
	c.Wanted = few(conflict.Claims, func(claim dns.Claim) string {
		return fmt.Sprintf("%s (%s, %s %.64s)", claim.Record.Value, host(claim.Host), claim.Device.Type, claim.Device.Identifier)
	})
	c.present(rows)
	return c
}

func (c *Conflict) present(rows []dns.Row) {
	c.Present = few(rows, func(row dns.Row) string {
		whose := "foreign"
		if ours(row) {
			whose = "ours"
		}
		text := fmt.Sprintf("%.255s (%s)", row.Value, whose)
		if row.Type != c.Type {
			text = string(row.Type) + " " + text
		}
		return text
	})
}

// host names a reservation, as "us3/5".
func host(key events.Key) string { return fmt.Sprintf("%s/%d", key.Source, key.HostID) }
