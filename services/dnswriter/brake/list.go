package brake

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Kind says how a name loses what DNS has of it.
type Kind string

const (
	// Removal takes a record away that no reservation asks for.
	Removal Kind = "removal"
	// Replacement gives a record another value.
	Replacement Kind = "replacement"
	// Uncovered takes a record away that a reservation asks for, but one which the
	// filters (--subnet-id, --name-pattern) leave out. It always needs approval.
	Uncovered Kind = "uncovered"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Removal, Replacement, Uncovered} }

// Item is one record that is to go, or to change.
type Item struct {
	Kind Kind `json:"-"` // its List says it
	// Name is the DNS name that counts: the forward name, also for its PTR records.
	Name string `json:"name"`
	// Record is for people, and tells one item of a name from another: "a.site.com
	// A 192.0.2.1", of a replacement "a.site.com A 192.0.2.1 -> 192.0.2.2".
	Record string `json:"record"`
}

// List is what is withheld of one kind in one scope. It is also a part of the
// document that stands in the store: fields may be added, never renamed.
type List struct {
	Scope string `json:"scope"`
	// Target says what is written, and for which reservations.
	Target string `json:"target,omitempty"`
	Kind   Kind   `json:"kind"`
	// Hash names exactly this list: 12 hex digits over the key of its documents, the
	// kind and all records.
	Hash string `json:"hash"`
	// Names is how many names there are, Items their records, sorted.
	Names int    `json:"names"`
	Items []Item `json:"items"`
	// Allowed is how many names may go in an hour, Owned how many have a record of
	// ours, Recent how many have gone in the last hour or are about to.
	Allowed int `json:"allowed"`
	Owned   int `json:"owned"`
	Recent  int `json:"recent"`
	// Since is when names of this kind began to be withheld.
	Since time.Time `json:"since"`
	key   string    // of its documents; those who read it know it
}

// Has tells whether a name is in the list.
func (l List) Has(name string) bool {
	_, found := slices.BinarySearchFunc(l.Items, name, func(i Item, name string) int { return strings.Compare(i.Name, name) })
	return found
}

// String says in one sentence or two what is withheld and what can be done.
func (l List) String() string {
	return l.reason() + ". See `keastream-dnswriter plan`; to let them go: " + l.Command()
}

// Command is what approves the list.
func (l List) Command() string { return "keastream-dnswriter approve " + l.Hash }

// Where says what the list is of, and for how long it has been withheld: one of a
// target that no dnswriter serves any more stays, and grows old.
func (l List) Where() string {
	where := "scope " + l.Scope
	if l.Target != "" {
		where += ", " + l.Target
	}
	if l.Since.IsZero() {
		return where
	}
	return where + ", withheld for " + age(time.Since(l.Since))
}

// age says roughly how long something has lasted.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	default:
		return fmt.Sprintf("%d min", max(0, d)/time.Minute)
	}
}

func (l List) reason() string {
	more := ""
	if l.Recent > 0 {
		more = fmt.Sprintf(", and %d went already or are about to", l.Recent)
	}
	limit := fmt.Sprintf(": more than the %d that --max-removals allows in an hour%s", l.Allowed, more)
	switch l.Kind {
	case Uncovered:
		return counted(l.Names, "is withheld: a reservation asks for it, but --subnet-id or --name-pattern leaves that out",
			"are withheld: reservations ask for them, but --subnet-id or --name-pattern leaves those out")
	case Replacement:
		return counted(l.Names, "keeps its old value", "keep their old values") + limit
	default:
		return counted(l.Names, "is withheld", "are withheld") + limit
	}
}

// counted says "1 name is" or "2 names are".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 name " + one
	}
	return fmt.Sprintf("%d names %s", n, many)
}

// compareItems sorts by name, so that a reader finds what belongs together.
func compareItems(a, b Item) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.Record, b.Record)
}

// hash names a list. Its key and the records alone decide, so that the same list has
// the same hash after a restart, and in the plan of another process, and that of
// another target another one, though it may have the same records.
func hash(key string, kind Kind, items []Item) string {
	records := make([]string, 0, len(items))
	for _, item := range items {
		records = append(records, item.Record)
	}
	slices.Sort(records)
	sum := sha256.New()
	for _, record := range slices.Compact(records) {
		for _, s := range [...]string{key, " ", string(kind), " ", record, "\n"} {
			io.WriteString(sum, s)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// namesIn counts the names of sorted items.
func namesIn(items []Item) int {
	n := 0
	for i, item := range items {
		if i == 0 || item.Name != items[i-1].Name {
			n++
		}
	}
	return n
}
