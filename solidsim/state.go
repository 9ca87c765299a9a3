package solidsim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// stateVersion is that of the document. It changes when an older one would be
// misread.
const stateVersion = 1

// A document is the whole state as Save writes it: four flat lists, whose
// objects name each other by id.
type document struct {
	Version int           `json:"version"`
	Last    ids           `json:"last_ids"`
	Servers []serverState `json:"servers"`
	Views   []viewState   `json:"views"`
	Zones   []zoneState   `json:"zones"`
	Records []rowState    `json:"records"`
}

type serverState struct {
	ID              int64           `json:"id"`
	Name            string          `json:"name"`
	Kind            ServerKind      `json:"kind"`
	Arch            string          `json:"arch,omitempty"`
	Addr            string          `json:"address,omitempty"`
	Comment         string          `json:"comment,omitempty"`
	Parent          int64           `json:"member_of,omitempty"`
	Held            bool            `json:"pushes_held,omitempty"`
	Class           string          `json:"class,omitempty"`
	ClassParameters classParameters `json:"class_parameters,omitempty"`
}

type viewState struct {
	ID              int64           `json:"id"`
	Name            string          `json:"name"`
	Server          int64           `json:"server"`
	Class           string          `json:"class,omitempty"`
	ClassParameters classParameters `json:"class_parameters,omitempty"`
}

type zoneState struct {
	ID              int64           `json:"id"`
	Name            string          `json:"name"`
	Type            ZoneType        `json:"type"`
	Server          int64           `json:"server"`
	View            int64           `json:"view,omitempty"`
	Origin          int64           `json:"copy_of,omitempty"`
	Serial          uint32          `json:"serial"`
	Live            bool            `json:"live,omitempty"` // DNS answers for it
	Pending         pendingKind     `json:"pending,omitempty"`
	Class           string          `json:"class,omitempty"`
	ClassParameters classParameters `json:"class_parameters,omitempty"`
}

type rowState struct {
	ID              int64           `json:"id"`
	Zone            int64           `json:"zone"`
	Name            string          `json:"name"`
	Type            string          `json:"type"`
	Values          []string        `json:"values"`
	TTL             uint32          `json:"ttl"`
	Class           string          `json:"class,omitempty"`
	ClassParameters classParameters `json:"class_parameters,omitempty"`
	Auto            bool            `json:"automatic,omitempty"`
	Origin          int64           `json:"copy_of,omitempty"`
	Pending         pendingKind     `json:"pending,omitempty"`
	// Unserved: DNS does not have the row. Else it has it with the values and
	// the TTL of Served, if that is there.
	Unserved bool         `json:"unserved,omitempty"`
	Served   *servedState `json:"served,omitempty"`
}

type servedState struct {
	Values []string `json:"values"`
	TTL    uint32   `json:"ttl"`
}

func (k pendingKind) MarshalText() ([]byte, error) {
	return []byte([]string{"", "create", "delete"}[k]), nil
}

func (k *pendingKind) UnmarshalText(text []byte) error {
	switch string(text) {
	case "":
		*k = notPending
	case "create":
		*k = pendingCreate
	case "delete":
		*k = pendingDelete
	default:
		return fmt.Errorf("pending is create or delete, not %q", text)
	}
	return nil
}

// Save writes everything that the simulator knows as one JSON document, with an
// object per line, so that two of them can be compared. Settings are no part of
// it: latency, push delay, Unknowns, users.
func (s *Sim) Save(w io.Writer) error { return s.store.save(w) }

// Load puts a document that Save wrote in the place of everything that the
// simulator knows. Pushes that were under way begin anew. DNS is answered for
// servers and views that had an address already. It changes nothing if it
// fails.
func (s *Sim) Load(r io.Reader) error { return s.store.load(r) }

