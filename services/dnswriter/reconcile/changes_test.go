package reconcile_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// TestChangesJSON: others read this, so the names of the fields stay.
func TestChangesJSON(t *testing.T) {
	t.Parallel()
	claims := slices.Concat(dual(key("us3", 1), nameA, "192.0.2.1"), dual(key("us3", 2), nameB, "192.0.2.2"))
	rows := []dns.Row{row(nameA, "192.0.2.9"), foreign(row(nameB, "192.0.2.8")), row("old.lab.example.com", "192.0.2.3")}
	plan := reconcile.Plan(want(claims...), rows, reconcile.UpsertOnly)
	const text = `{
 "steps": [
  {"op": "update", "zone": "lab.example.com", "name": "a.lab.example.com", "type": "A", "value": "192.0.2.1", "ttl": 600,
   "was": {"ttl": 600, "value": "192.0.2.9"}, "hosts": ["us3/1"]},
  {"op": "create", "zone": "2.0.192.in-addr.arpa", "name": "1.2.0.192.in-addr.arpa", "type": "PTR", "value": "a.lab.example.com", "ttl": 600,
   "hosts": ["us3/1"], "requires": {"name": "a.lab.example.com", "type": "A", "value": "192.0.2.1"}}
 ],
 "skipped": [
  {"op": "remove", "zone": "lab.example.com", "name": "old.lab.example.com", "type": "A", "value": "192.0.2.3", "ttl": 600, "hosts": ["us3/1"]}
 ],
 "conflicts": [
  {"kind": "foreign", "name": "b.lab.example.com", "type": "A", "wanted": ["192.0.2.2 (us3/2)"], "present": ["192.0.2.8 (foreign)"]}
 ],
 "records": {
  "A": {"foreign": 0, "in_sync": 0, "missing": 1, "orphan": 1, "wrong": 1},
  "PTR": {"foreign": 0, "in_sync": 0, "missing": 2, "orphan": 0, "wrong": 0}
 }
}`
	for _, test := range []struct {
		changes any
		want    string
	}{
		{plan, text},
		{&plan, text},
		{reconcile.Changes{}, `{"steps": [], "skipped": [], "conflicts": [], "records": {}}`},
		{reconcile.Changes{Conflicts: []reconcile.Conflict{{Kind: reconcile.Claimants, Name: nameA, Type: dns.A}}},
			`{"steps": [], "skipped": [], "conflicts": [{"kind": "claimants", "name": "a.lab.example.com", "type": "A", "wanted": [], "present": []}], "records": {}}`},
	} {
		got, err := json.Marshal(test.changes)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(test.want)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestConflictNamesAFew: a hostname that thousands share does not make a text of
// thousands.
func TestConflictNamesAFew(t *testing.T) {
	t.Parallel()
	var claims []dns.Claim
	var rows []dns.Row
	for _, address := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		claims = append(claims, claim(key("us3", int64(len(claims)+1)), nameA, "192.0.2."+address))
		rows = append(rows, foreign(row(nameA, "198.51.100."+address)))
	}
	c := reconcile.Plan(want(claims...), rows, reconcile.Sync).Conflicts[0]
	for _, side := range [][]string{c.Wanted, c.Present} {
		if len(side) != 9 || side[8] != "and 1 more" {
			t.Errorf("told is %v", side)
		}
	}
	same := reconcile.Plan(want(claims[:8]...), rows[:8], reconcile.Sync).Conflicts[0]
	if len(same.Wanted) != 8 || len(same.Present) != 8 || slices.Contains(same.Wanted, "and 0 more") {
		t.Errorf("told is %v", same)
	}
}
