package solidserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// pageSize is the number of rows that one call asks for.
const pageSize = 1000

// wholeZoneAttempts is how often a zone is read from the start when it does not
// hold still.
const wholeZoneAttempts = 3

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
	View            cell `json:"dnsview_name"`
}

// rrColumns are the columns that rrRow reads and all those that are asked for
// in WHERE and ORDERBY: the API wants these to be selected too.
func rrColumns() string {
	return "rr_id,rr_full_name,rr_type,value1,ttl,rr_class_parameters," +
		"delayed_create_time,delayed_delete_time,dnszone_name,dns_name,dnsview_name"
}

// rowSet says which rows of a DNS server are asked for.
type rowSet struct {
	zone string // canonical
	name string // of the owner, canonical; "" means all of the zone
}

// clause returns the WHERE clause that is true for the rows of the set.
func (of rowSet) clause(server string) (string, error) {
	conditions := []condition{{colServer, server}, {colZone, of.zone}}
	if of.name != "" {
		conditions = append(conditions, condition{colFullName, of.name})
	}
	return where(conditions...)
}

// errMoved tells that rows came or went while they were read.
var errMoved = errors.New("rows came or went while they were read")

// allRows returns every row of a set, of the types that we know, or an error.
//
// A list that ends early would make records look as if they were not there. So
// the rows are counted first, and a list with fewer is not taken, unless a second
// count tells that rows went meanwhile.
func (s *Scope) allRows(ctx context.Context, of rowSet) ([]dns.Row, error) {
	clause, err := of.clause(s.server)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		total, err := s.count(ctx, clause)
		if err != nil {
			return nil, err
		}
		rows, n, err := s.pages(ctx, of, clause)
		if err == nil && n < total {
			if total, err = s.count(ctx, clause); err == nil && n < total {
				err = fmt.Errorf("%w: %d were counted, %d were listed", errMoved, total, n)
			}
		}
		if err == nil {
			return rows, nil
		}
		if !errors.Is(err, errMoved) || attempt == wholeZoneAttempts {
			return nil, err
		}
	}
}

// count asks how many rows the clause is true for.
func (s *Scope) count(ctx context.Context, clause string) (int, error) {
	type countRow struct {
		problem
		Total text `json:"total"`
	}
	const service = "dns_rr_count"
	result, err := s.client.read(ctx, service, url.Values{"WHERE": {clause}}, 0)
	if err != nil {
		return 0, err
	}
	rows, err := decodeRows[countRow](result)
	if err == nil && len(rows) == 0 {
		return 0, nil
	}
	if err == nil && len(rows) > 1 {
		err = fmt.Errorf("the answer has %d rows, not one", len(rows))
	}
	total := 0
	if err == nil {
		total, err = strconv.Atoi(string(rows[0].Total))
	}
	if err != nil {
		return 0, getCall(service).unreadable(result, err)
	}
	return total, nil
}

// maxIdlePages is how many pages in a row may have nothing new. A few do at the
// end of a list; more do only while rows go by the hundred, or at a server that
// does not do as it is asked.
const maxIdlePages = 20

// pages reads page after page and returns the rows of the types that we know,
// and the number of all.
//
// A page may be shorter than was asked for and is no sign of the end: that is one
// with nothing new that is also shorter than others were. Rows that are added meanwhile do no harm:
// they get higher ids and come at the end. But when a row goes, all that follow
// move forward. So a page begins with a row of those before it. If it does not,
// rows may have been passed over: the reading goes back until it does, and goes on
// with pages that have more in common, so that as many rows may go the next time.
func (s *Scope) pages(ctx context.Context, of rowSet, clause string) (rows []dns.Row, n int, err error) {
	l := list{of: of, seen: make(map[cell]struct{})}
	offset, common, longest := 0, 1, 1
	for idle := 0; idle <= maxIdlePages; idle++ {
		page, err := s.page(ctx, clause, offset, 0)
		if err != nil {
			return nil, 0, err
		}
		if offset > 0 && (len(page) == 0 || !l.has(page[0])) {
			l.moved = true
			common = min(2*common, pageSize/2)
			offset = max(0, offset-common)
			continue
		}
		longest = max(longest, len(page))
		fresh, err := l.add(page, offset)
		switch {
		case err != nil:
			return nil, 0, err
		case fresh > 0:
			idle = 0
			offset += len(page) - max(1, min(common, len(page)/2))
		case len(page) > 1 && len(page) >= longest:
			offset += len(page) - 1
		default:
			return l.whole(), len(l.seen), nil
		}
	}
	return nil, 0, fmt.Errorf("%w: %d calls for what follows row %d told nothing new", errMoved, maxIdlePages, len(l.seen))
}

