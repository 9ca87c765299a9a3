package solidsim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
)

// A Record is a resource record as people write it. Two of them can be
// compared with ==.
type Record struct {
	// Name is the full name, lower case, without trailing dot.
	Name string
	// Type is A, AAAA, CNAME, PTR or TXT.
	Type string
	// Value is the address in its short form (RFC 5952), the target without
	// trailing dot, or the text.
	Value string
	// TTL is in seconds.
	TTL int
	// ClassParameters is the encoded form `k=v&k2=v2`, ordered by name.
	ClassParameters string
}

// Records returns all records of a DNS server, ordered by name, type and
// value. It has none for a server that does not exist.
func (s *Sim) Records(server string) []Record {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	var records []Record
	for _, r := range s.store.rows {
		if r.zone.server.name == server {
			records = append(records, r.record())
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
	return records
}

func (r *rr) record() Record {
	value := r.values.all()
	if r.rtype == "AAAA" {
		value = netip.MustParseAddr(value).String()
	}
	return Record{
		Name: r.name, Type: r.rtype, Value: value, TTL: int(r.ttl), ClassParameters: r.classParams.encode(),
	}
}

// Add puts a record into a DNS server, as a person does in the user interface:
// it is not a call and not counted as one. A TTL of 0 means 3,600. It fails
// where the API would refuse the record.
func (s *Sim) Add(server string, r Record) error {
	p := params{
		"dns_name": server, "rr_name": r.Name, "rr_type": r.Type, "value1": r.Value, "add_flag": "new_only",
		"rr_ttl": strconv.Itoa(cmp.Or(r.TTL, defaultTTL)), "rr_class_parameters": r.ClassParameters,
	}
	if _, err := s.store.addRR(http.MethodPost, p); err != nil {
		return fmt.Errorf("add %s %s: %w", r.Name, r.Type, err)
	}
	return nil
}

// Remove takes the record with this name, type and value out of a DNS server,
// as a person does; TTL and class parameters do not matter. It fails if there
// is none.
func (s *Sim) Remove(server string, r Record) error {
	p := params{"dns_name": server, "rr_name": r.Name, "rr_type": r.Type, "value1": r.Value}
	if _, err := s.store.deleteRR(http.MethodDelete, p); err != nil {
		return fmt.Errorf("remove %s %s: %w", r.Name, r.Type, err)
	}
	return nil
}

// Double stores the record with this name, type and value a second time, under
// another id. The API refuses that, but nothing tells that no appliance has such
// rows, after a resynchronisation say. It fails if there is no such record.
func (s *Sim) Double(server string, r Record) error {
	target, err := s.store.readTarget(params{"dns_name": server, "rr_name": r.Name, "rr_type": r.Type, "value1": r.Value})
	if err == nil {
		err = target.canonical(target.rtype)
	}
	if err != nil {
		return fmt.Errorf("double %s %s: %w", r.Name, r.Type, err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	row, err := s.store.single(&target)
	if err != nil {
		return fmt.Errorf("double %s %s: %w", r.Name, r.Type, err)
	}
	again := *row
	s.store.insert(&again)
	return nil
}
