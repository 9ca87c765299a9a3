package solidserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Adopt puts the mark of owner onto a row that is not ours, the one with its id.
// Nothing else of the row changes: value and TTL are those that it has, and class
// parameters of others stay. A row that has this very mark already is a success.
//
// The error is dns.ErrChanged if the row is not there as given, once, if it has
// another mark of ours by now, and if its class parameter managed_by names
// somebody else, who would go on managing it. Whether the appliance keeps the mark
// is seen by Lookup, as with Create.
func (s *Scope) Adopt(ctx context.Context, row dns.Row, owner dns.Owner) (err error) {
	defer s.wrap(&err, row.Zone, "adopt %s", row.Record)
	if err := checkRecord(row.Record, row.Zone); err != nil {
		return err
	}
	leave, err := s.enter(ctx, row.Zone)
	if err != nil {
		return err
	}
	defer leave()
	current, done, err := s.adoptable(ctx, row, owner, 1)
	if err != nil || done {
		return err
	}
	// With the TTL that it has: what a call without does to it is not known.
	params := s.rowParams(row.Zone, current.Record, s.placeOf(current.Record).mark(owner))
	params.Set("rr_id", current.ID)
	params.Set("add_flag", "edit_only")
	_, err = s.client.write(ctx, http.MethodPut, "dns_rr_add", params)
	if errors.Is(err, dns.ErrRefused) {
		// Somebody else may have been faster.
		_, done, changed := s.adoptable(ctx, row, owner, 0)
		if done || errors.Is(changed, dns.ErrChanged) {
			return changed
		}
	}
	return err
}

// adoptable reads the row that is to be adopted as it is now. It is done if the
// row has the mark already.
//
// A row that is there twice cannot be adopted: of two equal ones, of which only
// one were ours, neither could be changed.
func (s *Scope) adoptable(ctx context.Context, row dns.Row, owner dns.Owner, ahead int) (current dns.Row, done bool, err error) {
	rows, managers, err := s.managed(ctx, row.Zone, row.Name, ahead)
	if err != nil {
		return dns.Row{}, false, err
	}
	var found []dns.Row
	for _, r := range rows {
		if r.Same(row.Record) && !r.Deleting {
			found = append(found, r)
		}
	}
	changed := func(format string, args ...any) (dns.Row, bool, error) {
		return dns.Row{}, false, fmt.Errorf("%w: "+format, append([]any{dns.ErrChanged}, args...)...)
	}
	switch {
	case slices.ContainsFunc(rows, func(r dns.Row) bool { return r.ID == "" }):
		return changed("a row of that name cannot be read")
	case len(found) == 0:
		return dns.Row{}, false, errGone
	case len(found) > 1:
		return changed("it is there %d times; remove all but one", len(found))
	}
	current = found[0]
	manager := managers[current.ID]
	switch {
	case current.Owner != nil && !current.Owner.Equal(owner):
		return changed("it is ours already, for other reservations")
	case current.Owner != nil:
		return current, true, nil
	case current.ID != row.ID:
		return changed("it was deleted and created anew")
	case manager != "" && manager != managedBy:
		return changed("its class parameter %s is %q: that one has to let go of it first", paramManagedBy, show(manager))
	}
	return current, false, nil
}

// managed returns the rows of one owner name, and by their ids what the class
// parameter managed_by of each is.
func (s *Scope) managed(ctx context.Context, zone, name string, ahead int) (rows []dns.Row, managers map[string]string, err error) {
	l, err := s.rows(rowSet{zone, name})
	if err != nil {
		return nil, nil, err
	}
	managers = make(map[string]string)
	l.convert = func(r rrRow) (dns.Row, bool) {
		params, _ := url.ParseQuery(string(r.ClassParameters.text)) // of what others wrote badly the rest counts
		managers[string(r.ID.text)] = params.Get(paramManagedBy)
		return r.row(rowSet{zone, name})
	}
	rows, err = l.few(ctx, ahead)
	if err == nil {
		err = namedSo(rows, name)
	}
	return rows, managers, err
}
