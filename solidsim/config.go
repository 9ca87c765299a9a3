package solidsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// ServerKind is what a DNS server is to SOLIDserver, as in its column
// dns_type.
type ServerKind string

const (
	// SMART is an arrangement of servers that is written to like one.
	SMART ServerKind = "vdns"
	// Standalone is an EfficientIP DNS server by itself.
	Standalone ServerKind = "ipm"
)

// ZoneType is the column dnszone_type.
type ZoneType string

// Only master zones take records.
const (
	MasterZone  ZoneType = "master"
	SlaveZone   ZoneType = "slave"
	ForwardZone ZoneType = "forward"
)

func (t ZoneType) known() bool { return t == MasterZone || t == SlaveZone || t == ForwardZone }

// A Server describes a DNS server of the simulator.
type Server struct {
	// Name is case-sensitive.
	Name string `json:"name"`
	// Kind is SMART by default.
	Kind ServerKind `json:"kind,omitempty"`
	// Arch is the vdns_arch of a SMART: single (the default without members),
	// masterslave (the default with members), multimaster, stealth or farm.
	Arch string `json:"arch,omitempty"`
	// Members are the servers that a SMART pushes to. Each is listed as a
	// server of its own, with copies of all views, zones and records, and
	// answers DNS. A SMART without members answers itself.
	Members []string `json:"members,omitempty"`
	// ClassParameters are set on the server; views and zones inherit them.
	// dnsptr=1 has the appliance keep the PTR of each A and AAAA.
	ClassParameters map[string]string `json:"class_parameters,omitempty"`
	// Views of the server. With views each zone stands in one of them.
	Views []View `json:"views,omitempty"`
	// Zones of a server without views.
	Zones []Zone `json:"zones,omitempty"`
}

// A View describes one view of a DNS server.
type View struct {
	// Name is case-sensitive.
	Name            string            `json:"name"`
	ClassParameters map[string]string `json:"class_parameters,omitempty"`
	Zones           []Zone            `json:"zones,omitempty"`
}

// A Zone describes a zone of a server or of a view.
type Zone struct {
	Name string `json:"name"`
	// Type is MasterZone by default.
	Type            ZoneType          `json:"type,omitempty"`
	ClassParameters map[string]string `json:"class_parameters,omitempty"`
}

// NoView says what becomes of a record that is written to a server with views
// without naming one (and without the id of a zone, which says it all). Live
// systems were seen to do each of the two things that are not a refusal.
type NoView string

const (
	// RefuseNoView is the default.
	RefuseNoView NoView = ""
	// FirstView takes the view named "default", else the first one.
	FirstView NoView = "first"
	// AllViews writes into each view that has a master zone for the name.
	AllViews NoView = "all"
)

// Unknowns are switches for what is not known of a real appliance. The zero
// value is the strict side: a client that works with it depends on nothing
// doubtful.
type Unknowns struct {
	// NoView is what a write without a view does on a server with views.
	NoView NoView `json:"no_view,omitempty"`
	// WriteOnMember lets records be written on a member of a SMART, which keeps
	// them to itself. Else that is refused.
	WriteOnMember bool `json:"write_on_member,omitempty"`
	// EditedStatus is the status of a POST that edited what was there: 200 by
	// default, or 201.
	EditedStatus int `json:"edited_status,omitempty"`
	// EditDoubles lets an edit make a record equal to another one, so that it
	// stands twice. Else that is refused.
	EditDoubles bool `json:"edit_doubles,omitempty"`
	// CNAMEBesideData lets a CNAME stand beside other records. DNS then answers
	// with the CNAME alone. Else that is refused.
	CNAMEBesideData bool `json:"cname_beside_data,omitempty"`
	// ListApex lists the SOA and NS records of zones that are made from then on
	// as rows. Else only DNS shows them.
	ListApex bool `json:"list_apex,omitempty"`
}

// SetUnknowns changes the switches, for calls from now on.
func (s *Sim) SetUnknowns(u Unknowns) error {
	if err := u.validate(); err != nil {
		return err
	}
	defer s.store.write()()
	s.store.unknowns = u
	return nil
}

func (u Unknowns) validate() error {
	var errs []error
	if !slices.Contains([]NoView{RefuseNoView, FirstView, AllViews}, u.NoView) {
		errs = append(errs, fmt.Errorf("no view %q: want %q, %q or nothing", u.NoView, FirstView, AllViews))
	}
	if !slices.Contains([]int{0, 200, 201}, u.EditedStatus) {
		errs = append(errs, fmt.Errorf("edited status %d: want 200 or 201", u.EditedStatus))
	}
	return errors.Join(errs...)
}

