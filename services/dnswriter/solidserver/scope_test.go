package solidserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

func testLifeOfARecord(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	if rows := lookup(t, s, host); len(rows) > 0 {
		t.Fatalf("an empty server has %v", rows)
	}

	by := dns.NewOwner(events.Key{Source: "us3", HostID: 5}, events.Key{Source: "dv", HostID: -7})
	id, err := s.Create(t.Context(), site, record(host, "172.30.19.100"), by, true)
	if err != nil {
		t.Fatal(err)
	}
	want := dns.Row{Record: record(host, "172.30.19.100"), ID: id, Zone: site, Owner: &by}
	if diff := cmp.Diff([]dns.Row{want}, lookup(t, s, host)); diff != "" {
		t.Fatalf("created (-want +got):\n%s", diff)
	}
	mark := stored(t, sim, host).ClassParameters
	if !strings.HasPrefix(mark, "kea_host_id=-7%2C5&kea_source=dv%2Cus3&keastream_digest=") || !strings.HasSuffix(mark, "&managed_by=keastream") {
		t.Errorf("the mark is %q", mark)
	}

	changed := dns.Record{Name: host, Type: dns.A, Value: "172.30.19.101", TTL: 60}
	other := owner(6)
	if err := s.Update(t.Context(), want, changed, other); err != nil {
		t.Fatal(err)
	}
	want.Record, want.Owner = changed, &other
	if diff := cmp.Diff([]dns.Row{want}, lookup(t, s, host)); diff != "" {
		t.Fatalf("changed (-want +got):\n%s", diff)
	}

	for range 2 {
		if err := s.Delete(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if rows := lookup(t, s, host); len(rows) > 0 {
			t.Fatalf("after the deletion there is %v", rows)
		}
	}
	if changes := sim.Calls().Changes; changes != 3 {
		t.Errorf("%d changes, want 3", changes)
	}
}

func testAllTypesAreRead(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	for _, r := range []solidsim.Record{
		{Name: "a.site.com", Type: "A", Value: "10.0.0.1", TTL: 600},
		{Name: "a.site.com", Type: "AAAA", Value: "2001:db8::10"}, // stored expanded
		{Name: "a.site.com", Type: "TXT", Value: "not ours to see"},
		{Name: "c.site.com", Type: "CNAME", Value: "a.site.com"},
		{Name: "_p.site.com", Type: "PTR", Value: "a.site.com"},
	} {
		add(t, sim, r)
	}
	if err := sim.Add(solidsim.ExternalServer, solidsim.Record{Name: "x.site.com", Type: "A", Value: "10.0.0.9"}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Records(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows {
		if row.Owner != nil || row.Zone != site || row.ID == "" || row.Pending || row.Deleting {
			t.Errorf("row %+v", row)
		}
		got = append(got, row.String())
	}
	want := []string{
		"a.site.com 600 A 10.0.0.1",
		"a.site.com 3600 AAAA 2001:db8::10",
		"c.site.com 3600 CNAME a.site.com",
		"_p.site.com 3600 PTR a.site.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if rows := lookup(t, s, "a.site.com"); len(rows) != 2 {
		t.Errorf("looked up %v", rows)
	}
}

// Records of all types are written, and are the same when they are read.
func testAllTypesAreWritten(t *testing.T) {
	t.Parallel()
	const reverseZone = "8.b.d.0.1.0.0.2.ip6.arpa"
	sim := start(t, site, reverseZone)
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	for _, test := range []struct {
		name, zone    string
		rtype         dns.Type
		before, after string
	}{
		{"a.site.com", site, dns.A, "10.0.0.1", "10.0.0.2"},
		{"a.site.com", site, dns.AAAA, "2001:db8::10", "2001:db8::1:0"},
		{"c.site.com", site, dns.CNAME, "a.site.com", "b.other.com"},
		{"0.1." + strings.Repeat("0.", 22) + reverseZone, reverseZone, dns.PTR, "a.site.com", "b.site.com"},
	} {
		rec, by := dns.Record{Name: test.name, Type: test.rtype, Value: test.before, TTL: 600}, owner(5)
		id, err := s.Create(t.Context(), test.zone, rec, by, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), test.zone, rec, by, false); !errors.Is(err, dns.ErrExists) {
			t.Errorf("%s created again: %v", rec, err)
		}
		row := dns.Row{Record: rec, ID: id, Zone: test.zone, Owner: &by}
		rec.Value, rec.TTL = test.after, 0
		if err := s.Update(t.Context(), row, rec, by); err != nil {
			t.Fatal(err)
		}
		row.Record = rec
		rows, err := s.Lookup(t.Context(), test.zone, test.name)
		if diff := cmp.Diff([]dns.Row{row}, rows); err != nil || diff != "" {
			t.Errorf("looked up (-want +got): %v\n%s", err, diff)
		}
		if err := s.Delete(t.Context(), row); err != nil {
			t.Error(err)
		}
		if rows, err := s.Lookup(t.Context(), test.zone, test.name); err != nil || len(rows) > 0 {
			t.Errorf("after the deletion there is %v, %v", rows, err)
		}
	}
}

func testCreateDoesNotOverwrite(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	foreign := solidsim.Record{Name: host, Type: "A", Value: "10.0.0.1", TTL: 60}
	add(t, sim, foreign)
	add(t, sim, solidsim.Record{Name: "c.site.com", Type: "CNAME", Value: host})
	for _, test := range []struct {
		rec       dns.Record
		exclusive bool
	}{
		{record(host, "10.0.0.2"), true},
		{record(host, "10.0.0.1"), true},
		{record(host, "10.0.0.1"), false},
		{record("c.site.com", "10.0.0.1"), true},
		{record("c.site.com", "10.0.0.1"), false},
		{dns.Record{Name: host, Type: dns.CNAME, Value: "b.site.com"}, true},
	} {
		_, err := s.Create(t.Context(), site, test.rec, owner(5), test.exclusive)
		if !errors.Is(err, dns.ErrExists) || errors.Is(err, dns.ErrUnclear) || errors.Is(err, dns.ErrRefused) {
			t.Errorf("%s, exclusive %t: error is %v", test.rec, test.exclusive, err)
		}
	}
	if got := stored(t, sim, host); got != foreign {
		t.Errorf("the record is %+v now", got)
	}
	if _, err := s.Create(t.Context(), site, record(host, "10.0.0.2"), owner(5), false); err != nil {
		t.Errorf("a second value: %v", err)
	}
}

func TestOthersRowsAreNotTouched(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	ours := stored(t, sim, host)
	elsewhere := ours
	elsewhere.Name = "copy.site.com"
	for name, r := range map[string]solidsim.Record{
		"no mark":                        {Name: host, Type: "A", Value: "10.0.0.1", TTL: 600},
		"a mark copied to another name":  elsewhere,
		"a mark without a source":        {Name: host, Type: "A", Value: "10.0.0.1", ClassParameters: without(ours, "kea_source")},
		"a mark without a digest":        {Name: host, Type: "A", Value: "10.0.0.1", ClassParameters: without(ours, "keastream_digest")},
		"a mark of another program":      {Name: host, Type: "A", Value: "10.0.0.1", ClassParameters: strings.ReplaceAll(ours.ClassParameters, "=keastream", "=keastream2")},
		"a mark with more hosts":         {Name: host, Type: "A", Value: "10.0.0.1", ClassParameters: strings.ReplaceAll(ours.ClassParameters, "host_id=5", "host_id=5%2C6")},
		"a mark with a malformed source": {Name: host, Type: "A", Value: "10.0.0.1", ClassParameters: strings.ReplaceAll(ours.ClassParameters, "us3", "US%203")},
	} {
		remove(t, sim, stored(t, sim, host))
		add(t, sim, r)
		target := row
		target.Name = r.Name
		if rows := lookup(t, s, r.Name); len(rows) != 1 || rows[0].Owner != nil {
			t.Errorf("%s: looked up %+v", name, rows)
		}
		before := stored(t, sim, r.Name)
		err := s.Delete(t.Context(), target)
		if !errors.Is(err, dns.ErrChanged) {
			t.Errorf("%s: delete: %v", name, err)
		}
		err = s.Update(t.Context(), target, record(r.Name, "10.0.0.2"), owner(5))
		if !errors.Is(err, dns.ErrChanged) {
			t.Errorf("%s: update: %v", name, err)
		}
		if after := stored(t, sim, r.Name); after != before {
			t.Errorf("%s: %+v became %+v", name, before, after)
		}
		remove(t, sim, before)
		add(t, sim, ours)
	}
}

// without returns the class parameters of r without one of them.
func without(r solidsim.Record, key string) string {
	var kept []string
	for param := range strings.SplitSeq(r.ClassParameters, "&") {
		if !strings.HasPrefix(param, key+"=") {
			kept = append(kept, param)
		}
	}
	return strings.Join(kept, "&")
}

func testMarkAmongOtherClassParameters(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	r := stored(t, sim, host)
	remove(t, sim, r)
	r.ClassParameters = "contact=x%40y&" + r.ClassParameters + "&room=7"
	add(t, sim, r)
	if rows := lookup(t, s, host); len(rows) != 1 || rows[0].Owner == nil || !rows[0].Owner.Equal(owner(5)) {
		t.Fatalf("looked up %+v", rows)
	}
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(6)); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, sim, host).ClassParameters; !strings.Contains(got, "contact=x%40y") || !strings.Contains(got, "room=7") {
		t.Errorf("others' class parameters are lost: %s", got)
	}
}

