package dns_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

func claim(name, value string, host int64, identifier string) dns.Claim {
	return dns.Claim{
		Record: dns.Record{Name: name + ".site.com", Type: dns.A, Value: value, TTL: ttl},
		Zone:   "site.com",
		Host:   events.Key{Source: "us3", HostID: host},
		Device: dns.Device{Type: "hw-address", Identifier: identifier},
	}
}

func wanted(c dns.Claim, hosts ...int64) dns.Wanted {
	var owner dns.Owner
	for _, host := range hosts {
		owner.Hosts = append(owner.Hosts, events.Key{Source: "us3", HostID: host})
	}
	return dns.Wanted{Record: c.Record, Owner: owner}
}

func TestDesired(t *testing.T) {
	t.Parallel()
	one := claim("one", "10.0.0.1", 1, "aa")
	united1, united2 := claim("united", "10.0.0.3", 2, "bb"), claim("united", "10.0.0.2", 3, "bb")
	shared1, shared2 := claim("shared", "10.0.0.4", 5, "cc"), claim("shared", "10.0.0.4", 4, "dd")
	fight1, fight2 := claim("fight", "10.0.0.5", 6, "ee"), claim("fight", "10.0.0.6", 7, "ff")
	blank1, blank2 := claim("blank", "10.0.0.7", 8, ""), claim("blank", "10.0.0.8", 9, "")

	sets, conflicts := dns.Desired(slices.Values([]dns.Claim{
		one, united1, united2, shared1, shared2, fight2, fight1, blank1, blank2, one,
	}))
	set := func(c dns.Claim, records ...dns.Wanted) dns.Set {
		return dns.Set{Name: c.Record.Name, Type: dns.A, Zone: "site.com", Records: records}
	}
	wantSets := []dns.Set{
		set(one, wanted(one, 1)),
		set(shared1, wanted(shared1, 4, 5)),
		set(united1, wanted(united2, 3), wanted(united1, 2)),
	}
	wantConflicts := []dns.Conflict{
		{Set: set(blank1, wanted(blank1, 8), wanted(blank2, 9)), Claims: []dns.Claim{blank1, blank2}},
		{Set: set(fight1, wanted(fight1, 6), wanted(fight2, 7)), Claims: []dns.Claim{fight1, fight2}},
	}
	if diff := cmp.Diff(wantSets, sets); diff != "" {
		t.Errorf("sets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantConflicts, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}

	kept := conflicts[1].Keep(func(r dns.Record) bool { return r.Value == "10.0.0.6" })
	if diff := cmp.Diff(set(fight1, wanted(fight2, 7)), kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if len(conflicts[1].Records) != 2 {
		t.Error("Keep has changed the conflict")
	}
	if kept := conflicts[1].Keep(func(dns.Record) bool { return false }); len(kept.Records) > 0 {
		t.Errorf("DNS has none, kept %v", kept)
	}
}

func TestDesiredOfNothing(t *testing.T) {
	t.Parallel()
	if sets, conflicts := dns.Desired(slices.Values[[]dns.Claim](nil)); len(sets)+len(conflicts) > 0 {
		t.Errorf("sets %v, conflicts %v", sets, conflicts)
	}
}

// claims of few names, values and devices, so that they meet.
func claims() *rapid.Generator[[]dns.Claim] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) dns.Claim {
		host := rapid.Int64Range(1, 20).Draw(t, "host")
		return dns.Claim{
			Record: dns.Record{
				Name:  rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") + ".site.com",
				Type:  rapid.SampledFrom([]dns.Type{dns.A, dns.AAAA}).Draw(t, "type"),
				Value: fmt.Sprintf("10.0.0.%d", rapid.IntRange(1, 3).Draw(t, "value")),
				TTL:   ttl,
			},
			Zone:   "site.com",
			Host:   events.Key{Source: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "source"), HostID: host},
			Device: dns.Device{Type: "duid", Identifier: rapid.SampledFrom([]string{"", "aa", "bb"}).Draw(t, "device")},
		}
	}), 0, 12)
}

func TestDesiredProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := claims().Draw(t, "claims")
		sets, conflicts := dns.Desired(slices.Values(all))

		reordered := rapid.Permutation(all).Draw(t, "order")
		sets2, conflicts2 := dns.Desired(slices.Values(slices.Concat(reordered, all)))
		if diff := cmp.Diff(sets, sets2); diff != "" {
			t.Fatalf("order or repetition matters to sets:\n%s", diff)
		}
		if len(conflicts) != len(conflicts2) {
			t.Fatalf("order or repetition matters: %d and %d conflicts", len(conflicts), len(conflicts2))
		}

		// Every claim is in exactly one set or conflict, and its row owns the
		// record there.
		found := make(map[dns.Record]dns.Owner)
		for _, set := range sets {
			add(t, found, set)
			checkSet(t, set, all, true)
		}
		for _, c := range conflicts {
			add(t, found, c.Set)
			checkSet(t, c.Set, all, false)
		}
		for _, c := range all {
			owner, ok := found[c.Record]
			if !ok || !slices.Contains(owner.Hosts, c.Host) {
				t.Fatalf("claim %v is lost", c)
			}
		}
	})
}

func add(t *rapid.T, found map[dns.Record]dns.Owner, set dns.Set) {
	for _, w := range set.Records {
		if _, twice := found[w.Record]; twice {
			t.Fatalf("%v stands twice", w)
		}
		if w.Name != set.Name || w.Type != set.Type {
			t.Fatalf("%v is in the set of %s %s", w, set.Name, set.Type)
		}
		found[w.Record] = w.Owner
	}
}

// checkSet: several values are united exactly when all claims are of one
// known device.
func checkSet(t *rapid.T, set dns.Set, all []dns.Claim, united bool) {
	devices := make(map[dns.Device]bool)
	for _, c := range all {
		if c.Record.Name == set.Name && c.Record.Type == set.Type {
			devices[c.Device] = true
		}
	}
	one := len(devices) == 1 && !devices[dns.Device{Type: "duid"}]
	if want := len(set.Records) == 1 || one; want != united {
		t.Fatalf("%v with devices %v: united is %t", set, devices, united)
	}
}
