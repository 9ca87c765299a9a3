package solidserver

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// rrRow is a row of dns_rr_list.
type rrRow struct {
	problem              // one that cannot be read may speak of the whole answer
	ID              cell `json:"rr_id"`
	FullName        cell `json:"rr_full_name"`
	Type            cell `json:"rr_type"`
	Value           cell `json:"value1"`
	TTL             cell `json:"ttl"`
	ClassParameters cell `json:"rr_class_parameters"`
	CreatePending   cell `json:"delayed_create_time"`
	DeletePending   cell `json:"delayed_delete_time"`
	Zone            cell `json:"dnszone_name"`
	Server          cell `json:"dns_name"`
	Parent          cell `json:"vdns_parent_id"` // 0 but on a member of a SMART
	View            cell `json:"dnsview_name"`
}

func (r rrRow) id() cell { return r.ID }

// rowSet says which rows of a DNS server are asked for.
type rowSet struct {
	zone string // canonical; "" means all reverse zones
	name string // of the owner, canonical; "" means all of the zone
}

// rows is the list of the rows of a set. It selects what rrRow reads and all
// columns that are asked for in WHERE and ORDERBY: the API wants that.
func (s *Scope) rows(of rowSet) (list[rrRow, dns.Row], error) {
	l := list[rrRow, dns.Row]{
		client: s.client,
		object: "dns_rr",
		columns: "rr_id,rr_full_name,rr_type,value1,ttl,rr_class_parameters," +
			"delayed_create_time,delayed_delete_time,dnszone_name,dns_name,vdns_parent_id,dnsview_name",
		order:   "rr_id",
		verify:  func(r rrRow) error { return s.verify(of, r) },
		convert: func(r rrRow) (dns.Row, bool) { return r.row(of) },
		settle:  last,
	}
	conditions := s.conditions()
	switch {
	case of.zone == "":
		l.columns += ",dnszone_is_reverse,dnszone_type"
		conditions = append(conditions, condition{colReverse, "1"}, condition{colZoneType, zoneTypeMaster})
	default:
		conditions = append(conditions, condition{colZone, of.zone})
	}
	if of.name != "" {
		conditions = append(conditions, condition{colFullName, of.name})
	}
	var err error
	l.clause, err = where(conditions...)
	return l, err
}

// conditions are those that all rows of the scope fulfil.
func (s *Scope) conditions() []condition {
	if s.view == "" {
		return []condition{{colServer, s.server}}
	}
	return []condition{{colServer, s.server}, {colView, s.view}}
}

// verify refuses a row that was not asked for: were a parameter of ours
// misread, the answer would hold such.
func (s *Scope) verify(of rowSet, r rrRow) error {
	id, server, view := show(string(r.ID.text)), show(string(r.Server.text)), show(string(r.View.text))
	switch {
	case string(r.Server.text) != s.server && !r.Server.unreadable || r.ID.text == "":
		return fmt.Errorf("the answer holds row %q of DNS server %q", id, server)
	case viewName(r.View.text) != s.view && !r.View.unreadable:
		return fmt.Errorf("the answer holds row %q of view %q", id, view)
	case r.Parent.text != "" && r.Parent.text != "0" && !r.Parent.unreadable:
		return fmt.Errorf("the answer holds row %q of a member of a SMART", id)
	case of.zone != "" && dns.CanonicalName(string(r.Zone.text)) != of.zone && !r.Zone.unreadable:
		return fmt.Errorf("the answer holds row %q of zone %q", id, show(string(r.Zone.text)))
	}
	return nil
}

// allRows returns every row of a set, of the types that we know, or an error.
func (s *Scope) allRows(ctx context.Context, of rowSet) ([]dns.Row, error) {
	l, err := s.rows(of)
	if err != nil {
		return nil, err
	}
	return l.all(ctx)
}

// named returns the rows of one name. The first attempt waits for the
// admission of ahead more calls.
func (s *Scope) named(ctx context.Context, zone, name string, ahead int) ([]dns.Row, error) {
	l, err := s.rows(rowSet{zone, name})
	if err != nil {
		return nil, err
	}
	return l.few(ctx, ahead)
}

