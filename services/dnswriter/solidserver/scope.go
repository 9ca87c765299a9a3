package solidserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Scope is one DNS server of the appliance, in one of its views. It is safe for
// concurrent use.
//
// All its methods work on the appliance; none answers from a memory of its own.
// Their errors are, by errors.Is, one of the sentinels of package dns, where
// one applies; an *Error tells more of the call that failed. With any other
// error nothing was changed.
type Scope struct {
	client *Client
	name   string
	server string
	view   string

	mu    sync.Mutex
	zones map[string]zone // by name; one is forgotten after every error
}

// Scope returns a view of one DNS server. The name is for errors; server is the
// dns_name on the appliance, of a SMART or of a server that stands alone, never
// of a member of a SMART. The view is its dnsview_name, "" for a server without
// views. Both are case-sensitive. Nothing is asked of the appliance yet.
func (c *Client) Scope(name, server, view string) *Scope {
	return &Scope{client: c, name: name, server: server, view: view, zones: make(map[string]zone)}
}

// Records returns every row of type A, AAAA, PTR and CNAME that stands in the
// zone: all of them, or an error. There must be exactly one master zone of the
// name, which is canonical. Rows of zones below it are not among them.
func (s *Scope) Records(ctx context.Context, zone string) (rows []dns.Row, err error) {
	defer s.wrap(&err, zone, "read the records of zone %s", zone)
	leave, err := s.client.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// A zone that is not there looks like an empty one.
	s.forget(zone)
	if _, err := s.resolve(ctx, zone); err != nil {
		return nil, err
	}
	return s.allRows(ctx, rowSet{zone: zone})
}

// Reverse returns what Records does, of all reverse master zones at once: however
// many they are, it takes as many calls as their rows fill pages, and a few.
func (s *Scope) Reverse(ctx context.Context) (rows []dns.Row, err error) {
	defer s.wrap(&err, "", "read the records of all reverse zones")
	leave, err := s.client.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	// A view that is not there looks like an empty one.
	if _, err := s.readZones(ctx); err != nil {
		return nil, err
	}
	return s.allRows(ctx, rowSet{})
}

// enter waits until there is room for one more operation, and resolves the zone that
// it is about. The caller must call leave at its end.
func (s *Scope) enter(ctx context.Context, zone string) (leave func(), err error) {
	leave, err = s.client.enter(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.resolve(ctx, zone); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// Lookup returns the rows of type A, AAAA, PTR and CNAME of one owner name in
// the zone, as the appliance has them now. The name is canonical.
func (s *Scope) Lookup(ctx context.Context, zone, name string) (rows []dns.Row, err error) {
	defer s.wrap(&err, zone, "look up %s", name)
	leave, err := s.enter(ctx, zone)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.at(ctx, zone, name, 0)
}

// Standing returns the rows of one owner name, of all types and in all zones of the
// DNS server in the view. The type and the value of one that is none of dns.Types
// are those of the appliance. The name is canonical; the zone is the one that it is
// to be in, and must be there as with Lookup.
func (s *Scope) Standing(ctx context.Context, zone, name string) (rows []dns.Row, err error) {
	defer s.wrap(&err, zone, "look what stands at %s", name)
	leave, err := s.enter(ctx, zone)
	if err != nil {
		return nil, err
	}
	defer leave()
	l, err := s.rows(rowSet{zone, name})
	if err != nil {
		return nil, err
	}
	if l.clause, err = where(append(s.conditions(), condition{colFullName, name})...); err != nil {
		return nil, err
	}
	l.verify = func(r rrRow) error { return s.verify(rowSet{name: name}, r) }
	l.convert = func(r rrRow) (dns.Row, bool) {
		row, known := r.row(rowSet{zone, name})
		if !known { // of what we have nothing to do with, for people to read
			row.Record = dns.Record{Name: dns.CanonicalName(string(r.FullName.text)), Type: dns.Type(r.Type.text), Value: string(r.Value.text), TTL: r.ttl()}
			row.ID, row.Zone = string(r.ID.text), dns.CanonicalName(string(r.Zone.text))
			row.Pending, row.Deleting = delayed(r.CreatePending.text), delayed(r.DeletePending.text)
		}
		return row, true
	}
	rows, err = l.few(ctx, 0)
	if err == nil {
		err = namedSo(rows, name)
	}
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// at returns the rows of one owner name.
func (s *Scope) at(ctx context.Context, zone, name string, ahead int) ([]dns.Row, error) {
	if name == "" || zone == "" {
		return nil, errors.New("no name or no zone was given")
	}
	rows, err := s.named(ctx, zone, name, ahead)
	if err == nil {
		err = namedSo(rows, name)
	}
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// namedSo refuses rows of another name than was asked for.
func namedSo(rows []dns.Row, name string) error {
	for _, row := range rows {
		if row.Name != name {
			return fmt.Errorf("the answer holds %q", show(row.Name))
		}
	}
	return nil
}

// wrap says what was being done, and forgets the zone if the appliance may have
// complained of it: it may have been deleted and created anew, with another id.
func (s *Scope) wrap(err *error, zone, format string, args ...any) {
	if *err == nil {
		return
	}
	failed, ok := errors.AsType[*Error](*err)
	notSent := ok && failed.Outcome == NotSent
	if !notSent && !errors.Is(*err, dns.ErrExists) && !errors.Is(*err, dns.ErrChanged) {
		s.forget(zone)
	}
	*err = fmt.Errorf("%s in scope %s: %w", fmt.Sprintf(format, args...), s.name, *err)
}

// checkRecord refuses a record that is not in the form of package dns, or that
// does not belong into the zone.
func checkRecord(rec dns.Record, zone string) error {
	name, err := events.CanonicalHostname(rec.Name)
	if err != nil {
		return err
	}
	value, err := dns.CanonicalValue(rec.Type, rec.Value)
	if err != nil {
		return err
	}
	if rec.Type == dns.PTR || rec.Type == dns.CNAME {
		if value, err = events.CanonicalHostname(rec.Value); err != nil {
			return err
		}
	}
	switch {
	case name != rec.Name || value != rec.Value:
		return fmt.Errorf("%s is not in canonical form", rec)
	case !strings.HasSuffix(name, "."+zone):
		return fmt.Errorf("%s is not in zone %s", name, zone)
	}
	return nil
}
