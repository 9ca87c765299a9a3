package solidsim

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A loader makes a model from a document.
type loader struct {
	*model
	serverByID map[int64]*server
	viewByID   map[int64]*view
	zoneByID   map[int64]*zone
}

// model checks all that the rest of the package relies on: an appliance's state
// may have been edited by hand.
func (doc document) model() (*model, error) {
	if doc.Version != stateVersion {
		return nil, fmt.Errorf("version %d of the document: this program reads %d", doc.Version, stateVersion)
	}
	l := loader{
		model: newModel(), serverByID: make(map[int64]*server),
		viewByID: make(map[int64]*view), zoneByID: make(map[int64]*zone),
	}
	l.last = doc.Last
	errs := []error{l.last.check()}
	for _, s := range byID(doc.Servers, func(s serverState) int64 { return s.ID }) {
		errs = append(errs, wrap(l.server(s), "DNS server", s.ID))
	}
	errs = append(errs, l.parents(doc.Servers))
	for _, v := range byID(doc.Views, func(v viewState) int64 { return v.ID }) {
		errs = append(errs, wrap(l.view(v), "view", v.ID))
	}
	zones := byID(doc.Zones, func(z zoneState) int64 { return z.ID })
	for _, z := range zones {
		errs = append(errs, wrap(l.zone(z), "zone", z.ID))
	}
	for _, z := range zones {
		errs = append(errs, wrap(l.origin(z), "zone", z.ID))
	}
	for _, r := range byID(doc.Records, func(r rowState) int64 { return r.ID }) {
		errs = append(errs, wrap(l.row(r), "record", r.ID))
	}
	return l.model, errors.Join(errs...)
}

// maxID leaves room for new ids below the greatest that the API takes.
const maxID = math.MaxInt32 / 2

func (last ids) check() error {
	for _, id := range []int64{last.Server, last.View, last.Zone, last.Row} {
		if id < 0 || id > maxID {
			return fmt.Errorf("last_ids: %d: want 0 to %d", id, maxID)
		}
	}
	return nil
}

func byID[T any](all []T, id func(T) int64) []T {
	return slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(id(a), id(b)) })
}

func wrap(err error, what string, id int64) error {
	if err != nil {
		return fmt.Errorf("%s %d: %w", what, id, err)
	}
	return nil
}

// id checks that an id is new and not above the last one.
func checkID[T any](id, last int64, known map[int64]T) error {
	if _, found := known[id]; found || id < 1 || id > last {
		return fmt.Errorf("an id is given once, from 1 to that in last_ids, which is %d", last)
	}
	return nil
}

func (l loader) server(d serverState) error {
	if err := checkID(d.ID, l.last.Server, l.serverByID); err != nil {
		return err
	}
	if err := checkServerName(d.Name); err != nil {
		return err
	}
	if l.model.server(d.Name) != nil || d.Kind != SMART && d.Kind != Standalone {
		return fmt.Errorf("want a name of its own, and %s or %s as kind", SMART, Standalone)
	}
	s := &server{
		id: d.ID, name: d.Name, kind: d.Kind, arch: d.Arch, addr: d.Addr, comment: d.Comment, class: d.Class, own: d.ClassParameters,
	}
	s.held, s.pushed.zones, s.pushed.rows = d.Held, make(map[*zone]*zone), make(map[int64]*rr)
	l.addServer(s)
	l.serverByID[d.ID] = s
	return nil
}

func (l loader) parents(all []serverState) error {
	for _, d := range all {
		if d.Parent == 0 || l.serverByID[d.ID] == nil {
			continue
		}
		s, parent := l.serverByID[d.ID], l.serverByID[d.Parent]
		if parent == nil || parent.kind != SMART || s.kind == SMART {
			return fmt.Errorf("DNS server %d: %d is no SMART that it can be a member of", d.ID, d.Parent)
		}
		s.parent = parent
		parent.members = append(parent.members, s)
	}
	return nil
}

