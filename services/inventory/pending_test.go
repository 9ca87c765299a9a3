package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rounds runs a loop in a synctest bubble and writes down when it did what.
type rounds struct {
	pending *pending
	start   time.Time
	fail    func(rounds int, w work) work

	mu  sync.Mutex
	log []string
}

func startLoop(t *testing.T) *rounds {
	r := &rounds{pending: newPending(), start: time.Now(), fail: func(int, work) work { return work{} }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	l := loop{pending: r.pending, alive: func() {}, round: func(_ context.Context, w work) work {
		what := strings.Join(slices.Sorted(maps.Keys(w.files)), ",")
		if w.all {
			what = "all"
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, fmt.Sprintf("%v %s", time.Since(r.start), what))
		return r.fail(len(r.log), w)
	}}
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

func (r *rounds) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.log); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
}

func TestNothingHappensBeforeTheViewIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startLoop(t)
		r.pending.change("a")
		time.Sleep(time.Hour)
		r.expect(t)
		r.pending.everything()
		r.expect(t, "1h0m0s all")
	})
}

func TestChangesAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startLoop(t)
		r.pending.everything()
		r.expect(t, "0s all")
		time.Sleep(time.Second)
		r.pending.change("a")
		time.Sleep(100 * time.Millisecond)
		r.pending.change("b")
		time.Sleep(199 * time.Millisecond)
		r.expect(t, "0s all")
		time.Sleep(time.Millisecond)
		r.expect(t, "0s all", "1.3s a,b")
	})
}

func TestChangesWithoutAPauseAreNotPutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startLoop(t)
		r.pending.everything()
		synctest.Wait()
		for range 40 {
			r.pending.change("a")
			time.Sleep(150 * time.Millisecond)
		}
		r.expect(t, "0s all", "2s a", "4.1s a")
		time.Sleep(time.Second)
		r.expect(t, "0s all", "2s a", "4.1s a", "6.05s a")
	})
}

func TestEveryFileIsLookedAtNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startLoop(t)
		r.pending.everything()
		time.Sleep(10 * time.Minute)
		r.pending.everything() // the stream was read again
		time.Sleep(31 * time.Minute)
		r.expect(t, "0s all", "10m0s all", "25m0s all", "40m0s all")
	})
}

func TestWhatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startLoop(t)
		r.fail = func(rounds int, w work) work {
			switch {
			case rounds > 4:
				return work{}
			case w.all:
				return work{all: true}
			}
			return work{files: map[string]bool{"b": true}}
		}
		r.pending.everything()
		time.Sleep(12 * time.Second)
		r.expect(t, "0s all", "10s all")
		r.pending.change("a")
		time.Sleep(time.Second)
		r.pending.change("c")
		time.Sleep(time.Minute)
		// What failed at 10 s and at 12.2 s comes together.
		r.expect(t, "0s all", "10s all", "12.2s a", "13.2s c", "20s all")
	})
}

func TestTheLoopEndsWithWhatEndedSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := errors.New("the end")
		asked := 0
		err := loop{pending: newPending(), alive: func() {}, ended: func() error {
			if asked++; asked == 3 {
				return end
			}
			return nil
		}}.Run(t.Context())
		if !errors.Is(err, end) || asked != 3 {
			t.Errorf("Run = %v after asking %d times", err, asked)
		}
	})
}
