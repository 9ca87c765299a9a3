package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The hard cases. Each is counted where it shows, not where something was done to
// bring it about.
const (
	caseWithdrawn    = "withdrawn creation: somebody else's row came in beside ours"
	caseExists       = "refused creation: somebody else's row was there unseen"
	caseReplaced     = "value replaced in place"
	caseRaised       = "conflict raised"
	caseOver         = "conflict over"
	caseLateRemoval  = "removal after a restart, of a row from before it"
	caseReadded      = "re-added within the hold-down under a new host_id"
	caseBetween      = "crash between the forward and the reverse record"
	caseCrashCreate  = "crash right after a creation"
	caseCrashUpdate  = "crash right after a change"
	caseCrashRemove  = "crash right after a removal"
	caseRefused      = "write refused"
	caseAway         = "server away and back"
	caseTwoSources   = "one record asked for by two sources"
	caseOneLeft      = "one of two sources gave a record up"
	caseHalves       = "two rows in one slot: the later one counts"
	caseRefill       = "stream lost and filled again"
	caseHandRemoved  = "hand edit: our row was deleted"
	caseHandChanged  = "hand edit: the value of our row was changed"
	caseHandUnmarked = "hand edit: the mark was taken off our row"
	caseHandDoubled  = "hand edit: our row was doubled"
	caseHandBeside   = "hand edit: a foreign row came beside ours"
	caseHandCopied   = "hand edit: our mark was copied to another name"
	caseTakeover     = "two instances: the other one took over"
	caseLost         = "two instances: the lease was lost"
	caseBothWrote    = "two instances: both wrote between two times of rest"
	caseWriteHeld    = "two instances: one stood still, and so did its write"
	caseAnswerHeld   = "two instances: one stood still after its write"
	caseLateWrite    = "two instances: a late write was repaired"
	caseWithheld     = "brake: names were withheld"
	caseApproved     = "brake: a name went because it was approved"
	caseWantedAgain  = "brake: wanted again while it was withheld"
	caseOutdated     = "brake: an outdated list was not approved"
)

// caseUnclear is a write with an answer that was lost.
func caseUnclear(method string, happened bool) string {
	verb := map[string]string{"POST": "creation", "PUT": "change", "DELETE": "removal"}[method]
	if happened {
		return "unclear " + verb + ", which happened"
	}
	return "unclear " + verb + ", which did not happen"
}

func hardCases() []string {
	all := []string{
		caseWithdrawn, caseExists, caseReplaced, caseRaised, caseOver, caseLateRemoval, caseReadded, caseBetween,
		caseCrashCreate, caseCrashUpdate, caseCrashRemove, caseRefused, caseAway, caseTwoSources, caseOneLeft, caseHalves,
		caseRefill, caseHandRemoved, caseHandChanged, caseHandUnmarked, caseHandDoubled, caseHandBeside, caseHandCopied,
		caseTakeover, caseLost, caseBothWrote, caseWriteHeld, caseAnswerHeld, caseLateWrite,
		caseWithheld, caseApproved, caseWantedAgain, caseOutdated,
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		all = append(all, caseUnclear(method, true), caseUnclear(method, false))
	}
	return all
}

// cases counts the hard cases that were reached. Its methods may be called from
// several goroutines.
type cases struct {
	mu      sync.Mutex
	reached map[string]int
}

func newCases() *cases { return &cases{reached: make(map[string]int)} }

func (c *cases) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reached[name]++
}

func (c *cases) missed() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range hardCases() {
		if c.reached[name] == 0 {
			all = append(all, name)
		}
	}
	return all
}

// String is a table of all that was counted.
func (c *cases) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := slices.AppendSeq(hardCases(), maps.Keys(c.reached))
	slices.Sort(names)
	var b strings.Builder
	for _, name := range slices.Compact(names) {
		fmt.Fprintf(&b, "%6d  %s\n", c.reached[name], name)
	}
	return b.String()
}

func formatSeed(seed uint64) string { return strconv.FormatUint(seed, 10) }
