// Package modeltest tries the reconciler against a model of what DNS has to hold:
// reservations come, move and go, people edit DNS by hand, calls fail with and
// without effect, a process dies behind any of its writes, the stream is lost; two
// instances take turns, or both write.
// When that has come to rest, DNS must hold what the rows ask for, and what others
// have put there.
//
// Nothing is mocked: it is the reconciler with the client of SOLIDserver, over TLS
// against the simulator, and events.Watch on a nats-server. What DNS has to hold is
// derived here anew (want), without package dns.
//
// A run is a number of seeds, one after the other. Each gives a sequence of
// actions, which pgregory.net/rapid draws and, when it fails, makes shorter. A run
// that never came to one of the hard cases fails too: see cases.
//
//	go test -race ./services/dnswriter/modeltest                                 as CI does
//	go test ./services/dnswriter/modeltest -run '^TestModel$' -v -args -seed 17 -seeds 1   one seed again
//	go test ./services/dnswriter/modeltest -run '^TestModel$' -timeout 0 -args -seed 0 -length 30m
package modeltest

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed; 0 takes one by chance")
	seeds     = flag.Int("seeds", usualSeeds, "how many seeds are run, one after the other")
	length    = flag.Duration("length", 0, "how long more seeds are run after these")
)

// usualSeeds is how many seeds it takes to come to every hard case, with a margin:
// the seed says what happens, but not which goroutine is faster.
const usualSeeds = 24

func TestModel(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": "1", "rapid.steps": "60", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	seed := *firstSeed
	for seed == 0 {
		seed = rand.Uint64N(1 << 32) // short enough to be typed again
	}
	reached := newCases()
	broker := newBroker(t)
	start := time.Now()
	for n := 0; n < *seeds || time.Since(start) < *length; n++ {
		runSeed(t, broker, reached, seed)
		if t.Failed() {
			t.Fatalf("again: go test ./services/dnswriter/modeltest -run '^TestModel$' -v -args -seed %d -seeds 1", seed)
		}
		seed++
	}
	t.Logf("in %s:\n%s", time.Since(start).Round(time.Second), reached)
	if *seeds < usualSeeds {
		return
	}
	for _, missed := range reached.missed() {
		t.Errorf("never reached: %s", missed)
	}
}

// optionsOf gives seeds that follow one another all combinations.
func optionsOf(seed uint64) (o options) {
	draw := func(n uint64) uint64 {
		choice := seed % n
		seed /= n
		return choice
	}
	o.form = []form{alone, leased, unleased}[draw(3)]
	o.limit = []string{wide, narrow}[draw(2)]
	// With sweeps nothing has to be noticed at once; without, nothing is mended
	// later. What one instance undid of the other, only a check finds.
	o.sweep = []time.Duration{frequent, time.Hour}[draw(2)]
	if o.form == unleased {
		o.sweep = frequent
	}
	o.workers = []int{1, 4}[draw(2)]
	return o
}

// frequent is so often that a check repairs everything soon.
const frequent = 100 * time.Millisecond

// runSeed runs the state machine once, with what a seed says.
func runSeed(t *testing.T, broker *broker, reached *cases, seed uint64) {
	t.Logf("seed %d", seed)
	if err := flag.Set("rapid.seed", formatSeed(seed)); err != nil {
		t.Fatal(err)
	}
	o := optionsOf(seed)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, broker, reached, o)
		defer w.close()
		for range 4 {
			w.reserveOne(rt, drawName(rt))
		}
		w.faulty(rt)
		w.faulty(rt)
		if rapid.Bool().Draw(rt, "an intruder") {
			w.intruder(rt)
		}
		w.start()
		w.fence(time.Now().Add(patience))
		w.fence(time.Now().Add(patience)) // before it, nothing has changed
		w.rest()
		rt.Repeat(w.actions())
		w.quiet()
		w.note("delete everything")
		w.drop(keys(w.live())...)
		w.quiet()
		w.letGo()
	})
}
