package cabinet

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/keastream/keastream/pkg/events"
)

// Target is one line of a file: one device at one address.
type Target struct {
	IP           netip.Addr // IPv4
	IP6          netip.Addr // the zero Addr if there is none, or the layout shows none
	MAC          string     // aa:bb:cc:dd:ee:ff, or "" if the reservation tells none
	Hostname     string     // canonical, with its domain if it is reserved with one
	Units        Units
	Manufacturer string
	// Sources are the Kea databases that ask for the line, ascending and with
	// commas between, "" if the layout shows none.
	Sources string
}

// ID is what makes two lines the same one. The other values of a line follow
// from the host name and the patterns, or may change.
type ID struct {
	IP       netip.Addr
	MAC      string
	Hostname string
}

// ID returns what makes t the same line as another one.
func (t Target) ID() ID { return ID{IP: t.IP, MAC: t.MAC, Hostname: t.Hostname} }

// compare orders the lines of a file from the top of the rack to the bottom,
// those of unknown units last. No two lines with different IDs are equal.
func (t Target) compare(o Target) int {
	return cmp.Or(
		t.Units.compare(o.Units),
		cmp.Compare(t.Hostname, o.Hostname),
		t.IP.Compare(o.IP),
		cmp.Compare(t.MAC, o.MAC),
	)
}

// merge returns a line for two with one ID. The lower IPv6 address counts.
func (t Target) merge(o Target) Target {
	if !t.IP6.IsValid() || o.IP6.IsValid() && o.IP6.Less(t.IP6) {
		t.IP6 = o.IP6
	}
	t.Sources = joinSources(append(splitSources(t.Sources), splitSources(o.Sources)...))
	return t
}

func joinSources(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

func splitSources(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, ",")
}

// Cabinet is what a file says.
type Cabinet struct {
	Site, Cabinet string
	Targets       []Target // in the order of the file, each ID once
	// Sources are the Kea databases that the lines came from, ascending and
	// distinct. A line counts as gone only by the word of all of them.
	Sources []string
}

// File returns the name of the file.
func (c Cabinet) File() string { return Place{Site: c.Site, Cabinet: c.Cabinet}.File() }

// Equal tells whether both say the same.
func (c Cabinet) Equal(o Cabinet) bool {
	return c.Site == o.Site && c.Cabinet == o.Cabinet && slices.Equal(c.Targets, o.Targets) && slices.Equal(c.Sources, o.Sources)
}

// With returns the cabinet with more lines, which came from the given sources.
func (c Cabinet) With(targets []Target, sources []string) Cabinet {
	c.Targets = slices.Concat(c.Targets, targets)
	c.Sources = slices.Concat(c.Sources, sources)
	c.normalize()
	return c
}

func (c *Cabinet) normalize() {
	slices.SortFunc(c.Targets, Target.compare)
	last := 0
	for i, t := range c.Targets {
		if i > 0 && t.ID() == c.Targets[last].ID() {
			c.Targets[last] = c.Targets[last].merge(t)
		} else if i > 0 {
			last++
			c.Targets[last] = t
		}
	}
	c.Targets = c.Targets[:min(last+1, len(c.Targets))]
	slices.Sort(c.Sources)
	c.Sources = slices.Compact(c.Sources)
}

// Reason says why a reserved name stands in no file. The set is small and
// closed, so it can be the label of a metric.
type Reason string

const (
	// Template: a text of the reservation holds what Ansible would run.
	Template Reason = "template"
	// NotAHostname: the reserved name is not a host name.
	NotAHostname Reason = "not_a_hostname"
	// NoPattern: no pattern matches the name.
	NoPattern Reason = "no_pattern"
	// NoIPv4: the name has a place, but no reservation of it has an IPv4 address.
	NoIPv4 Reason = "no_ipv4"
	// FileTaken: the file of the name belongs to another cabinet, as that of
	// site a-b, cabinet c belongs to site a, cabinet b-c. The lower site has it.
	FileTaken Reason = "file_taken"
)

// Reasons returns all reasons.
func Reasons() []Reason { return []Reason{Template, NotAHostname, NoPattern, NoIPv4, FileTaken} }

// Unplaced is a reserved name that stands in no file.
type Unplaced struct {
	Hostname string // as reserved if it is not a host name: any text; else canonical
	Reason   Reason
}

// Compare orders by name, then by reason.
func (u Unplaced) Compare(o Unplaced) int {
	return cmp.Or(cmp.Compare(u.Hostname, o.Hostname), cmp.Compare(u.Reason, o.Reason))
}

// Grouping is what follows from all reservations.
type Grouping struct {
	Cabinets map[string]Cabinet // by file name, none without a line
	Unplaced []Unplaced         // ordered by name, each once
}

