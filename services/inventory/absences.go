package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// absences hold back the removal of lines until it is proven that no
// reservation asks for them any more (see events.Absence).
//
// A proof counts in a round only if it was complete before the round read the
// view: then the view, which is at least as new, says that the line is absent
// still. And every change that touches a line starts its hold-down again, so
// that a line which came back for a moment is not taken for one that was absent
// all the time.
type absences struct {
	view *events.View
	hold time.Duration

	mu      sync.Mutex
	pending map[string]map[cabinet.ID]*absence // by file
}

// absence is shared by the lines of a file that were found absent together.
type absence struct {
	proof     *events.Absence
	witnesses []string // whose word the proof is
	proven    bool     // by a heartbeat
	ripe      bool     // before the round began
}

func newAbsences(view *events.View, hold time.Duration) *absences {
	return &absences{view: view, hold: hold, pending: make(map[string]map[cabinet.ID]*absence)}
}

// touch notes that a change concerned a line: its hold-down starts again.
func (a *absences) touch(file string, line cabinet.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending[file], line)
}

// restart has every hold-down start again, when the stream was read anew: a line
// may have come back and gone again meanwhile without a word of it.
func (a *absences) restart() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.pending)
}

// testify is called at every heartbeat, from the goroutine that fills the view,
// and after every round: what was found absent in it may be proven already, by
// sources that were retired. It returns the files of lines that are proven to be
// gone now.
func (a *absences) testify() (files []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for file, lines := range a.pending {
		news := false
		for _, b := range lines {
			if !b.proven && b.proof.Confirmed(a.view, a.hold) {
				b.proven, news = true, true
			}
		}
		if news {
			files = append(files, file)
		}
	}
	return files
}

// begin is called at the start of a round, before it reads the view.
func (a *absences) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, lines := range a.pending {
		for _, b := range lines {
			b.ripe = b.proven
		}
	}
}

// judge tells which of the lines of a file that nobody asks for are proven to be
// gone by the word of the witnesses. For the others the hold-down begins, if it
// has not. Whatever was absent and is not among stale is forgotten.
func (a *absences) judge(file string, stale []cabinet.Target, witnesses []string) (kept, gone []cabinet.Target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.pending[file]
	if len(stale) == 0 {
		delete(a.pending, file)
		return nil, nil
	}
	now := make(map[cabinet.ID]*absence, len(stale))
	var fresh *absence
	for _, t := range stale {
		b := before[t.ID()]
		if b == nil || !slices.Equal(b.witnesses, witnesses) {
			if fresh == nil {
				fresh = &absence{proof: events.NewAbsence(a.view, witnesses...), witnesses: witnesses}
			}
			b = fresh
		}
		now[t.ID()] = b
		if b.ripe {
			gone = append(gone, t)
		} else {
			kept = append(kept, t)
		}
	}
	a.pending[file] = now
	return kept, gone
}

// forget drops what is known of a file.
func (a *absences) forget(file string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, file)
}

// settle drops lines that are removed from a file.
func (a *absences) settle(file string, gone []cabinet.Target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range gone {
		delete(a.pending[file], t.ID())
	}
}

// waiting returns the sources that hold back a removal because they are not
// complete, or not known at all.
func (a *absences) waiting() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	names := make(map[string]bool)
	for _, lines := range a.pending {
		for _, b := range lines {
			for _, w := range b.witnesses {
				names[w] = true
			}
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool {
		s, _ := a.view.Source(name)
		return s.Complete
	})
	return slices.Sorted(maps.Keys(names))
}
