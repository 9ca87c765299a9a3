package solidserver_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

const (
	smart      = "smart.site.com"
	member     = "ns1.site.com"
	standalone = "alone.site.com"
	reverse    = "30.172.in-addr.arpa"
)

// model starts an appliance with a SMART of two members, whose two views have
// the same zones, and a server without views.
func model(t *testing.T) (*solidsim.Sim, *solidserver.Client) {
	t.Helper()
	zones := []solidsim.Zone{
		{Name: site}, {Name: "lab.site.com", ClassParameters: map[string]string{"dnsptr": "0"}}, {Name: reverse},
		{Name: "slave.com", Type: solidsim.SlaveZone}, {Name: "forward.com", Type: solidsim.ForwardZone},
	}
	sim, err := solidsim.Start(t.Context(), solidsim.Config{
		Users: map[string]string{user: password},
		Servers: []solidsim.Server{
			{Name: smart, Members: []string{member, "ns2.site.com"}, Views: []solidsim.View{
				{Name: "Internal", Zones: zones, ClassParameters: map[string]string{"dnsptr": "1"}},
				{Name: "external", Zones: zones},
			}},
			{Name: standalone, Kind: solidsim.Standalone, Zones: zones, ClassParameters: map[string]string{"dnsptr": "1"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unknown := sim.Calls().UnknownParameters; len(unknown) > 0 {
			t.Errorf("unknown parameters: %v", unknown)
		}
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, open(t, sim, solidserver.Config{})
}

// A view has its own records: what is in another is neither seen nor touched.
func testViewsAreApart(t *testing.T) {
	t.Parallel()
	_, client := model(t)
	internal, external := client.Scope("internal", smart, "Internal"), client.Scope("external", smart, "external")
	for _, s := range []*solidserver.Scope{internal, external} {
		for _, zone := range []string{site, "lab.site.com"} {
			if _, err := s.Create(t.Context(), zone, record("a."+zone, "10.0.0.1"), owner(5), true); err != nil {
				t.Fatal(err)
			}
		}
	}
	inside := lookup(t, internal, "a.site.com")
	if len(inside) != 1 || inside[0].Owner == nil {
		t.Fatalf("the rows are %+v", inside)
	}
	if err := internal.Update(t.Context(), inside[0], record("a.site.com", "10.0.0.2"), owner(5)); err != nil {
		t.Fatal(err)
	}
	if rows := lookup(t, external, "a.site.com"); len(rows) != 1 || rows[0].Value != "10.0.0.1" || rows[0].ID == inside[0].ID {
		t.Errorf("the rows of the other view are %+v", rows)
	}
	inside[0].Value = "10.0.0.2"
	if err := internal.Delete(t.Context(), inside[0]); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[*solidserver.Scope]int{internal: 0, external: 1} {
		if rows, err := s.Records(t.Context(), site); err != nil || len(rows) != want {
			t.Errorf("the records are %v, %v; want %d", rows, err, want)
		}
	}
}

func testZonesOfAModel(t *testing.T) {
	t.Parallel()
	_, client := model(t)
	for _, test := range []struct {
		server, view string
		autoPTR      bool
	}{{smart, "Internal", true}, {smart, "external", false}, {standalone, "", true}} {
		zones, err := client.Scope("x", test.server, test.view).Zones(t.Context())
		want := []dns.Zone{{Name: reverse, AutoPTR: test.autoPTR}, {Name: "lab.site.com"}, {Name: site, AutoPTR: test.autoPTR}}
		if diff := cmp.Diff(want, zones); err != nil || diff != "" {
			t.Errorf("%s, view %q (-want +got): %v\n%s", test.server, test.view, err, diff)
		}
	}
}

// What cannot be written to is refused before anything is sent, with a remedy.
func testWrongPlaces(t *testing.T) {
	t.Parallel()
	sim, client := model(t)
	for _, test := range []struct{ server, view, zone, want string }{
		{smart, "", site, `has views: give one of "Internal", "external" with --dns-view`},
		{smart, "internal", site, `found 0 in view "internal", but in view "Internal", "external"`},
		{standalone, "Internal", site, "has no views, so leave out --dns-view"},
		{member, "Internal", site, `is a member of "smart.site.com": give that name with --dns-server`},
		{member, "", site, `is a member of "smart.site.com"`},
		{"Smart.site.com", "Internal", site, `give one of "alone.site.com", "smart.site.com" with --dns-server`},
		{standalone, "", "slave.com", "only master zones can"},
		{standalone, "", "forward.com", "only master zones can"},
		{standalone, "", "missing.com", "create the zone on it"},
	} {
		s := client.Scope("x", test.server, test.view)
		_, err := s.Create(t.Context(), test.zone, record("a."+test.zone, "10.0.0.1"), owner(5), true)
		if !errors.Is(err, dns.ErrRefused) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, view %q, zone %s: error is %v, want %q in it", test.server, test.view, test.zone, err, test.want)
		}
		if _, err := s.Records(t.Context(), test.zone); err == nil {
			t.Errorf("%s, view %q, zone %s was read", test.server, test.view, test.zone)
		}
	}
	if n := sim.Calls().Writes; n > 0 {
		t.Errorf("%d writes", n)
	}
}

// What was accepted and is not on its way to all members yet is pending.
func testPushes(t *testing.T) {
	t.Parallel()
	sim, client := model(t)
	s := client.Scope("internal", smart, "Internal")
	if err := sim.HoldPushes(member); err != nil {
		t.Fatal(err)
	}
	row := create(t, s, record("a.site.com", "10.0.0.1"), owner(5))
	if !row.Pending || row.Deleting {
		t.Errorf("created: %+v", row)
	}
	if err := sim.ReleasePushes(member); err != nil {
		t.Fatal(err)
	}
	if rows := lookup(t, s, "a.site.com"); len(rows) != 1 || rows[0].Pending || rows[0].Deleting {
		t.Errorf("pushed: %+v", rows)
	}
	if err := sim.HoldPushes(member); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a row on its way out is gone for this purpose
		if err := s.Delete(t.Context(), row); err != nil {
			t.Fatal(err)
		}
		if rows := lookup(t, s, "a.site.com"); len(rows) != 1 || !rows[0].Deleting {
			t.Errorf("deleted: %+v", rows)
		}
	}
	if err := sim.ReleasePushes(member); err != nil {
		t.Fatal(err)
	}
	if rows := lookup(t, s, "a.site.com"); len(rows) != 0 {
		t.Errorf("deletion pushed: %+v", rows)
	}
}

// Where the appliance keeps PTR records by itself there is one that is not ours.
func testAutomaticPTR(t *testing.T) {
	t.Parallel()
	_, client := model(t)
	s := client.Scope("internal", smart, "Internal")
	create(t, s, record("a.site.com", "172.30.0.1"), owner(5))
	rows, err := s.Reverse(t.Context())
	if err != nil || len(rows) != 1 || rows[0].Owner != nil || rows[0].Name != "1.0.30.172.in-addr.arpa" || rows[0].Value != "a.site.com" {
		t.Fatalf("the rows are %+v, %v", rows, err)
	}
	rec := dns.Record{Name: rows[0].Name, Type: dns.PTR, Value: "a.site.com", TTL: 600}
	if _, err := s.Create(t.Context(), reverse, rec, owner(5), true); !errors.Is(err, dns.ErrExists) {
		t.Errorf("another PTR: %v", err)
	}
	if rows, err := client.Scope("external", smart, "external").Reverse(t.Context()); err != nil || len(rows) > 0 {
		t.Errorf("the other view has %+v, %v", rows, err)
	}
}

// After a resynchronisation rows have other ids, and may have lost their marks.
func testResynchronisation(t *testing.T) {
	t.Parallel()
	sim, client := model(t)
	s := client.Scope("internal", smart, "Internal")
	row := create(t, s, record("a.site.com", "10.0.0.1"), owner(5))
	if err := sim.Resynchronize(smart, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), row, record("a.site.com", "10.0.0.2"), owner(5)); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := sim.Resynchronize(smart, true); err != nil {
		t.Fatal(err)
	}
	rows := lookup(t, s, "a.site.com")
	if len(rows) != 1 || rows[0].Owner != nil {
		t.Fatalf("the rows are %+v", rows)
	}
	if err := s.Delete(t.Context(), rows[0]); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("delete of what has no mark any more: %v", err)
	}
}

// On a server with views, whatever it does with calls that name none, nothing
// comes into another view.
func testEveryWriteNamesTheView(t *testing.T) {
	t.Parallel()
	for _, noView := range []solidsim.NoView{solidsim.RefuseNoView, solidsim.FirstView, solidsim.AllViews} {
		sim, client := model(t)
		if err := sim.SetUnknowns(solidsim.Unknowns{NoView: noView}); err != nil {
			t.Fatal(err)
		}
		s := client.Scope("external", smart, "external")
		row := create(t, s, record("a.site.com", "10.0.0.1"), owner(5))
		if err := s.Update(t.Context(), row, record("a.site.com", "10.0.0.2"), owner(5)); err != nil {
			t.Error(err)
		}
		records := sim.Records(smart)
		if len(records) != 1 || records[0].View != "external" {
			t.Errorf("the records are %+v", records)
		}
		if _, err := s.CreateByHand(t.Context(), site, record("b.site.com", "10.0.0.1")); err != nil {
			t.Fatal(err)
		}
		byHand := lookup(t, s, "b.site.com")[0]
		if byHand.Owner != nil {
			t.Errorf("a record made by hand is ours: %+v", byHand)
		}
		if err := s.Adopt(t.Context(), byHand, owner(5)); err != nil {
			t.Error(err)
		}
		for view, want := range map[string]int{"external": 1, "Internal": 0} {
			rows, err := client.Scope(view, smart, view).Standing(t.Context(), site, "b.site.com")
			if err != nil || len(rows) != want || want == 1 && rows[0].Owner == nil {
				t.Errorf("in view %s there is %+v, %v", view, rows, err)
			}
		}
	}
}