// Group finds the cabinets of the reservations of a whole view, which must not
// contain rows that a later one has replaced (see [events.View.Reservations]).
//
// A reservation with an IPv4 address gives one line; reservations that differ
// in nothing that a line shows give one line together, which came from all their
// sources, as when two databases serve the same subnets. Reservations without a
// name are left out silently. IPv6 addresses, which Kea may keep in rows of their
// own, are those of the name; of several the lowest counts.
func (p Patterns) Group(rs []events.Reservation) Grouping {
	type address struct{ site, cabinet string }
	cabinets := make(map[address]*Cabinet)
	placed := make(map[string]bool)
	var without []string            // names of reservations without an IPv4 address
	ip6 := make(map[string][]claim) // by name
	var unplaced []Unplaced

	for _, r := range rs {
		if r.Hostname == "" {
			continue
		}
		if holdsTemplate(r) {
			unplaced = append(unplaced, Unplaced{r.Hostname, Template})
			continue
		}
		name, err := events.CanonicalHostname(r.Hostname)
		if err != nil {
			unplaced = append(unplaced, Unplaced{r.Hostname, NotAHostname})
			continue
		}
		place, ok := p.Place(name)
		if !ok {
			unplaced = append(unplaced, Unplaced{name, NoPattern})
			continue
		}
		for _, addr := range r.IPv6 {
			if isIP6(addr) {
				ip6[name] = append(ip6[name], claim{addr, r.MAC})
			}
		}
		if !r.IP.Is4() {
			without = append(without, name)
			continue
		}
		placed[name] = true
		a := address{place.Site, place.Cabinet}
		c, ok := cabinets[a]
		if !ok {
			c = &Cabinet{Site: place.Site, Cabinet: place.Cabinet}
			cabinets[a] = c
		}
		c.Targets = append(c.Targets, target(r, name, place))
		if !slices.Contains(c.Sources, r.Source) {
			c.Sources = append(c.Sources, r.Source)
		}
	}

	for _, name := range without {
		if !placed[name] {
			unplaced = append(unplaced, Unplaced{name, NoIPv4})
		}
	}
	g := Grouping{Cabinets: make(map[string]Cabinet, len(cabinets))}
	for _, a := range slices.SortedFunc(maps.Keys(cabinets), func(x, y address) int {
		return cmp.Or(cmp.Compare(x.site, y.site), cmp.Compare(x.cabinet, y.cabinet))
	}) {
		c := cabinets[a]
		c.normalize()
		c.addIP6(ip6)
		if _, taken := g.Cabinets[c.File()]; taken {
			for _, t := range c.Targets {
				unplaced = append(unplaced, Unplaced{t.Hostname, FileTaken})
			}
			continue
		}
		g.Cabinets[c.File()] = *c
	}
	slices.SortFunc(unplaced, Unplaced.Compare)
	g.Unplaced = slices.Compact(unplaced)
	return g
}

// Line returns the file and the line that a reservation gives by itself. ok is
// false if it gives none. It serves to tell which files a change concerns; what
// stands in them follows from [Patterns.Group] alone.
func (p Patterns) Line(r events.Reservation) (file string, t Target, ok bool) {
	name, place, ok := p.placeOf(r)
	if !ok || !r.IP.Is4() {
		return "", Target{}, false
	}
	t = target(r, name, place)
	for _, addr := range r.IPv6 {
		if isIP6(addr) {
			t = t.merge(Target{IP6: addr})
		}
	}
	return place.File(), t, true
}

// Concerns returns the file in which a reservation stands by itself, and the IDs
// of its line and of the stand-ins of its IPv6 addresses (see [LostIP6]). ok is
// false if it stands in none.
func (p Patterns) Concerns(r events.Reservation) (file string, ids []ID, ok bool) {
	name, place, ok := p.placeOf(r)
	if !ok {
		return "", nil, false
	}
	if r.IP.Is4() {
		ids = append(ids, target(r, name, place).ID())
	}
	for _, addr := range r.IPv6 {
		ids = append(ids, ID{IP: addr, Hostname: name})
	}
	return place.File(), ids, true
}

func (p Patterns) placeOf(r events.Reservation) (name string, place Place, ok bool) {
	if holdsTemplate(r) {
		return "", Place{}, false
	}
	name, err := events.CanonicalHostname(r.Hostname)
	if err != nil {
		return "", Place{}, false
	}
	place, ok = p.Place(name)
	return name, place, ok
}

func target(r events.Reservation, hostname string, place Place) Target {
	t := Target{IP: r.IP, Hostname: hostname, Units: place.Units, Manufacturer: place.Manufacturer, Sources: r.Source}
	if isMAC(r.MAC) {
		t.MAC = r.MAC
	}
	return t
}

// isMAC tells whether s has the form aa:bb:cc:dd:ee:ff.
func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		if i%3 == 2 {
			if s[i] != ':' {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdef", rune(s[i])) {
			return false
		}
	}
	return true
}
