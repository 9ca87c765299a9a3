package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/solidsim"
)

// validName matches host names, in lower case and without a trailing dot.
var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// fqdn returns the name that the host must have in DNS, "" for none.
func (c *Checker) fqdn(h host) string {
	name := strings.TrimSuffix(strings.ToLower(h.hostname), ".")
	switch label, _, _ := strings.Cut(name, "."); {
	case !validName.MatchString(name), label == "wpad", label == "isatap":
		return ""
	case !strings.Contains(h.hostname, "."):
		return name + "." + c.Zone
	case strings.HasSuffix(name, "."+c.Zone):
		return name
	}
	return ""
}

// set is a name and a type.
type set struct{ name, rtype string }

func (s set) String() string { return s.name + " " + s.rtype }

// claims are what the rows want of one set.
type claims struct {
	values  map[string]bool
	devices map[string]bool
	hosts   []int64
}

// contradict tells whether different devices ask for different values. Which of
// them is right, only a person can tell.
func (c *claims) contradict() bool { return c != nil && len(c.values) > 1 && len(c.devices) > 1 }

// String lists the rows, for whoever looks into a failure.
func (c *claims) String() string {
	if c == nil {
		return "no row"
	}
	rows := make([]string, len(c.hosts))
	for i, id := range c.hosts {
		rows[i] = fmt.Sprintf("host %d", id)
	}
	return strings.Join(rows, ", ")
}

// wanted derives from the rows what is wanted in DNS.
func (c *Checker) wanted(hosts []host) map[set]*claims {
	all := make(map[set]*claims)
	claim := func(s set, value string, h host) {
		if !slices.Contains(c.types(), s.rtype) {
			return
		}
		if all[s] == nil {
			all[s] = &claims{values: make(map[string]bool), devices: make(map[string]bool)}
		}
		all[s].values[value] = true
		all[s].devices[fmt.Sprint(h.identifierType, h.identifier)] = true
		all[s].hosts = append(all[s].hosts, h.id)
	}
	for _, h := range hosts {
		name := c.fqdn(h)
		if name == "" {
			continue
		}
		for _, addr := range h.usable() {
			rtype := "AAAA"
			if addr.Is4() {
				rtype = "A"
			}
			claim(set{name, rtype}, addr.String(), h)
			reverse := ReverseName(addr)
			if slices.Contains(c.types(), rtype) && slices.ContainsFunc(c.Reverse, func(z string) bool { return strings.HasSuffix(reverse, "."+z) }) {
				claim(set{reverse, "PTR"}, name, h)
			}
		}
	}
	return all
}

func (c *Checker) types() []string {
	if c.Types == nil {
		return []string{"A"}
	}
	return c.Types
}

// usable returns the addresses of a row that can be those of a host.
func (h host) usable() (all []netip.Addr) {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	take := func(a netip.Addr) {
		if a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !a.Is4In6() && a != broadcast {
			all = append(all, a)
		}
	}
	take(h.ip)
	for _, text := range h.v6 {
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() {
			take(a)
		}
	}
	return all
}

// ReverseName is the name of an address in in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5).
func ReverseName(a netip.Addr) string {
	var b strings.Builder
	for _, octet := range slices.Backward(a.AsSlice()) {
		if a.Is4() {
			b.WriteString(strconv.Itoa(int(octet)) + ".")
		} else {
			fmt.Fprintf(&b, "%x.%x.", octet&15, octet>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa"
	}
	return b.String() + "ip6.arpa"
}

const mark = "managed_by=keastream"

// findings are the records of DNS, beside what the rows want of it.
type findings struct {
	*Checker
	wanted       map[set]*claims
	ours, theirs map[set][]string // values
}

// checkDNS compares the records with the rows. What devices of different
// identifiers want differently may hold what any of them wants, or nothing.
func (c *Checker) checkDNS(hosts []host) (errs []error) {
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("DNS: "+format, args...)) }

	records := c.Records()
	errs = append(errs, c.checkForeign(records)...)
	f := findings{Checker: c, wanted: c.wanted(hosts), ours: make(map[set][]string), theirs: make(map[set][]string)}
	for i, r := range records {
		s := set{r.Name, r.Type}
		skipped := c.skips(s, f.wanted[s])
		if i > 0 && records[i-1].Name == r.Name && records[i-1].Type == r.Type && records[i-1].Value == r.Value && !skipped {
			report("%s %s is there twice", s, r.Value)
		}
		if slices.Contains(c.Foreign, r) || !marked(r) {
			f.theirs[s] = append(f.theirs[s], r.Value)
			continue
		}
		f.ours[s] = append(f.ours[s], r.Value)
		if c.TTL != 0 && r.TTL != c.TTL && !skipped {
			report("%s %s has the TTL %d, want %d", s, r.Value, r.TTL, c.TTL)
		}
	}
	sets := slices.Concat(slices.Collect(maps.Keys(f.wanted)), slices.Collect(maps.Keys(f.ours)))
	slices.SortFunc(sets, func(a, b set) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rtype, b.rtype)) })
	for _, s := range slices.Compact(sets) {
		if c.skips(s, f.wanted[s]) {
			continue
		}
		if err := f.check(s); err != nil {
			report("%s is %v, %w (%v)", s, f.ours[s], err, f.wanted[s])
		}
	}
	return errs
}

