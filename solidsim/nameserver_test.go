package solidsim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/keastream/keastream/solidsim"
)

// ask sends one question to the internal server.
func ask(t *testing.T, sim *solidsim.Sim, network string, query *dns.Msg) *dns.Msg {
	t.Helper()
	client := &dns.Client{Net: network}
	reply, _, err := client.ExchangeContext(t.Context(), query, sim.DNSAddr(solidsim.InternalServer))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func question(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype)
}

// show writes a section without the head of each record: name, type, data.
func show(section []dns.RR) (lines []string) {
	for _, record := range section {
		h := record.Header()
		data := strings.TrimPrefix(record.String(), h.String())
		if h.Rrtype == dns.TypeSOA {
			data = "..."
		}
		lines = append(lines, fmt.Sprintf("%s %d %s %s", h.Name, h.Ttl, dns.TypeToString[h.Rrtype], data))
	}
	slices.Sort(lines)
	return lines
}

func dnsSim(t *testing.T) *solidsim.Sim {
	sim := start(t, solidsim.Config{Zones: []string{
		"site.com", "lab.site.com", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa",
	}})
	for _, r := range []solidsim.Record{
		{Name: "h.site.com", Type: "A", Value: "192.0.2.1", TTL: 600},
		{Name: "h.site.com", Type: "A", Value: "192.0.2.2", TTL: 600},
		{Name: "h.site.com", Type: "AAAA", Value: "2001:db8::1", TTL: 600},
		{Name: "deep.below.site.com", Type: "A", Value: "192.0.2.3", TTL: 600},
		{Name: "x.lab.site.com", Type: "A", Value: "192.0.2.4", TTL: 600},
		{Name: "alias.site.com", Type: "CNAME", Value: "h.site.com", TTL: 60},
		{Name: "far.site.com", Type: "CNAME", Value: "www.example.org", TTL: 60},
		{Name: "gone.site.com", Type: "CNAME", Value: "nothing.lab.site.com", TTL: 60},
		{Name: "loop.site.com", Type: "CNAME", Value: "loop.site.com", TTL: 60},
		{Name: "text.site.com", Type: "TXT", Value: `"quoted \ \"x"`, TTL: 60},
		{Name: "text.site.com", Type: "TXT", Value: `plain "x"\200`, TTL: 60},
		{Name: "long.site.com", Type: "TXT", Value: strings.Repeat("x", 255), TTL: 60},
		{Name: "1.2.0.192.in-addr.arpa", Type: "PTR", Value: "h.site.com", TTL: 600},
		{
			Name: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
			Type: "PTR", Value: "h.site.com", TTL: 600,
		},
	} {
		if err := sim.Add(solidsim.InternalServer, r); err != nil {
			t.Fatal(err)
		}
	}
	return sim
}

func TestDNS(t *testing.T) {
	t.Parallel()
	sim := dnsSim(t)
	const soa = "site.com. 60 SOA ..."
	for _, test := range []struct {
		name      string
		qtype     uint16
		rcode     int
		answer    []string
		authority []string
	}{
		{"h.site.com.", dns.TypeA, 0, []string{"h.site.com. 600 A 192.0.2.1", "h.site.com. 600 A 192.0.2.2"}, nil},
		{"H.Site.COM.", dns.TypeAAAA, 0, []string{"h.site.com. 600 AAAA 2001:db8::1"}, nil},
		{"h.site.com.", dns.TypeANY, 0, []string{"h.site.com. 600 A 192.0.2.1", "h.site.com. 600 A 192.0.2.2", "h.site.com. 600 AAAA 2001:db8::1"}, nil},
		{"h.site.com.", dns.TypeTXT, 0, nil, []string{soa}},
		{"nothing.site.com.", dns.TypeA, dns.RcodeNameError, nil, []string{soa}},
		{"a.h.site.com.", dns.TypeA, dns.RcodeNameError, nil, []string{soa}},
		{"below.site.com.", dns.TypeA, 0, nil, []string{soa}},
		{"site.com.", dns.TypeA, 0, nil, []string{soa}},
		{"site.com.", dns.TypeSOA, 0, []string{"site.com. 3600 SOA ..."}, nil},
		{"site.com.", dns.TypeNS, 0, []string{"site.com. 3600 NS dns-internal-smart.site.com."}, nil},
		{"nothing.lab.site.com.", dns.TypeA, dns.RcodeNameError, nil, []string{"lab.site.com. 60 SOA ..."}},
		{"x.lab.site.com.", dns.TypeA, 0, []string{"x.lab.site.com. 600 A 192.0.2.4"}, nil},
		{"alias.site.com.", dns.TypeCNAME, 0, []string{"alias.site.com. 60 CNAME h.site.com."}, nil},
		{"alias.site.com.", dns.TypeAAAA, 0, []string{"alias.site.com. 60 CNAME h.site.com.", "h.site.com. 600 AAAA 2001:db8::1"}, nil},
		{"alias.site.com.", dns.TypeTXT, 0, []string{"alias.site.com. 60 CNAME h.site.com."}, []string{soa}},
		{"far.site.com.", dns.TypeA, 0, []string{"far.site.com. 60 CNAME www.example.org."}, nil},
		{"gone.site.com.", dns.TypeA, dns.RcodeNameError, []string{"gone.site.com. 60 CNAME nothing.lab.site.com."}, []string{"lab.site.com. 60 SOA ..."}},
		{"text.site.com.", dns.TypeTXT, 0, []string{`text.site.com. 60 TXT "plain \"x\"\\200"`, `text.site.com. 60 TXT "quoted \\ \\\"x"`}, nil},
		{"1.2.0.192.in-addr.arpa.", dns.TypePTR, 0, []string{"1.2.0.192.in-addr.arpa. 600 PTR h.site.com."}, nil},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", dns.TypePTR, 0, []string{
			"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 600 PTR h.site.com.",
		}, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			reply := ask(t, sim, network, question(test.name, test.qtype))
			where := fmt.Sprintf("%s %s %s", network, test.name, dns.TypeToString[test.qtype])
			if reply.Rcode != test.rcode || !reply.Authoritative {
				t.Errorf("%s: %s, authoritative %t, want %s", where, dns.RcodeToString[reply.Rcode], reply.Authoritative, dns.RcodeToString[test.rcode])
			}
			if diff := cmp.Diff(test.answer, show(reply.Answer)); diff != "" {
				t.Errorf("%s: answer %s", where, diff)
			}
			if diff := cmp.Diff(test.authority, show(reply.Ns)); diff != "" {
				t.Errorf("%s: authority %s", where, diff)
			}
		}
	}
	if reply := ask(t, sim, "udp", question("loop.site.com.", dns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("a CNAME to itself: %v", reply)
	}
}

