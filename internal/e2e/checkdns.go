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
			reverse := reverseName(addr)
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
		if a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast {
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

// reverseName is the name of an address in in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5).
func reverseName(a netip.Addr) string {
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

// checkDNS compares the records with the rows. What devices of different
// identifiers want differently may hold what any of them wants, or nothing.
func (c *Checker) checkDNS(hosts []host) (errs []error) {
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("DNS: "+format, args...)) }

	records := c.Records()
	errs = append(errs, c.checkForeign(records)...)
	wanted := c.wanted(hosts)
	ours := make(map[set][]string)
	forward := make(map[set][]string) // whoever made it
	for i, r := range records {
		s := set{r.Name, r.Type}
		forward[s] = append(forward[s], r.Value)
		if i > 0 && records[i-1].Name == r.Name && records[i-1].Type == r.Type && records[i-1].Value == r.Value {
			report("%s %s is there twice", s, r.Value)
		}
		if slices.Contains(c.Foreign, r) || !marked(r) {
			continue
		}
		ours[s] = append(ours[s], r.Value)
		if c.TTL != 0 && r.TTL != c.TTL && (c.Skip == nil || !c.Skip(r.Name)) {
			report("%s %s has the TTL %d, want %d", s, r.Value, r.TTL, c.TTL)
		}
	}
	sets := slices.Concat(slices.Collect(maps.Keys(wanted)), slices.Collect(maps.Keys(ours)))
	slices.SortFunc(sets, func(a, b set) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rtype, b.rtype)) })
	for _, s := range slices.Compact(sets) {
		if c.Skip != nil && c.Skip(s.name) {
			continue
		}
		if err := c.checkSet(s, wanted[s], ours[s], forward); err != nil {
			report("%s is %v, %w (%v)", s, ours[s], err, wanted[s])
		}
	}
	return errs
}

// checkSet compares what DNS has of a set as ours with what the rows want.
func (c *Checker) checkSet(s set, w *claims, got []string, forward map[set][]string) error {
	if w == nil {
		return errors.New("and no row wants it")
	}
	want := slices.Sorted(maps.Keys(w.values))
	stranger := func(value string) bool { return !w.values[value] }
	taken := slices.ContainsFunc(c.Foreign, func(r solidsim.Record) bool {
		return r.Name == s.name && (r.Type == s.rtype || r.Type == "CNAME")
	})
	switch {
	case taken && !c.Beside && len(got) > 0:
		return errors.New("and there is a foreign record")
	case slices.ContainsFunc(got, stranger):
		return fmt.Errorf("want of %v", want)
	case taken, w.contradict():
		return nil
	}
	for _, value := range want {
		// What leads back is made when there is something that it leads back from.
		if s.rtype == "PTR" && !leadsBack(s.name, value, forward) {
			continue
		}
		if !slices.Contains(got, value) {
			return fmt.Errorf("want %v", want)
		}
	}
	return nil
}

// leadsBack tells whether the target of a reverse name has its address.
func leadsBack(reverse, target string, forward map[set][]string) bool {
	for _, rtype := range []string{"A", "AAAA"} {
		if slices.ContainsFunc(forward[set{target, rtype}], func(value string) bool {
			a, err := netip.ParseAddr(value)
			return err == nil && reverseName(a) == reverse
		}) {
			return true
		}
	}
	return false
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
