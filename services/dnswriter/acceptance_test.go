package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/solidsim"
)

// resolver asks the DNS server for names again and again, and counts the answers
// without an address.
type resolver struct {
	asked   atomic.Int64
	missing sync.Map // name: how it was missing
}

func (r *resolver) run(ctx context.Context, addr string, names []string) {
	client := miekg.Client{Timeout: 20 * time.Second}
	for ctx.Err() == nil {
		for _, name := range names {
			query := new(miekg.Msg).SetQuestion(name+".", miekg.TypeA)
			answer, _, err := client.ExchangeContext(ctx, query, addr)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				r.missing.Store(name, err.Error())
			case answer.Rcode != miekg.RcodeSuccess || len(answer.Answer) == 0:
				r.missing.Store(name, answer.String())
			}
			r.asked.Add(1)
		}
	}
}

// Kea's own updates delete a row and insert it under another host_id. Some change
// the address too. The sources give signs of life all the time, between the two
// halves as well, and the gaps come to nearly the hold-down.
func TestThousandKeaUpdatesNeverTakeANameAway(t *testing.T) {
	t.Parallel()
	const hosts, updates, atATime = 20, 1000, 5
	w := newWorld(t, reverse4)
	ids, octets := make([]int64, hosts), make([]int, hosts)
	device := func(i int) events.Reservation {
		r := host(int64(i+1), fmt.Sprintf("h%d", i), fmt.Sprintf("192.0.2.%d", octets[i]))
		r.HostID = ids[i]
		return r
	}
	names := make([]string, hosts)
	for i := range hosts {
		ids[i], octets[i], names[i] = int64(i+1), 10+i, fmt.Sprintf("h%d.%s", i, zone)
		w.src.Put(device(i))
	}
	w.src.Beat(time.Second)
	s := w.start("--sweep", "1s", "--hold-down", "10s", "--max-removals", "1000,100%,1000")
	s.checked(1)
	for i := range hosts {
		w.awaitRecord(fmt.Sprintf("h%d", i), fmt.Sprintf("192.0.2.%d", octets[i]))
	}
	w.sim.ResetCalls()

	var polling sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var r resolver
	polling.Go(func() { r.run(ctx, w.sim.DNSAddr(solidsim.InternalServer), names) })

	next := int64(hosts)
	for n := 0; n < updates; n += atATime {
		var old []int64
		var fresh []events.Reservation
		for k := range atATime {
			i := (n + k) % hosts
			next++
			old = append(old, ids[i])
			ids[i] = next
			if (n/hosts+k)%2 == 0 { // every other update changes the address
				octets[i] = 10 + i + hosts*(1+n/hosts%10)
			}
			fresh = append(fresh, device(i))
		}
		w.src.Delete(old...)
		w.src.Beat(time.Duration(n/atATime%9+1) * time.Second) // up to 9 s of 10
		w.src.Put(fresh...)
		w.src.Beat(time.Millisecond)
	}
	for i := range hosts {
		w.awaitRecord(fmt.Sprintf("h%d", i), fmt.Sprintf("192.0.2.%d", octets[i]))
	}
	asked := r.asked.Load()
	w.await("a look at every name after the last update", func() bool { return r.asked.Load() > asked+2*hosts })
	stop()
	polling.Wait()
	r.missing.Range(func(name, how any) bool {
		t.Errorf("%s was gone: %s", name, how)
		return true
	})
	t.Logf("%d updates, %d queries, calls: %v", updates, r.asked.Load(), w.sim.Calls().ByService)

	// It is the names that stay, not everything: PTR records of old addresses go.
	w.beating("only the PTR records of the last addresses are left", func() bool {
		for i := range hosts {
			if !slices.Equal(w.pointers(fmt.Sprintf("192.0.2.%d", octets[i])), []string{fmt.Sprintf("h%d", i)}) {
				return false
			}
		}
		return len(w.sim.Records(solidsim.InternalServer)) == 2*hosts
	})
}

