package main

import (
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events/eventstest"
)

// A source is taken out of service while the program runs: its lines go, and it
// does not stand in the way of what other sources remove later.
func TestLinesOfARetiredSourceGo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := eventstest.NewSource(t, f.server.Connect(), "old")
	f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab10-ru7-9-ilo"))
	old.Put(host(2, "us3-cab10-ru7-9-ilo"), host(3, "us3-cab10-ru1-bmc"), host(4, "us3-cab11-ru1-ilo"))
	f.src.Beat(time.Second)
	old.Beat(time.Second)
	s := start(t, f.url, f.dir, func(v *runVerb) { v.Sources = []string{"old"} })
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2", "us3-cab10-ru1-bmc 3")
	s.awaitHosts(cab11, "us3-cab11-ru1-ilo 4")

	old.Retire()
	s.awaitHosts(cab11)
	s.awaitLog(1, "wait for the proof", cab10, "withheld=1") // of the other source, which the file names too
	s.beat(f.src, time.Second, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1", "us3-cab10-ru7-9-ilo 2")

	f.src.Delete(2)
	s.awaitLog(2, "wait for the proof", cab10, "withheld=1")
	s.beat(f.src, time.Second, 10*time.Second)
	s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
	s.checkAll(host(1, "us3-cab10-ru17-idrac"))
}

// The program was down when the only source was retired: nothing that is alive
// ever says anything to it.
func TestLinesOfASourceThatWasRetiredBefore(t *testing.T) {
	t.Parallel()
	for _, once := range []bool{false, true} {
		f := newFixture(t)
		f.src.Put(host(1, "us3-cab10-ru17-idrac"), host(2, "us3-cab11-ru1-ilo"))
		f.src.Beat(time.Second)
		s := start(t, f.url, f.dir, nil)
		s.awaitHosts(cab10, "us3-cab10-ru17-idrac 1")
		s.awaitHosts(cab11, "us3-cab11-ru1-ilo 2")
		s.stop()
		f.src.Retire()

		s = start(t, f.url, f.dir, func(v *runVerb) { v.Once, v.OnceWait, v.Sources = once, time.Minute, []string{"us3"} })
		s.awaitHosts(cab10)
		s.awaitHosts(cab11)
		s.checkAll()
		if once {
			if err := <-s.ended; err != nil {
				t.Errorf("the run ended with %v", err)
			}
		}
	}
}
