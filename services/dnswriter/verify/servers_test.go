package verify_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/services/dnswriter/verify"
)

func TestParseServers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string][]string{
		"":                             {},
		"internal=192.0.2.1:5353":      {"internal": {"192.0.2.1:5353"}},
		"internal=192.0.2.1":           {"internal": {"192.0.2.1:53"}},
		"internal=NS1.site.com.":       {"internal": {"ns1.site.com:53"}},
		"internal=localhost:8053":      {"internal": {"localhost:8053"}},
		"internal=[2001:DB8::1]:53":    {"internal": {"[2001:db8::1]:53"}},
		"internal=[2001:db8::1]":       {"internal": {"[2001:db8::1]:53"}},
		"internal=2001:db8::1":         {"internal": {"[2001:db8::1]:53"}},
		"a=192.0.2.1|b=192.0.2.2":      {"a": {"192.0.2.1:53"}, "b": {"192.0.2.2:53"}},
		"a=192.0.2.1|a=192.0.2.2":      {"a": {"192.0.2.1:53", "192.0.2.2:53"}},
		"a=192.0.2.1,192.0.2.2":        {"a": {"192.0.2.1:53", "192.0.2.2:53"}},
		"a=192.0.2.1|192.0.2.2|b=ns":   {"a": {"192.0.2.1:53", "192.0.2.2:53"}, "b": {"ns:53"}},
		"a=192.0.2.1|a=192.0.2.1:53":   {"a": {"192.0.2.1:53"}},
		"a=192.0.2.1|a=192.0.2.1:5353": {"a": {"192.0.2.1:53", "192.0.2.1:5353"}},
	} {
		var values []string
		if text != "" {
			values = strings.Split(text, "|")
		}
		got, err := verify.ParseServers(values)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

// All values that are not right are named at once.
func TestParseServersRefuses(t *testing.T) {
	t.Parallel()
	bad := []string{
		"192.0.2.1", "=192.0.2.1", "a=", "a=:53", "a=192.0.2.1:", "a=192.0.2.1:0", "a=192.0.2.1:65536", "a=ns:domain", "a=2001:db8::1:x:53",
		"a=[192.0.2.1]:53", "a=[ns1.site.com]", "a=[2001:db8::1", "a=ns 1", "a=ns_1", "a=1.2.3", "a=http://ns1:53",
	}
	for _, text := range bad {
		if got, err := verify.ParseServers([]string{text}); err == nil || got != nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	_, err := verify.ParseServers(bad)
	for _, text := range bad[1:] {
		if err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q is not named: %v", text, err)
		}
	}
}
