package reconcile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Explanation says why a name is in DNS as it is. Lists are never null.
type Explanation struct {
	Scope string `json:"scope"`
	Name  string `json:"name"`
	// Zone is where its records stand, empty if that is none of ours.
	Zone string `json:"zone"`
	// State is one word, and Decision one sentence that says why:
	// in_step, foreign (as wanted, but not ours), nothing (not wanted, nothing of
	// ours there), to_do (is being done), withheld (waits, see Steps), skipped
	// (not allowed by the policy), conflict, parked, outside (in no zone of ours),
	// unread (what DNS has is not known).
	State    string `json:"state"`
	Decision string `json:"decision"`
	// Claims are what reservations ask for at this name.
	Claims []ClaimItem `json:"claims"`
	// Rows are what DNS has.
	Rows []RowItem `json:"rows"`
	// Steps are what is to be done.
	Steps     []StepItem     `json:"steps"`
	Conflicts []ConflictItem `json:"conflicts"`
	// Parked are reservations with this name, or addresses of them, that get no
	// record.
	Parked []ParkedItem `json:"parked"`
	// Removed are reservations that asked for this name and are gone from Kea.
	Removed []RemovedItem `json:"removed"`
	// LeftOut counts reservations, live ones and those that are gone, of which
	// nothing is said here because so many speak of the name.
	LeftOut int `json:"left_out"`
	// LastChange is the last one since the start, LastFailure why the name has to be
	// tried again.
	LastChange  *LastChange  `json:"last_change"`
	LastFailure *LastFailure `json:"last_failure"`
}

// ClaimItem is the wish of a reservation for a record.
type ClaimItem struct {
	Source         string    `json:"source"`
	HostID         int64     `json:"host_id"`
	Hostname       string    `json:"hostname"`
	IdentifierType string    `json:"identifier_type"`
	Identifier     string    `json:"identifier"`
	Type           dns.Type  `json:"type"`
	Value          string    `json:"value"`
	Since          time.Time `json:"since"`
	// Ignored says why the wish does not count, empty if it does.
	Ignored string `json:"ignored,omitzero"`
}

// RowItem is a record as DNS has it.
type RowItem struct {
	Type  dns.Type `json:"type"`
	Value string   `json:"value"`
	TTL   uint32   `json:"ttl"`
	Zone  string   `json:"zone"`
	// Owner is ours or foreign; Hosts are the reservations in our mark, as "us3/5".
	Owner string   `json:"owner"`
	Hosts []string `json:"hosts"`
	// Pending and Deleting tell that the server has accepted the record, or its
	// removal, and has not published that yet.
	Pending  bool `json:"pending"`
	Deleting bool `json:"deleting"`
}

// StepItem is a change that is to be made.
type StepItem struct {
	// Step says it in one line, as a plan does.
	Step string `json:"step"`
	Op   Op     `json:"op"`
	// Withheld are the reasons why it is not made now, none if it is.
	Withheld []string `json:"withheld"`
}

// RemovedItem is a reservation that is gone, in its last state.
type RemovedItem struct {
	Source         string       `json:"source"`
	HostID         int64        `json:"host_id"`
	At             time.Time    `json:"at"`
	Hostname       string       `json:"hostname"`
	IP             netip.Addr   `json:"ip,omitzero"`
	IPv6           []netip.Addr `json:"ipv6"`
	IdentifierType string       `json:"identifier_type"`
	Identifier     string       `json:"identifier"`
	Subnet4        *int64       `json:"subnet4"`
	Subnet6        *int64       `json:"subnet6"`
	// Invalid names what the row held and its last state here does not.
	Invalid []string `json:"invalid"`
	// Replaced tells that a reservation of the same device in the same subnet is
	// there again, as after an update by Kea, so that this one cannot come back.
	Replaced bool `json:"replaced"`
}

