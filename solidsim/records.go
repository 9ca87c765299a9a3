package solidsim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Record is a resource record as people write it. Two of them can be
// compared with ==.
type Record struct {
	// Name is the full name, lower case, without trailing dot.
	Name string
	// Type is A, AAAA, CNAME, MX, NS, PTR, SRV or TXT, and SOA in what Records
	// returns if Unknowns.ListApex is on.
	Type string
	// Value is the address in its short form (RFC 5952), the target without
	// trailing dot, or the text. The values of MX and SRV are joined by ", ".
	Value string
	// TTL is in seconds.
	TTL int
	// ClassParameters is the encoded form `k=v&k2=v2`, ordered by name.
	ClassParameters string
	// View is the name of the view, empty on a server without views. It is
	// needed on a server with views, unless Unknowns says what happens else.
	View string
}

// Records returns all records of a DNS server, ordered by name, type, value and
// view, without those whose deletion was not pushed yet. For a SMART these are
// its own, for a member the copies that were pushed to it. It has none for a
// server that does not exist.
func (s *Sim) Records(server string) []Record {
	defer s.store.read()()
	var records []Record
	for _, z := range s.store.zones {
		if z.server.name != server {
			continue
		}
		for _, r := range z.rows {
			if r.pending != pendingDelete {
				records = append(records, r.record())
			}
		}
	}
	slices.SortStableFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value), cmp.Compare(a.View, b.View))
	})
	return records
}

func (r *rr) record() Record {
	value := r.values.all()
	if r.rtype == "AAAA" {
		value = netip.MustParseAddr(value).String()
	}
	result := Record{
		Name: r.name, Type: r.rtype, Value: value, TTL: int(r.ttl), ClassParameters: r.classParams.encode(),
	}
	if r.zone.view != nil {
		result.View = r.zone.view.name
	}
	return result
}

// params are the parameters that name the record on a server.
func (r Record) params(server string) params {
	p := params{"dns_name": server, "rr_name": r.Name, "rr_type": r.Type, "dnsview_name": r.View}
	values := []string{r.Value}
	if kinds := recordTypes()[strings.ToUpper(r.Type)]; len(kinds) > 1 {
		values = strings.SplitN(r.Value, ", ", len(kinds))
	}
	for i, value := range values {
		p["value"+strconv.Itoa(i+1)] = value
	}
	return p
}

// Add puts a record into a DNS server, as a person does in the user interface:
// it is not a call and not counted as one. A TTL of 0 means 3,600. It fails
// where the API would refuse the record.
func (s *Sim) Add(server string, r Record) error {
	p := r.params(server)
	p["add_flag"] = "new_only"
	p["rr_ttl"] = strconv.Itoa(cmp.Or(r.TTL, defaultTTL))
	p["rr_class_parameters"] = r.ClassParameters
	if _, err := s.store.addRR(http.MethodPost, p); err != nil {
		return fmt.Errorf("add %s %s: %w", r.Name, r.Type, err)
	}
	return nil
}

// Remove takes the record with this name, type, value and view out of a DNS
// server, as a person does; TTL and class parameters do not matter. It fails if
// there is none.
func (s *Sim) Remove(server string, r Record) error {
	if _, err := s.store.deleteRR(http.MethodDelete, r.params(server)); err != nil {
		return fmt.Errorf("remove %s %s: %w", r.Name, r.Type, err)
	}
	return nil
}

// Double stores the record with this name, type, value and view a second time,
// under another id. The API refuses that, but nothing tells that no appliance
// has such rows, after a resynchronisation say. It fails if there is no such
// record.
func (s *Sim) Double(server string, r Record) error {
	defer s.store.write()()
	target, err := s.store.readTarget(r.params(server))
	var row *rr
	if err == nil {
		row, err = s.store.single(&target)
	}
	if err != nil {
		return fmt.Errorf("double %s %s: %w", r.Name, r.Type, err)
	}
	again := *row
	again.id = 0
	s.store.put(&again)
	return nil
}

// Resynchronize gives every record of a DNS server a new id, as an appliance
// does when it reads a server anew or DNS updates it. With loseClassParameters
// the records also lose their class and class parameters, as the vendor warns.
// What DNS answers does not change. It fails if there is no such server.
func (s *Sim) Resynchronize(server string, loseClassParameters bool) error {
	defer s.store.write()()
	return s.store.resynchronize(server, loseClassParameters)
}
