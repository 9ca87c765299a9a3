package solidsim

import (
	"fmt"
	"maps"
	"strconv"
)

// An rrTarget says which rows a call to dns_rr_add or dns_rr_delete is about.
// What was not given is zero or nil.
type rrTarget struct {
	id     int64
	server *server
	zone   *zone
	name   string
	rtype  string
	values rdata // as given; canonical only with a type
	ttl    *uint32
}

// rrTargetParameters are the parameters that readTarget knows. Three of them
// change nothing here: there are no spaces and no warnings, and serials only
// rise.
func rrTargetParameters() []string {
	names := []string{
		"rr_id", "dns_id", "dns_name", "hostaddr", "dnszone_id", "dnszone_name", "zone",
		"dnsview_id", "dnsview_name", "dnszone_site_id", "rr_name", "rr_glue", "rr_type", "rr_ttl",
		"validate_warnings", "serial_type",
	}
	for i := range len(rdata{}) {
		names = append(names, fmt.Sprintf("value%d", i+1), fmt.Sprintf("rr_value%d", i+1))
	}
	return names
}

func (st *store) readTarget(p params) (t rrTarget, err error) {
	if t.id, _, err = p.integer("rr_id", 1); err != nil {
		return t, err
	}
	if t.server, err = st.findServer(p); err != nil {
		return t, err
	}
	if t.zone, err = st.findZone(p, t.server); err != nil {
		return t, err
	}
	if err = checkView(p); err != nil {
		return t, err
	}
	if t.name, err = readName(p, t.zone); err != nil {
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
func (st *store) findServer(p params) (*server, error) {
	key, value := p.first("dns_id", "dns_name", "hostaddr")
	if value == "" {
		return nil, nil
	}
	for _, s := range st.servers {
		byID := p["dns_id"] == "" || p["dns_id"] == strconv.FormatInt(s.id, 10)
		byName := p["dns_name"] == "" || p["dns_name"] == s.name
		if byID && byName && key != "hostaddr" {
			return s, nil
		}
	}
	return nil, refuseParameter(key, value, "DNS server does not exist")
}

// findZone returns the zone that a call names, nil if it names none. A zone
// name without a server says nothing, since each server may have that zone; a
// call that needs the zone needs the server too.
func (st *store) findZone(p params, s *server) (*zone, error) {
	key, value := p.first("dnszone_id", "dnszone_name", "zone")
	if value == "" || s == nil && p["dnszone_id"] == "" {
		return nil, nil
	}
	_, name := p.first("dnszone_name", "zone")
	if name != "" {
		var err error
		if name, err = canonicalName(key, name); err != nil {
			return nil, err
		}
	}
	for _, z := range st.zones {
		byID := p["dnszone_id"] == "" || p["dnszone_id"] == strconv.FormatInt(z.id, 10)
		byName := name == "" || name == z.name
		byServer := s == nil || s == z.server
		if byID && byName && byServer {
			return z, nil
		}
	}
	return nil, refuseParameter(key, value, "DNS zone does not exist on this DNS server")
}

// checkView refuses a view: the servers have none. SOLIDserver shows this as
// the name # and the id 0.
func checkView(p params) error {
	id, name := p["dnsview_id"], p["dnsview_name"]
	if id != "" && id != "0" || name != "" && name != nullName {
		return refuse(errnoZone, outsideZone)
	}
	return nil
}

// readName takes the full name, or the short label and the zone.
func readName(p params, z *zone) (string, error) {
	switch {
	case p["rr_name"] != "":
		return canonicalName("rr_name", p["rr_name"])
	case p["rr_glue"] != "" && z != nil:
		return canonicalName("rr_glue", p["rr_glue"]+"."+z.name)
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
		(t.zone == nil || t.zone == r.zone) &&
		(t.name == "" || t.name == r.name) &&
		(t.rtype == "" || t.rtype == r.rtype) &&
		(t.values == (rdata{}) || t.values == r.values)
}

// merged returns the class parameters after an edit: those that it does not
// mention stay.
func (c classParameters) merged(set, remove classParameters) classParameters {
	result := maps.Clone(c)
	if result == nil {
		result = make(classParameters)
	}
	maps.Copy(result, set)
	for key := range remove {
		delete(result, key)
	}
	return result
}
