package brake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// onNATS starts a server with the stream of reservations, without which there is
// no bucket.
func onNATS(t *testing.T) *eventstest.Server {
	t.Helper()
	srv := eventstest.Start(t)
	eventstest.Open(t, srv.Connect(), events.StreamConfig{})
	return srv
}

// soon is short, and long enough for a slow machine to tell all names in.
func soon(c *brake.Config) { c.HoldDown = time.Second }

// await waits for what happens by itself.
func await(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

// awaitList waits for a list of so many names; there may be shorter ones before,
// when this machine is slow.
func (l *lab) awaitList(t *testing.T, names int) {
	t.Helper()
	await(t, fmt.Sprintf("%d withheld", names), func() bool {
		lists := l.Lists()
		return len(lists) == 1 && lists[0].Names == names && l.Judged()
	})
}

// The whole way through a real bucket, with a process of its own for each part:
// withheld, approved from elsewhere, gone, and counted in the next process.
func TestOnNATS(t *testing.T) {
	t.Parallel()
	srv := onNATS(t)
	l := start(t, bucket.New(srv.Connect()), soon)
	l.want(1, 40)
	l.awaitList(t, 40)
	hash := l.withheld(40).Hash

	verb := bucket.New(srv.Connect())
	if _, err := brake.Approve(t.Context(), verb, "123456789abc"); !errors.Is(err, brake.ErrOutdated) || !strings.Contains(err.Error(), hash) {
		t.Errorf("error %v, want one that names %s", err, hash)
	}
	l.wantMay(1, 40, 0)
	if _, err := brake.Approve(t.Context(), verb, hash); err != nil {
		t.Fatal(err)
	}
	await(t, "approved", func() bool { return l.May(brake.Removal, name(40)) })
	l.wantNone(1, 5)
	if n := l.remove(brake.Removal, 6, 40); n != 35 {
		t.Errorf("%d went, want 35", n)
	}
	await(t, "withdrawn", func() bool {
		lists, err := brake.Withheld(t.Context(), verb)
		return err == nil && lists == nil
	})
	l.stop()

	l = start(t, bucket.New(srv.Connect()), soon)
	l.want(1, 7)
	l.Checked()
	l.awaitList(t, 5)
	l.wantMay(6, 7, 2) // in the count
	if list := l.withheld(5); list.Recent != 35 {
		t.Errorf("recent are %d, want 35", list.Recent)
	}
}

// Two processes count against each other, through one bucket.
func TestTwoOnNATS(t *testing.T) {
	t.Parallel()
	srv := onNATS(t)
	a := start(t, bucket.New(srv.Connect()), soon)
	b := start(t, bucket.New(srv.Connect()), soon)
	a.want(1, 9)
	b.want(101, 109)
	await(t, "judged", func() bool { return a.May(brake.Removal, name(9)) && b.May(brake.Removal, name(109)) })
	var mu sync.Mutex
	var workers sync.WaitGroup
	gone := 0
	for i := 1; i <= 9; i++ {
		for _, w := range []struct {
			*lab
			name string
		}{{a, name(i)}, {b, name(100 + i)}} {
			workers.Go(func() {
				err := w.Count(t.Context(), brake.Removal, w.name)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					gone++
				} else if !errors.Is(err, brake.ErrWithheld) {
					t.Error(err)
				}
			})
		}
	}
	workers.Wait()
	if gone > 10 || gone < 9 {
		t.Errorf("%d names went, want 9 or 10 of the 10 that are allowed", gone)
	}
}

func TestNATSIsAway(t *testing.T) {
	t.Parallel()
	srv := onNATS(t)
	conn := srv.Connect()
	srv.Stop()
	l := start(t, bucket.New(conn), soon)
	l.want(1, 3)
	await(t, "a reason", func() bool { return l.Err() != nil })
	l.wantMay(1, 3, 0)
	srv.Resume()
	await(t, "released", func() bool { return l.May(brake.Removal, name(3)) })
	await(t, "no reason", func() bool { return l.Err() == nil })
	srv.Stop()
	if err := l.Count(t.Context(), brake.Removal, name(1)); err == nil {
		t.Error("counted although NATS is away")
	}
	await(t, "a reason", func() bool { return l.Err() != nil })
	srv.Resume()
	await(t, "counted", func() bool { return l.Count(t.Context(), brake.Removal, name(1)) == nil })
	await(t, "no reason", func() bool { return l.Err() == nil })
}

// A database that lost everything: 100,000 names with two records each.
func TestAVeryLongList(t *testing.T) {
	t.Parallel()
	const n = 100_000
	srv := onNATS(t)
	l := start(t, bucket.New(srv.Connect()), soon)
	l.owned.Store(n)
	wantAll(l.Brake, n)
	l.awaitList(t, n)
	list := l.withheld(n)
	if len(list.Items) != 2*n || list.Allowed != 200 {
		t.Fatalf("%d records of %d names, %d allowed", len(list.Items), list.Names, list.Allowed)
	}
	if _, err := brake.Approve(t.Context(), bucket.New(srv.Connect()), list.Hash); err != nil {
		t.Fatal(err)
	}
	await(t, "approved", func() bool { return l.May(brake.Removal, longName(n-1)) })
	for i := range n {
		if err := l.Count(t.Context(), brake.Removal, longName(i)); err != nil {
			t.Fatal(err)
		}
	}
	wantNone(l.Brake, n)
	l.stop()
	// All of them count, for the next process too.
	l = start(t, bucket.New(srv.Connect()), soon)
	l.owned.Store(n)
	l.want(1, 1)
	l.awaitList(t, 1)
	if list := l.withheld(1); list.Recent != n {
		t.Errorf("recent are %d, want %d", list.Recent, n)
	}
}

func longName(i int) string { return fmt.Sprintf("us3-cab%d-ru%d-idrac.lab.example.com", i/40, i%40) }

func reverseName(i int) string {
	return fmt.Sprintf("%d.%d.%d.10.in-addr.arpa", i&255, i>>8&255, i>>16)
}

// wantAll has n names go, each with its address and its PTR record.
func wantAll(b *brake.Brake, n int) {
	for i := range n {
		forward, reverse := longName(i), reverseName(i)
		b.Want(forward, []brake.Item{{Kind: brake.Removal, Name: forward,
			Record: fmt.Sprintf("%s A 10.%d.%d.%d", forward, i>>16, i>>8&255, i&255)}})
		b.Want(reverse, []brake.Item{{Kind: brake.Removal, Name: forward, Record: reverse + " PTR " + forward}})
	}
}

func wantNone(b *brake.Brake, n int) {
	for i := range n {
		b.Want(longName(i), nil)
		b.Want(reverseName(i), nil)
	}
}
