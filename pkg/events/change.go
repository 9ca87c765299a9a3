package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"
)

// MaxMessageSize is the greatest size of a message of the stream, headers
// included, in bytes.
const MaxMessageSize = 64 << 10

// maxBody leaves room for the headers.
const maxBody = MaxMessageSize - 1<<10

// Version is the version of the wire form. Within a version fields are only
// ever added.
const Version = 1

// Operation says what became of a reservation, seen from the stream.
type Operation string

const (
	// Insert: the stream held nothing, or a deletion, for the row before.
	Insert Operation = "INSERT"
	// Update: the stream held another state of the row before.
	Update Operation = "UPDATE"
	// Delete: the row is gone. The reservation is its last published state.
	Delete Operation = "DELETE"
	// Snapshot: a comparison of the database with the stream found this state,
	// though no change had been announced.
	Snapshot Operation = "SNAPSHOT"
)

// Change is one event of the stream: what happened to a reservation, and the
// state it is in since. The newest Change of a row replaces all older ones.
type Change struct {
	Operation Operation
	// Seq is the number of the outbox mark that told of the change, 0 if there
	// was none. It is for reading only and has gaps: what is newer is decided by
	// the stream sequence alone.
	Seq int64
	// At is the time of the change by the clock of the database, in UTC with
	// microseconds; of a Snapshot, the time of the comparison.
	At time.Time
	// Reservation is the state after the change; of a Delete, the last state.
	Reservation Reservation
}

// Deleted tells whether the row is gone.
func (c Change) Deleted() bool { return c.Operation == Delete }

// wireChange is the JSON form of a Change. Stored messages of every age are
// read through it: fields may be added, and that is all.
type wireChange struct {
	V              int       `json:"v"`
	Operation      Operation `json:"operation"`
	Source         string    `json:"source"`
	HostID         *int64    `json:"host_id"`
	Seq            int64     `json:"seq,omitzero"`
	At             time.Time `json:"at"`
	Hostname       string    `json:"hostname,omitzero"`
	IP             string    `json:"ip,omitzero"`
	IPv6           []string  `json:"ipv6,omitempty"`
	MAC            string    `json:"mac,omitzero"`
	Identifier     string    `json:"identifier,omitzero"`
	IdentifierType string    `json:"identifier_type,omitzero"`
	Subnet4        *int64    `json:"subnet4,omitempty"`
	Subnet6        *int64    `json:"subnet6,omitempty"`
	Invalid        []string  `json:"invalid,omitempty"`
}

// Encode returns the wire form of c: one line of JSON, readable in `nats sub`.
// It returns an error if c does not satisfy what Decode demands, so that no
// event is published that a consumer would refuse.
func Encode(c Change) ([]byte, error) {
	r := c.Reservation
	w := wireChange{
		V: Version, Operation: c.Operation, Source: r.Source, HostID: &r.HostID, Seq: c.Seq,
		At:       c.At.UTC().Truncate(time.Microsecond),
		Hostname: r.Hostname, MAC: r.MAC,
		Identifier: r.Identifier, IdentifierType: r.IdentifierType,
		Subnet4: r.Subnet4, Subnet6: r.Subnet6, Invalid: r.Invalid,
	}
	if r.IP.IsValid() {
		w.IP = r.IP.String()
	}
	for _, a := range r.IPv6 {
		w.IPv6 = append(w.IPv6, a.String())
	}
	if _, err := w.change(); err != nil {
		return nil, fmt.Errorf("encode change of host %d: %w", r.HostID, err)
	}
	data, err := marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode change of host %d: %w", r.HostID, err)
	}
	return data, nil
}

// Decode reads the wire form. Unknown fields are ignored. The error names the
// field and the value; data that does not come from a publisher of this
// version, or was damaged, gives an error and never a panic.
func Decode(data []byte) (Change, error) {
	var w wireChange
	if err := unmarshal(data, &w); err != nil {
		return Change{}, fmt.Errorf("decode change: %w", err)
	}
	c, err := w.change()
	if err != nil {
		return Change{}, fmt.Errorf("decode change: %w", err)
	}
	return c, nil
}

