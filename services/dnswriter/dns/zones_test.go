package dns_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

func zones(t testing.TB, settings ...string) dns.Zones {
	t.Helper()
	z, err := dns.ParseZones(settings)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseZones(t *testing.T) {
	t.Parallel()
	z := zones(t, "12=Lab.Site.com.", "site.com", "other.org", "0=site.com", "home.arpa")
	if diff := cmp.Diff([]string{"home.arpa", "lab.site.com", "other.org", "site.com"}, z.All()); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	const text = "site.com,0=site.com,12=lab.site.com,home.arpa,other.org"
	if got := z.String(); got != text {
		t.Errorf("String is %q, want %q", got, text)
	}
	if again := zones(t, strings.Split(text, ",")...); again.String() != text || !slices.Equal(again.All(), z.All()) {
		t.Errorf("what String gives is read as %s", again)
	}
}

func TestParseZonesNamesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	bad := map[string]string{
		"":                      "it is empty",
		".":                     "empty label",
		"lab_1.example.com":     "not a letter, digit or hyphen",
		"12=":                   "it is empty",
		"x=lab.example.com":     `"x" is not the id of a subnet`,
		"-1=lab.example.com":    `"-1" is not the id of a subnet`,
		"4294967296=lab.org":    `"4294967296" is not the id of a subnet`,
		"10.in-addr.arpa":       "reverse zone",
		"5=8.b.d.0.1.ip6.arpa":  "reverse zone",
		"*.example.com":         "not a letter, digit or hyphen",
		"1=2=lab.example.com":   "not a letter, digit or hyphen",
		"10.0.0.0":              "could be read as an address",
		"https://example.com/x": "not a letter, digit or hyphen",
	}
	for setting, want := range bad {
		if _, err := dns.ParseZones([]string{setting}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q in it", setting, err, want)
		}
	}
	_, err := dns.ParseZones([]string{"7=a.org", "b_", "7=c.org", "7=a.org", "c d"})
	for _, want := range []string{"subnet 7 has the zone a.org already", `zone "b_"`, `zone "c d"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestZoneOfANameIsTheLongest(t *testing.T) {
	t.Parallel()
	z := zones(t, "site.com", "lab.site.com", "a.lab.site.com")
	for name, want := range map[string]string{
		"x.site.com":       "site.com",
		"x.lab.site.com":   "lab.site.com",
		"x.a.lab.site.com": "a.lab.site.com",
		"lab.site.com":     "lab.site.com",
		"xlab.site.com":    "site.com",
		"xsite.com":        "",
		"com":              "",
		"":                 "",
	} {
		if got, ok := z.Of(name); got != want || ok != (want != "") {
			t.Errorf("zone of %q is %q, %t; want %q", name, got, ok, want)
		}
	}
	if _, ok := (dns.Zones{}).Of("x.site.com"); ok {
		t.Error("no zones, and yet one was found")
	}
}
