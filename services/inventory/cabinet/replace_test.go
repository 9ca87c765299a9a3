package cabinet_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// lines makes targets from texts "name ip mac"; a mac of - is none.
func lines(texts ...string) []cabinet.Target {
	var all []cabinet.Target
	for _, text := range texts {
		f := strings.Fields(text)
		all = append(all, cabinet.Target{Hostname: f[0], IP: netip.MustParseAddr("192.0.2." + f[1]), MAC: strings.Trim(f[2], "-")})
	}
	return all
}

func texts(ts []cabinet.Target) []string {
	var all []string
	for _, t := range ts {
		mac := t.MAC
		if mac == "" {
			mac = "-"
		}
		all = append(all, t.Hostname+" "+strings.TrimPrefix(t.IP.String(), "192.0.2.")+" "+mac)
	}
	return all
}

func TestUnreplaced(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what               string
		stale, fresh, want []string
	}{
		{what: "nothing new", stale: []string{"a 1 m1", "b 2 m2"}, want: []string{"a 1 m1", "b 2 m2"}},
		{what: "another device", stale: []string{"a 1 m1"}, fresh: []string{"b 2 m2"}, want: []string{"a 1 m1"}},
		{what: "another device on the same address", stale: []string{"a 1 m1"}, fresh: []string{"b 1 m2"}, want: []string{"a 1 m1"}},
		{what: "renamed", stale: []string{"a 1 m1"}, fresh: []string{"b 1 m1"}},
		{what: "readdressed", stale: []string{"a 1 m1"}, fresh: []string{"a 2 m1"}},
		{what: "new board", stale: []string{"a 1 m1"}, fresh: []string{"a 1 m2"}},
		{what: "renamed and readdressed", stale: []string{"a 1 m1"}, fresh: []string{"b 2 m1"}},
		{what: "renamed without a MAC address", stale: []string{"a 1 -"}, fresh: []string{"b 1 -"}},
		{what: "no MAC address is no likeness", stale: []string{"a 1 -"}, fresh: []string{"b 2 -"}, want: []string{"a 1 -"}},
		{what: "one of a device's two", stale: []string{"a 1 m1", "b 2 m1"}, fresh: []string{"b 3 m1"}, want: []string{"a 1 m1"}},
		{what: "one of a name's two", stale: []string{"a 1 m1", "a 2 m2"}, fresh: []string{"a 3 m2"}, want: []string{"a 1 m1"}},
		{what: "both of a name's two", stale: []string{"a 1 m1", "a 2 m2"}, fresh: []string{"a 3 m2", "a 4 m3"}},
		{what: "two swap their addresses", stale: []string{"a 1 m1", "b 2 m2"}, fresh: []string{"a 2 m1", "b 1 m2"}},
		{what: "two swap their names", stale: []string{"a 1 m1", "b 2 m2"}, fresh: []string{"b 1 m1", "a 2 m2"}},
	} {
		if diff := cmp.Diff(test.want, texts(cabinet.Unreplaced(lines(test.stale...), lines(test.fresh...)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	got := cabinet.Without(lines("a 1 m1", "a 2 m1", "a 1 m2", "b 1 m1", "c 3 -"), lines("a 1 m1", "c 3 -", "d 4 -"))
	if diff := cmp.Diff([]string{"a 2 m1", "a 1 m2", "b 1 m1"}, texts(got)); diff != "" {
		t.Errorf("Without (-want +got):\n%s", diff)
	}
}

func TestIP6OfALineThatIsLost(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	want := lines("a 1 m1", "b 2 m2", "c 3 m3", "d 4 m4")
	have := lines("a 1 m1", "b 2 m2", "c 3 m3", "d 4 m5")
	want[1].IP6, want[2].IP6 = addr("2001:db8::22"), addr("2001:db8::3")
	have[0].IP6, have[1].IP6, have[3].IP6 = addr("2001:db8::1"), addr("2001:db8::2"), addr("2001:db8::4")
	lost := cabinet.LostIP6(want, have)
	if len(lost) != 1 || lost[0].ID() != (cabinet.ID{IP: addr("2001:db8::1"), Hostname: "a"}) {
		t.Fatalf("LostIP6 gives %+v", lost)
	}
	c := cabinet.Cabinet{Targets: want}.WithIP6(lost)
	for i, text := range []string{"2001:db8::1", "2001:db8::22", "2001:db8::3", "invalid IP"} {
		if got := c.Targets[i].IP6.String(); got != text {
			t.Errorf("line %d has the address %s, want %s", i, got, text)
		}
	}
	if want[0].IP6.IsValid() {
		t.Error("WithIP6 changed the lines that it was given")
	}
}

func TestSourcesThatWereNotHeardStay(t *testing.T) {
	t.Parallel()
	want, have := lines("a 1 m1", "b 2 m2"), lines("a 1 m1", "b 3 m2")
	want[0].Sources, want[1].Sources = "b", "b"
	have[0].Sources, have[1].Sources = "a,b,c", "a"
	got := cabinet.Cabinet{Targets: want}.WithSources(have, func(source string) bool { return source == "a" })
	if got.Targets[0].Sources != "a,b" || got.Targets[1].Sources != "b" || want[0].Sources != "b" {
		t.Errorf("WithSources gives %+v, from %+v", got.Targets, want)
	}
}
