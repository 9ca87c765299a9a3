package modeltest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/solidsim"
)

// The writes of a day in the life of some names are counted. Then each of them is
// the last that a process made: it never heard of its success, and the next process
// has to come to the same end.
func TestCrashAfterEveryEffect(t *testing.T) {
	reached, broker := newCases(), newBroker(t)
	want, effects := liveThrough(t, broker, reached, 0)
	if effects < 12 {
		t.Fatalf("only %d effects: the day is too short", effects)
	}
	for n := 1; n <= effects; n++ {
		got, _ := liveThrough(t, broker, reached, n)
		if !slices.Equal(got, want) {
			t.Errorf("after a crash behind effect %d of %d DNS has\n%s\nwant\n%s", n, effects, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, name := range []string{caseCrashCreate, caseCrashUpdate, caseCrashRemove, caseBetween, caseLateRemoval} {
		if reached.reached[name] == 0 {
			t.Errorf("never reached: %s", name)
		}
	}
	t.Logf("%d effects:\n%s", effects, reached)
}

// liveThrough lets things happen and returns what DNS has in the end, and how many
// effects it took. With a crash behind the n-th of them, that is the end of the
// first process.
func liveThrough(t *testing.T, broker *broker, reached *cases, n int) (end []string, effects int) {
	w := newWorld(t, broker, reached, options{form: alone, limit: wide, sweep: time.Hour, workers: 1})
	defer w.close()
	theirs := solidsim.Record{Name: "theirs." + zone, Type: "A", Value: "198.51.100.9", TTL: 3600}
	w.byHand(func() error { return w.plant(theirs) })
	w.put(
		reservation("us3", 2, "moves", 1, "192.0.2.1", "2001:db8::1"),
		reservation("us3", 3, "renamed", 2, "192.0.2.2"),
		reservation("us3", 4, "goes", 3, "192.0.2.3", "2001:db8::3"),
		reservation("us3", 5, "shared", 4, "192.0.2.4"), reservation("standby", 5, "shared", 4, "192.0.2.4"),
		reservation("us3", 6, "swaps-a", 5, "192.0.2.5"), reservation("us3", 7, "swaps-b", 6, "192.0.2.6"),
	)
	w.start()
	w.rest()
	w.mu.Lock()
	w.effects, w.toCrash = 0, n
	w.mu.Unlock()

	w.put(reservation("us3", 2, "moves", 1, "192.0.2.11", "2001:db8::11"), reservation("us3", 3, "renamed-to", 2, "192.0.2.2"))
	w.drop(events.Key{Source: "us3", HostID: 4}, events.Key{Source: "us3", HostID: 5})
	w.put(reservation("us3", 6, "swaps-a", 5, "192.0.2.6"), reservation("us3", 7, "swaps-b", 6, "192.0.2.5"))
	w.put(
		reservation("standby", 8, "new", 7, "192.0.2.8", "2001:db8::8"), reservation("us3", 8, "new", 7, "192.0.2.8", "2001:db8::8"),
		reservation("us3", 9, "theirs", 8, "192.0.2.9"),
	)
	w.rest()
	for _, r := range w.sim.Records(server) {
		if !strings.HasPrefix(r.Name, "fence.") {
			end = append(end, fmt.Sprintf("%s ours: %v", recordOf(r), isOurs(r)))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return end, w.effects
}

// The wishes are derived here and in package dns: they have to speak of the same
// reverse names.
func TestReverseNames(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.1":   "1.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := reverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}
