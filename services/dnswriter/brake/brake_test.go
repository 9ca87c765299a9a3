package brake_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

const holdDown = 10 * time.Second

// lab is a brake that runs, and what it told.
type lab struct {
	*brake.Brake
	t     testing.TB
	owned int

	mu       sync.Mutex
	released []string
	stop     func()
}

// start runs a brake until the test ends, or until stop is called.
func start(t testing.TB, owned int, change func(*brake.Config)) *lab {
	t.Helper()
	l := &lab{t: t, owned: owned}
	limit, err := brake.ParseLimit(brake.DefaultLimit)
	if err != nil {
		t.Fatal(err)
	}
	cfg := brake.Config{
		Scope: "internal", Limit: limit, HoldDown: holdDown,
		Owned: func() int { return l.owned },
		Released: func(lanes []string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.released = append(l.released, lanes...)
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&cfg)
	}
	l.Brake = brake.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(l.stop)
	return l
}

func name(i int) string { return fmt.Sprintf("host-%03d.lab.example.com", i) }

// removal is what the lane of a name wants when its address has to go.
func removal(i int) []brake.Item {
	return []brake.Item{{Kind: brake.Removal, Name: name(i), Record: fmt.Sprintf("%s A 192.0.2.%d", name(i), i)}}
}

// want has the names from first to last removed.
func (l *lab) want(first, last int) {
	for i := first; i <= last; i++ {
		l.Want(name(i), removal(i))
	}
}

// may counts those of the names that may go.
func (l *lab) may(first, last int) int {
	n := 0
	for i := first; i <= last; i++ {
		if l.May(brake.Removal, name(i)) {
			n++
		}
	}
	return n
}

// remove takes away what may go, as a lane does.
func (l *lab) remove(first, last int) {
	l.t.Helper()
	for i := first; i <= last; i++ {
		if !l.May(brake.Removal, name(i)) {
			continue
		}
		if err := l.Count(context.Background(), brake.Removal, name(i)); err != nil {
			l.t.Errorf("count: %v", err)
		}
		l.Want(name(i), nil)
	}
}

func (l *lab) wantMay(first, last, want int) {
	l.t.Helper()
	if got := l.may(first, last); got != want {
		l.t.Errorf("%d of the names %d to %d may go, want %d", got, first, last, want)
	}
}

func rest() { time.Sleep(holdDown); synctest.Wait() }

func TestWithinTheLimitAllGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := start(t, 2000, nil)
		synctest.Wait()
		l.want(1, 40)
		time.Sleep(holdDown - time.Millisecond)
		synctest.Wait()
		l.wantMay(1, 40, 0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.wantMay(1, 40, 40)
		if got := len(slices.Compact(slices.Sorted(slices.Values(l.released)))); got != 40 {
			t.Errorf("%d lanes were released, want 40", got)
		}
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	})
}

func TestTooManyAreWithheld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := start(t, 50, nil)
		l.want(1, 40)
		rest()
		l.wantMay(1, 40, 0)
		lists := l.Lists()
		if len(lists) != 1 || lists[0].Names != 40 || lists[0].Allowed != 10 {
			t.Fatalf("%+v", lists)
		}
		want := "40 names are withheld: more than the 10 that --max-removals allows in an hour. See `keastream-dnswriter plan`; to let them go: keastream-dnswriter approve " + lists[0].Hash
		if got := fmt.Sprint(l.Err()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		// A restore brings them back, slowly: the rest must not go meanwhile.
		for i := 1; i <= 35; i++ {
			l.Want(name(i), nil)
			time.Sleep(holdDown / 2)
		}
		synctest.Wait()
		l.wantMay(36, 40, 0)
		rest()
		l.wantMay(36, 40, 5)
		if got := l.Lists(); got != nil {
			t.Errorf("still withheld: %+v", got)
		}
	})
}
