package main

import (
	"maps"
	"sync"
	"time"
)

// How long work waits. A deployment that reserves a whole rack comes as one
// write per file, and a stream of changes without a pause still reaches the
// files in time.
const (
	quiet       = 200 * time.Millisecond // after the last mark
	longestWait = 2 * time.Second        // after the first mark
	retryAfter  = 10 * time.Second       // after a failure
	sweepEvery  = 15 * time.Minute       // a look at every file, which repairs what people changed
)

// work is what a round has to look at, besides the cabinets that changed.
type work struct {
	all     bool            // every cabinet and every file
	changed bool            // something changed in the view
	files   map[string]bool // by file name
}

func (w work) empty() bool { return !w.all && !w.changed && len(w.files) == 0 }

// marks collect what there is to do until it is due. Any goroutine may add
// marks; one takes them. Nothing is due before ready.
type marks struct {
	// wake holds a value after every mark.
	wake chan struct{}

	mu          sync.Mutex
	ready       bool
	work        work
	first, last time.Time // when work.changed was set
	retry       work
	retryAt     time.Time
	sweepAt     time.Time
}

func newMarks() *marks {
	return &marks{wake: make(chan struct{}, 1), work: work{files: make(map[string]bool)}}
}

// everything marks all files, due at once, and allows work from now on.
func (m *marks) everything() {
	m.mu.Lock()
	m.ready, m.work.all = true, true
	m.mu.Unlock()
	m.signal()
}

// change marks that something changed, which concerns at least these files.
func (m *marks) change(files ...string) {
	now := time.Now()
	m.mu.Lock()
	if !m.work.changed {
		m.first = now
	}
	m.work.changed, m.last = true, now
	for _, name := range files {
		m.work.files[name] = true
	}
	m.mu.Unlock()
	m.signal()
}

func (m *marks) signal() {
	select {
	case m.wake <- struct{}{}:
	default: // there is a value already
	}
}

// again marks what a round could not do.
func (m *marks) again(w work, now time.Time) {
	if w.empty() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retry.empty() {
		m.retryAt = now.Add(retryAfter)
		m.retry.files = make(map[string]bool)
	}
	m.retry.all = m.retry.all || w.all
	maps.Copy(m.retry.files, w.files)
}

// take returns the work that is due, or how long it is until some is.
func (m *marks) take(now time.Time) (w work, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ready {
		return work{}, sweepEvery
	}
	retryDue := !m.retry.empty() && !now.Before(m.retryAt)
	if !m.sweepAt.IsZero() && !now.Before(m.sweepAt) || retryDue && m.retry.all {
		m.work.all = true
	}
	wait = m.wait(now)
	if !m.work.all && !retryDue && wait > 0 {
		return work{}, wait
	}
	w = m.work
	if retryDue || w.all {
		maps.Copy(w.files, m.retry.files)
		m.retry = work{}
	}
	if w.all {
		m.sweepAt = now.Add(sweepEvery)
	}
	m.work = work{files: make(map[string]bool)}
	return w, 0
}

// wait returns how long it is until anything but m.work.all is due.
func (m *marks) wait(now time.Time) time.Duration {
	wait := m.sweepAt.Sub(now)
	if !m.retry.empty() {
		wait = min(wait, m.retryAt.Sub(now))
	}
	if m.work.changed {
		wait = min(wait, m.last.Add(quiet).Sub(now), m.first.Add(longestWait).Sub(now))
	}
	return wait
}
