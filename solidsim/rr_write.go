package solidsim

import "net/http"

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

// readChange reads the parameters of dns_rr_add.
func (st *store) readChange(method string, p params) (c rrChange, err error) {
	if c.rrTarget, err = st.readTarget(p); err != nil {
		return c, err
	}
	if c.flag, err = readFlag(method, p); err != nil {
		return c, err
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

// readFlag reads add_flag. A PUT edits and never creates.
func readFlag(method string, p params) (string, error) {
	flag, err := p.choice("add_flag", "new_edit", "new_only", "edit_only")
	if err != nil || method != http.MethodPut {
		return flag, err
	}
	if flag == "new_only" {
		return "", refuseParameter("add_flag", flag, "PUT edits: use POST to create")
	}
	return "edit_only", nil
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
// says), PUT edits. Without a view it may do so in several: the answer then has
// the id of the first record, and is a refusal if no view took it.
func (st *store) addRR(method string, p params) (answer, error) {
	defer st.write()()
	change, err := st.readChange(method, p)
	if err != nil {
		return answer{}, err
	}
	if change.id != 0 {
		old, err := st.existing(&change, nil)
		if err != nil {
			return answer{}, err
		}
		return st.change(method, &change, nil, old)
	}
	views, err := st.viewsOfWrite(&change.rrTarget)
	if err != nil {
		return answer{}, err
	}
	var first answer
	for _, v := range views {
		var result answer
		old, viewErr := st.existing(&change, v)
		if viewErr == nil {
			result, viewErr = st.change(method, &change, v, old)
		}
		switch {
		case viewErr != nil:
			err = viewErr
		case first.status == 0:
			first = result
		}
	}
	if first.status != 0 {
		return first, nil
	}
	return answer{}, err
}

// change does what a call asks for in one view, where old is the row that it
// means, if there is one.
func (st *store) change(method string, c *rrChange, v *view, old *rr) (answer, error) {
	switch {
	case old != nil && c.flag == "new_only":
		return answer{}, refuse(errnoExists, alreadyExists)
	case old != nil && method == http.MethodPost && st.unknowns.EditedStatus != 0:
		return st.edit(old, c, st.unknowns.EditedStatus)
	case old != nil:
		return st.edit(old, c, http.StatusOK)
	case c.flag == "edit_only":
		return answer{}, refuse(errnoMissing, doesNotExist)
	default:
		return st.create(c, v)
	}
}

// existing returns the row that the change means: the one with its id, or the
// first in the view that counts as the same record.
func (st *store) existing(c *rrChange, v *view) (*rr, error) {
	if c.id != 0 {
		r, err := st.byID(c.id)
		if err != nil {
			return nil, err
		}
		named := c.rrTarget
		if named.values = (rdata{}); !named.fits(r) {
			return nil, refuse(errnoParameter, "server, zone, name and type of a record cannot be changed")
		}
		return r, c.canonical(r.rtype)
	}
	same := c.rrTarget
	if c.anyValue {
		same.values = rdata{}
	}
	for _, r := range st.at(c.server, v, c.name) {
		if same.fits(r) {
			return r, nil
		}
	}
	return nil, nil
}

// byID returns the row with an id for a write. One that is being deleted is
// not there any more.
func (st *store) byID(id int64) (*rr, error) {
	r := st.rows.get(id)
	if r == nil || r.pending == pendingDelete {
		return nil, refuse(errnoMissing, doesNotExist)
	}
	return r, st.writable(r.zone.server)
}

func (st *store) create(c *rrChange, v *view) (answer, error) {
	z := st.zoneOf(c.server, v, c.name)
	if z == nil || z.kind != MasterZone || z.pending == pendingDelete ||
		c.zone != nil && c.zone != z || c.zoneNamed != "" && c.zoneNamed != z.name {
		return answer{}, refuse(errnoZone, outsideZone)
	}
	if c.rtype == "SOA" {
		return answer{}, refuse(errnoExists, "the zone has its SOA")
	}
	created := &rr{
		zone: z, name: c.name, rtype: c.rtype, values: c.values, ttl: defaultTTL,
		classParams: classParameters{}.merged(c.classParams, c.classRemoved),
	}
	c.apply(created)
	if err := st.admissible(created); err != nil {
		return answer{}, err
	}
	st.put(created)
	st.followPTR(nil, created)
	return done(http.StatusCreated, created.id), nil
}

func (st *store) edit(old *rr, c *rrChange, status int) (answer, error) {
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
	st.put(&edited)
	st.followPTR(old, &edited)
	return done(status, edited.id), nil
}

func (c *rrChange) apply(r *rr) {
	if c.ttl != nil {
		r.ttl = *c.ttl
	}
	if c.class != nil {
		r.class = *c.class
	}
}

// put lists a row, a new one or one in the place of another, and pushes it.
func (st *store) put(r *rr) {
	if r.id == 0 {
		st.list(r)
	} else {
		st.replace(r)
	}
	st.pushRow(r, false)
}

// drop pushes the deletion of a row. It stays listed until that is done.
func (st *store) drop(r *rr) {
	dropped := *r
	st.replace(&dropped)
	st.pushRow(&dropped, true)
}

// admissible refuses a row that would stand twice, and a CNAME beside other
// data (RFC 1034 3.6.2; the zone has SOA and NS at its name).
func (st *store) admissible(row *rr) error {
	if row.rtype == "CNAME" && row.name == row.zone.name && !st.unknowns.CNAMEBesideData {
		return refuse(errnoExists, "CNAME and other data: the name is that of the zone")
	}
	for _, r := range st.at(row.zone.server, row.zone.view, row.name) {
		switch {
		case r.id == row.id:
		case r.rtype == row.rtype && r.values == row.values:
			if row.id == 0 || !st.unknowns.EditDoubles {
				return refuse(errnoExists, alreadyExists)
			}
		case (r.rtype == "CNAME" || row.rtype == "CNAME") && !st.unknowns.CNAMEBesideData:
			return refuse(errnoExists, "CNAME and other data: the name has a "+r.rtype)
		}
	}
	return nil
}

// deleteRR is the service dns_rr_delete. It removes one row: the one with the
// id, or the only one that fits the name and what else is given.
func (st *store) deleteRR(_ string, p params) (answer, error) {
	defer st.write()()
	target, err := st.readTarget(p)
	if err != nil {
		return answer{}, err
	}
	row, err := st.single(&target)
	if err != nil {
		return answer{}, err
	}
	if row.rtype == "SOA" {
		return answer{}, refuse(errnoZone, "the zone needs its SOA")
	}
	st.drop(row)
	st.followPTR(row, nil)
	return done(http.StatusOK, row.id), nil
}

// single returns the one row that a delete means.
func (st *store) single(t *rrTarget) (*rr, error) {
	switch {
	case t.id != 0: // the id alone says it all
		return st.byID(t.id)
	case t.name == "":
		return nil, refuseParameter("rr_id", "", "the id, or the name and the DNS server are needed")
	case t.server == nil:
		return nil, refuseParameter("dns_name", "", "the DNS server is needed, as dns_id or dns_name")
	case t.rtype != "":
		if err := t.canonical(t.rtype); err != nil {
			return nil, err
		}
	}
	var found []*rr
	for _, r := range st.byName[t.name] {
		if r.pending != pendingDelete && t.fits(r) && (t.ttl == nil || *t.ttl == r.ttl) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return nil, refuse(errnoMissing, doesNotExist)
	case 1:
		return found[0], nil
	default:
		return nil, refuse(errnoParameter, "several records fit: give rr_id, or type and value")
	}
}
