package solidsim

import (
	"sync"
	"sync/atomic"
	"time"
)

// The store holds everything that the API and the DNS servers show: the model
// and the lock around it. All that reads or writes the model stands between
// read or write and the function that they return.
type store struct {
	mu sync.RWMutex
	*model
	unknowns Unknowns
	delay    time.Duration // from a change to its push

	due     atomic.Int64  // when the next push has to be made, in Unix nanoseconds; 0: none
	changed chan struct{} // capacity 1: the model is not any more what it was
}

func newStore() *store {
	return &store{model: newModel(), changed: make(chan struct{}, 1)}
}

// read takes the lock for a reader. Pushes that are due are made first: nobody
// makes them in between, because nobody could tell.
func (st *store) read() (release func()) {
	if due := st.due.Load(); due != 0 && time.Now().UnixNano() >= due {
		st.write()()
	}
	st.mu.RLock()
	return st.mu.RUnlock
}

// write takes the lock for a writer. The function that gives it back makes the
// pushes that are due, with no delay those of the change itself.
func (st *store) write() (release func()) {
	st.mu.Lock()
	before := st.revision
	st.settle(time.Now())
	return func() {
		due := st.settle(time.Now())
		st.due.Store(due)
		if st.revision != before || due != 0 {
			st.notify()
		}
		st.mu.Unlock()
	}
}

func (st *store) notify() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}