func TestDNSRefuses(t *testing.T) {
	t.Parallel()
	sim := dnsSim(t)
	chaos := question("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	version := question("site.com.", dns.TypeSOA)
	version.SetEdns0(1232, false)
	version.IsEdns0().SetVersion(1)
	notify := new(dns.Msg).SetNotify("site.com.")
	for _, test := range []struct {
		name  string
		query *dns.Msg
		rcode int
	}{
		{"another zone", question("site.org.", dns.TypeA), dns.RcodeRefused},
		{"a name that ends like a zone", question("mysite.com.", dns.TypeA), dns.RcodeRefused},
		{"the root", question(".", dns.TypeNS), dns.RcodeRefused},
		{"the class", chaos, dns.RcodeRefused},
		{"a transfer", question("site.com.", dns.TypeAXFR), dns.RcodeRefused},
		{"the EDNS version", version, dns.RcodeBadVers},
		{"a notification", notify, dns.RcodeNotImplemented},
	} {
		reply := ask(t, sim, "tcp", test.query)
		if reply.Rcode != test.rcode || len(reply.Answer) != 0 {
			t.Errorf("%s: %s, want %s", test.name, dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
		}
	}
}

func TestDNSTruncates(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	for i := range 50 {
		r := solidsim.Record{Name: "many.site.com", Type: "A", Value: fmt.Sprintf("192.0.2.%d", i)}
		if err := sim.Add(solidsim.InternalServer, r); err != nil {
			t.Fatal(err)
		}
	}
	plain := question("many.site.com.", dns.TypeA)
	if reply := ask(t, sim, "udp", plain); !reply.Truncated || len(reply.Answer) == 0 {
		t.Errorf("UDP: truncated %t, %d answers", reply.Truncated, len(reply.Answer))
	}
	if reply := ask(t, sim, "tcp", plain); reply.Truncated || len(reply.Answer) != 50 {
		t.Errorf("TCP: truncated %t, %d answers", reply.Truncated, len(reply.Answer))
	}
	extended := question("many.site.com.", dns.TypeA)
	extended.SetEdns0(4096, false)
	if reply := ask(t, sim, "udp", extended); reply.Truncated || len(reply.Answer) != 50 {
		t.Errorf("EDNS: truncated %t, %d answers", reply.Truncated, len(reply.Answer))
	}
}

// TestDNSFollowsTheAPI changes records by calls and looks at DNS after each.
func TestDNSFollowsTheAPI(t *testing.T) {
	t.Parallel()
	sim := start(t, solidsim.Config{})
	c := newClient(t, sim)
	serial := func() uint32 {
		return ask(t, sim, "udp", question("site.com.", dns.TypeSOA)).Answer[0].(*dns.SOA).Serial
	}
	look := func(rcode int, want ...string) {
		t.Helper()
		reply := ask(t, sim, "udp", question("a.b.site.com.", dns.TypeA))
		if diff := cmp.Diff(want, show(reply.Answer)); diff != "" || reply.Rcode != rcode {
			t.Errorf("%s %s", dns.RcodeToString[reply.Rcode], diff)
		}
	}
	before := serial()
	look(dns.RcodeNameError)
	id := c.add("a.b.site.com", "A", "192.0.2.1")
	look(dns.RcodeSuccess, "a.b.site.com. 3600 A 192.0.2.1")
	c.must(200, "PUT", "dns_rr_add", "rr_id", id, "value1", "192.0.2.2", "rr_ttl", "60")
	look(dns.RcodeSuccess, "a.b.site.com. 60 A 192.0.2.2")
	c.must(200, "DELETE", "dns_rr_delete", "rr_id", id)
	look(dns.RcodeNameError)
	if reply := ask(t, sim, "udp", question("b.site.com.", dns.TypeA)); reply.Rcode != dns.RcodeNameError {
		t.Errorf("the empty node stays: %s", dns.RcodeToString[reply.Rcode])
	}
	if got := serial(); got != before+3 {
		t.Errorf("serial %d after three changes of %d", got, before)
	}
}