// skips tells whether a set is left out: because of its name or, since a PTR
// depends on what is at the name that it leads to, because of one of these.
func (c *Checker) skips(s set, w *claims) bool {
	if c.Skip == nil {
		return false
	}
	return c.Skip(s.name) || s.rtype == "PTR" && w != nil && slices.ContainsFunc(slices.Collect(maps.Keys(w.values)), c.Skip)
}

// check compares what DNS has of a set as ours with what the rows want.
func (f findings) check(s set) error {
	w, got := f.wanted[s], f.ours[s]
	if w == nil {
		return errors.New("and no row wants it")
	}
	want := slices.Sorted(maps.Keys(w.values))
	taken := len(f.theirs[s]) > 0 || f.isAlias(s.name)
	switch {
	case taken && !f.Beside && len(got) > 0:
		return errors.New("and there is a foreign record")
	case slices.ContainsFunc(got, w.strange):
		return fmt.Errorf("want of %v", want)
	case taken, w.contradict():
		return nil
	}
	for _, value := range want {
		if s.rtype == "PTR" && !f.leadsBack(s.name, value) {
			continue
		}
		if !slices.Contains(got, value) {
			return fmt.Errorf("want %v", want)
		}
	}
	return nil
}

func (f findings) isAlias(name string) bool { return len(f.theirs[set{name, "CNAME"}]) > 0 }

// strange tells whether no row wants a value.
func (c *claims) strange(value string) bool { return c == nil || !c.values[value] }

// leadsBack tells whether a PTR is to be made: when the name that it leads to has
// the address, whoever wrote that, and nobody disputes it.
func (f findings) leadsBack(reverse, target string) bool {
	for _, rtype := range []string{"A", "AAAA"} {
		forward := set{target, rtype}
		if slices.ContainsFunc(slices.Concat(f.ours[forward], f.theirs[forward]), func(value string) bool {
			a, err := netip.ParseAddr(value)
			return err == nil && ReverseName(a) == reverse
		}) {
			return !f.disputed(forward)
		}
	}
	return false
}

// disputed tells whether a person has to say who is right about a set: devices
// contradict each other, or somebody else's records are in the way of what is
// wanted, or beside ours.
func (f findings) disputed(s set) bool {
	w, ours, theirs := f.wanted[s], f.ours[s], f.theirs[s]
	if w.contradict() || f.isAlias(s.name) {
		return true
	}
	if len(theirs) == 0 || w == nil {
		return false
	}
	for value := range w.values {
		if !slices.Contains(ours, value) && !slices.Contains(theirs, value) {
			return true
		}
	}
	return len(ours) > 0 && slices.ContainsFunc(theirs, w.strange)
}

func marked(r solidsim.Record) bool {
	return strings.Contains("&"+r.ClassParameters+"&", "&"+mark+"&")
}

// checkForeign compares the records of other hands with what they were.
func (c *Checker) checkForeign(records []solidsim.Record) (errs []error) {
	for _, r := range c.Foreign {
		if !slices.Contains(records, r) {
			errs = append(errs, fmt.Errorf("DNS: the foreign record %+v is gone or changed", r))
		}
	}
	for _, r := range records {
		if !marked(r) && !slices.Contains(c.Foreign, r) {
			errs = append(errs, fmt.Errorf("DNS: %+v has no mark and is none of the foreign records", r))
		}
	}
	return errs
}
