package solidsim

import (
	"slices"
	"strings"
)

// The model is what an appliance knows: DNS servers, their views, their zones,
// the records in these, and what of all that was pushed to where.
type model struct {
	last     ids       // the newest ones
	servers  []*server // these three by id, ascending
	views    []*view
	zones    []*zone
	named    map[string][]*zone // zones by name
	rows     rows
	byName   map[string]rows // by owner name, of all servers
	served   map[place]rows  // what DNS servers answer
	nodes    map[place]int   // how many rows are served at or below a name
	revision uint64          // rises with every change
}

// ids are numbers of each kind of object. They are given once.
type ids struct {
	Server int64 `json:"server"`
	View   int64 `json:"view"`
	Zone   int64 `json:"zone"`
	Row    int64 `json:"rr"`
}

func newModel() *model {
	return &model{
		last:   ids{Server: 1, View: 4, Zone: 10, Row: 100},
		named:  make(map[string][]*zone),
		byName: make(map[string]rows),
		served: make(map[place]rows),
		nodes:  make(map[place]int),
	}
}

// A server is a DNS server as SOLIDserver knows it.
type server struct {
	id      int64
	name    string
	kind    ServerKind
	arch    string // vdns_arch of a SMART
	addr    string // hostaddr of all others
	comment string
	class   string
	own     classParameters // those set on the server itself
	parent  *server         // the SMART of a member
	members []*server       // the members of a SMART
	pushed
}

// A view is one of the answers that a DNS server has for the same name.
type view struct {
	id     int64
	name   string // case-sensitive
	server *server
	class  string
	own    classParameters
}

type zone struct {
	id     int64
	name   string // lower case, without trailing dot
	kind   ZoneType
	server *server
	view   *view // nil: the server has no views
	class  string
	own    classParameters
	rows   rows
	serial uint32 // of the SOA, rises with each push
	live   bool   // its server answers for it
	state
}

// contains tells whether a name stands in the zone or in one below it.
func (z *zone) contains(name string) bool {
	return name == z.name || strings.HasSuffix(name, "."+z.name)
}

func (z *zone) reverse() bool {
	return strings.HasSuffix(z.name, ".in-addr.arpa") || strings.HasSuffix(z.name, ".ip6.arpa")
}

// rr is one resource record. What it says never changes once it is stored: an
// edit puts another one in its place, so that a push can hold on to what it is
// about. How far it was pushed does change.
type rr struct {
	id          int64
	zone        *zone
	name        string // full name, lower case, without trailing dot
	rtype       string // upper case
	values      rdata
	ttl         uint32 // seconds
	class       string // rr_class_name
	classParams classParameters
	auto        bool  // a PTR that the appliance keeps itself
	origin      int64 // of a copy on a member: the id of the row of the SMART
	state
}

// key is the same for a row and its copies.
func (r *rr) key() int64 {
	if r.origin != 0 {
		return r.origin
	}
	return r.id
}

// glue is the short label of a row: its name without the zone.
func (r *rr) glue() string {
	return strings.TrimSuffix(strings.TrimSuffix(r.name, r.zone.name), ".")
}

// A place is a name of the DNS tree that a server has in one of its views.
type place struct {
	server *server
	view   *view
	name   string
}

func (r *rr) place() place { return place{r.zone.server, r.zone.view, r.name} }

// zoneOf returns the zone of a server and view that a name belongs to, the one
// with the longest name of those that hold it, or nil.
func (m *model) zoneOf(s *server, v *view, name string) *zone {
	return m.longest(s, v, name, func(*zone) bool { return true })
}

// liveZone is the same for DNS: what was not pushed is not there.
func (m *model) liveZone(s *server, v *view, name string) *zone {
	return m.longest(s, v, name, func(z *zone) bool { return z.live && z.kind == MasterZone })
}

func (m *model) longest(s *server, v *view, name string, fits func(*zone) bool) *zone {
	for rest := name; ; {
		for _, z := range m.named[rest] {
			if z.server == s && z.view == v && fits(z) {
				return z
			}
		}
		var more bool
		if _, rest, more = strings.Cut(rest, "."); !more {
			return nil
		}
	}
}

// at returns the rows at a name of a server and view that are not about to be
// deleted.
func (m *model) at(s *server, v *view, name string) []*rr {
	var found []*rr
	for _, r := range m.byName[name] {
		if r.zone.server == s && r.zone.view == v && r.pending != pendingDelete {
			found = append(found, r)
		}
	}
	return found
}

func (m *model) server(name string) *server {
	i := slices.IndexFunc(m.servers, func(s *server) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return m.servers[i]
}

// view returns the view of a server with this name, and nil if it has none.
func (m *model) view(s *server, name string) *view {
	i := slices.IndexFunc(m.views, func(v *view) bool { return v.server == s && v.name == name })
	if i < 0 {
		return nil
	}
	return m.views[i]
}

func (m *model) viewsOf(s *server) []*view {
	var found []*view
	for _, v := range m.views {
		if v.server == s {
			found = append(found, v)
		}
	}
	return found
}

// list puts a row into the listing. A row without an id gets one.
func (m *model) list(r *rr) {
	if r.id == 0 {
		m.last.Row++
		r.id = m.last.Row
	}
	m.rows.insert(r)
	r.zone.rows.insert(r)
	named := m.byName[r.name]
	named.insert(r)
	m.byName[r.name] = named
	m.revision++
}

// replace puts a row in the place of the one that has its id, zone and name.
func (m *model) replace(r *rr) {
	m.rows.replace(r)
	r.zone.rows.replace(r)
	m.byName[r.name].replace(r)
	m.revision++
}

// unlist takes a row out of the listing.
func (m *model) unlist(r *rr) {
	m.rows.remove(r.id)
	r.zone.rows.remove(r.id)
	named := m.byName[r.name]
	if named.remove(r.id); len(named) > 0 {
		m.byName[r.name] = named
	} else {
		delete(m.byName, r.name)
	}
	m.revision++
}

// addServer, addView and addZone store an object. One without an id gets one.

func (m *model) addServer(s *server) {
	if s.id == 0 {
		m.last.Server++
		s.id = m.last.Server
	}
	m.servers = append(m.servers, s)
	m.revision++
}

func (m *model) addView(v *view) {
	if v.id == 0 {
		m.last.View++
		v.id = m.last.View
	}
	m.views = append(m.views, v)
	m.revision++
}

func (m *model) addZone(z *zone) {
	if z.id == 0 {
		m.last.Zone++
		z.id = m.last.Zone
	}
	if z.serial == 0 {
		z.serial = 1
	}
	m.zones = append(m.zones, z)
	m.named[z.name] = append(m.named[z.name], z)
	m.revision++
}

// removeZone takes a zone out, and all its rows.
func (m *model) removeZone(z *zone) {
	for _, r := range slices.Clone(z.rows) {
		m.unlist(r)
	}
	m.zones = without(m.zones, z)
	if m.named[z.name] = without(m.named[z.name], z); len(m.named[z.name]) == 0 {
		delete(m.named, z.name)
	}
	m.revision++
}

func (m *model) removeView(v *view) {
	m.views = without(m.views, v)
	m.revision++
}

func (m *model) removeServer(s *server) {
	m.servers = without(m.servers, s)
	m.revision++
}

func without[T comparable](all []T, one T) []T {
	return slices.DeleteFunc(all, func(t T) bool { return t == one })
}
