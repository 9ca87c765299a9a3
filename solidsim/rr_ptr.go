package solidsim

import "github.com/miekg/dns"

// followPTR keeps the PTR of an A or AAAA row, of old before a change and of
// now after it: with the class parameter dnsptr=1 the appliance does that
// itself. It makes none where there is no reverse zone in the same view, and
// touches none that it did not make.
func (st *store) followPTR(old, now *rr) {
	if old != nil && (now == nil || now.values != old.values) {
		st.dropPTR(old)
	}
	if now != nil && now.zone.classParameters().get("dnsptr") == "1" {
		st.keepPTR(now)
	}
}

// reverseOf is the name of the PTR of an A or AAAA row, and "" of another one.
func (r *rr) reverseOf() string {
	if r.rtype != "A" && r.rtype != "AAAA" {
		return ""
	}
	name, err := dns.ReverseAddr(r.values[0])
	if err != nil {
		return ""
	}
	return plainName(name)
}

func (st *store) keepPTR(r *rr) {
	name := r.reverseOf()
	z := st.zoneOf(r.zone.server, r.zone.view, name)
	if name == "" || z == nil || z.kind != MasterZone || z.pending == pendingDelete {
		return
	}
	if have := st.ptr(r); have != nil {
		if have.auto && have.ttl != r.ttl {
			edited := *have
			edited.ttl = r.ttl
			st.put(&edited)
		}
		return
	}
	made := &rr{zone: z, name: name, rtype: "PTR", values: rdata{r.name}, ttl: r.ttl, auto: true}
	if st.admissible(made) == nil {
		st.put(made)
	}
}

// dropPTR takes the PTR of a row away, unless the row stands there twice.
func (st *store) dropPTR(r *rr) {
	have := st.ptr(r)
	if have == nil || !have.auto {
		return
	}
	for _, other := range st.at(r.zone.server, r.zone.view, r.name) {
		if other.id != r.id && other.rtype == r.rtype && other.values == r.values {
			return
		}
	}
	st.drop(have)
}

// ptr returns the PTR of a row, or nil.
func (st *store) ptr(r *rr) *rr {
	name := r.reverseOf()
	if name == "" {
		return nil
	}
	for _, have := range st.at(r.zone.server, r.zone.view, name) {
		if have.rtype == "PTR" && have.values == (rdata{r.name}) {
			return have
		}
	}
	return nil
}
