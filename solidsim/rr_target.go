package solidsim

import (
	"fmt"
	"strconv"
)

// An rrTarget says which rows a call to dns_rr_add or dns_rr_delete is about.
// What was not given is zero or nil.
type rrTarget struct {
	id        int64
	server    *server
	view      *view
	zone      *zone
	zoneNamed string // the zone by name, where each view may have one
	name      string
	rtype     string
	values    rdata // as given; canonical only with a type
	ttl       *uint32
}

// rrTargetParameters are the parameters that readTarget knows. Three of them
// change nothing here: there are no spaces and no warnings, and serials only
// rise.
func rrTargetParameters() []string {
	names := append(placeParameters(),
		"rr_id", "rr_name", "rr_glue", "rr_type", "rr_ttl", "dnszone_id", "dnszone_name", "zone",
		"dnszone_site_id", "validate_warnings", "serial_type")
	for i := range len(rdata{}) {
		names = append(names, fmt.Sprintf("value%d", i+1), fmt.Sprintf("rr_value%d", i+1))
	}
	return names
}

// placeParameters say where an object is: on which server, in which view.
func placeParameters() []string {
	return []string{"dns_id", "dns_name", "hostaddr", "dnsview_id", "dnsview_name"}
}

// readTarget reads what a write is about. Writes on members are refused here.
func (st *store) readTarget(p params) (t rrTarget, err error) {
	if t.id, _, err = p.integer("rr_id", 1); err != nil {
		return t, err
	}
	if t.server, err = st.findServer(p); err != nil {
		return t, err
	}
	if err = st.writable(t.server); err != nil {
		return t, err
	}
	if t.view, err = st.findView(p, t.server); err != nil {
		return t, err
	}
	if err = st.findZone(p, &t); err != nil {
		return t, err
	}
	if t.name, err = readName(p, &t); err != nil {
		return t, err
	}
	if p["rr_type"] != "" {
		if t.rtype, err = canonicalType(p["rr_type"]); err != nil {
			return t, err
		}
	}
	ttl, given, err := p.integer("rr_ttl", 0)
	if err != nil {
		return t, err
	}
	if given {
		t.ttl = new(uint32(ttl))
	}
	t.values, err = readValues(p)
	return t, err
}

// findServer returns the DNS server that a call names, nil if it names none.
func (m *model) findServer(p params) (*server, error) {
	key, value := p.first("dns_id", "dns_name", "hostaddr")
	if value == "" {
		return nil, nil
	}
	for _, s := range m.servers {
		byID := p["dns_id"] == "" || p["dns_id"] == strconv.FormatInt(s.id, 10)
		byName := p["dns_name"] == "" || p["dns_name"] == s.name
		byAddr := p["hostaddr"] == "" || p["hostaddr"] == s.addr
		if byID && byName && byAddr {
			return s, nil
		}
	}
	return nil, refuseParameter(key, value, "DNS server does not exist")
}

// writable refuses a member of a SMART: the SMART is what is written to.
func (st *store) writable(s *server) error {
	if s == nil || s.parent == nil || st.unknowns.WriteOnMember {
		return nil
	}
	return refuseParameter("dns_name", s.name, "the DNS server is a member of the SMART "+s.parent.name+": write there")
}

// findView returns the view that a call names, nil if it names none. The name #
// and the id 0 stand for no view, which servers with views do not have.
func (m *model) findView(p params, s *server) (*view, error) {
	id, name := p["dnsview_id"], p["dnsview_name"]
	if id == "" && name == "" {
		return nil, nil
	}
	if (id == "" || id == "0") && (name == "" || name == nullName) {
		if s != nil && len(m.viewsOf(s)) > 0 {
			return nil, refuse(errnoZone, outsideZone)
		}
		return nil, nil
	}
	for _, v := range m.views {
		if (s == nil || v.server == s) && (name == "" || name == v.name) && (id == "" || id == strconv.FormatInt(v.id, 10)) {
			return v, nil
		}
	}
	return nil, refuse(errnoZone, outsideZone)
}

