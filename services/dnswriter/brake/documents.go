package brake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// Key returns the name under which the documents of a scope stand: the scope and
// twelve hex digits over the settings that make two processes write the same records
// of the same reservations. The same parts in the same order give the same name, in
// each version.
func Key(scope string, parts ...string) string {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%d:%s", len(p), p)
	}
	return scope + "-" + hex.EncodeToString(sum.Sum(nil))[:12]
}

// The documents, by what stands before the name in their keys.
const (
	countsWord    = "counts"
	approvalsWord = "approvals"
	withheldWord  = "withheld"
)

func countsKey(name string) string    { return countsWord + "." + name }
func approvalsKey(name string) string { return approvalsWord + "." + name }
func withheldKey(name string) string  { return withheldWord + "." + name }

// ErrOutdated is returned by Approve for a list that is not withheld, or not any
// more.
var ErrOutdated = errors.New("no such list")

// documents is what is known of those in the store: the revisions that were read
// or written last, and when. counts belongs to who counts, the rest to Run.
type documents struct {
	counts, approvals, withheld uint64
	// read is when the approvals were last read, saved when they were last stored,
	// looked when what is withheld was last read.
	read, saved, looked time.Time
	// former is what stands under withheld.
	former map[Kind]List
}

// The documents in the store. Their fields may become more, never others: two
// versions may run beside each other.

// countsDoc has, by kind, the names that went within the limit, and when.
type countsDoc map[Kind]map[string]time.Time

// withheldDoc is what is withheld of a target.
type withheldDoc struct {
	Lists []List `json:"lists"`
}

// lists returns the lists with the kinds of their items, which the document
// leaves out.
func (d withheldDoc) lists() []List {
	for _, l := range d.Lists {
		for i := range l.Items {
			l.Items[i].Kind = l.Kind
		}
	}
	return d.Lists
}

// approvalsDoc is what was approved of a target.
type approvalsDoc struct {
	Approvals []approvalDoc `json:"approvals"`
}

type approvalDoc struct {
	Kind  Kind      `json:"kind"`
	Hash  string    `json:"hash"`
	At    time.Time `json:"at"`
	Taken time.Time `json:"taken,omitzero"`
	Names []string  `json:"names,omitempty"`
	// Done has the names that went, by the minute in which that was at the latest.
	Done   map[string][]string `json:"done,omitempty"`
	Lost   int                 `json:"lost,omitempty"`
	LostAt time.Time           `json:"lost_at,omitzero"`
}

func (a *approval) doc(kind Kind) approvalDoc {
	doc := approvalDoc{
		Kind: kind, Hash: a.hash, At: a.at, Taken: a.taken,
		Names: slices.Sorted(maps.Keys(a.names)), Lost: a.lost, LostAt: a.lostAt,
	}
	for name, at := range a.done {
		// Rounded up, and no further when it was read from the store.
		minute := at.UTC().Add(time.Minute - 1).Truncate(time.Minute).Format(time.RFC3339)
		if doc.Done == nil {
			doc.Done = make(map[string][]string)
		}
		doc.Done[minute] = append(doc.Done[minute], name)
	}
	for _, names := range doc.Done {
		slices.Sort(names)
	}
	return doc
}

func (d approvalDoc) approval(now time.Time) *approval {
	a := &approval{
		hash: d.Hash, at: d.At, taken: d.Taken,
		names: make(map[string]bool, len(d.Names)), done: make(map[string]time.Time),
		lost: d.Lost, lostAt: earlier(d.LostAt, now),
	}
	for _, name := range d.Names {
		a.names[name] = true
	}
	for minute, names := range d.Done {
		at, err := time.Parse(time.RFC3339, minute)
		if err != nil {
			at = now // it went, whenever that was
		}
		for _, name := range names {
			a.done[name] = earlier(at, now)
		}
	}
	return a
}

// earlier keeps the time of another clock from being later than now: it would
// count for longer than an hour, with a clock that is a year ahead for a year.
func earlier(at, now time.Time) time.Time {
	if at.After(now) {
		return now
	}
	return at
}

func compareApprovals(a, b approvalDoc) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Hash, b.Hash))
}

// get reads a document. One that is not there is empty, with the revision 0.
func get(ctx context.Context, store Store, key string, into any) (uint64, error) {
	revision, err := store.Get(ctx, key, into)
	if errors.Is(err, bucket.ErrNotFound) {
		return 0, nil
	}
	return revision, err
}