// defaultServers are those of the replaced system: two SMARTs without members
// and views, each with the same zones.
func defaultServers(zones []string) []Server {
	if len(zones) == 0 {
		zones = []string{"site.com"}
	}
	var all []Zone
	for _, name := range zones {
		all = append(all, Zone{Name: name})
	}
	return []Server{{Name: InternalServer, Zones: all}, {Name: ExternalServer, Zones: all}}
}

// ParseServers reads a description of DNS servers: a JSON array of Server, and
// nothing after it. A field that it does not know is an error, and so are no
// servers. Whether they can be is said by Config.Validate.
func ParseServers(text []byte) ([]Server, error) {
	var servers []Server
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&servers); err != nil {
		return nil, fmt.Errorf("read DNS servers: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read DNS servers: something follows the array")
	}
	if len(servers) == 0 {
		return nil, errors.New("read DNS servers: there is none")
	}
	return servers, nil
}

// newServers makes the model that is described. All that is wrong with it is
// in the error.
func (st *store) newServers(all []Server) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, st.describe(s))
	}
	return errors.Join(errs...)
}

func (st *store) describe(d Server) error {
	s, err := st.newServer(d.Name, cmp.Or(d.Kind, SMART), d.Arch, d.Members)
	if err != nil {
		return err
	}
	s.own = maps.Clone(d.ClassParameters)
	if len(d.Views) > 0 && len(d.Zones) > 0 {
		return fmt.Errorf("DNS server %q has views: put its zones into these", d.Name)
	}
	errs := st.describeZones(s, nil, d.Zones)
	for _, v := range d.Views {
		made, err := st.newView(s, v.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		made.own = maps.Clone(v.ClassParameters)
		errs = append(errs, st.describeZones(s, made, v.Zones)...)
	}
	return errors.Join(errs...)
}

func (st *store) describeZones(s *server, v *view, zones []Zone) (errs []error) {
	for _, z := range zones {
		_, err := st.newZone(&zone{name: z.Name, kind: cmp.Or(z.Type, MasterZone), server: s, view: v, own: maps.Clone(z.ClassParameters)})
		errs = append(errs, err)
	}
	return errs
}

// newServer adds a server and its members, or nothing. A member that is there
// already is taken in if it has nothing of its own yet.
func (st *store) newServer(name string, kind ServerKind, arch string, members []string) (*server, error) {
	if err := checkServerName(name); err != nil {
		return nil, err
	}
	if st.server(name) != nil {
		return nil, fmt.Errorf("DNS server %q is given twice: leave one out", name)
	}
	made := &server{name: name, kind: kind, arch: arch}
	switch {
	case kind == SMART:
		made.arch = cmp.Or(arch, "single")
		if arch == "" && len(members) > 0 {
			made.arch = "masterslave"
		}
		if !slices.Contains([]string{"single", "masterslave", "multimaster", "stealth", "farm"}, made.arch) {
			return nil, fmt.Errorf("DNS server %q: unknown architecture %q", name, arch)
		}
	case kind != Standalone:
		return nil, fmt.Errorf("DNS server %q: the kind is %s or %s, not %q", name, SMART, Standalone, kind)
	case len(members) > 0 || arch != "":
		return nil, fmt.Errorf("DNS server %q: only a SMART has an architecture and members", name)
	}
	for i, member := range members {
		if err := st.joinable(made, member); err != nil {
			return nil, err
		}
		if slices.Contains(members[:i], member) {
			return nil, fmt.Errorf("DNS server %q has the member %q twice: leave one out", name, member)
		}
	}
	st.enlist(made)
	for _, member := range members {
		st.join(made, member)
	}
	return made, nil
}

func checkServerName(name string) error {
	if name == "" || name == nullName || strings.ContainsFunc(name, notInServerName) {
		return fmt.Errorf("DNS server %q: a name has no blanks, commas, semicolons and slashes, and is not empty", name)
	}
	return nil
}

func notInServerName(r rune) bool { return control(r) || strings.ContainsRune(" ,;/", r) }

// enlist adds a server that is ready for pushes.
func (st *store) enlist(s *server) {
	s.pushed.zones, s.pushed.rows = make(map[*zone]*zone), make(map[int64]*rr)
	st.addServer(s)
	if s.kind != SMART && s.addr == "" {
		// An address for documentation (RFC 5737): it is shown, not used.
		s.addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(s.id)}).String()
	}
}

