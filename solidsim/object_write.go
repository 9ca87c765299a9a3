package solidsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// addObjectServices adds what makes and deletes zones, views and servers. That
// of servers has irregular names.
func (st *store) addObjectServices(services map[string]service) {
	add := func(name string, h handler, parameters ...[]string) {
		services[name] = service{
			handlers:   map[string]handler{http.MethodPost: h, http.MethodPut: h},
			parameters: append(slices.Concat(parameters...), "add_flag", "class_parameters_to_delete", "validate_warnings"),
			writes:     true,
		}
	}
	remove := func(name string, h handler, parameters []string) {
		services[name] = service{
			handlers:   map[string]handler{http.MethodDelete: h},
			parameters: append(slices.Clone(parameters), "validate_warnings"),
			writes:     true,
		}
	}
	class := func(prefix string) []string {
		return []string{prefix + "_class_name", prefix + "_class_parameters", prefix + "_class_parameters_properties"}
	}

	zoneKeys := append(placeParameters(), "dnszone_id", "dnszone_name", "dnszone_site_id")
	add("dns_zone_add", st.addZoneService, zoneKeys, class("dnszone"),
		[]string{"dnszone_type", "dnszone_notify", "dnszone_also_notify", "dnszone_masters", "dnszone_forwarders"})
	remove("dns_zone_delete", st.deleteZoneService, zoneKeys)

	add("dns_view_add", st.addViewService, placeParameters(), class("dnsview"), []string{"dnsview_recursion"})
	remove("dns_view_delete", st.deleteViewService, placeParameters())

	serverKeys := []string{"dns_id", "dns_name", "hostaddr"}
	add("dns_add", st.addServerService, serverKeys, class("dns"), []string{
		"dns_type", "dns_comment", "vdns_arch", "vdns_members_name", "vdns_dns_group_role", "dns_recursion", "dns_forward",
		"dns_forwarders", "dns_allow_query", "dns_allow_recursion", "dns_allow_transfer", "ipmdns_https_login",
		"ipmdns_https_password",
	})
	remove("dns_delete", st.deleteServerService, serverKeys)
}

// An upsert is what the add services have in common: what to do with an object
// that is there, and with one that is not.
type upsert struct {
	id     int64  // of the object that is there, 0: none
	what   string // for refusals
	create func() (int64, error)
	edit   func() error
}

func (st *store) upsert(method string, p params, u upsert) (answer, error) {
	flag, err := readFlag(method, p)
	switch {
	case err != nil:
		return answer{}, err
	case u.id != 0 && flag == "new_only":
		return answer{}, refuse(errnoExists, u.what+" already exists")
	case u.id == 0 && flag == "edit_only":
		return answer{}, refuse(errnoMissing, u.what+" does not exist")
	case u.id != 0:
		status := http.StatusOK
		if method == http.MethodPost && st.unknowns.EditedStatus != 0 {
			status = st.unknowns.EditedStatus
		}
		err := u.edit()
		st.revision++
		return done(status, u.id), err
	}
	id, err := u.create()
	if _, refused := asRefusal(err); err != nil && !refused {
		err = refuse(errnoParameter, err.Error())
	}
	return done(http.StatusCreated, id), err
}

// classChange reads the class and the class parameters of a zone, a view or a
// server. Those that the properties call inherited are not set any more.
func classChange(p params, prefix string, class string, own classParameters) (string, classParameters, error) {
	if given, found := p[prefix+"_class_name"]; found {
		class = given
	}
	names := []string{prefix + "_class_parameters", "class_parameters_to_delete", prefix + "_class_parameters_properties"}
	var read []classParameters
	for _, name := range names {
		params, err := parseClassParameters(name, p[name])
		if err != nil {
			return "", nil, err
		}
		read = append(read, params)
	}
	for name, property := range read[2] {
		if strings.HasPrefix(property, "inherited") {
			read[1][name] = ""
		}
	}
	return class, own.merged(read[0], read[1]), nil
}

