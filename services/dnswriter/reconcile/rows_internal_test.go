package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

func drawRow(t *rapid.T) dns.Row {
	row := dns.Row{
		Record: dns.Record{
			Name:  rapid.SampledFrom([]string{"a.example.com", "b.example.com", "1.2.0.192.in-addr.arpa"}).Draw(t, "name"),
			Type:  rapid.SampledFrom(dns.Types()).Draw(t, "type"),
			Value: rapid.SampledFrom([]string{"192.0.2.1", "a.example.com", ""}).Draw(t, "value"),
			TTL:   rapid.Uint32().Draw(t, "ttl"),
		},
		ID:       rapid.SampledFrom([]string{"1", "0", "007", "18446744073709551615", "18446744073709551616", "-1", "", "x"}).Draw(t, "id"),
		Zone:     rapid.SampledFrom([]string{"example.com", "2.0.192.in-addr.arpa"}).Draw(t, "zone"),
		Pending:  rapid.Bool().Draw(t, "pending"),
		Deleting: rapid.Bool().Draw(t, "deleting"),
	}
	if n := rapid.IntRange(0, 3).Draw(t, "owners"); n > 0 {
		row.Owner = new(dns.Owner{})
		for i := range n - 1 { // with 1 a mark that names nobody
			row.Owner.Hosts = append(row.Owner.Hosts, events.Key{Source: rapid.SampledFrom([]string{"us3", "us4"}).Draw(t, "source"), HostID: int64(i)})
		}
	}
	return row
}

// Rows come back as they were put in, by name and in order.
func TestRowsAreASliceByName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table := newRows()
		want := make(map[string][]dns.Row)
		remove := func(name string, gone func(dns.Row) bool) {
			if want[name] = slices.DeleteFunc(want[name], gone); len(want[name]) == 0 {
				delete(want, name)
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			row := drawRow(t)
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				table.dropAt(row.Name, func(r dns.Row) bool { return r.ID == row.ID })
				remove(row.Name, func(r dns.Row) bool { return r.ID == row.ID })
			case 1:
				gone := func(name, zone string) bool { return zone == row.Zone && name != row.Value }
				table.drop(gone)
				for name := range want {
					remove(name, func(r dns.Row) bool { return gone(name, r.Zone) })
				}
			case 2:
				table.put(row.Name, []dns.Row{row, row})
				want[row.Name] = []dns.Row{row, row}
			default:
				table.add(row)
				want[row.Name] = append(want[row.Name], row)
			}
			got := make(map[string][]dns.Row)
			for name := range table.names() {
				got[name] = table.at(name)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("the rows (-want +got):\n%s", diff)
			}
			forward := 0
			for name, rows := range want {
				if !dns.IsReverse(name) && slices.ContainsFunc(rows, ours) {
					forward++
				}
			}
			if *table.owned != forward {
				t.Fatalf("%d forward names have rows of ours, %d are counted", forward, *table.owned)
			}
			var zones, owned []string
			for name, rows := range want {
				for _, r := range rows {
					zones = append(zones, r.Zone)
				}
				if slices.ContainsFunc(rows, ours) {
					owned = append(owned, name)
				}
			}
			slices.Sort(zones)
			slices.Sort(owned)
			if found, known := table.zones(), slices.Compact(zones); fmt.Sprint(slices.Sorted(slices.Values(found))) != fmt.Sprint(known) {
				t.Fatalf("the zones are %v, want %v", found, known)
			}
			if found := slices.Sorted(table.ours()); !slices.Equal(found, owned) {
				t.Fatalf("ours are %v, want %v", found, owned)
			}
		}
	})
}

// What was written or read while an area is read is newer than the reading, also
// when several areas are read at once.
func TestReadingDoesNotOverwriteWhatIsNewer(t *testing.T) {
	t.Parallel()
	const other = "other.example.com"
	row := func(zone, name, id string) dns.Row {
		return dns.Row{Record: dns.Record{Name: name + "." + zone, Type: dns.A, Value: "192.0.2.1", TTL: 600}, Zone: zone, ID: id}
	}
	c := newCache()
	for _, name := range []string{"a", "b", "c", "gone"} {
		c.add(row(labZone, name, "1"))
	}
	lab, failed, elsewhere := c.begin(), c.begin(), c.begin()
	c.add(row(labZone, "made", "2"))
	c.remove(row(labZone, "b", "1"))
	c.put(labZone, "c."+labZone, []dns.Row{row(labZone, "c", "3")})
	c.abandon(failed)
	c.install(elsewhere, other, []dns.Row{row(other, "x", "1")})
	c.install(lab, labZone, []dns.Row{row(labZone, "a", "9"), row(labZone, "b", "9"), row(labZone, "c", "9")})
	c.put(other, "x."+other, nil)
	if len(c.readings) != 0 {
		t.Errorf("%d readings are still under way", len(c.readings))
	}
	got := make(map[string]string)
	for name := range c.rows.names() {
		for _, r := range c.at(name) {
			got[strings.TrimSuffix(name, "."+labZone)] += r.ID
		}
	}
	if want := map[string]string{"a": "9", "c": "3", "made": "2"}; !maps.Equal(got, want) {
		t.Errorf("the cache has %v, want %v", got, want)
	}
}
