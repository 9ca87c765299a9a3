package soak

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The hard cases: what a publisher and a DNS writer have to be able to deal
// with. Each is counted where it shows, not where something was done to bring it
// about.
const (
	caseLateCommit  = "late commit: a mark committed after a higher one was published"
	caseUnclear     = "unknown outcome: a publication without an answer was read back"
	caseRefused     = "refused expectation: the server did not store over another message"
	caseTakeover    = "takeover: another publisher became the active one"
	caseRefill      = "refill: the stream was deleted and filled anew"
	caseHalfOpen    = "half-open connection: a publisher ended its own dead session"
	caseCredentials = "credentials changed: the active publisher came back with the new ones"

	caseRepointed = "a PTR record was made to lead to another name"
	caseMade      = "unclear creation of a record that had happened was read back"
	caseNotMade   = "unclear creation of a record that had not happened was read back"
	caseChanged   = "unclear change of a record that had happened was read back"
	caseOrphan    = "removal after a restart: nobody wanted the record when the DNS writer started"
	caseReadded   = "deleted and added again within the hold-down, after the deletion was published"
	caseConflict  = "a conflict was raised and was over"
	caseRemade    = "a record that was deleted by hand was made again"
	caseLed       = "takeover: another DNS writer leads"
	caseLate      = "late write: it happened after the DNS writer had given it up"
)

// Those of a run with a narrow limit of removals.
const (
	caseWithheld = "names were withheld by the brake"
	caseApproved = "a list of names was approved"
)

// caseOutdated need not come: it takes luck.
const caseOutdated = "a list of names was outdated when it was to be approved"

var hardCases = []string{
	caseLateCommit, caseUnclear, caseRefused, caseTakeover, caseRefill, caseHalfOpen, caseCredentials,
	caseMade, caseNotMade, caseChanged, caseOrphan, caseReadded, caseConflict, caseRemade, caseLate, caseRepointed, caseLed,
}

// coverage counts what was really injected and reached. Its methods may be
// called from several goroutines.
type coverage struct {
	braked bool // names are to be withheld

	mu      sync.Mutex
	dealt   map[string]int // faults that the schedule called for
	struck  map[string]int // faults that struck
	reached map[string]int // hard cases
	actions map[string]int // committed actions of the writers
}

func newCoverage(braked bool) *coverage {
	return &coverage{
		braked: braked,
		dealt:  make(map[string]int), struck: make(map[string]int), reached: make(map[string]int), actions: make(map[string]int),
	}
}

func (c *coverage) add(counts map[string]int, name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts[name] += n
}

// missed returns what a run that dealt every kind of fault has missed.
func (c *coverage) missed() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.dealt)) {
		if c.struck[name] == 0 {
			all = append(all, fmt.Sprintf("the fault %q was tried %d times and never struck", name, c.dealt[name]))
		}
	}
	for _, name := range c.cases() {
		if c.reached[name] == 0 {
			all = append(all, fmt.Sprintf("never reached %q", name))
		}
	}
	return all
}

// cases are those that have to be reached.
func (c *coverage) cases() []string {
	if c.braked {
		return append(slices.Clip(hardCases), caseWithheld, caseApproved)
	}
	return hardCases
}

// String is a table of everything.
func (c *coverage) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	table := func(title string, counts map[string]int, names []string) {
		fmt.Fprintf(&b, "%s\n", title)
		for _, name := range names {
			fmt.Fprintf(&b, "%6d  %s\n", counts[name], name)
		}
	}
	byCount := func(counts map[string]int) []string {
		return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
			return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
		})
	}
	table("faults that struck:", c.struck, slices.Sorted(maps.Keys(c.dealt)))
	table("hard cases that were reached:", c.reached, append(slices.Clip(c.cases()), caseOutdated))
	table("what the writers committed:", c.actions, byCount(c.actions))
	return b.String()
}
