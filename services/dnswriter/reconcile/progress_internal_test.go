package reconcile

import (
	"testing"
	"time"
)

func TestProgressOfACheck(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	m.put("known", "203.0.113.1", "us3")
	inBubble(t, Config{Workers: 1}, m, append(manyHosts(50), "known 203.0.113.1"), func(b *bench) {
		if p, ok := b.r.Progress(); ok {
			t.Errorf("before any check the progress is %+v", p)
		}
		b.run(func() {
			time.Sleep(150 * time.Millisecond) // while it reads
			if p, ok := b.r.Progress(); !ok || p.All != 0 || p.Done != 0 {
				t.Errorf("while it reads the progress is %+v, %v", p, ok)
			}
			time.Sleep(2100 * time.Millisecond) // 20 of them are written
			p, ok := b.r.Progress()
			if want := (Progress{Took: 2250 * time.Millisecond, Done: 21, All: 51, Changes: 20}); !ok || p != want {
				t.Errorf("in the middle the progress is %+v, %v, want %+v", p, ok, want)
			}
			time.Sleep(time.Minute)
			if p, ok := b.r.Progress(); ok {
				t.Errorf("after the check the progress is %+v", p)
			}
		})
	})
}
