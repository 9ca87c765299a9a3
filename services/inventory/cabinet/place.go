package cabinet

import (
	"fmt"
	"strings"
)

// fileSuffix is the end of the name of every inventory file.
const fileSuffix = "-discovery.yml"

// unknown stands where a name does not tell a rack unit or a manufacturer.
const unknown = "Unknown"

// Place is where a device stands and who made it, as far as its name tells.
type Place struct {
	Site, Cabinet string // not empty; lower-case letters, digits and inner hyphens
	Units         Units
	Slot, Role    string // as in the name; "" if the pattern finds none
	Manufacturer  string // "Dell", "HP", "Supermicro", "Unknown" or what the settings say
}

// File returns the name of the file of the place, <site>-<cabinet>-discovery.yml.
func (p Place) File() string { return p.Site + "-" + p.Cabinet + fileSuffix }

// Place returns the place that the first matching pattern finds in a canonical
// host name (see [github.com/keastream/keastream/pkg/events.CanonicalHostname]);
// of a name with a domain the patterns see the first label. A pattern that finds
// no site or no cabinet, or one that begins or ends with a hyphen, does not
// match. ok is false if no pattern does.
func (p Patterns) Place(hostname string) (place Place, ok bool) {
	label := firstLabel(hostname)
	for _, r := range p.all() {
		if place, err := p.apply(r, label); err == nil {
			return place, true
		}
	}
	return Place{}, false
}

// Finding is what one pattern makes of a name.
type Finding struct {
	Pattern string
	Place   Place
	Err     error // why the pattern finds no place, nil if it does
}

// Findings tells, in order, what every pattern makes of a canonical host name,
// also those behind the first that matches.
func (p Patterns) Findings(hostname string) []Finding {
	label := firstLabel(hostname)
	var all []Finding
	for _, r := range p.all() {
		place, err := p.apply(r, label)
		all = append(all, Finding{Pattern: r.expr.String(), Place: place, Err: err})
	}
	return all
}

func firstLabel(hostname string) string {
	label, _, _ := strings.Cut(hostname, ".")
	return label
}

// apply returns the place that a rule finds, or why it finds none.
func (p Patterns) apply(r rule, label string) (Place, error) {
	m := r.expr.FindStringSubmatchIndex(label)
	if m == nil {
		return Place{}, errNoMatch
	}
	group := func(n int) string {
		if n < 0 || m[2*n] < 0 {
			return ""
		}
		return label[m[2*n]:m[2*n+1]]
	}
	place := Place{
		Site: group(r.site), Cabinet: group(r.cabinet),
		Units: unitsOf(group(r.ru), group(r.ruEnd)),
		Slot:  group(r.slot), Role: group(r.role),
		Manufacturer: p.manufacturer(label, group(r.vendor)),
	}
	if !isWord(place.Site) || !isWord(place.Cabinet) {
		return Place{}, fmt.Errorf("site %q and cabinet %q are to be parts of a file name: only a-z, 0-9 and inner hyphens, not empty", place.Site, place.Cabinet)
	}
	return place, nil
}

// isWord tells whether s can be a part of a file name. Whatever the caller of
// Place or a file passes in, no path leads out of it.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}