// findZone sets the zone that a call names. An id says it all. A name without a
// server says nothing, since each server may have that zone; a call that needs
// the zone needs the server too. With views it stands for one zone in each.
func (m *model) findZone(p params, t *rrTarget) error {
	key, value := p.first("dnszone_id", "dnszone_name", "zone")
	if value == "" || t.server == nil && p["dnszone_id"] == "" {
		return nil
	}
	if _, name := p.first("dnszone_name", "zone"); name != "" {
		var err error
		if t.zoneNamed, err = canonicalName(key, name); err != nil {
			return err
		}
	}
	var found *zone
	for _, z := range m.zones {
		byID := p["dnszone_id"] == "" || p["dnszone_id"] == strconv.FormatInt(z.id, 10)
		byName := t.zoneNamed == "" || t.zoneNamed == z.name
		byPlace := (t.server == nil || t.server == z.server) && (t.view == nil || t.view == z.view)
		if byID && byName && byPlace {
			found = z
			break
		}
	}
	switch {
	case found == nil && t.view != nil:
		return refuse(errnoZone, outsideZone)
	case found == nil:
		return refuseParameter(key, value, "DNS zone does not exist on this DNS server")
	case p["dnszone_id"] != "" || found.view == t.view:
		t.zone, t.view = found, found.view
	}
	return nil
}

// readName takes the full name, or the short label and the zone.
func readName(p params, t *rrTarget) (string, error) {
	zone := t.zoneNamed
	if t.zone != nil {
		zone = t.zone.name
	}
	switch {
	case p["rr_name"] != "":
		return canonicalName("rr_name", p["rr_name"])
	case p["rr_glue"] != "" && zone != "":
		return canonicalName("rr_glue", p["rr_glue"]+"."+zone)
	default:
		return "", nil
	}
}

// readValues takes value1 to value7, each also under the name rr_value1.
func readValues(p params) (v rdata, err error) {
	for i := range v {
		short, long := fmt.Sprintf("value%d", i+1), fmt.Sprintf("rr_value%d", i+1)
		if p[short] != "" && p[long] != "" && p[short] != p[long] {
			return v, refuseParameter(long, p[long], short+" says something else")
		}
		_, v[i] = p.first(short, long)
	}
	return v, nil
}

// canonical brings the values into the form in which they are kept.
func (t *rrTarget) canonical(rtype string) (err error) {
	if t.values != (rdata{}) {
		t.values, err = canonicalValues(rtype, t.values)
	}
	return err
}

// fits tells whether a row agrees with all that is given, except id and TTL.
func (t *rrTarget) fits(r *rr) bool {
	return (t.server == nil || t.server == r.zone.server) &&
		(t.view == nil || t.view == r.zone.view) &&
		(t.zone == nil || t.zone == r.zone) &&
		(t.zoneNamed == "" || t.zoneNamed == r.zone.name) &&
		(t.name == "" || t.name == r.name) &&
		(t.rtype == "" || t.rtype == r.rtype) &&
		(t.values == (rdata{}) || t.values == r.values)
}

// viewsOfWrite returns the views in which a write without an id takes place:
// the one that it names, or those that stand for no name. A server without
// views has the nil one.
func (st *store) viewsOfWrite(t *rrTarget) ([]*view, error) {
	all := st.viewsOf(t.server)
	if t.view != nil || len(all) == 0 {
		return []*view{t.view}, nil
	}
	switch st.unknowns.NoView {
	case FirstView:
		if v := st.model.view(t.server, "default"); v != nil {
			return []*view{v}, nil
		}
		return all[:1], nil
	case AllViews:
		var having []*view
		for _, v := range all {
			if z := st.zoneOf(t.server, v, t.name); z != nil && z.kind == MasterZone {
				having = append(having, v)
			}
		}
		if len(having) == 0 {
			return nil, refuse(errnoZone, outsideZone)
		}
		return having, nil
	default:
		return nil, refuseParameter("dnsview_name", "", "the DNS server has views: name one")
	}
}
