package reconcile

import (
	"sync"
	"time"
)

// Progress tells how far a running check is.
type Progress struct {
	// Took is how long it has been running.
	Took time.Duration
	// Done of All names are in step, or have been tried. While the zones are read,
	// both are 0.
	Done, All int
	// Changes were accepted since it began, Failing is how many names have to be
	// tried again.
	Changes, Failing int
}

// Progress tells how far the running check is; ok is false if there is none. It
// may be called at any time, also by several goroutines.
func (r *Reconciler) Progress() (p Progress, ok bool) {
	p, ok = r.running.read()
	if !ok {
		return Progress{}, false
	}
	p.Done = max(0, p.Done-r.queue.inCheck())
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Changes = r.made.created + r.made.updated + r.made.removed
	p.Failing = len(r.failing)
	return p, true
}

// running is what a check tells of itself while it runs. The zero value is that
// of none.
type running struct {
	mu          sync.Mutex
	phase       string
	began       time.Time
	names, seen int
}

// tell returns what notes what is going on, and tells it on.
func (c *running) tell(on func(string)) func(string) {
	return func(phase string) {
		c.mu.Lock()
		c.phase = phase
		c.mu.Unlock()
		on(phase)
	}
}

// told returns what is going on.
func (c *running) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

// begin notes that a check begins.
func (c *running) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began, c.names, c.seen = time.Now(), 0, 0
}

// found notes how many names are to be planned.
func (c *running) found(names int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = names
}

// reviewed notes that n more names were planned.
func (c *running) reviewed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen += n
}

func (c *running) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = time.Time{}
}

// read returns the names that were planned as Done.
func (c *running) read() (p Progress, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Progress{Took: time.Since(c.began), Done: c.seen, All: c.names}, !c.began.IsZero()
}
