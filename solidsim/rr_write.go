package solidsim

import (
	"net/http"
	"slices"
)

// Texts of refusals that were reported from live systems.
const (
	alreadyExists = "DNS rr already exists"
	doesNotExist  = "DNS rr does not exist"
	outsideZone   = "RR cannot belong to given DNS zone"
)

// defaultTTL is what a row gets when a call gives none, in seconds.
const defaultTTL = 3600

// rrChange is a call to dns_rr_add.
type rrChange struct {
	rrTarget
	flag         string // new_edit, new_only, edit_only
	anyValue     bool   // check_value=no: values do not tell records apart
	class        *string
	classParams  classParameters
	classRemoved classParameters
}

// readChange reads the parameters of dns_rr_add. A PUT edits and never
// creates.
func (st *store) readChange(method string, p params) (c rrChange, err error) {
	if c.rrTarget, err = st.readTarget(p); err != nil {
		return c, err
	}
	if c.flag, err = p.choice("add_flag", "new_edit", "new_only", "edit_only"); err != nil {
		return c, err
	}
	if method == http.MethodPut {
		if c.flag == "new_only" {
			return c, refuseParameter("add_flag", c.flag, "PUT edits: use POST to create")
		}
		c.flag = "edit_only"
	}
	check, err := p.choice("check_value", "yes", "no")
	if err != nil {
		return c, err
	}
	c.anyValue = check == "no"
	if class, given := p["rr_class_name"]; given {
		c.class = &class
	}
	if c.classParams, err = parseClassParameters("rr_class_parameters", p["rr_class_parameters"]); err != nil {
		return c, err
	}
	if c.classRemoved, err = parseClassParameters("class_parameters_to_delete", p["class_parameters_to_delete"]); err != nil {
		return c, err
	}
	if c.id != 0 {
		return c, nil
	}
	return c, c.complete()
}

// complete checks that a change without an id says which record it means.
func (c *rrChange) complete() error {
	switch {
	case c.name == "":
		return refuseParameter("rr_name", "", "the name is needed")
	case c.rtype == "":
		return refuseParameter("rr_type", "", "the type is needed")
	case c.values[0] == "":
		return refuseParameter("value1", "", "the value is needed")
	case c.server == nil:
		return refuseParameter("dns_name", "", "the DNS server is needed, as dns_id or dns_name")
	}
	return c.canonical(c.rtype)
}

// addRR is the service dns_rr_add: POST creates (and edits, as add_flag
// says), PUT edits.
func (st *store) addRR(method string, p params) (answer, error) {
	change, err := st.readChange(method, p)
	if err != nil {
		return answer{}, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	old, err := st.existing(&change)
	switch {
	case err != nil:
		return answer{}, err
	case old != nil && change.flag == "new_only":
		return answer{}, refuse(errnoExists, alreadyExists)
	case old != nil:
		return st.edit(old, &change)
	case change.flag == "edit_only":
		return answer{}, refuse(errnoMissing, doesNotExist)
	default:
		return st.create(&change)
	}
}

// existing returns the row that the change means: the one with its id, or the
// first that counts as the same record.
func (st *store) existing(c *rrChange) (*rr, error) {
	if c.id != 0 {
		r := st.byID(c.id)
		if r == nil {
			return nil, refuse(errnoMissing, doesNotExist)
		}
		named := rrTarget{server: c.server, zone: c.zone, name: c.name, rtype: c.rtype}
		if !named.fits(r) {
			return nil, refuse(errnoParameter, "server, zone, name and type of a record cannot be changed")
		}
		return r, c.canonical(r.rtype)
	}
	same := c.rrTarget
	if c.anyValue {
		same.values = rdata{}
	}
	for _, r := range st.at(c.server, c.name) {
		if same.fits(r) {
			return r, nil
		}
	}
	return nil, nil
}

func (st *store) create(c *rrChange) (answer, error) {
	z := st.zoneOf(c.server, c.name)
	if z == nil || c.zone != nil && c.zone != z {
		return answer{}, refuse(errnoZone, outsideZone)
	}
	created := &rr{
		zone: z, name: c.name, rtype: c.rtype, values: c.values, ttl: defaultTTL,
		classParams: classParameters{}.merged(c.classParams, c.classRemoved),
	}
	c.apply(created)
	if err := st.admissible(created); err != nil {
		return answer{}, err
	}
	st.insert(created)
	return done(http.StatusCreated, created.id), nil
}

func (st *store) edit(old *rr, c *rrChange) (answer, error) {
	edited := *old
	if c.values != (rdata{}) {
		edited.values = c.values
	}
	edited.classParams = old.classParams.merged(c.classParams, c.classRemoved)
	c.apply(&edited)
	if edited.values != old.values {
		if err := st.admissible(&edited); err != nil {
			return answer{}, err
		}
	}
	st.replace(&edited)
	return done(http.StatusOK, edited.id), nil
}

func (c *rrChange) apply(r *rr) {
	if c.ttl != nil {
		r.ttl = *c.ttl
	}
	if c.class != nil {
		r.class = *c.class
	}
}

// admissible refuses a row that would stand twice, and a CNAME beside other
// data (RFC 1034 3.6.2; the zone has SOA and NS at its name).
func (st *store) admissible(row *rr) error {
	if row.rtype == "CNAME" && row.name == row.zone.name {
		return refuse(errnoExists, "CNAME and other data: the name is that of the zone")
	}
	for _, r := range st.at(row.zone.server, row.name) {
		switch {
		case r.id == row.id:
		case r.rtype == row.rtype && r.values == row.values:
			return refuse(errnoExists, alreadyExists)
		case r.rtype == "CNAME" || row.rtype == "CNAME":
			return refuse(errnoExists, "CNAME and other data: the name has a "+r.rtype)
		}
	}
	return nil
}

// deleteRR is the service dns_rr_delete. It removes one row: the one with the
// id, or the only one that fits the name and what else is given.
func (st *store) deleteRR(_ string, p params) (answer, error) {
	target, err := st.readTarget(p)
	if err != nil {
		return answer{}, err
	}
	switch {
	case target.id != 0: // the id alone says it all
	case target.name == "":
		return answer{}, refuseParameter("rr_id", "", "the id, or the name and the DNS server are needed")
	case target.server == nil:
		return answer{}, refuseParameter("dns_name", "", "the DNS server is needed, as dns_id or dns_name")
	case target.rtype != "":
		if err := target.canonical(target.rtype); err != nil {
			return answer{}, err
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	row, err := st.single(&target)
	if err != nil {
		return answer{}, err
	}
	st.remove(row)
	return done(http.StatusOK, row.id), nil
}

// single returns the one row that a delete means.
func (st *store) single(t *rrTarget) (*rr, error) {
	if t.id != 0 {
		if r := st.byID(t.id); r != nil {
			return r, nil
		}
		return nil, refuse(errnoMissing, doesNotExist)
	}
	rows := slices.DeleteFunc(st.at(t.server, t.name), func(r *rr) bool {
		return !t.fits(r) || t.ttl != nil && *t.ttl != r.ttl
	})
	switch len(rows) {
	case 0:
		return nil, refuse(errnoMissing, doesNotExist)
	case 1:
		return rows[0], nil
	default:
		return nil, refuse(errnoParameter, "several records fit: give rr_id, or type and value")
	}
}
