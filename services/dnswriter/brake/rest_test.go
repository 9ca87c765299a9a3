package brake_test

import (
	"strings"
	"testing"
)

// While a database is being restored, fewer and fewer names are withheld. Those
// that are left must not go as soon as they are few enough.
func TestARestoreIsWaitedFor(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		for i := 1; i <= 35; i++ {
			l.Want(name(i), nil)
			pass(holdDown / 2)
		}
		l.wantMay(36, 40, 0)
		pass(holdDown)
		l.wantMay(36, 40, 5)
		if l.Lists() != nil || l.Err() != nil {
			t.Errorf("still withheld: %v", l.Err())
		}
		l.stop()
		if !strings.Contains(l.log.String(), "nothing is withheld any more") {
			t.Error("the end was not logged")
		}
	})
}

// A list from which names left is made anew after the hold-down, and not only when
// everything is judged again.
func TestListBecomesShorterInTime(t *testing.T) {
	inTime(t, func(t *testing.T) {
		l := start(t, newMemory())
		l.want(1, 40)
		pass(holdDown)
		for i := 1; i <= 10; i++ {
			l.Want(name(i), nil)
		}
		pass(holdDown)
		l.withheld(30)
		for i := 11; i <= 35; i++ {
			l.Want(name(i), nil)
		}
		pass(holdDown)
		l.wantMay(36, 40, 5)
	})
}
