package dns

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Served are the master zones that a DNS server has in one view, forward and
// reverse. A nil *Served says that they are not known yet. It is immutable and
// safe for concurrent use.
type Served struct {
	autoPTR map[string]bool // by name
}

// NewServed takes in the zones of a server. A zone that is given twice has a
// PTR of its own if one of the two says so. The root zone is left out: names
// that are in no other zone are nobody's here.
func NewServed(zones []Zone) *Served {
	s := &Served{autoPTR: make(map[string]bool, len(zones))}
	for _, z := range zones {
		if z.Name != "" {
			s.autoPTR[z.Name] = s.autoPTR[z.Name] || z.AutoPTR
		}
	}
	return s
}

// Of returns the zone that a canonical name, forward or reverse, belongs to:
// of those that it is in, the one with the longest name. The name of a zone is
// in that zone. It takes as many steps as the name has labels.
func (s *Served) Of(name string) (zone Zone, ok bool) {
	if s == nil {
		return Zone{}, false
	}
	for suffix := range suffixes(name) {
		if auto, ok := s.autoPTR[suffix]; ok {
			return Zone{Name: suffix, AutoPTR: auto}, true
		}
	}
	return Zone{}, false
}

// All returns the zones, ascending by name.
func (s *Served) All() []Zone {
	if s == nil {
		return nil
	}
	all := make([]Zone, 0, len(s.autoPTR))
	for _, name := range slices.Sorted(maps.Keys(s.autoPTR)) {
		all = append(all, Zone{Name: name, AutoPTR: s.autoPTR[name]})
	}
	return all
}

// Equal tells whether both are the same zones.
func (s *Served) Equal(o *Served) bool {
	if s == nil || o == nil {
		return s == o
	}
	return maps.Equal(s.autoPTR, o.autoPTR)
}

// suffixes yields the name and what is left of it when labels are taken off its
// front, the longest first.
func suffixes(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := name != ""; more; {
			if !yield(name) {
				return
			}
			_, name, more = strings.Cut(name, ".")
		}
	}
}
