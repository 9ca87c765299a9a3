package cabinet_test

import (
	"strings"
	"testing"

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
		"us1-cab01-svr01-bmc":           {Site: "us1", Cabinet: "cab01", Manufacturer: "Supermicro"},
		"dv-cab3-ru1":                   {Site: "dv", Cabinet: "cab3", Units: units(1, 1), Manufacturer: "Unknown"},
		"fra12-cab7-ru007-8":            {Site: "fra12", Cabinet: "cab7", Units: units(7, 8), Manufacturer: "Unknown"},
		"us4-cab2-gw1-ru38-s2-bmc":      {Site: "us4", Cabinet: "cab2", Units: units(38, 38), Manufacturer: "Supermicro"},
		"us4-cab2-ru38-2nd-bmc":         {Site: "us4", Cabinet: "cab2", Units: units(38, 38), Manufacturer: "Supermicro"},
		"us4-cab2-svr01ru5-openbmc":     {Site: "us4", Cabinet: "cab2", Units: units(5, 5), Manufacturer: "Unknown"},
		"us4-cab2-guru5-silo":           {Site: "us4", Cabinet: "cab2", Manufacturer: "Unknown"},
		"us4-cab2-ru99999-bmc":          {Site: "us4", Cabinet: "cab2", Manufacturer: "Supermicro"},
		"us4-cab2-ru5-99999-bmc":        {Site: "us4", Cabinet: "cab2", Manufacturer: "Supermicro"},
	} {
		got, ok := cabinet.Patterns{}.Place(name)
		if !ok || got != want {
			t.Errorf("Place(%q) = %+v, %t, want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"web1", "us3-cab10", "us3-rack10-ru1-bmc", "us-3-cab10-ru1", "x.us3-cab10-ru1", "us3-cabx-ru1"} {
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
		`(`, `^(?P<site>a)`, `^(?P<site>a)(?P<cabinet>b)(?P<unit>c)`, cabinet.DefaultPattern, ``,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"(: error parsing regexp", "no group (?P<cabinet>", `the group "unit" is not`, "\n: there is no group (?P<site>"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), cabinet.DefaultPattern+": ") {
		t.Errorf("the error names the pattern that is right: %v", err)
	}
}
