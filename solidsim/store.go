package solidsim

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The store holds everything that the API and the DNS servers show.
//
// Servers and zones are made at the start and stay. A row is immutable: an
// edit replaces it, so a reader that took a row under the lock may use it
// after that.
type store struct {
	servers []*server
	zones   []*zone

	mu     sync.RWMutex
	lastID int64            // the newest id of a row
	rows   []*rr            // by id, ascending
	byName map[string][]*rr // by owner name, rows of all servers
	nodes  map[node]int     // how many rows stand at or below a name
}

// A node is a name of the DNS tree of one server.
type node struct {
	server *server
	name   string
}

// A server is a DNS server as SOLIDserver knows it: here always a SMART
// (dns_type vdns) without members, the object that clients write to.
type server struct {
	id   int64
	name string
}

type zone struct {
	id     int64
	name   string // lower case, without trailing dot
	server *server
	serial atomic.Uint32 // of the SOA; rises with every change
}

// contains tells whether a name stands in the zone or in one below it.
func (z *zone) contains(name string) bool {
	return name == z.name || strings.HasSuffix(name, "."+z.name)
}

func (z *zone) reverse() bool {
	return strings.HasSuffix(z.name, ".in-addr.arpa") || strings.HasSuffix(z.name, ".ip6.arpa")
}

// rr is one resource record. It is never changed after it is stored.
type rr struct {
	id          int64
	zone        *zone
	name        string // full name, lower case, without trailing dot
	rtype       string // upper case
	values      rdata
	ttl         uint32 // seconds
	class       string // rr_class_name
	classParams classParameters
}

// glue is the short label of a row: its name without the zone.
func (r *rr) glue() string {
	return strings.TrimSuffix(strings.TrimSuffix(r.name, r.zone.name), ".")
}

func newStore(servers, zones []string) *store {
	st := &store{byName: make(map[string][]*rr), nodes: make(map[node]int)}
	for _, name := range servers {
		s := &server{id: int64(len(st.servers) + 2), name: name}
		st.servers = append(st.servers, s)
		for _, name := range zones {
			z := &zone{id: int64(len(st.zones) + 11), name: name, server: s}
			z.serial.Store(1)
			st.zones = append(st.zones, z)
		}
	}
	st.lastID = 100
	return st
}

// zoneOf returns the zone of a server that a name belongs to, the one with the
// longest name of those that hold it, or nil.
func (st *store) zoneOf(s *server, name string) *zone {
	var found *zone
	for _, z := range st.zones {
		if z.server == s && z.contains(name) && (found == nil || len(z.name) > len(found.name)) {
			found = z
		}
	}
	return found
}

// at returns the rows of a server at a name. The caller holds the lock.
func (st *store) at(s *server, name string) []*rr {
	var rows []*rr
	for _, r := range st.byName[name] {
		if r.zone.server == s {
			rows = append(rows, r)
		}
	}
	return rows
}

// byID returns the row with this id, or nil. The caller holds the lock.
func (st *store) byID(id int64) *rr {
	if i, found := st.position(id); found {
		return st.rows[i]
	}
	return nil
}

func (st *store) position(id int64) (int, bool) {
	return slices.BinarySearchFunc(st.rows, id, func(r *rr, id int64) int { return cmp.Compare(r.id, id) })
}

// insert gives the row its id and stores it. The caller holds the lock.
func (st *store) insert(r *rr) {
	st.lastID++
	r.id = st.lastID
	st.rows = append(st.rows, r)
	st.byName[r.name] = append(st.byName[r.name], r)
	st.count(r, 1)
}

// replace puts a row in the place of the one that has its id and its name. The
// caller holds the lock.
func (st *store) replace(r *rr) {
	i, _ := st.position(r.id)
	old := st.rows[i]
	st.rows[i] = r
	named := st.byName[r.name]
	named[slices.Index(named, old)] = r
	r.zone.serial.Add(1)
}

// remove takes a row out. The caller holds the lock.
func (st *store) remove(r *rr) {
	i, _ := st.position(r.id)
	st.rows = slices.Delete(st.rows, i, i+1)
	named := st.byName[r.name]
	j := slices.Index(named, r)
	if named = slices.Delete(named, j, j+1); len(named) == 0 {
		delete(st.byName, r.name)
	} else {
		st.byName[r.name] = named
	}
	st.count(r, -1)
}

// count keeps the number of rows at each node between a row and its zone: a
// name without rows of its own that has some below it does exist in DNS
// (RFC 8020).
func (st *store) count(r *rr, by int) {
	for name := r.name; r.zone.contains(name); {
		n := node{server: r.zone.server, name: name}
		if st.nodes[n] += by; st.nodes[n] == 0 {
			delete(st.nodes, n)
		}
		_, name, _ = strings.Cut(name, ".")
	}
	r.zone.serial.Add(1)
}

// lookup returns the rows at a name and whether the name exists in DNS.
func (st *store) lookup(s *server, name string) (rows []*rr, exists bool) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.at(s, name), st.nodes[node{server: s, name: name}] > 0
}
