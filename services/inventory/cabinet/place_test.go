package cabinet_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

func units(low, high int) cabinet.Units { return cabinet.Units{Known: true, Low: low, High: high} }

func TestPlaceByDefaultPattern(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]cabinet.Place{
		"us3-cab10-ru17-idrac":          {Site: "us3", Cabinet: "cab10", Units: units(17, 17), Manufacturer: "Dell"},
		"us3-cab10-ru17-idrac.site.com": {Site: "us3", Cabinet: "cab10", Units: units(17, 17), Manufacturer: "Dell"},
		"us3-cab10-ru7-9-ilo":           {Site: "us3", Cabinet: "cab10", Units: units(7, 9), Manufacturer: "HP"},
		"us3-cab10-ru9-7-ilo":           {Site: "us3", Cabinet: "cab10", Units: units(7, 9), Manufacturer: "HP"},
		"us1-cab01-svr01-bmc":           {Site: "us1", Cabinet: "cab01", Role: "svr01", Manufacturer: "Supermicro"},
		"dv-cab3-ru1":                   {Site: "dv", Cabinet: "cab3", Units: units(1, 1), Manufacturer: "Unknown"},
		"fra12-cab7-ru007-8":            {Site: "fra12", Cabinet: "cab7", Units: units(7, 8), Manufacturer: "Unknown"},
		"us4-cab2-gw1-ru38-s2-bmc":      {Site: "us4", Cabinet: "cab2", Units: units(38, 38), Slot: "2", Manufacturer: "Supermicro"},
		"us4-cab2-ru38-2nd-bmc":         {Site: "us4", Cabinet: "cab2", Units: units(38, 38), Manufacturer: "Supermicro"},
		"us4-cab2-svr01ru5-openbmc":     {Site: "us4", Cabinet: "cab2", Units: units(5, 5), Manufacturer: "Unknown"},
		"us4-cab2-guru5-silo":           {Site: "us4", Cabinet: "cab2", Role: "guru5", Manufacturer: "Unknown"},
		"us4-cab2-ru99999-bmc":          {Site: "us4", Cabinet: "cab2", Manufacturer: "Supermicro"},
		"us4-cab2-ru5-99999-bmc":        {Site: "us4", Cabinet: "cab2", Manufacturer: "Supermicro"},
		"us4-cab2-ru5-2025-bmc":         {Site: "us4", Cabinet: "cab2", Manufacturer: "Supermicro"},
		"us-east-1-cab7-ru3-idrac":      {Site: "us-east-1", Cabinet: "cab7", Units: units(3, 3), Manufacturer: "Dell"},
		"a-cab1-cab2-ru3-idrac":         {Site: "a", Cabinet: "cab1", Units: units(3, 3), Manufacturer: "Dell"},
		"1-cab1-ru9-7-s3-ilo":           {Site: "1", Cabinet: "cab1", Units: units(7, 9), Slot: "3", Manufacturer: "HP"},
		"us4-cab2-sw-ilo":               {Site: "us4", Cabinet: "cab2", Role: "sw", Manufacturer: "HP"},
	} {
		got, ok := cabinet.Patterns{}.Place(name)
		if !ok || got != want {
			t.Errorf("Place(%q) = %+v, %t, want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"web1", "us3-cab10", "us3-rack10-ru1-bmc", "-us3-cab10-ru1", "x.us3-cab10-ru1", "us3-cabx-ru1"} {
		if got, ok := (cabinet.Patterns{}).Place(name); ok {
			t.Errorf("Place(%q) = %+v, want none", name, got)
		}
	}
}

func TestPlaceByOwnPatterns(t *testing.T) {
	t.Parallel()
	patterns, err := cabinet.ParsePatterns([]string{
		`^(?P<site>us-east-[0-9])-(?P<cabinet>r[0-9]+)(?:-u(?P<ru>[0-9]+))?`,
		`^(?P<cabinet>r[0-9]+)\D?(?P<site>[a-z]*)$`,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"us-east-1-r7-u12-bmc": "us-east-1-r7-discovery.yml RU 12",
		"us-east-2-r8":         "us-east-2-r8-discovery.yml Unknown",
		"r9-fra":               "fra-r9-discovery.yml Unknown",
		"r9":                   "", // the site is empty
		"us3-cab10-ru17-idrac": "", // the default is replaced
	} {
		got := ""
		if place, ok := patterns.Place(name); ok {
			got = place.File() + " " + place.Units.String()
		}
		if got != want {
			t.Errorf("Place(%q) is %q, want %q", name, got, want)
		}
	}

	// Only the caller's care keeps such labels away; no path comes of them.
	odd, err := cabinet.ParsePatterns([]string{`^(?P<site>.*)-(?P<cabinet>.*)$`})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../etc-x", "a-b-", "-a", "--", "a/b-c", "a\x00-b", "A-b"} {
		if got, ok := odd.Place(name); ok {
			t.Errorf("Place(%q) = %+v, want none", name, got)
		}
	}
}

func TestParsePatternsNamesAllProblems(t *testing.T) {
	t.Parallel()
	_, err := cabinet.ParsePatterns([]string{
		`(`, `^(?P<site>a)`, `^(?P<site>a)(?P<cabinet>b)(?P<unit>c)`, cabinet.DefaultPatterns()[0], ``,
		`(?P<site>a)(?P<cabinet>b)(?P<cabinet>c)`, `(?=x)`, `(?P<site>a)(?P<cabinet>b)(?P<ru_end>c)`,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"(: error parsing regexp", "syntax of RE2", "no group (?P<cabinet>", `the group "unit" is not known: name it one of site, cabinet, ru`,
		"\n: there is no group (?P<site>", "there are two groups (?P<cabinet>", "(?=x): error parsing", "and no (?P<ru>",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), cabinet.DefaultPatterns()[0]+": ") {
		t.Errorf("the error names the pattern that is right: %v", err)
	}
}

func TestVendorAndManufacturers(t *testing.T) {
	t.Parallel()
	patterns, err := cabinet.ParsePatterns([]string{`^(?P<site>[a-z]+)-(?P<cabinet>[0-9]+)-(?P<role>[a-z]+)(?:-v(?P<vendor>[a-z-]+))?`})
	if err != nil {
		t.Fatal(err)
	}
	if patterns, err = patterns.WithManufacturers(map[string]string{"ilo": "HPE", "xcc": "Lenovo", "a-b": "A&B Co."}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"x-1-web-ilo": "HPE", "x-1-web-xcc": "Lenovo", "x-1-web-idrac": "Dell", "x-1-web": "Unknown", "x-1-web-mgmt": "Unknown",
		"x-1-web-va-b": "A&B Co.", "x-1-web-vxcc": "Lenovo", "x-1-web-vacme": "acme",
	} {
		if got, ok := patterns.Place(name); !ok || got.Manufacturer != want || got.Role != "web" {
			t.Errorf("Place(%q) is %+v, %t, want the manufacturer %q", name, got, ok, want)
		}
	}
	if got, _ := (cabinet.Patterns{}).Place("us3-cab1-ru1-ilo"); got.Manufacturer != "HP" {
		t.Errorf("the built-in patterns were changed: %+v", got)
	}
	_, err = patterns.WithManufacturers(map[string]string{"iLO": "HP", "": "x", "ok": "Dell", "a": "", "b": "{{ x }}", "c": "x\ny", "d": "{% x %}", "e": "#jinja2:x", "f": "x "})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`"iLO" cannot end`, `=x: ""`, `a=: ""`, `"{{ x }}"`, `"x\ny"`, `"{% x %}"`, `"#jinja2:x"`, `"x "`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "ok=") {
		t.Errorf("the error names what is right: %v", err)
	}
}

func TestFindingsTellOfEveryPattern(t *testing.T) {
	t.Parallel()
	texts := []string{`^x(?P<site>a)(?P<cabinet>b)`, `^(?P<site>-?)(?P<cabinet>.*)`, `^(?P<site>a)(?P<cabinet>b)`, `^(?P<site>.)(?P<cabinet>b)`}
	patterns, err := cabinet.ParsePatterns(texts)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, f := range patterns.Findings("ab.lab") {
		if f.Pattern != texts[i] {
			t.Errorf("pattern %d is %q", i, f.Pattern)
		}
		if f.Err != nil {
			got = append(got, f.Err.Error())
			continue
		}
		got = append(got, f.Place.File())
	}
	want := []string{
		"does not match", `site "" and cabinet "ab" are to be parts of a file name: only a-z, 0-9 and inner hyphens, not empty`,
		"a-b-discovery.yml", "a-b-discovery.yml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