// joinable checks that a server can become a member of a SMART that is to be
// made. One that does not exist can.
func (st *store) joinable(smart *server, name string) error {
	s := st.server(name)
	if s == nil && name != smart.name {
		return checkServerName(name)
	}
	occupied := s != nil && (slices.ContainsFunc(st.zones, func(z *zone) bool { return z.server == s }) || len(st.viewsOf(s)) > 0)
	if s == nil || s.kind != Standalone || s.parent != nil || occupied {
		return fmt.Errorf("DNS server %q cannot be a member of %q: it is a SMART, a member or not empty", name, smart.name)
	}
	return nil
}

// join makes a server a member of a SMART.
func (st *store) join(smart *server, name string) {
	s := st.server(name)
	if s == nil {
		s = &server{name: name, kind: Standalone}
		st.enlist(s)
	}
	s.parent = smart
	smart.members = append(smart.members, s)
}

// isViewName tells whether a view can have the name.
func isViewName(name string) bool {
	return name != "" && name != nullName && !strings.ContainsFunc(name, control)
}

// newView adds a view to a server and its members.
func (st *store) newView(s *server, name string) (*view, error) {
	switch {
	case !isViewName(name):
		return nil, fmt.Errorf("view %q of %s: a name is needed", name, s.name)
	case st.view(s, name) != nil:
		return nil, fmt.Errorf("view %q of %s is given twice: leave one out", name, s.name)
	case slices.ContainsFunc(st.zones, func(z *zone) bool { return z.server == s && z.view == nil }):
		return nil, fmt.Errorf("view %q of %s: the server has zones outside of views", name, s.name)
	}
	made := &view{name: name, server: s}
	st.addView(made)
	for _, member := range s.members {
		st.addView(&view{name: name, server: member})
	}
	return made, nil
}

// newZone checks and adds a zone, and sends it on its way.
func (st *store) newZone(z *zone) (*zone, error) {
	name, err := canonicalName("zone", z.name)
	if err != nil {
		return nil, err
	}
	z.name = name
	switch {
	case !z.kind.known():
		return nil, fmt.Errorf("zone %q: the type is %s, %s or %s, not %q", name, MasterZone, SlaveZone, ForwardZone, z.kind)
	case z.view == nil && len(st.viewsOf(z.server)) > 0:
		return nil, fmt.Errorf("zone %q: %s has views: name one", name, z.server.name)
	}
	if slices.ContainsFunc(st.named[name], func(have *zone) bool { return have.server == z.server && have.view == z.view }) {
		return nil, fmt.Errorf("zone %q is given twice: leave one out", name)
	}
	st.addZone(z)
	st.pushZone(z, false)
	if st.unknowns.ListApex && z.kind == MasterZone {
		st.newApex(z)
	}
	return z, nil
}

// newApex lists the records that each zone has at its name.
func (st *store) newApex(z *zone) {
	for _, r := range []*rr{
		{rtype: "SOA", values: rdata{z.server.name, "hostmaster." + z.name, "1", "1200", "600", "1209600", "60"}},
		{rtype: "NS", values: rdata{z.server.name}},
	} {
		r.zone, r.name, r.ttl = z, z.name, defaultTTL
		st.list(r)
		st.pushRow(r, false)
	}
}

// describe makes a store as the settings say, without opening anything. What
// they describe is there from the start, without a delay.
func (c Config) describe() (*store, error) {
	st := newStore()
	st.unknowns = c.Unknowns
	defer st.write()()
	return st, st.newServers(c.Servers)
}

// store makes the store of a simulator: from the state file, if there is one,
// else as described.
func (c Config) store() (*store, error) {
	st, err := c.describe()
	st.delay = c.PushDelay
	if err == nil && c.StateFile != "" {
		var loaded bool
		if loaded, err = st.loadFile(c.StateFile); loaded {
			c.Log.Info("loaded the state file, in the place of the servers and zones of the settings", "file", c.StateFile)
		}
	}
	return st, err
}

// addressees are the names under which DNS is answered: a server, or
// server/view for each view of a server that has several.
func (st *store) addressees() []string {
	defer st.read()()
	var names []string
	for _, s := range st.servers {
		if len(s.members) > 0 {
			continue
		}
		views := st.viewsOf(s)
		if len(views) < 2 {
			names = append(names, s.name)
			continue
		}
		for _, v := range views {
			names = append(names, s.name+"/"+v.name)
		}
	}
	return names
}
