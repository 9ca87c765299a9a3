package solidsim

import (
	"fmt"
	"slices"
	"testing"
)

// crowd is a store with SMART, member, views, nested and reverse zones, and
// rows that came and went.
func crowd(t testing.TB) *store {
	t.Helper()
	st, err := Config{Servers: []Server{
		{Name: "smart", Members: []string{"ns1"}, Views: []View{
			{Name: "in", Zones: []Zone{{Name: "site.com"}, {Name: "lab.site.com"}, {Name: "2.0.192.in-addr.arpa"}}},
			{Name: "out", Zones: []Zone{{Name: "site.com"}}},
		}},
		{Name: "alone", Kind: Standalone, Zones: []Zone{{Name: "site.com"}, {Name: "2.0.192.in-addr.arpa"}}},
	}}.describe()
	if err != nil {
		t.Fatal(err)
	}
	add := func(server, view, name, rtype, value string) {
		if _, err := st.addRR("POST", params{
			"dns_name": server, "dnsview_name": view, "rr_name": name, "rr_type": rtype, "value1": value,
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		host := fmt.Sprintf("h%d.site.com", i)
		add("smart", "in", host, "A", fmt.Sprintf("192.0.2.%d", i))
		add("smart", "out", host, "A", "198.51.100.1")
		add("alone", "", host, "TXT", "x")
		add("smart", "in", fmt.Sprintf("h%d.lab.site.com", i), "CNAME", host)
		add("alone", "", fmt.Sprintf("%d.2.0.192.in-addr.arpa", i), "PTR", host)
	}
	for i := 101; i < 200; i += 7 {
		_, _ = st.deleteRR("DELETE", params{"rr_id": fmt.Sprint(i)}) // a copy on the member is refused
	}
	if err := st.resynchronize("alone", false); err != nil {
		t.Fatal(err)
	}
	return st
}

func clauses() []string {
	return []string{
		"", "rr_id=105", "rr_id>120 and rr_id<=140", "rr_id>120 and rr_id<110", "rr_id>=9223372036854775807",
		"rr_id > 9223372036854775807", "rr_id<-9223372036854775808",
		"rr_full_name='H3.site.com'", "rr_full_name='h3.site.com' and rr_full_name='h4.site.com'",
		"dnszone_name='site.com'", "dnszone_name='SITE.com' and dns_name='smart'", "dnszone_id=11 and rr_type='A'",
		"dnszone_is_reverse='1'", "dnszone_is_reverse=1 and dns_name='alone' and rr_id>200",
		"dns_name='smart' and dnsview_name='in' and rr_type in ('A','CNAME')", "vdns_parent_id='0'", "vdns_parent_id!=0",
		"dnsview_name='#'", "dns_name='smart' or dns_name='alone'", "dns_name='smart' or rr_id=130",
		"(dnszone_name='site.com' and (rr_type='A' and dns_name='ns1'))", "dnszone_name like '%lab%'", "dns_name='nobody'",
		"rr_id in (101,102,103) and rr_id!=102", "value1 is null",
	}
}

// same checks that the indexes give what looking at every row gives.
func same(t *testing.T, st *store, clause string) {
	t.Helper()
	for _, page := range []params{{}, {"limit": "5"}, {"limit": "5", "offset": "3"}, {"offset": "1000"}, {"ORDERBY": "rr_id", "limit": "7"}} {
		page["WHERE"] = clause
		l, err := newListing(st.rrTable(), page)
		if err != nil {
			return
		}
		var want rows
		for _, r := range st.rows {
			if l.match(r) {
				want = append(want, r)
			}
		}
		total := len(want)
		want = want[min(l.offset, len(want)):]
		if l.limit > 0 {
			want = want[:min(l.limit, len(want))]
		}
		if got := l.page(st.rrSource(&l)); !slices.Equal(got, want) {
			t.Errorf("%q: %d rows, want %d", page, len(got), len(want))
		}
		if got := st.rrSource(&l).count(); got != total {
			t.Errorf("%q: counted %d, want %d", clause, got, total)
		}
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	st := crowd(t)
	for _, clause := range clauses() {
		same(t, st, clause)
	}
}

func FuzzIndexes(f *testing.F) {
	st := crowd(f)
	for _, clause := range clauses() {
		f.Add(clause)
	}
	f.Fuzz(func(t *testing.T, clause string) { same(t, st, clause) })
}
