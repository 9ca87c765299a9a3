package soak

import (
	"testing"
	"testing/synctest"
	"time"
)

// A place must not be empty for a moment, unless its row may have been for as long
// as the hold-down.
func TestSteadySeesAMomentWithoutARecord(t *testing.T) {
	t.Parallel()
	const row = 3
	at := steadyPlaces(row)[1]
	for title, test := range map[string]struct {
		do  func(s *steady)
		bad bool
	}{
		"gone":                 {func(*steady) {}, true},
		"gone amid an update":  {func(s *steady) { s.leaves(row); time.Sleep(holdDown / 2) }, true},
		"gone after an update": {func(s *steady) { s.leaves(row); time.Sleep(holdDown / 2); s.isBack(row, 2) }, true},
		"gone after two updates": {func(s *steady) {
			s.leaves(row)
			time.Sleep(holdDown / 2)
			s.isBack(row, 2)
			s.leaves(row)
			time.Sleep(holdDown * 2 / 3)
		}, true},
		"gone with its row":              {func(s *steady) { s.leaves(row); time.Sleep(holdDown) }, false},
		"gone later than its row":        {func(s *steady) { s.leaves(row); time.Sleep(holdDown); s.isBack(row, 2); time.Sleep(time.Hour) }, false},
		"gone with all":                  {func(s *steady) { s.excuse() }, false},
		"gone after a quiet point":       {func(s *steady) { s.excuse(); s.settle(func(place) bool { return true }) }, true},
		"was not there at a quiet point": {func(s *steady) { s.settle(func(place) bool { return false }) }, false},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var failure error
				s := newSteady(func(err error) { failure = err })
				s.isBack(row, 1)
				s.look(at, false)
				s.look(at, true)
				s.settle(func(place) bool { return true })
				if failure != nil {
					t.Fatalf("before anything: %v", failure)
				}
				test.do(s)
				s.look(at, false)
				if (failure != nil) != test.bad {
					t.Errorf("got %v, want an error: %v", failure, test.bad)
				}
			})
		})
	}
}
