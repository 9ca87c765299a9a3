package modeltest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// The zones of the simulator. Addresses of other networks have no PTR record.
const (
	zone     = "site.com"
	reverse4 = "2.0.192.in-addr.arpa"
	reverse6 = "8.b.d.0.1.0.0.2.ip6.arpa"
)

// set is a name and a type, record a value of one.
type (
	set    struct{ name, rtype string }
	record struct {
		set
		value string
	}
)

func (r record) String() string { return r.name + " " + r.rtype + " " + r.value }

// wish is what the rows ask for of one set.
type wish struct {
	values, devices map[string]bool
}

// contradictory tells whether only a person can say what is right.
func (w *wish) contradictory() bool { return len(w.values) > 1 && len(w.devices) > 1 }

// want derives from the rows what is asked for. Of rows of one source and device
// the one with the highest host_id counts: Kea allows one at a time.
func want(rows map[events.Key]events.Reservation) map[set]*wish {
	type slot struct{ source, device string }
	latest := make(map[slot]events.Reservation)
	for _, r := range rows {
		s := slot{r.Source, r.Identifier}
		if other, found := latest[s]; !found || other.HostID < r.HostID {
			latest[s] = r
		}
	}
	all := make(map[set]*wish)
	ask := func(s set, value, device string) {
		if all[s] == nil {
			all[s] = &wish{make(map[string]bool), make(map[string]bool)}
		}
		all[s].values[value] = true
		all[s].devices[device] = true
	}
	for _, r := range latest {
		name := r.Hostname + "." + zone
		addrs := slices.Clone(r.IPv6)
		if r.IP.IsValid() {
			addrs = append(addrs, r.IP)
		}
		for _, addr := range addrs {
			rtype := "AAAA"
			if addr.Is4() {
				rtype = "A"
			}
			ask(set{name, rtype}, addr.String(), r.Identifier)
			if reverse := reverseName(addr); hasReverseZone(reverse) {
				ask(set{reverse, "PTR"}, name, r.Identifier)
			}
		}
	}
	return all
}

func hasReverseZone(name string) bool {
	return strings.HasSuffix(name, "."+reverse4) || strings.HasSuffix(name, "."+reverse6)
}

// reverseName is the name of an address in in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5).
func reverseName(a netip.Addr) string {
	var b strings.Builder
	for _, octet := range slices.Backward(a.AsSlice()) {
		if a.Is4() {
			fmt.Fprintf(&b, "%d.", octet)
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&15, octet>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

// isOurs tells whether a record has our mark, and has it for this place: a mark
// that was copied to another name or type is none.
func isOurs(r solidsim.Record) bool {
	params, err := url.ParseQuery(r.ClassParameters)
	if err != nil || params.Get("managed_by") != "keastream" {
		return false
	}
	return params.Get("keastream_digest") == digest(r)
}

// digest binds a mark to its place.
func digest(r solidsim.Record) string {
	var text strings.Builder
	for _, part := range []string{"keastream", solidsim.InternalServer, "", r.Name, r.Type} {
		fmt.Fprintf(&text, "%d:%s,", len(part), part)
	}
	hash := sha256.Sum256([]byte(text.String()))
	return fmt.Sprintf("%x", hash[:16])
}

// table is what DNS holds, by set and value, with the number of rows.
type table map[set]map[string]int

func (t table) add(r solidsim.Record) {
	s := set{r.Name, r.Type}
	if t[s] == nil {
		t[s] = make(map[string]int)
	}
	t[s][r.Value]++
}

func (t table) values(s set) []string { return slices.Sorted(maps.Keys(t[s])) }

// split tells our records from those of others.
func split(records []solidsim.Record) (ours, foreign table) {
	ours, foreign = make(table), make(table)
	for _, r := range records {
		if isOurs(r) {
			ours.add(r)
		} else {
			foreign.add(r)
		}
	}
	return ours, foreign
}

// differences compares our records with what is asked for. Where reservations
// contradict one another or somebody else has rows, ours may hold any part of what
// is asked for: which, depends on what came first. What is withheld may stay.
func differences(wanted map[set]*wish, records []solidsim.Record, held withheld) (all []string) {
	ours, foreign := split(records)
	sets := slices.Collect(maps.Keys(wanted))
	sets = slices.AppendSeq(sets, maps.Keys(ours))
	for _, s := range sets {
		if text := difference(s, wanted, ours, foreign, held); text != "" {
			all = append(all, fmt.Sprintf("%s %s: %s, ours are %v, others %v", s.name, s.rtype, text, ours.values(s), foreign.values(s)))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func difference(s set, wanted map[set]*wish, ours, foreign table, held withheld) string {
	for value, n := range ours[s] {
		switch {
		case held.stays[record{s, value}] || held.leads(s, wanted):
		case n > 1:
			return "is there twice"
		case wanted[s] == nil || !wanted[s].values[value]:
			return "nobody asks for " + value
		}
	}
	alias := len(foreign[set{s.name, "CNAME"}]) > 0
	if wanted[s] == nil || wanted[s].contradictory() || len(foreign[s]) > 0 || alias {
		return ""
	}
	for value := range wanted[s].values {
		if ours[s][value] == 0 && !held.lacks[record{s, value}] && (s.rtype != "PTR" || leadsBack(s.name, value, wanted, ours, foreign)) {
			return value + " is missing"
		}
	}
	return ""
}

// leadsBack tells whether a name undoubtedly has the address of a reverse name:
// then, and not before, the PTR record has to be there.
func leadsBack(reverse, name string, wanted map[set]*wish, ours, foreign table) bool {
	for _, rtype := range []string{"A", "AAAA"} {
		s := set{name, rtype}
		if wanted[s] == nil {
			continue
		}
		found, missing, strangers := false, false, false
		for value := range wanted[s].values {
			missing = missing || ours[s][value]+foreign[s][value] == 0
			found = found || reverseName(netip.MustParseAddr(value)) == reverse && ours[s][value]+foreign[s][value] > 0
		}
		for value := range foreign[s] {
			strangers = strangers || !wanted[s].values[value]
		}
		conflict := wanted[s].contradictory() || len(foreign[s]) > 0 && (missing || strangers && len(ours[s]) > 0)
		if found && !conflict {
			return true
		}
	}
	return false
}

// reverse is the name of the PTR record of an A or AAAA record.
func (r record) reverse() string {
	addr, err := netip.ParseAddr(r.value)
	if err != nil {
		return ""
	}
	return reverseName(addr)
}
