package dns

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/pkg/events"
)

// Zones are the zones that names of reservations are put into. The zero value
// holds none. It is safe for concurrent use.
type Zones struct {
	short    string           // for short names, "" if there is none
	bySubnet map[int64]string // for short names of one subnet
	all      []string         // ascending, distinct
}

// ParseZones reads the values of the setting --dns-zone, each ZONE or
// SUBNET_ID=ZONE. The first plain zone is for short names; the zone of a
// subnet is for the short names of that subnet, where 0 stands for Kea's
// global reservations; every zone takes the complete names that end in it. The
// error names all values that are not right.
func ParseZones(settings []string) (Zones, error) {
	z := Zones{bySubnet: make(map[int64]string)}
	var bad []error
	for _, text := range settings {
		if err := z.add(text); err != nil {
			bad = append(bad, err)
		}
	}
	if len(bad) > 0 {
		return Zones{}, errors.Join(bad...)
	}
	slices.Sort(z.all)
	z.all = slices.Compact(z.all)
	return z, nil
}

// add takes in one value of the setting.
func (z *Zones) add(text string) error {
	name := text
	subnet, rest, ofSubnet := strings.Cut(text, "=")
	if ofSubnet {
		name = rest
	}
	zone, err := events.CanonicalHostname(name)
	switch {
	case err != nil:
		return fmt.Errorf("zone %q: %w; give it as ZONE or SUBNET_ID=ZONE, for example lab.example.com or 12=lab.example.com", text, err)
	case IsReverse(zone):
		return fmt.Errorf("zone %q: is a reverse zone; give the zones that host names are put into", text)
	}
	switch {
	case ofSubnet:
		// Kea's subnet ids are unsigned 32-bit numbers.
		id, err := strconv.ParseUint(subnet, 10, 32)
		if err != nil {
			return fmt.Errorf("zone %q: %q is not the id of a subnet, a number from 0 to 4294967295", text, subnet)
		}
		if other, taken := z.bySubnet[int64(id)]; taken && other != zone {
			return fmt.Errorf("zone %q: subnet %d has the zone %s already", text, id, other)
		}
		z.bySubnet[int64(id)] = zone
	case z.short == "":
		z.short = zone
	}
	z.all = append(z.all, zone)
	return nil
}

// All returns the names of the zones, ascending and distinct.
func (z Zones) All() []string { return slices.Clone(z.all) }

// Has tells whether the zone of a canonical name is one of them.
func (z Zones) Has(zone string) bool {
	_, found := slices.BinarySearch(z.all, zone)
	return found
}

// Of returns the zone that a canonical name belongs to: of those that it is
// in, the one with the longest name. The name of a zone is in that zone.
func (z Zones) Of(name string) (zone string, ok bool) {
	for suffix := range suffixes(name) {
		if z.Has(suffix) {
			return suffix, true
		}
	}
	return "", false
}

// forShort returns the zone for short names: that of the first of the subnets
// that one is given for, else that for all; "" if there is none.
func (z Zones) forShort(subnets ...*int64) string {
	for _, subnet := range subnets {
		if subnet == nil {
			continue
		}
		if zone, ok := z.bySubnet[*subnet]; ok {
			return zone
		}
	}
	return z.short
}

// String returns the zones as values of the setting, separated by commas;
// ParseZones makes equal Zones of them.
func (z Zones) String() string {
	var parts []string
	if z.short != "" {
		parts = append(parts, z.short)
	}
	named := map[string]bool{z.short: true}
	for _, id := range slices.Sorted(maps.Keys(z.bySubnet)) {
		parts = append(parts, fmt.Sprintf("%d=%s", id, z.bySubnet[id]))
		named[z.bySubnet[id]] = true
	}
	for _, zone := range z.all {
		if !named[zone] {
			parts = append(parts, zone)
		}
	}
	return strings.Join(parts, ",")
}
