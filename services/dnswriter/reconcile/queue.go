package reconcile

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// queue hands names to workers. A name is in it once, and at most one worker
// has it: what is asked of it meanwhile makes it ready again afterwards. Names
// with an event to answer go before all others, and in each group the oldest
// goes first.
//
// The queue also holds back: nothing is handed out before open, and while the
// server is away one worker at a time gets a name.
//
// Its methods may be called from several goroutines.
type queue struct {
	mu      sync.Mutex
	items   map[string]*item
	most    int        // entries that items has had
	urgent  *list.List // of *item, with an event to answer
	others  *list.List // of *item
	delayed delayed
	working map[string]time.Time // since when a worker has the name
	isOpen  bool
	trouble trouble
	left    int           // names of the running check that no worker has had yet
	changed chan struct{} // closed and replaced when a waiter should look again
}

// task is a name in the hands of a worker.
type task struct {
	name string
	// since is when the first event came that is not answered yet, zero: none, and
	// committed when it happened, by the clock of the database.
	since, committed time.Time
	// check: it is here because of the running check alone.
	check bool
	// moved: the worker has got some way with it, so that the next failure is again
	// a first one.
	moved bool
}

// item is one name in the queue.
type item struct {
	task
	inCheck  bool // the running check waits for it
	anew     bool // the check asked for it while a worker had it, who may have looked at it before
	failures int  // in a row
	unserved bool // the last failure was that of the server, not of the name

	at    *list.Element // while ready
	in    *list.List    // that at belongs to
	due   time.Time     // while delayed
	place int           // in delayed; -1: not there
	busy  bool          // a worker has it
	again bool          // ready anew when the worker is done
}

func newQueue() *queue {
	return &queue{
		items: make(map[string]*item), urgent: list.New(), others: list.New(),
		working: make(map[string]time.Time), changed: make(chan struct{}),
	}
}

// open lets workers have names.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isOpen = true
	q.wake()
}

// event asks for a name at once, because something about it changed: we heard of
// it at the time now, and it was committed before. A name that waited after a
// failure waits no longer.
func (q *queue) event(name string, now, committed time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(name)
	if it.since.IsZero() {
		it.since, it.committed = now, committed
	}
	it.failures = 0
	q.ready(it)
}

// nudge asks for a name, but not for one that a worker has or is about to get, or
// that waits after a failure. One that only waits for a later look is looked at
// now.
func (q *queue) nudge(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[name]; it == nil || it.place >= 0 && it.failures == 0 {
		q.ready(q.item(name))
	}
}

// recall asks for a name like nudge, and again for one that a worker has: it may
// have looked before what is new now.
func (q *queue) recall(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[name]; it == nil || it.busy || it.place >= 0 && it.failures == 0 {
		q.ready(q.item(name))
	}
}

// follow asks for names because of what was found or done at another one, in
// the way in which that one was asked for.
func (q *queue) follow(cause task, names []string) {
	switch {
	case !cause.since.IsZero():
		for _, name := range names {
			q.event(name, cause.since, cause.committed)
		}
	case cause.check:
		q.check(names)
	default:
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, name := range names {
			q.ready(q.item(name))
		}
	}
}

// later asks for a name at a time, unless the queue has it already.
func (q *queue) later(name string, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items[name] == nil {
		q.delay(q.item(name), due)
	}
}

// check asks for names as part of a check. checkLeft tells when each of them has
// been through a worker.
func (q *queue) check(names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, name := range names {
		it := q.item(name)
		if !it.inCheck {
			it.inCheck = true
			q.left++
		}
		it.anew = it.busy
		q.ready(it)
	}
}