// list is a list of rows that is read page by page.
type list struct {
	of    rowSet
	seen  map[cell]struct{} // ids of all rows
	rows  []dns.Row         // of the types that we know
	moved bool              // rows went while it was read
}

func (l *list) has(r rrRow) bool {
	_, ok := l.seen[r.ID]
	return ok
}

// add takes in a page that was read from offset on, and returns how many of its
// rows are new: the last ones.
func (l *list) add(page []rrRow, offset int) (fresh int, err error) {
	known := len(l.seen)
	for _, r := range page {
		if l.has(r) {
			// So it stands where it was, behind fewer rows than are known.
			if fresh > 0 || offset >= known {
				return 0, fmt.Errorf("%w: row %s was listed twice", errMoved, show(string(r.ID.text)))
			}
			continue
		}
		fresh++
		l.seen[r.ID] = struct{}{}
		if row, known := r.row(l.of); known {
			l.rows = append(l.rows, row)
		}
	}
	return fresh, nil
}

// whole returns the rows. One that was deleted and created anew while the list
// was read is in it under both ids: of rows for the same record the last one
// stays. Rows on their way out are left as they are.
func (l *list) whole() []dns.Row {
	if !l.moved {
		return l.rows
	}
	type key struct {
		zone, name string
		rtype      dns.Type
		value      string
	}
	keyOf := func(r dns.Row) key { return key{r.Zone, r.Name, r.Type, r.Value} }
	last := make(map[key]int)
	for i, row := range l.rows {
		if !row.Deleting {
			last[keyOf(row)] = i
		}
	}
	var rows []dns.Row
	for i, row := range l.rows {
		if row.Deleting || last[keyOf(row)] == i {
			rows = append(rows, row)
		}
	}
	return rows
}

// page reads up to pageSize rows, from offset on. The first attempt waits for
// the admission of ahead more calls.
func (s *Scope) page(ctx context.Context, clause string, offset, ahead int) ([]rrRow, error) {
	const service = "dns_rr_list"
	result, err := s.client.read(ctx, service, url.Values{
		"SELECT":  {rrColumns()},
		"WHERE":   {clause},
		"ORDERBY": {"rr_id"},
		"limit":   {strconv.Itoa(pageSize)},
		"offset":  {strconv.Itoa(offset)},
	}, ahead)
	if err != nil {
		return nil, err
	}
	rows, err := decodeRows[rrRow](result)
	for _, row := range rows {
		// Were a parameter of ours misread, the answer would hold rows that we
		// did not ask for.
		if err == nil && (string(row.Server.text) != s.server && !row.Server.unreadable || row.ID.text == "") {
			err = fmt.Errorf("the answer holds row %q of DNS server %q", show(string(row.ID.text)), show(string(row.Server.text)))
		}
	}
	if err != nil {
		return nil, getCall(service).unreadable(result, err)
	}
	return rows, nil
}

// few returns the rows of a set that has few: those of one name. One page is all of them, unless it is so large that a server with
// smaller pages may have held some back.
func (s *Scope) few(ctx context.Context, of rowSet, ahead int) ([]dns.Row, error) {
	clause, err := of.clause(s.server)
	if err != nil {
		return nil, err
	}
	page, err := s.page(ctx, clause, 0, ahead)
	if err != nil {
		return nil, err
	}
	if len(page) >= pageSize/10 {
		return s.allRows(ctx, of)
	}
	var rows []dns.Row
	for _, r := range page {
		if row, known := r.row(of); known {
			rows = append(rows, row)
		}
	}
	return rows, nil
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
		r.ID, r.FullName, r.Type, r.Value, r.TTL, r.ClassParameters, r.CreatePending, r.DeletePending, r.Zone, r.Server, r.View,
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