func testUpdateOfWhatHasChanged(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	create(t, s, record(host, "10.0.0.3"), owner(5))

	err := s.Update(t.Context(), row, record(host, "10.0.0.3"), owner(5))
	if !errors.Is(err, dns.ErrExists) {
		t.Errorf("to a value that is there: %v", err)
	}
	gone := row
	gone.Value = "10.0.0.2"
	if err := s.Update(t.Context(), gone, record(host, "10.0.0.4"), owner(5)); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("of a row that is not there: %v", err)
	}
	renamed := record("other.site.com", "10.0.0.1")
	if err := s.Update(t.Context(), row, renamed, owner(5)); err == nil {
		t.Error("a row got another name")
	}
	if changes := sim.Calls().Changes; changes != 2 {
		t.Errorf("%d changes, want the 2 of creating", changes)
	}
}

// The id of a row changes between the read and the write of one operation.
func testIDsThatChange(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	churn := func(again bool) {
		r := stored(t, sim, host)
		sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
			if c.Method == http.MethodDelete || c.Method == http.MethodPut {
				remove(t, sim, r)
				if again {
					add(t, sim, r)
				}
			}
			return solidsim.Fault{}
		})
	}

	churn(true)
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("update: %v", err)
	}
	churn(true)
	if err := s.Delete(t.Context(), row); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("delete: %v", err)
	}
	sim.SetFaults(nil)
	if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)); err != nil {
		t.Errorf("update after the id changed: %v", err)
	}
	row.Value = "10.0.0.2"
	if err := s.Delete(t.Context(), row); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("delete after the id changed: %v", err)
	}
	row = lookup(t, s, host)[0]
	churn(false)
	if err := s.Delete(t.Context(), row); err != nil {
		t.Errorf("delete of what another has just deleted: %v", err)
	}
}