// checkLeft waits until no more than n names of the check have not been through
// a worker. It returns false if ctx ended before.
func (q *queue) checkLeft(ctx context.Context, n int) bool {
	for {
		q.mu.Lock()
		left, changed := q.left, q.changed
		q.mu.Unlock()
		if left <= n {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// inCheck returns how many names of the check have not been through a worker.
func (q *queue) inCheck() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.left
}

// stuck tells whether a worker has had a name for longer than limit.
func (q *queue) stuck(limit time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, since := range q.working {
		if time.Since(since) > limit {
			return true
		}
	}
	return false
}

// len returns how many names are in the queue, those in work included.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take waits for a name. The worker that gets it must call done or retry. ok is
// false when ctx ended.
func (q *queue) take(ctx context.Context) (t task, ok bool) {
	for ctx.Err() == nil {
		q.mu.Lock()
		it, wait := q.next(time.Now())
		changed := q.changed
		q.mu.Unlock()
		if it != nil {
			return *it, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return task{}, false
}

// next hands out a name, or says how long to wait at most before looking again.
func (q *queue) next(now time.Time) (*task, time.Duration) {
	const idle = time.Minute
	for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
		q.ready(q.delayed[0])
	}
	wait := idle
	if len(q.delayed) > 0 {
		wait = min(wait, q.delayed[0].due.Sub(now))
	}
	from := q.urgent
	if from.Len() == 0 {
		from = q.others
	}
	switch {
	case !q.isOpen, from.Len() == 0:
		return nil, wait
	case q.trouble.serious() && len(q.working) > 0:
		return nil, wait
	case q.trouble.serious() && now.Before(q.trouble.until):
		return nil, min(wait, q.trouble.until.Sub(now))
	}
	it := from.Front().Value.(*item)
	q.unlist(it)
	it.busy, it.again, it.anew = true, false, false
	q.working[it.name] = now
	given := it.task
	given.check = it.inCheck && it.since.IsZero()
	it.since, it.committed = time.Time{}, time.Time{}
	return &given, 0
}

// done gives a name back that is settled.
func (q *queue) done(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.release(t)
	it.failures, it.unserved = 0, false
	if it.again {
		q.ready(it)
		return
	}
	delete(q.items, it.name)
	if q.most > 1000 && len(q.items) == 0 {
		q.items, q.most = make(map[string]*item), 0 // a map does not become smaller
	}
}

// The pauses after failures double from firstPause to these.
const (
	firstPause    = time.Second
	longestPause  = 5 * time.Minute
	unservedPause = 5 * time.Second
)

// retry gives a name back that is not settled, because of the server (unserved)
// or for a reason of its own. It comes again after the returned pause, or at
// once if something about it changed meanwhile.
func (q *queue) retry(t task, unserved bool) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.release(t)
	if it.since.IsZero() {
		it.since, it.committed = t.since, t.committed
	}
	if it.again {
		q.ready(it)
		return 0
	}
	if t.moved {
		it.failures = 0
	}
	it.failures++
	it.unserved = unserved
	longest := longestPause
	if unserved {
		longest = unservedPause
	}
	wait := pause(it.failures, firstPause, longest)
	q.delay(it, time.Now().Add(wait))
	return wait
}

// postpone gives a name back that must not be worked on now, for a reason that
// has nothing to do with it. It comes again after a moment. If it is kept, a check
// goes on waiting for it.
func (q *queue) postpone(t task, kept bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[t.name]
	it.anew = it.anew || kept
	q.release(t)
	if it.since.IsZero() {
		it.since, it.committed = t.since, t.committed
	}
	q.delay(it, time.Now().Add(firstPause/4))
}

// clear takes all names out of the queue and closes it again. No worker may have
// one.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items, q.most = make(map[string]*item), 0
	q.urgent, q.others, q.delayed = list.New(), list.New(), nil
	q.isOpen, q.trouble, q.left = false, trouble{}, 0
	q.wake()
}

func (q *queue) release(t task) *item {
	it := q.items[t.name]
	it.busy = false
	delete(q.working, it.name)
	if it.inCheck && !it.anew { // an event that came meanwhile is not the check's
		it.inCheck = false
		q.left--
	}
	q.wake()
	return it
}

// pause is the time before the next attempt after n failures in a row: it
// doubles from first to longest, with up to half of it taken off at random, so
// that names which failed together do not come back together.
func pause(n int, first, longest time.Duration) time.Duration {
	full := longest
	if shift := max(n-1, 0); shift < 20 {
		full = min(longest, first<<shift)
	}
	return full - rand.N(full/2)
}

func (q *queue) item(name string) *item {
	it := q.items[name]
	if it == nil {
		it = &item{task: task{name: name}, place: -1}
		q.items[name] = it
		q.most = max(q.most, len(q.items))
	}
	return it
}

// ready puts an item into its list, and takes it from wherever else it waits.
func (q *queue) ready(it *item) {
	to := q.urgent
	if it.since.IsZero() {
		to = q.others
	}
	switch {
	case it.busy:
		it.again = true
		return
	case it.in == to:
		return
	}
	q.unlist(it)
	if it.place >= 0 {
		heap.Remove(&q.delayed, it.place)
	}
	it.at, it.in = to.PushBack(it), to
	q.wake()
}

func (q *queue) unlist(it *item) {
	if it.in != nil {
		it.in.Remove(it.at)
		it.at, it.in = nil, nil
	}
}

func (q *queue) delay(it *item, due time.Time) {
	it.due = due
	heap.Push(&q.delayed, it)
	q.wake()
}

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// delayed is a heap of items by the time at which they are due.
type delayed []*item

func (d delayed) Len() int           { return len(d) }
func (d delayed) Less(i, j int) bool { return cmp.Less(d[i].due.UnixNano(), d[j].due.UnixNano()) }
func (d delayed) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface.
func (d *delayed) Push(x any) {
	it := x.(*item)
	it.place = len(*d)
	*d = append(*d, it)
}

// Pop implements heap.Interface.
func (d *delayed) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	it.place = -1
	return it
}