// findPlace reads the server, which is needed, and the view of a call.
func (st *store) findPlace(p params) (*server, *view, error) {
	s, err := st.findServer(p)
	if err == nil && s == nil {
		err = refuseParameter("dns_name", "", "the DNS server is needed, as dns_id or dns_name")
	}
	if err == nil {
		err = st.writable(s)
	}
	if err != nil {
		return nil, nil, err
	}
	v, err := st.findView(p, s)
	return s, v, err
}

// zoneOfCall returns the zone that a call means, nil if there is none, and the
// place that it names.
func (st *store) zoneOfCall(p params) (*zone, *server, *view, error) {
	id, given, err := p.integer("dnszone_id", 1)
	if err != nil {
		return nil, nil, nil, err
	}
	if given {
		i := slices.IndexFunc(st.zones, func(z *zone) bool { return z.id == id && z.pending != pendingDelete })
		if i < 0 {
			return nil, nil, nil, refuse(errnoMissing, "DNS zone does not exist")
		}
		z := st.zones[i]
		return z, z.server, z.view, st.writable(z.server)
	}
	s, v, err := st.findPlace(p)
	if err != nil {
		return nil, nil, nil, err
	}
	name, err := canonicalName("dnszone_name", p["dnszone_name"])
	if err != nil {
		return nil, nil, nil, err
	}
	for _, z := range st.named[name] {
		if z.server == s && z.view == v && z.pending != pendingDelete {
			return z, s, v, nil
		}
	}
	return nil, s, v, nil
}

func (st *store) addZoneService(method string, p params) (answer, error) {
	defer st.write()()
	have, s, v, err := st.zoneOfCall(p)
	if err != nil {
		return answer{}, err
	}
	wanted := zone{name: p["dnszone_name"], kind: MasterZone, server: s, view: v}
	if have != nil {
		wanted = *have
	}
	if kind := ZoneType(strings.ToLower(p["dnszone_type"])); kind != "" {
		if have != nil && kind != have.kind {
			return answer{}, refuseParameter("dnszone_type", p["dnszone_type"], "the type of a zone cannot be changed")
		}
		wanted.kind = kind
	}
	if wanted.class, wanted.own, err = classChange(p, "dnszone", wanted.class, wanted.own); err != nil {
		return answer{}, err
	}
	u := upsert{
		what: "DNS zone",
		create: func() (int64, error) {
			made, err := st.newZone(&wanted)
			return wanted.id, errorOf(made, err)
		},
		edit: func() error {
			have.class, have.own = wanted.class, wanted.own
			st.pushZone(have, false)
			return nil
		},
	}
	if have != nil {
		u.id = have.id
	}
	return st.upsert(method, p, u)
}

// errorOf drops a result that is not wanted.
func errorOf[T any](_ T, err error) error { return err }

func (st *store) deleteZoneService(_ string, p params) (answer, error) {
	defer st.write()()
	have, _, _, err := st.zoneOfCall(p)
	if err != nil {
		return answer{}, err
	}
	if have == nil {
		return answer{}, refuse(errnoMissing, "DNS zone does not exist")
	}
	st.pushZone(have, true)
	return done(http.StatusOK, have.id), nil
}

// viewOfCall returns the view that a call means, nil if there is none, and its
// server.
func (st *store) viewOfCall(p params) (*view, *server, error) {
	id, given, err := p.integer("dnsview_id", 1)
	if err != nil {
		return nil, nil, err
	}
	if given {
		i := slices.IndexFunc(st.views, func(v *view) bool { return v.id == id })
		if i < 0 {
			return nil, nil, refuse(errnoMissing, "DNS view does not exist")
		}
		return st.views[i], st.views[i].server, st.writable(st.views[i].server)
	}
	s, _, err := st.findPlace(params{"dns_id": p["dns_id"], "dns_name": p["dns_name"], "hostaddr": p["hostaddr"]})
	if err != nil {
		return nil, nil, err
	}
	return st.model.view(s, p["dnsview_name"]), s, nil
}