// Explain answers a question about a host name, complete or short, a reverse name
// or an address: of an address, with the names that have it and its reverse name.
// At most limit names are explained; total is how many there are. It looks at
// memory only. The error says what is wrong with the question.
func (r *Reconciler) Explain(query string, limit int) (list []Explanation, total int, err error) {
	names, err := r.asked(query)
	if err != nil {
		return nil, 0, err
	}
	total = len(names)
	list = []Explanation{}
	for _, name := range names[:min(limit, total)] {
		speaking := r.find(func(c events.Change) bool { return speaksOf(name, c.Reservation) })
		r.mu.Lock()
		list = append(list, r.explain(name, speaking))
		r.mu.Unlock()
	}
	return list, total, nil
}

// speaksOf tells whether a reservation may have to do with a name: it has the host
// name, or the beginning of it, or the address of a reverse name.
func speaksOf(name string, r events.Reservation) bool {
	if addr, ok := dns.ReverseAddr(name); ok {
		return hasAddress(r, addr)
	}
	host := strings.TrimSuffix(r.Hostname, ".")
	return host != "" && len(host) <= len(name) && strings.EqualFold(host, name[:len(host)]) &&
		(len(host) == len(name) || name[len(host)] == '.')
}

func hasAddress(r events.Reservation, addr netip.Addr) bool {
	return r.IP == addr || slices.Contains(r.IPv6, addr)
}

