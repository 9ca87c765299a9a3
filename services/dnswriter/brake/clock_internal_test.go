package brake

import (
	"testing"
	"time"
)

// The clock was a year ahead when names went, and was set right: they must not be in
// the count for a year.
func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSide(Removal)
	s.recent["a.lab.example.com"] = now.AddDate(1, 0, 0)
	s.approvals = []*approval{{
		at: now, taken: now, done: map[string]time.Time{"b.lab.example.com": now.AddDate(1, 0, 0)},
		lost: 1, lostAt: now.AddDate(1, 0, 0),
	}}
	if n := s.used(now); n != 3 {
		t.Errorf("%d names are in the count, want 3", n)
	}
	if n := s.used(now.Add(window)); n != 0 {
		t.Errorf("an hour later %d names are in the count", n)
	}
}
