package lease_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/services/dnswriter/bucket/buckettest"
)

// exclusive looks on until ctx ends: no two contenders hold the lease at the same
// time. It returns how often one was seen to hold it.
//
// They are asked one after the other, so one that says yes is asked again after the
// other did: it held the lease all the time between, unless it was lost and got
// twice in a moment.
func exclusive(ctx context.Context, t *testing.T, all []*contender) (seen int) {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for ctx.Err() == nil {
		<-look.C
		for i, a := range all {
			began, wasHeld := time.Now(), a.Held(0)
			if !wasHeld {
				continue
			}
			seen++
			for j, b := range all {
				if i != j && b.Held(0) && a.Held(0) && time.Since(began) < renew/2 {
					t.Errorf("contenders %d and %d both hold the lease", i, j)
					return seen
				}
			}
		}
	}
	return seen
}

// Contenders, faults of their connections and restarts of the server, by chance: no
// two ever hold the lease, and in the end one leads.
func TestNeverTwo(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	srv := start(t)
	var routes []*buckettest.Route
	var all []*contender
	for range 4 {
		r := buckettest.NewRoute(t, srv.URL())
		routes = append(routes, r)
		all = append(all, contend(t, r.Conn, term))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var looking conc.WaitGroup
	seen := 0
	looking.Go(func() { seen = exclusive(ctx, t, all) })

	ended := map[int]bool{}
	for range 14 {
		switch n := chance.IntN(10); {
		case n < 3:
			srv.Stop()
			pause(t, chance, 2*term)
			srv.Resume()
		case n < 9:
			// To the one that leads, if there is one: that hurts most.
			r := routes[chance.IntN(len(routes))]
			for i, c := range all {
				if c.Held(0) {
					r = routes[i]
				}
			}
			r.Lose([]string{buckettest.Requests, buckettest.Answers}[chance.IntN(2)])
			pause(t, chance, 2*term)
			r.Heal()
		default:
			if i := chance.IntN(len(all)); len(ended) < 2 {
				all[i].end()
				ended[i] = true
			}
		}
		pause(t, chance, term)
	}
	await(t, "one leads", func() bool {
		for _, c := range all {
			if c.holds() {
				return true
			}
		}
		return false
	})
	cancel()
	looking.Wait()
	if seen == 0 {
		t.Error("nobody was ever seen to hold the lease")
	}
	leaderships := int64(0)
	for _, c := range all {
		leaderships += c.leaderships.Load()
	}
	t.Logf("%d leaderships", leaderships)
}

// pause lets time go by: here it is what happens.
func pause(t *testing.T, chance *rand.Rand, most time.Duration) {
	t.Helper()
	select {
	case <-time.After(time.Duration(chance.Int64N(int64(most)))):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
