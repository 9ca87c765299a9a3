package solidserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Create creates a row with the mark of its owner, in one call, and returns
// its id. It never changes an existing row.
//
// With exclusive it is refused by the appliance if there is any record of that
// name and type, without it if there is one with that value too: then, and if
// a CNAME stands in the way, the error is dns.ErrExists. Whether the appliance
// keeps the mark is seen by Lookup: the Owner of the row is nil if not.
//
// The row is accepted, and need not be published yet: see dns.Row.Pending.
func (s *Scope) Create(ctx context.Context, zone string, rec dns.Record, owner dns.Owner, exclusive bool) (id string, err error) {
	return s.create(ctx, zone, rec, s.placeOf(rec).mark(owner), exclusive)
}

// CreateByHand is Create for a person: exclusive, and without a mark. The row is
// not ours.
func (s *Scope) CreateByHand(ctx context.Context, zone string, rec dns.Record) (id string, err error) {
	return s.create(ctx, zone, rec, "", true)
}

func (s *Scope) create(ctx context.Context, zone string, rec dns.Record, mark string, exclusive bool) (id string, err error) {
	defer s.wrap(&err, zone, "create %s", rec)
	if err := checkRecord(rec, zone); err != nil {
		return "", err
	}
	leave, err := s.client.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	at, err := s.resolve(ctx, zone)
	if err != nil {
		return "", err
	}
	if err := s.nearest(zone, rec.Name); err != nil {
		return "", err
	}
	if err := s.client.admit(ctx, 1); err != nil {
		return "", err
	}
	params := s.rowParams(zone, rec, mark)
	params.Set("dnszone_id", at.id)
	params.Set("add_flag", "new_only")
	params.Set("check_value", "yes")
	if exclusive {
		params.Set("check_value", "no")
	}
	id, err = s.client.write(ctx, http.MethodPost, "dns_rr_add", params)
	if errors.Is(err, dns.ErrRefused) {
		err = s.whyNotCreated(ctx, zone, rec, exclusive, err)
	}
	return id, err
}

// whyNotCreated looks whether a refusal to create comes from a record that is
// there already.
func (s *Scope) whyNotCreated(ctx context.Context, zone string, rec dns.Record, exclusive bool, refusal error) error {
	rows, err := s.at(ctx, zone, rec.Name, 0)
	if err != nil {
		return refusal // which is as true as before
	}
	for _, row := range rows {
		switch {
		case row.Type == rec.Type && (exclusive || row.Value == rec.Value),
			row.Type == dns.CNAME, rec.Type == dns.CNAME: // RFC 1034, 3.6.2
			return exists(row, refusal)
		}
	}
	return refusal
}

// exists is the error for a record that stands in the way.
func exists(row dns.Row, refusal error) error {
	// The text of the refusal only: it was not a matter of principle.
	return fmt.Errorf("%w: %s (%v)", dns.ErrExists, row.Record, refusal)
}

// Update gives a row the value and the TTL of rec and the mark of owner, in
// place: there is no moment without a record. Name and type stay.
//
// The error is dns.ErrChanged if the row is gone, does not have the value of
// row any more or is not ours any more, and dns.ErrExists if another row has
// the new value already.
func (s *Scope) Update(ctx context.Context, row dns.Row, rec dns.Record, owner dns.Owner) (err error) {
	defer s.wrap(&err, row.Zone, "change %s to %s", row.Record, rec)
	if err := checkRecord(rec, row.Zone); err != nil {
		return err
	}
	if rec.Name != row.Name || rec.Type != row.Type {
		return errors.New("name and type of a record cannot be changed")
	}
	leave, err := s.enter(ctx, row.Zone)
	if err != nil {
		return err
	}
	defer leave()
	rows, err := s.at(ctx, row.Zone, row.Name, 1)
	if err != nil {
		return err
	}
	current, err := ours(rows, row)
	if err != nil {
		return err
	}
	params := s.rowParams(row.Zone, rec, s.placeOf(rec).mark(owner))
	params.Set("rr_id", current.ID)
	params.Set("add_flag", "edit_only")
	_, err = s.client.write(ctx, http.MethodPut, "dns_rr_add", params)
	if errors.Is(err, dns.ErrRefused) {
		err = s.whyNotUpdated(ctx, current, rec, err)
	}
	return err
}