// Whatever it is that the reservations are missing from, nothing is removed: not
// while it lasts, however much time passes by the clocks of those that are there.
// When everybody says that there are no reservations, the records go: it was for
// no other reason that they stayed.
func TestNothingIsRemovedWhenReservationsAreOnlyMissing(t *testing.T) {
	t.Parallel()
	const hosts, oneGone = 10, "one of two sources gone"
	put := func(src *eventstest.Source, from, to int) {
		for i := from; i < to; i++ {
			src.Put(host(int64(i+1), fmt.Sprintf("h%d", i), fmt.Sprintf("192.0.2.%d", i+1)))
		}
	}
	recreate := func(w *world) {
		js, err := jetstream.New(w.nats.Connect())
		if err == nil {
			err = js.DeleteStream(w.t.Context(), events.StreamName)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.src = eventstest.NewSource(w.t, w.nats.Connect(), "us3")
		w.src.Epoch = "epoch-2"
	}
	for name, test := range map[string]struct {
		// lose makes reservations missing, while the service runs or not.
		lose func(w *world)
		// beat is what is heard of them meanwhile.
		beat func(w *world)
	}{
		"empty stream": {
			lose: recreate,
			beat: func(*world) {},
		},
		"half-filled stream": {
			lose: func(w *world) { recreate(w); put(w.src, 0, hosts/2) },
			beat: func(w *world) { w.incomplete(hosts) },
		},
		"recreated stream, whose publisher believes that it is complete": {
			lose: func(w *world) { recreate(w); put(w.src, 0, hosts/2) },
			beat: func(w *world) {
				w.src.Now = w.src.Now.Add(6 * time.Second)
				w.src.BeatAs(events.Heartbeat{Complete: true, Hosts: hosts})
			},
		},
		"empty database": {
			lose: func(w *world) { recreate(w) },
			beat: func(w *world) { w.incomplete(0) },
		},
		"publisher down for good": {
			lose: func(w *world) { w.src.Delete(1, 2) },
			beat: func(*world) {},
		},
		oneGone: {
			lose: func(w *world) {
				standby := eventstest.NewSource(w.t, w.nats.Connect(), "standby")
				put(standby, 0, hosts)
				standby.Beat(time.Second)
				w.await("both are named in the marks", func() bool {
					return !slices.ContainsFunc(w.sim.Records(solidsim.InternalServer), func(r solidsim.Record) bool {
						return !strings.Contains(r.ClassParameters, "standby%2Cus3")
					})
				})
				recreate(w)
			},
			beat: func(w *world) { w.src.Beat(6 * time.Second) }, // complete, and empty
		},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				put(w.src, 0, hosts)
				w.src.Beat(time.Second)
				s := w.start("--sweep", "1s", "--hold-down", "2s")
				s.checked(1)
				w.await("all records", func() bool { return len(w.sim.Records(solidsim.InternalServer)) == hosts })
				if !running && name != oneGone {
					s.stop()
				}
				test.lose(w)
				if !running {
					s.stop()
					s = w.start("--sweep", "1s", "--hold-down", "2s")
				}
				before := s.log.count("DNS consistency check complete")
				w.await("five more checks", func() bool {
					test.beat(w)
					return s.log.count("DNS consistency check complete") >= before+5
				})
				if n := s.log.count("Removed "); n > 0 || len(w.sim.Records(solidsim.InternalServer)) != hosts {
					t.Fatalf("%d removals; left are %+v", n, w.sim.Records(solidsim.InternalServer))
				}

				sources := []*eventstest.Source{w.src}
				if name == oneGone {
					sources = append(sources, eventstest.NewSource(t, w.nats.Connect(), "standby"))
				}
				for _, src := range sources {
					put(src, 0, hosts)
					for i := range hosts {
						src.Delete(int64(i + 1))
					}
				}
				w.await("the records go when everybody says so", func() bool {
					for _, src := range sources {
						src.Beat(6 * time.Second)
					}
					return len(w.sim.Records(solidsim.InternalServer)) == 0
				})
			})
		}
	}
}

// incomplete has the source say, later by its clock, that it does not know of all
// reservations.
func (w *world) incomplete(hosts int) {
	w.src.Now = w.src.Now.Add(6 * time.Second)
	w.src.BeatAs(events.Heartbeat{Hosts: hosts})
}
