package solidsim

import (
	"net/http"
	"strconv"
	"strings"
)

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
	addReaders(services, "dns_rr", "rr_id", rrColumns(), st.listRR)
	addReaders(services, "dns_zone", "dnszone_id", zoneColumns(), fixed(st.zones))
	addReaders(services, "dns_server", "dns_id", serverColumns(), fixed(st.servers))
	addReaders(services, "member", "member_id", memberColumns(), fixed([]member{{id: 1}}))
	return services
}

// addReaders adds the list, count and info services of an object.
func addReaders[T any](services map[string]service, object, id string, all columns[T], rows func(listing[T]) []T) {
	add := func(name string, parameters []string, make func(rows func(listing[T]) []T) handler) {
		services[name] = service{
			handlers:   map[string]handler{http.MethodGet: make(rows)},
			parameters: parameters,
			freeze:     func() handler { return make(fixed(rows(everyRow[T]()))) },
		}
	}
	add(object+"_list", listParameters(), func(rows func(listing[T]) []T) handler { return listService(all, rows) })
	add(object+"_count", countParameters(), func(rows func(listing[T]) []T) handler { return countService(all, rows) })
	add(object+"_info", []string{id}, func(rows func(listing[T]) []T) handler { return infoService(all, id, rows) })
}

// fixed lists rows that never change.
func fixed[T any](all []T) func(listing[T]) []T {
	return func(l listing[T]) []T { return l.page(all) }
}

// listRR lists records. A clause that fixes the name or the id is looked up in
// the index; all others look at every row.
func (st *store) listRR(l listing[*rr]) []*rr {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if name := required(l.where, "rr_full_name"); name != "" {
		return l.page(st.byName[strings.ToLower(name)])
	}
	if id, err := strconv.ParseInt(required(l.where, "rr_id"), 10, 64); err == nil {
		if r := st.byID(id); r != nil {
			return l.page([]*rr{r})
		}
		return nil
	}
	return l.page(st.rows)
}
