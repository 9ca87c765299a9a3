package reconcile

import (
	"fmt"
	"testing"
	"time"

	"github.com/keastream/keastream/pkg/events"
)

// Each of the reverse names of a forward one that many share depends on all of
// them. Still each reservation is looked at a few times, and not once for each.
func TestSharedNameIsNotQuadratic(t *testing.T) {
	t.Parallel()
	const n = 1000
	m := withReverse()
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("shared 198.51.%d.%d", i/250, 1+i%250)
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, append([]string{knownHost}, hosts...), func(b *bench) {
		asked := 0
		last := b.r.index.last
		b.r.index.last = func(k events.Key) (events.Change, bool) {
			asked++
			return last(k)
		}
		b.run(func() {
			b.after(time.Minute, knownHost)
			b.put(7, "shared 198.51.9.9")
			b.after(time.Minute, knownHost)
		})
		if asked > 50*n {
			t.Errorf("the View was asked %d times about %d reservations", asked, n)
		}
		t.Logf("asked %d times about %d reservations", asked, n)
	})
}
