package solidsim

import "net/http"

// A handler does what one service is for.
type handler func(method string, p params) (answer, error)

// A service is one name below /rest.
type service struct {
	handlers   map[string]handler // by HTTP method
	parameters []string           // all that it knows; others are ignored and counted
	writes     bool
	// freeze returns the service on the rows that it has now; nil if it reads
	// none.
	freeze func() handler
}

// newServices is the table of all services.
func newServices(st *store) map[string]service {
	services := map[string]service{
		"dns_rr_add": {
			handlers: map[string]handler{http.MethodPost: st.addRR, http.MethodPut: st.addRR},
			parameters: append(rrTargetParameters(),
				"add_flag", "check_value", "rr_class_name", "rr_class_parameters", "class_parameters_to_delete"),
			writes: true,
		},
		"dns_rr_delete": {
			handlers:   map[string]handler{http.MethodDelete: st.deleteRR},
			parameters: rrTargetParameters(),
			writes:     true,
		},
	}
	st.addObjectServices(services)
	addReaders(services, st, "dns_rr", st.rrTable())
	addReaders(services, st, "dns_zone", table[*zone]{
		id: "dnszone_id", columns: zoneColumns(),
		source: whole(func(z *zone) int64 { return z.id }, func() []*zone { return st.zones }),
	})
	addReaders(services, st, "dns_view", table[*view]{
		id: "dnsview_id", columns: viewColumns(),
		source: whole(func(v *view) int64 { return v.id }, func() []*view { return st.views }),
	})
	addReaders(services, st, "dns_server", table[*server]{
		id: "dns_id", columns: serverColumns(),
		source: whole(func(s *server) int64 { return s.id }, func() []*server { return st.servers }),
	})
	addReaders(services, st, "member", table[member]{
		id: "member_id", columns: memberColumns(),
		source: whole(func(m member) int64 { return m.id }, func() []member { return []member{{id: 1}} }),
	})
	return services
}

func (st *store) rrTable() table[*rr] {
	return table[*rr]{id: "rr_id", columns: rrColumns(), source: st.rrSource}
}

// addReaders adds the list, count and info services of an object.
func addReaders[T any](services map[string]service, st *store, object string, t table[T]) {
	add := func(name string, parameters []string, make func(table[T]) handler) {
		services[name] = service{
			handlers:   map[string]handler{http.MethodGet: make(t)},
			parameters: parameters,
			freeze:     func() handler { return make(t.frozen(st)) },
		}
	}
	add(object+"_list", listParameters(), func(t table[T]) handler { return listService(st, t) })
	add(object+"_count", countParameters(), func(t table[T]) handler { return countService(st, t) })
	add(object+"_info", []string{t.id}, func(t table[T]) handler { return infoService(st, t) })
}