// change checks w and turns it into the API type, with addresses in canonical
// order.
func (w wireChange) change() (Change, error) {
	if w.V != Version {
		return Change{}, fmt.Errorf("v: version %d is not known to this program, which reads version %d; update it", w.V, Version)
	}
	switch w.Operation {
	case Insert, Update, Delete, Snapshot:
	default:
		return Change{}, fmt.Errorf("operation: %q is not INSERT, UPDATE, DELETE or SNAPSHOT", shorten(string(w.Operation)))
	}
	if err := CheckSource(shorten(w.Source)); err != nil {
		return Change{}, err
	}
	if w.HostID == nil {
		return Change{}, errors.New("host_id: is missing")
	}
	if w.At.IsZero() {
		return Change{}, errors.New("at: is missing")
	}
	if err := w.checkSize(); err != nil {
		return Change{}, err
	}
	r := Reservation{
		Source: w.Source, HostID: *w.HostID, Hostname: w.Hostname, MAC: w.MAC,
		Identifier: w.Identifier, IdentifierType: w.IdentifierType,
		Subnet4: w.Subnet4, Subnet6: w.Subnet6, Invalid: w.Invalid,
	}
	var err error
	if w.IP != "" {
		if r.IP, err = netip.ParseAddr(w.IP); err != nil || !r.IP.Is4() {
			return Change{}, fmt.Errorf("ip: %q is not an IPv4 address", shorten(w.IP))
		}
	}
	for _, text := range w.IPv6 {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return Change{}, fmt.Errorf("ipv6: %q is not an IPv6 address", shorten(text))
		}
		r.IPv6 = append(r.IPv6, a)
	}
	slices.SortFunc(r.IPv6, netip.Addr.Compare)
	r.IPv6 = slices.Compact(r.IPv6)
	if w.MAC != "" && !isMAC(w.MAC) {
		return Change{}, fmt.Errorf("mac: %q is not of the form aa:bb:cc:dd:ee:ff", shorten(w.MAC))
	}
	if !isHex(w.Identifier) {
		return Change{}, fmt.Errorf("identifier: %q is not lower-case hex", shorten(w.Identifier))
	}
	return Change{Operation: w.Operation, Seq: w.Seq, At: w.At.UTC(), Reservation: r}, nil
}

// checkSize keeps every field so short that what was decoded can be encoded
// again and fits into a message, however many escapes it needs.
func (w wireChange) checkSize() error {
	invalid := 0
	for _, text := range w.Invalid {
		invalid += len(text)
	}
	switch {
	case utf8.RuneCountInString(w.Hostname) > MaxHostname:
		return fmt.Errorf("hostname: %q is longer than %d characters", shorten(w.Hostname), MaxHostname)
	case len(w.Identifier) > 2*MaxIdentifier:
		return fmt.Errorf("identifier: %q is longer than %d bytes", shorten(w.Identifier), MaxIdentifier)
	case len(w.IdentifierType) > 16:
		return fmt.Errorf("identifier_type: %q is longer than 16 bytes", shorten(w.IdentifierType))
	case len(w.IPv6) > MaxIPv6:
		return fmt.Errorf("ipv6: %d addresses are more than %d", len(w.IPv6), MaxIPv6)
	case invalid > MaxInvalid || len(w.Invalid) > MaxInvalid/16:
		return fmt.Errorf("invalid: %d texts with %d bytes are more than %d with %d", len(w.Invalid), invalid, MaxInvalid/16, MaxInvalid)
	}
	return nil
}

func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i%3 == 2 {
			if c != ':' {
				return false
			}
		} else if !isHexDigit(c) {
			return false
		}
	}
	return true
}

// isHex tells whether s is what hex.EncodeToString makes of some bytes.
func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return len(s)%2 == 0
}

func isHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// marshal writes JSON for people: <, > and & stay as they are.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(data) > maxBody {
		return nil, fmt.Errorf("%d bytes of JSON are more than the %d of a message", len(data), maxBody)
	}
	return data, nil
}

// unmarshal refuses what is too large to have come from a publisher before
// looking at it.
func unmarshal(data []byte, v any) error {
	if len(data) > MaxMessageSize {
		return fmt.Errorf("%d bytes are more than the %d of a message", len(data), MaxMessageSize)
	}
	return json.Unmarshal(data, v)
}

// shorten keeps hostile values from filling a log.
func shorten(s string) string {
	const limit = 80
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
