package dns_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

func TestCanonicalValue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rtype       dns.Type
		value, want string // want "" is an error
	}{
		{dns.A, "172.30.19.100", "172.30.19.100"},
		{dns.A, "172.30.019.100", ""},
		{dns.A, "2001:db8::1", ""},
		{dns.A, "::ffff:10.0.0.1", ""},
		{dns.A, "", ""},
		{dns.AAAA, "2001:0db8:0000:0000:0000:0000:0000:0010", "2001:db8::10"},
		{dns.AAAA, "FE80::1", "fe80::1"},
		{dns.AAAA, "fe80::1%eth0", ""},
		{dns.AAAA, "10.0.0.1", ""},
		{dns.PTR, "A.Site.Com.", "a.site.com"},
		{dns.CNAME, "_x.Site.com", "_x.site.com"},
		{dns.CNAME, "", ""},
		{"TXT", "x", ""},
	} {
		got, err := dns.CanonicalValue(test.rtype, test.value)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s %q: %q, %v; want %q", test.rtype, test.value, got, err, test.want)
		}
	}
}

func TestCanonicalName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"A.Site.COM.":     "a.site.com",
		`a\.`:             `a\.`, // the dot belongs to the label
		"*.Site.com":      "*.site.com",
		"Ä.site.com":      "Ä.site.com",      // RFC 4343: ASCII only
		"\u212a.site.com": "\u212a.site.com", // the sign for kelvin, whose lower case is an ASCII k
		".":               "",
	} {
		if got := dns.CanonicalName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

// FuzzCanonical: the canonical form of a canonical form is itself.
func FuzzCanonical(f *testing.F) {
	f.Add("A.Site.com.")
	f.Add("2001:DB8:0::1")
	f.Add("10.0.0.1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, rtype := range dns.Types() {
			once, err := dns.CanonicalValue(rtype, text)
			if err != nil || once == "" || once[len(once)-1] == '.' { // "a.." is no name at all
				continue
			}
			if twice, err := dns.CanonicalValue(rtype, once); err != nil || twice != once {
				t.Errorf("%s %q becomes %q and then %q, %v", rtype, text, once, twice, err)
			}
		}
	})
}

func keys(source string, n int) []events.Key {
	var all []events.Key
	for i := range n {
		all = append(all, events.Key{Source: source, HostID: int64(i + 1)})
	}
	return all
}

func TestOwnerKeepsEverySource(t *testing.T) {
	t.Parallel()
	owner := dns.NewOwner(slices.Concat(keys("b", 40), keys("a", 1), keys("c", 2))...)
	if got := owner.Sources(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("sources are %v", got)
	}
	if len(owner.Hosts) != dns.MaxHosts || !slices.IsSortedFunc(owner.Hosts, events.Key.Compare) {
		t.Errorf("hosts are %v", owner.Hosts)
	}
}

func TestOwnerDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.SliceOf(rapid.Custom(func(t *rapid.T) events.Key {
			return events.Key{
				Source: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source"),
				HostID: rapid.Int64Range(0, 30).Draw(t, "host"),
			}
		})).Draw(t, "hosts")
		owner := dns.NewOwner(hosts...)
		if again := dns.NewOwner(rapid.Permutation(hosts).Draw(t, "order")...); !owner.Equal(again) {
			t.Fatalf("%v and %v", owner, again)
		}
		if again := dns.NewOwner(owner.Hosts...); !owner.Equal(again) {
			t.Fatalf("%v is not stable: %v", owner, again)
		}
		for _, host := range hosts {
			if !slices.Contains(owner.Sources(), host.Source) {
				t.Fatalf("source %s is not in %v", host.Source, owner)
			}
		}
	})
}