// last returns the rows of a list during whose reading others went. One that
// was deleted and created anew meanwhile is in it under both ids: of rows for
// the same record the last one stays. Rows on their way out are left as they
// are.
func last(rows []dns.Row) []dns.Row {
	type key struct {
		zone, name string
		rtype      dns.Type
		value      string
	}
	keyOf := func(r dns.Row) key { return key{r.Zone, r.Name, r.Type, r.Value} }
	last := make(map[key]int)
	for i, row := range rows {
		if !row.Deleting {
			last[keyOf(row)] = i
		}
	}
	var kept []dns.Row
	for i, row := range rows {
		if row.Deleting || last[keyOf(row)] == i {
			kept = append(kept, row)
		}
	}
	return kept
}

// row returns the row in the terms of package dns, and false if it is of a type
// that we have nothing to do with.
//
// What cannot be read of a row must not keep the others from being read: such a
// value stays as it is, and a TTL is 0.
func (r rrRow) row(of rowSet) (dns.Row, bool) {
	if r.unreadable() {
		return r.unreadableRow(of)
	}
	rtype, known := knownType(string(r.Type.text))
	if !known {
		return dns.Row{}, false
	}
	name := dns.CanonicalName(string(r.FullName.text))
	at := place{server: string(r.Server.text), view: viewName(r.View.text), name: name, rtype: rtype}
	return dns.Row{
		Record:   dns.Record{Name: name, Type: rtype, Value: r.value(rtype), TTL: r.ttl()},
		ID:       string(r.ID.text),
		Zone:     dns.CanonicalName(string(r.Zone.text)),
		Owner:    at.owner(string(r.ClassParameters.text)),
		Pending:  delayed(r.CreatePending.text),
		Deleting: delayed(r.DeletePending.text),
	}, true
}

// unreadable tells whether a value of the row is neither text nor number.
func (r rrRow) unreadable() bool {
	return slices.ContainsFunc([]cell{
		r.ID, r.FullName, r.Type, r.Value, r.TTL, r.ClassParameters, r.CreatePending, r.DeletePending, r.Zone, r.Server, r.Parent, r.View,
	}, func(c cell) bool { return c.unreadable })
}

// unreadableRow returns the row as one that is there to stay: it is not ours,
// so it is neither changed nor deleted, and not on its way out, so nothing is
// created in its place. Where it stands is what was asked for. If its type is
// not known it may be an alias, beside which nothing can be. It has no ID, by
// which [ours] knows it.
//
// If it was one of a whole zone and its name is not known, it may have any.
// Then the appliance keeps what it stands for from being created twice, and
// Lookup finds it.
func (r rrRow) unreadableRow(of rowSet) (dns.Row, bool) {
	rtype, known := knownType(string(r.Type.text))
	switch {
	case r.Type.unreadable:
		rtype = dns.CNAME
	case !known:
		return dns.Row{}, false
	}
	name, zone := dns.CanonicalName(string(r.FullName.text)), dns.CanonicalName(string(r.Zone.text))
	if r.FullName.unreadable && of.name != "" {
		name = of.name
	}
	if r.Zone.unreadable {
		zone = of.zone
	}
	return dns.Row{
		Record: dns.Record{Name: name, Type: rtype, Value: r.value(rtype), TTL: r.ttl()},
		Zone:   zone,
	}, true
}

func (r rrRow) value(rtype dns.Type) string {
	value, err := dns.CanonicalValue(rtype, string(r.Value.text))
	if err != nil {
		return string(r.Value.text)
	}
	return value
}

func (r rrRow) ttl() uint32 {
	ttl, err := strconv.ParseUint(string(r.TTL.text), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(ttl)
}

func knownType(name string) (dns.Type, bool) {
	for _, t := range dns.Types() {
		if strings.EqualFold(string(t), name) {
			return t, true
		}
	}
	return "", false
}

// viewName returns the name of a view, "" if there is none: the API writes
// that as #.
func viewName(view text) string {
	if view == "#" {
		return ""
	}
	return string(view)
}

// delayed reads delayed_create_time and delayed_delete_time, which are 0 once
// the DNS server has what the row says.
func delayed(t text) bool { return t != "" && t != "0" }
