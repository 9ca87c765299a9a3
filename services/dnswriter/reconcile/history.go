package reconcile

import (
	"strings"
	"time"
)

// remembered is how many names the last changes are kept of, and explained how
// many names that fail the last errors are kept of: both are for people, who ask
// soon, and must not cost much memory when everything changes or fails at once.
const (
	remembered = 10_000
	explained  = 1_000
)

// history is what is remembered of names for people who ask about them. It is
// guarded by the Reconciler's mutex. The zero value is ready for use.
type history struct {
	changes  map[string]LastChange
	recent   []string // names in the order of their changes; a ring once it is full
	oldest   int      // in recent
	failures map[string]LastFailure
	checks   LastCheck
}

// LastChange is the last change of a name that the server accepted.
type LastChange struct {
	At time.Time `json:"at"`
	// Op is create, update, remove or withdraw.
	Op Op `json:"op"`
	// Record is what was made or, of a remove, taken away, as "A 192.0.2.1". Was
	// is the value before an update that changed it.
	Record string `json:"record"`
	Was    string `json:"was,omitzero"`
}

// LastFailure is why the last attempt at a name failed, and when it is tried again.
type LastFailure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
	Retry time.Time `json:"retry"`
}

// LastCheck is the last consistency check that came to its end.
type LastCheck struct {
	// At is when it ended, the zero Time if there was none yet.
	At time.Time `json:"at,omitzero"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
	// Whole tells whether all zones could be read.
	Whole bool `json:"whole"`
	// Created, Updated and Removed are numbers of records.
	Created int `json:"created"`
	Updated int `json:"updated"`
	Removed int `json:"removed"`
}

// changed notes a change that was accepted.
func (h *history) changed(name string, s Step, now time.Time) {
	if h.changes == nil {
		h.changes = make(map[string]LastChange)
	}
	change := LastChange{At: now, Op: s.Op, Record: string(s.Record.Type) + " " + s.Record.Value}
	if s.replaces() {
		change.Was = s.Row.Value
	}
	_, known := h.changes[name]
	h.changes[name] = change
	switch {
	case known: // it keeps its place: who changes for ever must not push out the others
	case len(h.recent) < remembered:
		h.recent = append(h.recent, name)
	default:
		delete(h.changes, h.recent[h.oldest])
		h.recent[h.oldest] = name
		h.oldest = (h.oldest + 1) % len(h.recent)
	}
}

// failed notes that an attempt at a name failed and comes again after a pause.
func (h *history) failed(name string, err error, now time.Time, wait time.Duration) {
	if h.failures == nil {
		h.failures = make(map[string]LastFailure)
	}
	if _, known := h.failures[name]; !known && len(h.failures) >= explained {
		return
	}
	h.failures[name] = LastFailure{At: now, Error: bounded(err.Error()), Retry: now.Add(wait)}
}

// bounded keeps the beginning of a text for people.
func bounded(text string) string {
	const limit = 500
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}