// whyNotUpdated looks whether a refusal to change a row comes from what became
// of the row, or from another one.
func (s *Scope) whyNotUpdated(ctx context.Context, row dns.Row, rec dns.Record, refusal error) error {
	rows, err := s.at(ctx, row.Zone, row.Name, 0)
	if err != nil {
		return refusal
	}
	if err := unmoved(rows, row); err != nil {
		return err
	}
	other := slices.IndexFunc(rows, func(r dns.Row) bool { return r.Same(rec) && !r.Same(row.Record) })
	if other >= 0 {
		return exists(rows[other], refusal)
	}
	return refusal
}

// Delete deletes a row. A row that is gone, or has another value by now, is no
// error: there is nothing left to delete. The error is dns.ErrChanged if the row
// is not ours any more or has got another id: it may be the other one of two
// equal rows, which is to stay.
func (s *Scope) Delete(ctx context.Context, row dns.Row) (err error) {
	defer s.wrap(&err, row.Zone, "delete %s", row.Record)
	leave, err := s.enter(ctx, row.Zone)
	if err != nil {
		return err
	}
	defer leave()
	rows, err := s.at(ctx, row.Zone, row.Name, 1)
	if err != nil {
		return err
	}
	err = unmoved(rows, row)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	params := url.Values{"rr_id": {row.ID}}
	s.addView(params)
	_, err = s.client.write(ctx, http.MethodDelete, "dns_rr_delete", params)
	if !errors.Is(err, dns.ErrRefused) {
		return err
	}
	// Somebody else may have been faster.
	if rows, readErr := s.at(ctx, row.Zone, row.Name, 0); readErr == nil {
		if moved := unmoved(rows, row); moved != nil {
			err = moved
		}
	}
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// errGone is the dns.ErrChanged of a row that does not exist.
var errGone = fmt.Errorf("%w: it is gone", dns.ErrChanged)

// ours finds the row, with its id of this moment, among the rows of its name. If
// there are several for the record, all of them have to be ours.
func ours(rows []dns.Row, row dns.Row) (dns.Row, error) {
	var found []dns.Row
	for _, r := range rows {
		if r.Same(row.Record) && !r.Deleting {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 0 && slices.ContainsFunc(rows, func(r dns.Row) bool { return r.ID == "" }):
		return dns.Row{}, fmt.Errorf("%w: a row of that name cannot be read", dns.ErrChanged)
	case len(found) == 0:
		return dns.Row{}, errGone
	case slices.ContainsFunc(found, func(r dns.Row) bool { return r.Owner == nil }):
		return dns.Row{}, fmt.Errorf("%w: it is there %d times, and not all are ours", dns.ErrChanged, len(found))
	}
	at := slices.IndexFunc(found, func(r dns.Row) bool { return r.ID == row.ID })
	return found[max(0, at)], nil
}

// unmoved returns an error unless the row is still there under the id that it
// had a moment ago.
func unmoved(rows []dns.Row, row dns.Row) error {
	again, err := ours(rows, row)
	if err == nil && again.ID != row.ID {
		err = fmt.Errorf("%w: it was deleted and created anew", dns.ErrChanged)
	}
	return err
}

// placeOf is what the mark of a record is bound to.
func (s *Scope) placeOf(rec dns.Record) place {
	return place{server: s.server, view: s.view, name: rec.Name, rtype: rec.Type}
}

// rowParams are the parameters that creating and changing a row have in common.
// The mark is "" for none.
func (s *Scope) rowParams(zone string, rec dns.Record, mark string) url.Values {
	params := url.Values{
		"dns_name":     {s.server},
		"dnszone_name": {zone},
		"rr_name":      {rec.Name},
		"rr_type":      {string(rec.Type)},
		"value1":       {rec.Value},
		"rr_ttl":       {strconv.FormatUint(uint64(rec.TTL), 10)},
	}
	if mark != "" {
		params.Set("rr_class_parameters", mark)
	}
	s.addView(params)
	return params
}

// addView names the view. On a server with views a call without would have to
// do with all of them.
func (s *Scope) addView(params url.Values) {
	if s.view != "" {
		params.Set("dnsview_name", s.view)
	}
}
