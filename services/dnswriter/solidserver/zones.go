package solidserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// A zone is what is known of a master zone on the appliance.
type zone struct {
	id string
	dns.Zone
}

// Zones returns all master zones of the DNS server in the view, forward and
// reverse ones, ascending by name. A zone that is there several times is in it
// once, though nothing can be done in it. That there is none at all is an error.
func (s *Scope) Zones(ctx context.Context) (zones []dns.Zone, err error) {
	defer s.wrap(&err, "", "read the zones")
	leave, err := s.client.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.readZones(ctx)
}

// readZones is Zones, and takes note of all of them.
func (s *Scope) readZones(ctx context.Context) ([]dns.Zone, error) {
	l, err := s.zonesWith()
	if err != nil {
		return nil, err
	}
	all, err := l.all(ctx)
	if err != nil {
		return nil, err
	}
	mine, others, err := s.inView(all)
	if err != nil {
		return nil, err
	}
	rows := masters(mine)
	if len(rows) == 0 {
		return nil, errors.New("expected master zones, found 0" + s.whyNone(ctx, others))
	}
	named := make(map[string]dns.Zone)
	known := make(map[string]zone)
	for _, row := range rows {
		z := row.zone()
		if _, doubled := named[z.Name]; doubled {
			delete(known, z.Name)
			continue
		}
		named[z.Name], known[z.Name] = z.Zone, z
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones = known
	return slices.SortedFunc(maps.Values(named), func(a, b dns.Zone) int { return strings.Compare(a.Name, b.Name) }), nil
}

// resolve returns what the appliance knows of a zone.
func (s *Scope) resolve(ctx context.Context, name string) (zone, error) {
	s.mu.Lock()
	known, ok := s.zones[name]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	found, err := s.findZone(ctx, name)
	if err != nil {
		return zone{}, fmt.Errorf("resolve zone %s on DNS server %s: %w", show(name), s.server, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones[name] = found
	return found, nil
}

func (s *Scope) forget(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.zones, zone)
}

// nearest refuses a name that belongs into another zone than this, one below it.
func (s *Scope) nearest(zone, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for parent := name; parent != "" && parent != zone; _, parent, _ = strings.Cut(parent, ".") {
		if _, ok := s.zones[parent]; ok {
			return misplaced{fmt.Errorf("%s belongs into zone %s, which is nearer to it than %s", name, parent, zone)}
		}
	}
	return nil
}

// zoneRow is a row of dns_zone_list.
type zoneRow struct {
	problem
	ID           cell `json:"dnszone_id"`
	Name         text `json:"dnszone_name"`
	Type         text `json:"dnszone_type"`
	Policy       text `json:"dnszone_is_rpz"`
	Server       text `json:"dns_name"`
	ParentID     text `json:"vdns_parent_id"`
	Parent       text `json:"vdns_parent_name"`
	View         text `json:"dnsview_name"`
	Params       text `json:"dnszone_class_parameters"`
	ViewParams   text `json:"dnsview_class_parameters"`
	ServerParams text `json:"dns_class_parameters"`
}

func (r zoneRow) id() cell { return r.ID }

const zoneTypeMaster = "master"

// zonesWith lists the zones of the DNS server, of all types and in all views, that
// fulfil the conditions.
func (s *Scope) zonesWith(conditions ...condition) (list[zoneRow, zoneRow], error) {
	clause, err := where(append([]condition{{colServer, s.server}}, conditions...)...)
	return list[zoneRow, zoneRow]{
		client: s.client,
		object: "dns_zone",
		columns: "dnszone_id,dnszone_name,dnszone_type,dnszone_is_rpz,dns_name,vdns_parent_id,vdns_parent_name,dnsview_name," +
			"dnszone_class_parameters,dnsview_class_parameters,dns_class_parameters",
		order:   "dnszone_id",
		clause:  clause,
		verify:  s.verifyZone,
		convert: func(r zoneRow) (zoneRow, bool) { return r, true },
	}, err
}

// inView returns those of the zones that are in the view of the scope, and the
// names of the other views. What is there in others is needed to say what is
// wrong, so it is asked for too.
func (s *Scope) inView(rows []zoneRow) (mine []zoneRow, others []string, err error) {
	for _, row := range rows {
		if row.parent() != "" {
			// A SMART owns the data of its members and overwrites what they have.
			return nil, nil, fmt.Errorf("DNS server %q is a member of %q: give that name with --dns-server", s.server, row.parent())
		}
		if view := viewName(row.View); view == s.view {
			mine = append(mine, row)
		} else if !slices.Contains(others, view) {
			others = append(others, view)
		}
	}
	slices.Sort(others)
	if s.view == "" && len(others) > 0 {
		return nil, nil, fmt.Errorf("DNS server %q has views: give one of %s with --dns-view", s.server, quoted(others))
	}
	return mine, others, nil
}

// verifyZone refuses a zone that was not asked for.
func (s *Scope) verifyZone(r zoneRow) error {
	switch server := string(r.Server); {
	case server != s.server && strings.EqualFold(server, s.server):
		return fmt.Errorf("the DNS server is spelled %q: give it so with --dns-server", show(server))
	case server != s.server || r.ID.text == "" || r.ID.unreadable:
		return fmt.Errorf("the answer holds zone %q of DNS server %q", show(string(r.Name)), show(server))
	}
	return nil
}

// parent returns the name of the SMART that the server of the zone is a member
// of, or "".
func (r zoneRow) parent() string {
	switch {
	case r.Parent != "" && r.Parent != "#":
		return show(string(r.Parent))
	case r.ParentID != "" && r.ParentID != "0":
		return "the SMART with id " + plain(string(r.ParentID))
	}
	return ""
}

// zone returns what counts of a zone.
func (r zoneRow) zone() zone {
	return zone{
		id:   string(r.ID.text),
		Zone: dns.Zone{Name: dns.CanonicalName(string(r.Name)), AutoPTR: r.autoPTR()},
	}
}

// autoPTR tells whether the appliance keeps the PTR records of the zone itself:
// the class parameter dnsptr, of the nearest that has it.
func (r zoneRow) autoPTR() bool {
	for _, text := range []text{r.Params, r.ViewParams, r.ServerParams} {
		params, _ := url.ParseQuery(string(text)) // of what others wrote badly the rest counts
		if values := params["dnsptr"]; len(values) > 0 && values[0] != "" {
			return values[0] == "1"
		}
	}
	return false
}

// masters returns the zones that can be written to. Others are copies, or hold
// no records; a response policy zone holds rules and no names.
func masters(rows []zoneRow) []zoneRow {
	var all []zoneRow
	for _, row := range rows {
		if string(row.Type) == zoneTypeMaster && row.Policy != "1" {
			all = append(all, row)
		}
	}
	return all
}

// ErrNoZone tells that a zone is not there exactly once, as a master zone of the
// DNS server in the view, or that the name belongs into another one below it.
var ErrNoZone = errors.New("there is no such zone to write to")

// misplaced is the error for what has no place on the appliance. The appliance
// has answered, and so will it until a person changes something: with errors.Is
// it is dns.ErrRefused, and ErrNoZone.
type misplaced struct{ error }

// Is makes errors.Is find the sentinels.
func (misplaced) Is(target error) bool { return target == dns.ErrRefused || target == ErrNoZone }

// Unwrap returns the cause.
func (m misplaced) Unwrap() error { return m.error }

// findZone asks for the zone, which must be there exactly once.
func (s *Scope) findZone(ctx context.Context, name string) (zone, error) {
	l, err := s.zonesWith(condition{colZone, name})
	if err != nil {
		return zone{}, err
	}
	all, err := l.few(ctx, 0)
	if err != nil {
		return zone{}, err
	}
	rows, others, err := s.inView(all)
	if err != nil {
		return zone{}, misplaced{err}
	}
	found := masters(rows)
	switch {
	case len(rows) == 0:
		return zone{}, misplaced{errors.New("expected 1 zone, found 0" + s.whyNone(ctx, others))}
	case len(found) == 0:
		return zone{}, misplaced{fmt.Errorf("expected 1 zone, found 0 that can be written to: only master zones can, and there is %s", describe(rows))}
	case len(found) > 1:
		return zone{}, misplaced{fmt.Errorf("expected 1 zone, found %d: %s", len(found), describe(found))}
	}
	z := found[0].zone()
	if z.Name != name {
		return zone{}, getCall("dns_zone_list").unreadable(answer{}, fmt.Errorf("the answer holds zone %q", show(z.Name)))
	}
	return z, nil
}

// describe says what was found in place of one zone.
func describe(rows []zoneRow) string {
	const most = 5
	var parts []string
	for _, row := range rows[:min(most, len(rows))] {
		parts = append(parts, fmt.Sprintf("id %s (%s %q, DNS server %q, view %q)",
			plain(string(row.ID.text)), plain(string(row.Type)), show(string(row.Name)), show(string(row.Server)), show(string(row.View))))
	}
	if len(rows) > most {
		parts = append(parts, "and others")
	}
	return strings.Join(parts, ", ")
}

// quoted writes names, a few of them.
func quoted(names []string) string {
	const most = 10
	var parts []string
	for _, name := range names[:min(most, len(names))] {
		parts = append(parts, fmt.Sprintf("%q", show(name)))
	}
	if len(names) > most {
		parts = append(parts, "and others")
	}
	return strings.Join(parts, ", ")
}