func (l loader) view(d viewState) error {
	if err := checkID(d.ID, l.last.View, l.viewByID); err != nil {
		return err
	}
	s := l.serverByID[d.Server]
	if s == nil || !isViewName(d.Name) || l.model.view(s, d.Name) != nil {
		return errors.New("want a DNS server that is there and a name of its own on it")
	}
	v := &view{id: d.ID, name: d.Name, server: s, class: d.Class, own: d.ClassParameters}
	l.addView(v)
	l.viewByID[d.ID] = v
	return nil
}

func (l loader) zone(d zoneState) error {
	if err := checkID(d.ID, l.last.Zone, l.zoneByID); err != nil {
		return err
	}
	s, v := l.serverByID[d.Server], l.viewByID[d.View]
	if s == nil || d.View != 0 && (v == nil || v.server != s) {
		return fmt.Errorf("no DNS server %d with view %d", d.Server, d.View)
	}
	if !d.Type.known() {
		return fmt.Errorf("type %q: want %s, %s or %s", d.Type, MasterZone, SlaveZone, ForwardZone)
	}
	name, err := canonicalName("name", d.Name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.named[name], func(z *zone) bool { return z.server == s && z.view == v }) {
		return fmt.Errorf("%q stands twice", name)
	}
	z := &zone{
		id: d.ID, name: name, kind: d.Type, server: s, view: v, class: d.Class, own: d.ClassParameters,
		serial: d.Serial, live: d.Live,
	}
	z.pending = d.Pending
	l.addZone(z)
	l.zoneByID[d.ID] = z
	return nil
}

// origin ties the copy on a member to the zone of its SMART.
func (l loader) origin(d zoneState) error {
	if d.Origin == 0 || l.zoneByID[d.ID] == nil {
		return nil
	}
	z, from := l.zoneByID[d.ID], l.zoneByID[d.Origin]
	if from == nil || z.server.parent == nil || from.server != z.server.parent {
		return fmt.Errorf("%d is no zone of its SMART", d.Origin)
	}
	z.server.pushed.zones[from] = z
	return nil
}

func (l loader) row(d rowState) error {
	if d.ID < 1 || d.ID > l.last.Row || l.rows.get(d.ID) != nil {
		return checkID(0, l.last.Row, map[int64]bool{})
	}
	z := l.zoneByID[d.Zone]
	if z == nil {
		return fmt.Errorf("no zone %d", d.Zone)
	}
	name, err := canonicalName("name", d.Name)
	if err != nil {
		return err
	}
	rtype, err := canonicalType(d.Type)
	if err != nil {
		return err
	}
	r := &rr{
		id: d.ID, zone: z, name: name, rtype: rtype, ttl: d.TTL, class: d.Class, classParams: d.ClassParameters,
		auto: d.Auto, origin: d.Origin,
	}
	if r.values, err = readUsed(rtype, d.Values); err != nil {
		return err
	}
	if !z.contains(name) {
		return errors.New("the name stands outside of the zone")
	}
	r.pending = d.Pending
	l.list(r)
	if len(z.server.members) > 0 || d.Unserved {
		return nil
	}
	served := r
	if d.Served != nil {
		before := *r
		if before.values, err = readUsed(rtype, d.Served.Values); err != nil {
			return err
		}
		before.ttl = d.Served.TTL
		served = &before
	}
	z.server.rows[r.key()] = served
	l.serve(served)
	return nil
}

// used are the values up to the last that is not empty.
func (v rdata) used() []string {
	n := len(v)
	for n > 0 && v[n-1] == "" {
		n--
	}
	return v[:n]
}

func readUsed(rtype string, values []string) (v rdata, err error) {
	if len(values) > len(v) {
		return v, fmt.Errorf("%d values: there are at most %d", len(values), len(v))
	}
	copy(v[:], values)
	return canonicalValues(rtype, v)
}