func (st *store) save(w io.Writer) error {
	release := st.read()
	doc := st.document()
	release()
	buffered := bufio.NewWriter(w)
	last, err := json.Marshal(doc.Last)
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	fmt.Fprintf(buffered, "{\n\"version\": %d,\n\"last_ids\": %s", doc.Version, last)
	for _, write := range []func() error{
		func() error { return writeLines(buffered, "servers", doc.Servers) },
		func() error { return writeLines(buffered, "views", doc.Views) },
		func() error { return writeLines(buffered, "zones", doc.Zones) },
		func() error { return writeLines(buffered, "records", doc.Records) },
	} {
		if err := write(); err != nil {
			return fmt.Errorf("save state: %w", err)
		}
	}
	fmt.Fprint(buffered, "\n}\n")
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

func writeLines[T any](w io.Writer, name string, objects []T) error {
	fmt.Fprintf(w, ",\n%q: [", name)
	for i, object := range objects {
		line, err := json.Marshal(object)
		if err != nil {
			return err
		}
		separator := ","
		if i == 0 {
			separator = ""
		}
		if _, err := fmt.Fprintf(w, "%s\n%s", separator, line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, "\n]")
	return err
}

func (m *model) document() document {
	doc := document{Version: stateVersion, Last: m.last}
	origins := make(map[*zone]int64)
	for _, s := range m.servers {
		state := serverState{
			ID: s.id, Name: s.name, Kind: s.kind, Arch: s.arch, Addr: s.addr, Comment: s.comment,
			Held: s.held, Class: s.class, ClassParameters: s.own,
		}
		if s.parent != nil {
			state.Parent = s.parent.id
		}
		doc.Servers = append(doc.Servers, state)
		for from, copied := range s.pushed.zones {
			origins[copied] = from.id
		}
	}
	for _, v := range m.views {
		doc.Views = append(doc.Views, viewState{ID: v.id, Name: v.name, Server: v.server.id, Class: v.class, ClassParameters: v.own})
	}
	for _, z := range m.zones {
		state := zoneState{
			ID: z.id, Name: z.name, Type: z.kind, Server: z.server.id, Origin: origins[z], Serial: z.serial, Live: z.live,
			Pending: z.pending, Class: z.class, ClassParameters: z.own,
		}
		if z.view != nil {
			state.View = z.view.id
		}
		doc.Zones = append(doc.Zones, state)
	}
	for _, r := range m.rows {
		doc.Records = append(doc.Records, r.document())
	}
	return doc
}

func (r *rr) document() rowState {
	state := rowState{
		ID: r.id, Zone: r.zone.id, Name: r.name, Type: r.rtype, Values: r.values.used(), TTL: r.ttl, Class: r.class,
		ClassParameters: r.classParams, Auto: r.auto, Origin: r.origin, Pending: r.pending,
	}
	if len(r.zone.server.members) > 0 {
		return state // a SMART serves nothing
	}
	switch have := r.zone.server.rows[r.key()]; {
	case have == nil:
		state.Unserved = true
	case have.values != r.values || have.ttl != r.ttl:
		state.Served = &servedState{Values: have.values.used(), TTL: have.ttl}
	}
	return state
}

// load reads a document into a new model and puts that in the place of the old
// one.
func (st *store) load(r io.Reader) error {
	var doc document
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	loaded, err := doc.model()
	if err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	defer st.write()()
	revision := st.revision
	st.model = loaded
	st.revision = revision + 1
	st.resume()
	return nil
}

// resume begins the pushes anew that were under way: first those of zones that
// come, last those of zones that go.
func (st *store) resume() {
	for _, z := range st.zones {
		if z.pending == pendingCreate {
			st.pushZone(z, false)
		}
	}
	for _, r := range st.rows {
		if r.pending != notPending {
			st.enqueue(r.zone.server, &r.state, push{zone: r.zone, row: r, drop: r.pending == pendingDelete})
		}
	}
	for _, z := range st.zones {
		if z.pending == pendingDelete {
			st.pushZone(z, true)
		}
	}
}
