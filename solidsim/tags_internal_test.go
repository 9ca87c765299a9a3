package solidsim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// orchard is a row with class parameters, as zones have them.
type orchard struct{ id, classParameters, properties, viewParameters string }

func orchardColumns() columns[orchard] {
	return columns[orchard]{
		{name: "id", kind: numberKind, value: func(o orchard) string { return o.id }},
		{name: "dnszone_class_parameters", value: func(o orchard) string { return o.classParameters }},
		{name: "dnszone_class_parameters_properties", value: func(o orchard) string { return o.properties }},
		{name: "dnsview_class_parameters", value: func(o orchard) string { return o.viewParameters }},
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	rows := []orchard{
		{"1", "dnsptr=1&site=a%26b", "dnsptr=inherited,propagate&site=set,propagate", "dnsptr=1"},
		{"2", "site=c", "site=set,propagate", ""},
	}
	const inherited = "dnsptr=1&site=a%26b"
	for _, test := range []struct {
		name   string
		params params
		want   []map[string]string
	}{
		{
			"added to a selection", params{"TAGS": "dnszone.site&dnsview.dnsptr&dnszone.site", "SELECT": "id"},
			[]map[string]string{
				{"id": "1", "tag_dnszone_site": "a&b", "tag_dnsview_dnsptr": "1"},
				{"id": "2", "tag_dnszone_site": "c", "tag_dnsview_dnsptr": ""},
			},
		},
		{
			"in WHERE and ORDERBY", params{"TAGS": "dnszone.site", "SELECT": "id,tag_dnszone_site", "WHERE": "tag_dnszone_site != ''", "ORDERBY": "tag_dnszone_site DESC"},
			[]map[string]string{{"id": "2", "tag_dnszone_site": "c"}, {"id": "1", "tag_dnszone_site": "a&b"}},
		},
		{
			"an inherited parameter", params{"TAGS": "dnszone.dnsptr", "SELECT": "id,dnszone_class_parameters", "WHERE": "id=1"},
			[]map[string]string{{"id": "1", "dnszone_class_parameters": inherited, "tag_dnszone_dnsptr": "1"}},
		},
		{
			"without inherited ones", params{
				"TAGS": "dnszone.dnsptr", "SELECT": "id,dnszone_class_parameters,dnszone_class_parameters_properties", "WHERE": "id=1",
				"NO_PARENT_CLASS_PARAM": "1",
			},
			[]map[string]string{{
				"id": "1", "dnszone_class_parameters": "site=a%26b", "dnszone_class_parameters_properties": "site=set,propagate", "tag_dnszone_dnsptr": "",
			}},
		},
		{
			"0 is off", params{"SELECT": "dnszone_class_parameters", "WHERE": "dnszone_class_parameters like 'dns%'", "NO_PARENT_CLASS_PARAM": "0"},
			[]map[string]string{{"dnszone_class_parameters": inherited}},
		},
	} {
		l, err := newListing(table[orchard]{columns: orchardColumns()}, test.params)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []map[string]string
		for _, row := range l.page(source[orchard]{lists: [][]orchard{rows}, match: l.match}) {
			object := make(map[string]string)
			for _, col := range l.selected {
				object[col.name] = col.value(row)
			}
			got = append(got, object)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	for tags, want := range map[string]string{
		"rr.owner":             "want <type>.<name>", // records have no type
		"dnszone":              "want <type>.<name>",
		"dnszone.":             "want <type>.<name>",
		"dnszone.a b":          "want <type>.<name>",
		"dnszone.a,dnszone.b":  "want <type>.<name>",
		"dns.site":             "no class parameters of the type",
		"dnszone.site&":        "want <type>.<name>",
		"dnszone.si'te":        "want <type>.<name>",
		"dnszone.site&dhcp.xy": "want <type>.<name>",
	} {
		if _, err := newListing(table[orchard]{columns: orchardColumns()}, params{"TAGS": tags}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", tags, err, want)
		}
	}
}