func TestZoneIsResolvedOnce(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	for i := range 3 {
		create(t, s, record(fmt.Sprintf("a%d.site.com", i), "10.0.0.1"), owner(5))
	}
	if _, err := s.Create(t.Context(), site, record("a1.site.com", "10.0.0.1"), owner(5), true); !errors.Is(err, dns.ErrExists) {
		t.Fatal(err)
	}
	lookup(t, s, host)
	if n := sim.Calls().ByService["GET dns_zone_list"]; n != 1 {
		t.Errorf("the zone was asked for %d times", n)
	}
	fail(sim, "dns_rr_list", solidsim.Fault{Status: http.StatusBadRequest})
	if _, err := s.Lookup(t.Context(), site, host); !errors.Is(err, dns.ErrRefused) {
		t.Fatal(err)
	}
	sim.SetFaults(nil)
	lookup(t, s, host)
	if n := sim.Calls().ByService["GET dns_zone_list"]; n != 2 {
		t.Errorf("after an error the zone was asked for %d times in all", n)
	}
}

// fail spoils all calls of a service.
func fail(sim *solidsim.Sim, service string, fault solidsim.Fault) {
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Service == service {
			return fault
		}
		return solidsim.Fault{}
	})
}

func TestMarkOfManyHosts(t *testing.T) {
	t.Parallel()
	_, s := scope(t)
	ids := slices.Collect(func(yield func(int64) bool) {
		for i := range int64(100) {
			if !yield(1<<62 + i) {
				return
			}
		}
	})
	row := create(t, s, record(host, "10.0.0.1"), owner(ids...))
	if row.Owner == nil || !row.Owner.Equal(owner(ids...)) {
		t.Errorf("the owner is %v", row.Owner)
	}
}