func (st *store) addViewService(method string, p params) (answer, error) {
	defer st.write()()
	have, s, err := st.viewOfCall(p)
	if err != nil {
		return answer{}, err
	}
	wanted := view{}
	u := upsert{
		what: "DNS view",
		create: func() (int64, error) {
			made, err := st.newView(s, p["dnsview_name"])
			if err != nil {
				return 0, err
			}
			made.class, made.own = wanted.class, wanted.own
			return made.id, nil
		},
		edit: func() error {
			have.class, have.own = wanted.class, wanted.own
			return nil
		},
	}
	if have != nil {
		wanted, u.id = *have, have.id
	}
	if wanted.class, wanted.own, err = classChange(p, "dnsview", wanted.class, wanted.own); err != nil {
		return answer{}, err
	}
	return st.upsert(method, p, u)
}

func (st *store) deleteViewService(_ string, p params) (answer, error) {
	defer st.write()()
	have, s, err := st.viewOfCall(p)
	switch {
	case err != nil:
		return answer{}, err
	case have == nil:
		return answer{}, refuse(errnoMissing, "DNS view does not exist")
	case slices.ContainsFunc(st.zones, func(z *zone) bool { return z.view == have }):
		return answer{}, refuse(errnoExists, "the DNS view has zones: delete these first")
	}
	for _, member := range s.members {
		if copied := st.model.view(member, have.name); copied != nil {
			st.removeView(copied)
		}
	}
	st.removeView(have)
	return done(http.StatusOK, have.id), nil
}

// serverOfCall returns the server with the id or, without one, the name of a
// call, nil if there is none.
func (st *store) serverOfCall(p params) (*server, error) {
	if p["dns_id"] == "" {
		return st.server(p["dns_name"]), nil
	}
	for _, s := range st.servers {
		if p["dns_id"] == strconv.FormatInt(s.id, 10) {
			return s, nil
		}
	}
	return nil, refuse(errnoMissing, "DNS server does not exist")
}

func (st *store) addServerService(method string, p params) (answer, error) {
	defer st.write()()
	have, err := st.serverOfCall(p)
	if err != nil {
		return answer{}, err
	}
	wanted := server{}
	u := upsert{what: "DNS server"}
	if have != nil {
		wanted, u.id = *have, have.id
	}
	if wanted.class, wanted.own, err = classChange(p, "dns", wanted.class, wanted.own); err != nil {
		return answer{}, err
	}
	describe := func(s *server) {
		if s.class, s.own = wanted.class, wanted.own; p["dns_comment"] != "" {
			s.comment = p["dns_comment"]
		}
	}
	u.edit = func() error { describe(have); return nil }
	u.create = func() (int64, error) {
		made, err := st.newServer(p["dns_name"], readKind(p), p["vdns_arch"], readMembers(p))
		if err != nil {
			return 0, err
		}
		if describe(made); p["hostaddr"] != "" {
			made.addr = p["hostaddr"]
		}
		return made.id, nil
	}
	return st.upsert(method, p, u)
}

// readKind takes a server with an architecture for a SMART.
func readKind(p params) ServerKind {
	switch {
	case p["dns_type"] != "":
		return ServerKind(p["dns_type"])
	case p["vdns_arch"] != "":
		return SMART
	default:
		return Standalone
	}
}

// readMembers reads `name;name;` or, with a role for each, `name&role;`.
func readMembers(p params) (names []string) {
	_, list := p.first("vdns_members_name", "vdns_dns_group_role")
	for entry := range strings.SplitSeq(list, ";") {
		if name, _, _ := strings.Cut(entry, "&"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func (st *store) deleteServerService(_ string, p params) (answer, error) {
	defer st.write()()
	have, err := st.serverOfCall(p)
	switch {
	case err != nil:
		return answer{}, err
	case have == nil:
		return answer{}, refuse(errnoMissing, "DNS server does not exist")
	case have.parent != nil:
		return answer{}, refuse(errnoExists, "the DNS server is a member of the SMART "+have.parent.name)
	case len(st.viewsOf(have)) > 0 || slices.ContainsFunc(st.zones, func(z *zone) bool { return z.server == have }):
		return answer{}, refuse(errnoExists, "the DNS server has zones or views: delete these first")
	}
	for _, member := range have.members {
		member.parent = nil
	}
	st.removeServer(have)
	return done(http.StatusOK, have.id), nil
}
