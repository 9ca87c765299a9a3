package e2e

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// What is right passes, and each thing that is wrong is seen, for each type.
func TestCheckDNS(t *testing.T) {
	t.Parallel()
	const ours = "kea_source=kea&managed_by=keastream"
	row := func(id int64, device, name, ip string, v6 ...string) host {
		h := host{id: id, identifier: device, hostname: name, v6: v6}
		if ip != "" {
			h.ip = netip.MustParseAddr(ip)
		}
		return h
	}
	a := func(name, value string) solidsim.Record {
		return solidsim.Record{Name: name + ".site.com", Type: "A", Value: value, TTL: 600, ClassParameters: ours}
	}
	ptr := func(name, value string) solidsim.Record {
		return solidsim.Record{Name: name + ".10.in-addr.arpa", Type: "PTR", Value: value, TTL: 600, ClassParameters: ours}
	}
	aaaa := a("a", "2001:db8::1")
	aaaa.Type = "AAAA"
	short, foreign, agreed, copied := a("a", "10.0.0.1"), a("a", "192.0.2.1"), a("a", "10.0.0.1"), a("c", "10.0.0.9")
	short.TTL, foreign.ClassParameters, agreed.ClassParameters = 60, "", ""
	all := []string{"A", "AAAA", "PTR"}
	for title, test := range map[string]struct {
		hosts   []host
		records []solidsim.Record
		foreign []solidsim.Record
		types   []string
		beside  bool
		want    string // "": all is right
	}{
		"right":                {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.1")}, nil, nil, false, ""},
		"missing":              {[]host{row(1, "d1", "a", "10.0.0.1")}, nil, nil, nil, false, "a.site.com A is [], want [10.0.0.1] (host 1)"},
		"wrong":                {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.2")}, nil, nil, false, "want of [10.0.0.1]"},
		"left":                 {nil, []solidsim.Record{a("a", "10.0.0.1")}, nil, nil, false, "no row wants it"},
		"TTL":                  {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{short}, nil, nil, false, "has the TTL 60, want 600"},
		"twice":                {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.1"), a("a", "10.0.0.1")}, nil, nil, false, "is there twice"},
		"no name":              {[]host{row(1, "d1", "a b", "10.0.0.1"), row(2, "d1", "x", "255.255.255.255")}, nil, nil, nil, false, ""},
		"one device":           {[]host{row(1, "d1", "a", "10.0.0.1"), row(2, "d1", "a", "10.0.0.2")}, []solidsim.Record{a("a", "10.0.0.1")}, nil, nil, false, "want [10.0.0.1 10.0.0.2]"},
		"two devices":          {[]host{row(1, "d1", "a", "10.0.0.1"), row(2, "d2", "a", "10.0.0.2")}, []solidsim.Record{a("a", "10.0.0.1")}, nil, nil, false, ""},
		"two devices, neither": {[]host{row(1, "d1", "a", "10.0.0.1"), row(2, "d2", "a", "10.0.0.2")}, []solidsim.Record{a("a", "10.0.0.3")}, nil, nil, false, "want of"},
		"foreign":              {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{foreign}, []solidsim.Record{foreign}, nil, false, ""},
		"foreign and ours":     {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.1"), foreign}, []solidsim.Record{foreign}, nil, false, "there is a foreign record"},
		"foreign came later":   {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.1"), foreign}, []solidsim.Record{foreign}, nil, true, ""},
		"foreign gone":         {nil, nil, []solidsim.Record{foreign}, nil, false, "is gone or changed"},
		"no mark":              {nil, []solidsim.Record{foreign}, nil, nil, false, "has no mark"},
		"copied mark":          {nil, []solidsim.Record{copied}, []solidsim.Record{copied}, nil, false, ""},
		"all types": {[]host{row(1, "d1", "a", "10.0.0.1", "2001:db8::1")},
			[]solidsim.Record{ptr("1.0.0", "a.site.com"), a("a", "10.0.0.1"), aaaa}, nil, all, false, ""},
		"AAAA not expected": {[]host{row(1, "d1", "a", "10.0.0.1", "2001:db8::1")}, []solidsim.Record{a("a", "10.0.0.1"), aaaa}, nil, nil, false, "a.site.com AAAA is [2001:db8::1], and no row wants it"},
		"AAAA missing": {[]host{row(1, "d1", "a", "10.0.0.1", "2001:DB8:0:0::1", "no address")},
			[]solidsim.Record{ptr("1.0.0", "a.site.com"), a("a", "10.0.0.1")}, nil, all, false, "a.site.com AAAA is [], want [2001:db8::1]"},
		"PTR missing": {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{a("a", "10.0.0.1")}, nil, all, false, "1.0.0.10.in-addr.arpa PTR is [], want [a.site.com]"},
		"PTR wrong":   {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{ptr("1.0.0", "b.site.com"), a("a", "10.0.0.1")}, nil, all, false, "want of [a.site.com]"},
		"PTR of a name that two devices want": {[]host{row(1, "d1", "a", "10.0.0.1"), row(2, "d2", "a", "10.0.0.2")},
			[]solidsim.Record{a("a", "10.0.0.1")}, nil, all, false, ""},
		"PTR of a name that somebody came to later": {[]host{row(1, "d1", "a", "10.0.0.1")},
			[]solidsim.Record{a("a", "10.0.0.1"), foreign}, []solidsim.Record{foreign}, all, true, ""},
		"PTR of a name that somebody has made right": {[]host{row(1, "d1", "a", "10.0.0.1")},
			[]solidsim.Record{agreed}, []solidsim.Record{agreed}, all, false, "1.0.0.10.in-addr.arpa PTR is [], want [a.site.com]"},
		"PTR of a name that somebody else has too": {[]host{row(1, "d1", "a", "10.0.0.1")},
			[]solidsim.Record{agreed, foreign}, []solidsim.Record{agreed, foreign}, all, false, "want [a.site.com]"},
		"PTR of a name that is somebody else's": {[]host{row(1, "d1", "a", "10.0.0.1")}, []solidsim.Record{foreign}, []solidsim.Record{foreign}, all, false, ""},
	} {
		c := Checker{
			Records: func() []solidsim.Record { return test.records }, Types: test.types, Zone: "site.com",
			Reverse: []string{"10.in-addr.arpa"}, TTL: 600, Foreign: test.foreign, Beside: test.beside,
		}
		err := errors.Join(c.checkDNS(test.hosts)...)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", title, err, test.want)
		}
	}
}

// What is left out is left out whole: also the PTR that depends on it.
func TestCheckDNSSkips(t *testing.T) {
	t.Parallel()
	const ours = "kea_source=kea&managed_by=keastream"
	hosts := []host{{id: 1, hostname: "a", ip: netip.MustParseAddr("10.0.0.1")}}
	double := solidsim.Record{Name: "a.site.com", Type: "A", Value: "10.0.0.1", TTL: 60, ClassParameters: ours}
	c := Checker{
		Records: func() []solidsim.Record { return []solidsim.Record{double, double} },
		Types:   []string{"A", "PTR"}, Zone: "site.com", Reverse: []string{"10.in-addr.arpa"}, TTL: 600,
	}
	if errs := c.checkDNS(hosts); len(errs) != 4 { // two TTLs, twice there, no PTR
		t.Errorf("found %v", errs)
	}
	c.Skip = func(name string) bool { return name == "a.site.com" }
	if errs := c.checkDNS(hosts); len(errs) > 0 {
		t.Errorf("with the name left out: %v", errs)
	}
}

func TestReverseName(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"10.1.2.3":    "3.2.1.10.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := ReverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
