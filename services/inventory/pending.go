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
	quiet       = 200 * time.Millisecond // after the last change
	longestWait = 2 * time.Second        // after the first change
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

// pending collects what there is to do until it is due. Any goroutine may add
// to it; one takes from it. Nothing is due before ready.
type pending struct {
	// wake holds a value after everything that was added.
	wake chan struct{}

	mu          sync.Mutex
	ready       bool
	work        work
	first, last time.Time // when work.changed was set
	retry       work
	retryAt     time.Time
	sweepAt     time.Time
}

func newPending() *pending {
	return &pending{wake: make(chan struct{}, 1), work: work{files: make(map[string]bool)}}
}

// everything adds all files, due at once, and allows work from now on.
func (p *pending) everything() {
	p.mu.Lock()
	p.ready, p.work.all = true, true
	p.mu.Unlock()
	p.signal()
}

// change adds that something changed, which concerns at least these files.
func (p *pending) change(files ...string) {
	now := time.Now()
	p.mu.Lock()
	if !p.work.changed {
		p.first = now
	}
	p.work.changed, p.last = true, now
	for _, name := range files {
		p.work.files[name] = true
	}
	p.mu.Unlock()
	p.signal()
}

func (p *pending) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // there is a value already
	}
}

// again adds what a round could not do.
func (p *pending) again(w work, now time.Time) {
	if w.empty() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retry.empty() {
		p.retryAt = now.Add(retryAfter)
		p.retry.files = make(map[string]bool)
	}
	p.retry.all = p.retry.all || w.all
	maps.Copy(p.retry.files, w.files)
}

// take returns the work that is due, or how long it is until some is.
func (p *pending) take(now time.Time) (w work, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		return work{}, sweepEvery
	}
	retryDue := !p.retry.empty() && !now.Before(p.retryAt)
	if !p.sweepAt.IsZero() && !now.Before(p.sweepAt) || retryDue && p.retry.all {
		p.work.all = true
	}
	wait = p.wait(now)
	if !p.work.all && !retryDue && wait > 0 {
		return work{}, wait
	}
	w = p.work
	if retryDue || w.all {
		maps.Copy(w.files, p.retry.files)
		p.retry = work{}
	}
	if w.all {
		p.sweepAt = now.Add(sweepEvery)
	}
	p.work = work{files: make(map[string]bool)}
	return w, 0
}

// wait returns how long it is until anything but work.all is due.
func (p *pending) wait(now time.Time) time.Duration {
	wait := p.sweepAt.Sub(now)
	if !p.retry.empty() {
		wait = min(wait, p.retryAt.Sub(now))
	}
	if p.work.changed {
		wait = min(wait, p.last.Add(quiet).Sub(now), p.first.Add(longestWait).Sub(now))
	}
	return wait
}