// asked returns the names that a question is about, forward names first.
func (r *Reconciler) asked(query string) (names []string, err error) {
	if addr, err := netip.ParseAddr(query); err == nil {
		return r.namesOf(addr.Unmap().WithZone("")), nil
	}
	name, err := events.CanonicalHostname(query)
	if canonical := dns.CanonicalName(query); dns.IsReverse(canonical) {
		name, err = canonical, nil // its last label may look like an address
	}
	if err != nil {
		return nil, fmt.Errorf("%w; ask for a host name, a reverse name or an address", err)
	}
	if strings.Contains(query, ".") {
		return []string{name}, nil
	}
	// A short name is the one that somebody speaks of, or else that of any zone.
	claimed := r.find(func(c events.Change) bool { return strings.EqualFold(c.Reservation.Hostname, name) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range claimed {
		claims, _ := r.index.placement.ForReservation(c.Reservation)
		names = append(names, forwardNames(claims)...)
	}
	for _, zone := range r.cfg.Zones.All() {
		if full := name + "." + zone; len(r.cache.at(full)) > 0 || len(claimed) == 0 {
			names = append(names, full)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// namesOf returns the names that have to do with an address.
func (r *Reconciler) namesOf(addr netip.Addr) []string {
	having := r.find(func(c events.Change) bool { return hasAddress(c.Reservation, addr) })
	value, rtype, reverse := addr.String(), dns.TypeOf(addr), dns.ReverseName(addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{reverse}
	for _, c := range having {
		claims, _ := r.index.placement.ForReservation(c.Reservation)
		names = append(names, forwardNames(claims)...)
	}
	names = append(names, r.cache.rows.having(rtype, value)...)
	for _, row := range r.cache.at(reverse) {
		if _, ours := r.index.placement.ZoneOf(row.Value); ours && row.Type == dns.PTR {
			names = append(names, row.Value)
		}
	}
	slices.SortFunc(names, compareNames)
	return slices.Compact(names)
}

func forwardNames(claims []dns.Claim) []string {
	return slices.DeleteFunc(ownerNames(claims), dns.IsReverse)
}

// having returns the names that have a value.
func (t rows) having(rtype dns.Type, value string) (names []string) {
	wanted := func(p packed) bool { return p.value == value && packedTypes[p.rtype] == rtype }
	for name, first := range t.first {
		if wanted(first) || slices.ContainsFunc(t.more[name], wanted) {
			names = append(names, name)
		}
	}
	return names
}

// spoken is how many reservations an Explanation tells of at most. A name may be that
// of a whole site by mistake, and leave a tombstone with each update by Kea.
const spoken = 100

// mostSpeaking returns those of which an Explanation tells: live ones before those
// that are gone, and of these the last ones.
func mostSpeaking(all []events.Change) []events.Change {
	if len(all) <= spoken {
		return all
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b events.Change) int {
		switch {
		case a.Deleted() != b.Deleted() && b.Deleted():
			return -1
		case a.Deleted() != b.Deleted():
			return 1
		}
		return b.At.Compare(a.At)
	})
	return all[:spoken]
}

// explain tells of one name, of which some reservations may speak. The caller holds
// r.mu.
func (r *Reconciler) explain(name string, speaking []events.Change) Explanation {
	e := Explanation{
		Scope: r.cfg.Scope, Name: name, Claims: []ClaimItem{}, Rows: []RowItem{}, Steps: []StepItem{},
		Conflicts: []ConflictItem{}, Parked: []ParkedItem{}, Removed: []RemovedItem{},
	}
	e.Zone, _ = r.index.placement.ZoneOf(name)
	told := mostSpeaking(speaking)
	e.LeftOut = len(speaking) - len(told)
	for _, c := range told {
		r.claim(&e, c)
	}
	for _, row := range r.cache.at(name) {
		e.Rows = append(e.Rows, rowItem(row))
	}
	slices.SortFunc(e.Rows, func(a, b RowItem) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value)) })
	if change, known := r.history.changes[name]; known {
		e.LastChange = &change
	}
	if failure, known := r.history.failures[name]; known {
		e.LastFailure = &failure
	}
	r.decide(&e)
	return e
}

// claim sorts in what a reservation, or one that is gone, says of the name.
func (r *Reconciler) claim(e *Explanation, c events.Change) {
	of := c.Reservation
	claims, parked := r.index.placement.ForReservation(of)
	claims = slices.DeleteFunc(claims, func(claim dns.Claim) bool { return claim.Record.Name != e.Name })
	if c.Deleted() {
		if len(claims)+len(parked) > 0 || dns.IsReverse(e.Name) { // it had the address, if not a name
			item := removedItem(c)
			item.Replaced = r.index.taken(of)
			e.Removed = append(e.Removed, item)
		}
		return
	}
	for _, claim := range claims {
		e.Claims = append(e.Claims, ClaimItem{
			Source: of.Source, HostID: of.HostID, Hostname: of.Hostname, IdentifierType: of.IdentifierType, Identifier: of.Identifier,
			Type: claim.Record.Type, Value: claim.Record.Value, Since: c.At, Ignored: r.ignored(of),
		})
	}
	for _, p := range parked {
		e.Parked = append(e.Parked, r.parkedItem(of, p))
	}
}

// ignored says why the wishes of a live reservation do not count.
func (r *Reconciler) ignored(of events.Reservation) string {
	if r.index.replaced(of) {
		return "another reservation with the same identifier in the same subnet came later"
	}
	return ""
}

// taken tells whether a live reservation stands in a place that one which is gone
// had.
func (x *index) taken(gone events.Reservation) bool {
	for _, s := range x.slots(gone) {
		for key := range x.occupants.rows(s) {
			if other, ok := x.live(key); ok && len(events.Current([]events.Reservation{gone, other})) == 1 {
				return true
			}
		}
	}
	return false
}

func removedItem(c events.Change) RemovedItem {
	of := c.Reservation
	return RemovedItem{
		Source: of.Source, HostID: of.HostID, At: c.At, Hostname: of.Hostname, IP: of.IP, IPv6: append([]netip.Addr{}, of.IPv6...),
		IdentifierType: of.IdentifierType, Identifier: of.Identifier, Subnet4: of.Subnet4, Subnet6: of.Subnet6,
		Invalid: append([]string{}, of.Invalid...),
	}
}

func rowItem(row dns.Row) RowItem {
	item := RowItem{
		Type: row.Type, Value: row.Value, TTL: row.TTL, Zone: row.Zone, Owner: "foreign", Hosts: []string{},
		Pending: row.Pending, Deleting: row.Deleting,
	}
	if row.Owner != nil {
		item.Owner = "ours"
		for _, key := range row.Owner.Hosts {
			item.Hosts = append(item.Hosts, host(key))
		}
	}
	return item
}
