package reconcile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"pgregory.net/rapid"
)

// server is a DNS server in memory. It holds the rows as somebody wrote them,
// reads them in canonical form, and holds Plan to the rules of a real one.
type server struct {
	t      *rapid.T
	served *dns.Served
	rows   []stored
	last   int
}

// stored is a row as it stands on the server: its name and value may be written
// in any form, and of a row of ours they are not canonical if somebody edited it.
type stored struct {
	dns.Row
	name, value string
}

func (s *server) add(row dns.Row, name, value string) {
	s.last++
	row.ID = fmt.Sprintf("row-%d", s.last)
	s.rows = append(s.rows, stored{Row: row, name: name, value: value})
}

// read returns all rows, in any order.
func (s *server) read() []dns.Row {
	var rows []dns.Row
	for _, r := range s.rows {
		value, err := dns.CanonicalValue(r.Type, r.value)
		if err != nil {
			s.t.Fatal(err)
		}
		row := r.Row
		row.Name, row.Value = dns.CanonicalName(r.name), value
		rows = append(rows, row)
	}
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// pass lets time go by: rows that are on their way out or in may arrive.
func (s *server) pass() {
	s.rows = slices.DeleteFunc(s.rows, func(r stored) bool { return r.Deleting && rapid.Bool().Draw(s.t, "gone") })
	for i := range s.rows {
		s.rows[i].Pending = s.rows[i].Pending && rapid.Bool().Draw(s.t, "pending")
	}
}

// settle lets all of them arrive.
func (s *server) settle() {
	s.rows = slices.DeleteFunc(s.rows, func(r stored) bool { return r.Deleting })
	for i := range s.rows {
		s.rows[i].Pending = false
	}
}

// apply takes one step.
func (s *server) apply(step reconcile.Step) {
	at := slices.IndexFunc(s.rows, func(r stored) bool { return r.ID == step.Row.ID })
	if step.Op != reconcile.Create {
		if at < 0 || s.rows[at].Owner == nil || s.rows[at].Deleting {
			s.t.Fatalf("%s: there is no such row of ours", step)
		}
		if s.rows[at].Zone != step.Zone || s.rows[at].Name != step.Record.Name || s.rows[at].Type != step.Record.Type {
			s.t.Fatalf("%s: is a row of something else: %v", step, s.rows[at])
		}
	}
	if step.Op == reconcile.Remove {
		s.rows = slices.Delete(s.rows, at, at+1)
		return
	}
	for i, r := range s.rows {
		switch {
		case r.Name != step.Record.Name || r.Zone != step.Zone:
		case r.Type == dns.CNAME && !r.Deleting:
			s.t.Fatalf("%s: the name has a CNAME", step)
		case step.Op == reconcile.Create && step.Exclusive && r.Type == step.Record.Type:
			s.t.Fatalf("%s: the name is not empty: %v", step, r)
		case i != at && !r.Deleting && r.Record.Same(step.Record) && (step.Op == reconcile.Create || s.rows[at].Value != step.Record.Value):
			s.t.Fatalf("%s: the record is there already", step)
		}
	}
	if len(step.Owner.Hosts) == 0 {
		s.t.Fatalf("%s: has no mark", step)
	}
	if step.Op == reconcile.Create {
		s.add(dns.Row{Record: step.Record, Zone: step.Zone, Owner: &step.Owner, Pending: true}, step.Record.Name, step.Record.Value)
		return
	}
	row := &s.rows[at]
	row.Record, row.Owner, row.Pending = step.Record, &step.Owner, true
	row.name, row.value = step.Record.Name, step.Record.Value
}

// resolve returns what DNS answers for a name, without what is on its way out:
// the rows of the longest zone.
func (s *server) resolve(name string, rtype dns.Type) (values []string) {
	zone, _ := s.served.Of(name)
	for _, r := range s.rows {
		if r.Name == name && r.Zone == zone.Name && r.Type == rtype && !r.Deleting {
			values = append(values, r.Value)
		}
	}
	return values
}

// answers tells whether DNS has the record.
func (s *server) answers(r dns.Record) bool {
	return slices.Contains(s.resolve(r.Name, r.Type), r.Value)
}

// alias tells whether a name has a CNAME in a zone.
func (s *server) alias(zone, name string) bool {
	return slices.ContainsFunc(s.rows, func(r stored) bool {
		return r.Type == dns.CNAME && r.Name == name && r.Zone == zone && !r.Deleting
	})
}

// untouchable returns, each as one text and sorted, the rows that nobody but the
// server itself may change: those of others, and all of a name with a CNAME.
func (s *server) untouchable() []string {
	var all []string
	for _, r := range s.rows {
		if !r.Deleting && (r.Owner == nil || s.alias(r.Zone, r.Name)) {
			all = append(all, fmt.Sprintf("%s %s %s %s %d %q in %s of %v", r.ID, r.Type, r.name, r.value, r.TTL, r.Record, r.Zone, r.Owner))
		}
	}
	slices.Sort(all)
	return all
}

// String lists the rows for a failure.
func (s *server) String() string {
	var text strings.Builder
	for _, r := range s.rows {
		fmt.Fprintf(&text, "%s %s in %s owner %v deleting %t\n", r.ID, r.Record, r.Zone, r.Owner, r.Deleting)
	}
	return text.String()
}
