package dns_test

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

func TestReverseName(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.10": "10.2.0.192.in-addr.arpa",
		"0.0.0.0":    "0.0.0.0.in-addr.arpa",
		// The example of RFC 3596, section 2.5.
		"4321:0:1:2:3:4:567:89ab": "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
	} {
		if got := dns.ReverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if got := dns.ReverseName(netip.Addr{}); got != "" {
		t.Errorf("no address has the name %s", got)
	}
}

func TestNamesThatStandForNoAddress(t *testing.T) {
	t.Parallel()
	whole := dns.ReverseName(netip.MustParseAddr("2001:db8::1"))
	for _, name := range []string{
		"", "site.com", "in-addr.arpa", ".in-addr.arpa", "2.0.192.in-addr.arpa", "1.10.2.0.192.in-addr.arpa",
		"256.2.0.192.in-addr.arpa", "010.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa", "0-127.2.0.192.in-addr.arpa",
		"10.2.0.192.in-addr.arpa.site.com", "10.2.0.192in-addr.arpa", "2001.db8::1.in-addr.arpa",
		"ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa", strings.Replace(whole, "d", "D", 1), strings.Replace(whole, "d", "g", 1),
		strings.Replace(whole, "d.", "d-", 1), whole[2:], "0." + whole,
	} {
		if addr, ok := dns.ReverseAddr(name); ok {
			t.Errorf("%q is read as %s", name, addr)
		}
	}
}

// TestReverseIsItsOwnInverse: an address and its name say the same, and so do a
// record and the PTR record that speaks of it.
func TestReverseIsItsOwnInverse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 4, 4), rapid.SliceOfN(rapid.Byte(), 16, 16)).Draw(t, "address")
		addr, _ := netip.AddrFromSlice(raw)
		name := dns.ReverseName(addr)
		back, ok := dns.ReverseAddr(name)
		if !ok || back != addr {
			t.Fatalf("%s has the name %s, which is read as %s", addr, name, back)
		}
		if !dns.IsReverse(name) || dns.CanonicalName(name) != name {
			t.Fatalf("%s is not canonical, or no reverse name", name)
		}
		record := dns.Record{Name: "a.site.com", Type: dns.TypeOf(addr), Value: addr.String()}
		ptr := dns.Record{Name: record.Reverse(), Type: dns.PTR, Value: record.Name}
		if forward, ok := ptr.Forward(); !ok || forward != record {
			t.Fatalf("%s speaks of %s, want %s", ptr, forward, record)
		}
	})
}

func TestRecordsWithoutAnotherSide(t *testing.T) {
	t.Parallel()
	for _, r := range []dns.Record{
		{Name: "a.site.com", Type: dns.CNAME, Value: "b.site.com"},
		{Name: "a.site.com", Type: dns.PTR, Value: "b.site.com"},
		{Name: "2.0.192.in-addr.arpa", Type: dns.PTR, Value: "b.site.com"},
		{Name: "a.site.com", Type: dns.A, Value: "x"},
	} {
		if forward, ok := r.Forward(); ok {
			t.Errorf("%s speaks of %s", r, forward)
		}
		if name := r.Reverse(); name != "" {
			t.Errorf("%s has the reverse name %s", r, name)
		}
	}
}

// FuzzReverseAddr: whatever is taken for the name of an address is the name of
// that address.
func FuzzReverseAddr(f *testing.F) {
	f.Add("10.2.0.192.in-addr.arpa")
	f.Add("1.ip6.arpa")
	f.Add(dns.ReverseName(netip.MustParseAddr("2001:db8::1")))
	f.Fuzz(func(t *testing.T, name string) {
		if addr, ok := dns.ReverseAddr(name); ok && dns.ReverseName(addr) != name {
			t.Errorf("%q is read as %s, whose name is %s", name, addr, dns.ReverseName(addr))
		}
	})
}
