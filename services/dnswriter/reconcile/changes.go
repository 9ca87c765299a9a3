package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Op is what a Step does.
type Op string

// The steps, in the order in which they are taken for one name: nothing goes
// before its replacement is there.
const (
	Create Op = "create"
	Update Op = "update"
	Remove Op = "remove"
)

// Step is one change of one row.
type Step struct {
	Op   Op
	Zone string
	// Record is what will be there; of a Remove, what will not.
	Record dns.Record
	// Owner goes into the mark. A Remove has none.
	Owner dns.Owner
	// Exclusive asks for a Create that fails if the name has any row of the type.
	Exclusive bool
	// Row is the row to update or remove.
	Row dns.Row
	// Requires is the A or AAAA record that a PTR record speaks of, if DNS does
	// not have it yet: another step of the plan makes it, and this one must wait
	// until that was taken. It is the zero Record if there is nothing to wait for.
	Requires dns.Record
}

// String says the step in one line.
func (s Step) String() string {
	text := s.change()
	if s.Requires != (dns.Record{}) {
		text += fmt.Sprintf(", after %s %s -> %s", s.Requires.Type, s.Requires.Name, s.Requires.Value)
	}
	return text
}

func (s Step) change() string {
	switch {
	case s.Op == Update && s.Row.Value != s.Record.Value:
		return fmt.Sprintf("update %s %s: %s -> %s (ttl %d)", s.Record.Type, s.Record.Name, s.Row.Value, s.Record.Value, s.Record.TTL)
	case s.Op == Update && s.Row.TTL != s.Record.TTL:
		return fmt.Sprintf("update %s %s -> %s: ttl %d -> %d", s.Record.Type, s.Record.Name, s.Record.Value, s.Row.TTL, s.Record.TTL)
	case s.Op == Update:
		return fmt.Sprintf("update %s %s -> %s: new mark", s.Record.Type, s.Record.Name, s.Record.Value)
	case s.Op == Remove:
		return fmt.Sprintf("remove %s %s -> %s", s.Record.Type, s.Record.Name, s.Record.Value)
	}
	return fmt.Sprintf("%s %s %s -> %s (ttl %d)", s.Op, s.Record.Type, s.Record.Name, s.Record.Value, s.Record.TTL)
}

// Changes is a plan: what is to be done, and what cannot be.
type Changes struct {
	// Steps may be taken, and nothing else may. They are sorted: forward names
	// before reverse ones, then by name and type and, within those, in the order
	// in which they must be taken. No step comes before the one that it requires.
	// Removals are only proposed: whoever takes the steps has to prove first that
	// nobody asks for the row any more.
	Steps []Step
	// Skipped are the steps that the policy does not allow, and those that
	// require one of them. They are sorted as Steps are, and must not be taken.
	Skipped []Step
	// Conflicts are sorted by name and type, as Steps are; of those, one between
	// reservations comes first.
	Conflicts []Conflict
	// Tallies count the records by the state that was found, whatever the policy.
	Tallies map[dns.Type]Tally
}

// String lists steps, skipped steps and conflicts, one in a line. It is empty
// if there is nothing to tell.
func (c Changes) String() string {
	var text strings.Builder
	for _, s := range c.Steps {
		fmt.Fprintln(&text, s)
	}
	for _, s := range c.Skipped {
		fmt.Fprintln(&text, "skipped:", s)
	}
	for _, k := range c.Conflicts {
		fmt.Fprintln(&text, "conflict", k)
	}
	return text.String()
}

// MarshalJSON writes the plan as one object, whose fields keep their names and
// meaning:
//
//   - steps, skipped: lists of steps, each with op (create, update, remove),
//     zone, name, type, value and ttl of the record; of an update, was with value
//     and ttl of the row; hosts, the reservations in the mark as "us3/5"; and
//     requires with name, type and value if there is a record to wait for.
//   - conflicts: a list with kind (foreign, cname, claimants), name, type, and
//     wanted and present as lists of texts.
//   - records: by type, how many records were found in_sync, missing, wrong,
//     orphan and foreign.
//
// Lists are sorted as those of Changes, and never null.
func (c Changes) MarshalJSON() ([]byte, error) { return json.Marshal(c.document()) }

// document is the wire form of a plan.
type document struct {
	Steps     []stepDocument              `json:"steps"`
	Skipped   []stepDocument              `json:"skipped"`
	Conflicts []conflictDocument          `json:"conflicts"`
	Records   map[dns.Type]map[string]int `json:"records"`
}

type stepDocument struct {
	Op       Op             `json:"op"`
	Zone     string         `json:"zone"`
	Name     string         `json:"name"`
	Type     dns.Type       `json:"type"`
	Value    string         `json:"value"`
	TTL      uint32         `json:"ttl"`
	Was      map[string]any `json:"was,omitempty"`
	Hosts    []string       `json:"hosts"`
	Requires map[string]any `json:"requires,omitempty"`
	Withheld []string       `json:"withheld,omitempty"` // of an Examination
}

type conflictDocument struct {
	Kind    Kind     `json:"kind"`
	Name    string   `json:"name"`
	Type    dns.Type `json:"type"`
	Wanted  []string `json:"wanted"`
	Present []string `json:"present"`
}

func (c Changes) document() document {
	doc := document{
		Steps: stepDocuments(c.Steps), Skipped: stepDocuments(c.Skipped),
		Conflicts: []conflictDocument{}, Records: make(map[dns.Type]map[string]int),
	}
	for _, k := range c.Conflicts {
		doc.Conflicts = append(doc.Conflicts, conflictDocument{k.Kind, k.Name, k.Type, append([]string{}, k.Wanted...), append([]string{}, k.Present...)})
	}
	for rtype, tally := range c.Tallies {
		doc.Records[rtype] = make(map[string]int)
		for state := range states {
			doc.Records[rtype][state.String()] = tally[state]
		}
	}
	return doc
}

func stepDocuments(steps []Step) []stepDocument {
	all := make([]stepDocument, 0, len(steps))
	for _, s := range steps {
		entry := stepDocument{Hosts: []string{}, Op: s.Op, Zone: s.Zone, Name: s.Record.Name, Type: s.Record.Type, Value: s.Record.Value, TTL: s.Record.TTL}
		owner := s.Owner
		switch s.Op {
		case Update:
			entry.Was = map[string]any{"value": s.Row.Value, "ttl": s.Row.TTL}
		case Remove:
			owner = *s.Row.Owner
		}
		for _, key := range owner.Hosts {
			entry.Hosts = append(entry.Hosts, host(key))
		}
		if r := s.Requires; r != (dns.Record{}) {
			entry.Requires = map[string]any{"name": r.Name, "type": r.Type, "value": r.Value}
		}
		all = append(all, entry)
	}
	return all
}
