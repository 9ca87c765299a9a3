package solidserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Scope is one DNS server of the appliance and those of its zones that we may
// write to. It is safe for concurrent use.
//
// All its methods work on the appliance; none answers from a memory of its own.
// Their errors are, by errors.Is, one of the sentinels of package dns, where
// one applies; an *Error tells more of the call that failed. With any other
// error nothing was changed.
type Scope struct {
	client *Client
	name   string
	server string
	zones  []string

	mu       sync.Mutex
	resolved map[string]zone // forgotten after every error
}

// Scope returns a view of one DNS server. The name is for errors; server is the
// dns_name on the appliance, which is case-sensitive: of a SMART, or of a
// server that stands alone. Zones are canonical names. Nothing is asked of the
// appliance yet.
func (c *Client) Scope(name, server string, zones []string) *Scope {
	return &Scope{client: c, name: name, server: server, zones: slices.Clone(zones), resolved: make(map[string]zone)}
}

// A zone is what is known of a zone on the appliance.
type zone struct {
	id   string
	name string
	view string // "" if the server has none
}

// Records returns every row of type A, AAAA, PTR and CNAME that stands in the
// zone: all of them, or an error. The zone must exist exactly once.
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

// Lookup returns the rows of type A, AAAA, PTR and CNAME of one owner name in
// the zone, as the appliance has them now. The name is canonical.
func (s *Scope) Lookup(ctx context.Context, zone, name string) (rows []dns.Row, err error) {
	defer s.wrap(&err, zone, "look up %s", name)
	leave, err := s.client.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if _, err := s.resolve(ctx, zone); err != nil {
		return nil, err
	}
	return s.at(ctx, zone, name, 0)
}

// at returns the rows of one owner name.
func (s *Scope) at(ctx context.Context, zone, name string, ahead int) ([]dns.Row, error) {
	if name == "" {
		return nil, errors.New("no name was given")
	}
	rows, err := s.few(ctx, rowSet{zone, name}, ahead)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Name != name || row.Zone != zone {
			return nil, fmt.Errorf("the answer holds %s in zone %s", show(row.Name), show(row.Zone))
		}
	}
	return rows, nil
}

// resolve returns what the appliance knows of a zone.
func (s *Scope) resolve(ctx context.Context, name string) (zone, error) {
	if !slices.Contains(s.zones, name) {
		return zone{}, fmt.Errorf("zone %s is not one of %s", name, strings.Join(s.zones, ", "))
	}
	s.mu.Lock()
	known, ok := s.resolved[name]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	found, err := s.findZone(ctx, name)
	if err != nil {
		return zone{}, fmt.Errorf("resolve zone %s on DNS server %s: %w", name, s.server, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolved[name] = found
	return found, nil
}

func (s *Scope) forget(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.resolved, zone)
}

// zoneRow is a row of dns_zone_list.
type zoneRow struct {
	problem
	ID     text `json:"dnszone_id"`
	Name   text `json:"dnszone_name"`
	Type   text `json:"dnszone_type"`
	Server text `json:"dns_name"`
	Parent text `json:"vdns_parent_name"`
	View   text `json:"dnsview_name"`
}

// findZone asks for the zone, which must be there exactly once.
func (s *Scope) findZone(ctx context.Context, name string) (zone, error) {
	clause, err := where(condition{colServer, s.server}, condition{colZone, name})
	if err != nil {
		return zone{}, err
	}
	const service = "dns_zone_list"
	result, err := s.client.read(ctx, service, url.Values{
		"SELECT":  {"dnszone_id,dnszone_name,dnszone_type,dns_name,vdns_parent_name,dnsview_name"},
		"WHERE":   {clause},
		"ORDERBY": {"dnszone_id"},
		"limit":   {strconv.Itoa(pageSize)},
		"offset":  {"0"},
	}, 0)
	if err != nil {
		return zone{}, err
	}
	rows, err := decodeRows[zoneRow](result)
	if err != nil {
		return zone{}, getCall(service).unreadable(result, err)
	}
	if len(rows) != 1 {
		return zone{}, fmt.Errorf("expected 1 zone, found %d%s", len(rows), describe(rows))
	}
	row := rows[0]
	switch parent := string(row.Parent); {
	case string(row.Server) != s.server || dns.CanonicalName(string(row.Name)) != name || row.ID == "":
		return zone{}, getCall(service).unreadable(result,
			fmt.Errorf("the answer holds zone %q of DNS server %q", show(string(row.Name)), show(string(row.Server))))
	case parent != "" && parent != "#":
		// A SMART owns the data of its members and overwrites what they have.
		return zone{}, fmt.Errorf("the DNS server is a member of %q: give that name with --dns-server", show(parent))
	}
	return zone{id: string(row.ID), name: name, view: viewName(row.View)}, nil
}

// describe says what was found in place of one zone.
func describe(rows []zoneRow) string {
	if len(rows) == 0 {
		return "; check --dns-server, whose value is case-sensitive, and --dns-zone"
	}
	const most = 5
	var text strings.Builder
	for i, row := range rows[:min(most, len(rows))] {
		text.WriteString([]string{": ", ", "}[min(i, 1)])
		fmt.Fprintf(&text, "id %s (%s %q, DNS server %q, view %q)",
			show(string(row.ID)), show(string(row.Type)), show(string(row.Name)), show(string(row.Server)), show(string(row.View)))
	}
	if len(rows) > most {
		text.WriteString(" and others")
	}
	return text.String()
}

// wrap says what was being done, and forgets the zone: it may have been
// deleted and created anew, with another id.
func (s *Scope) wrap(err *error, zone, format string, args ...any) {
	if *err == nil {
		return
	}
	if !errors.Is(*err, dns.ErrExists) && !errors.Is(*err, dns.ErrChanged) {
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
