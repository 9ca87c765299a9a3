package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

var errNoAnswer = fmt.Errorf("status 500: %w", dns.ErrUnclear)

// sorted returns hosts as memory.have does.
func sorted(hosts []string) []string { return slices.Sorted(slices.Values(hosts)) }

// A server that can be read from and takes no changes is left in peace, however
// many names wait for it, and everything is made when it takes them again.
func TestServerThatTakesNoChanges(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 16, 400} {
		t.Run(fmt.Sprint(n, " names"), func(t *testing.T) {
			t.Parallel()
			m := &memory{latency: 100 * time.Millisecond}
			m.before = func(call, _ string) error { return onlyFor(call == "create", errNoAnswer) }
			inBubble(t, Config{Sweep: 24 * time.Hour}, m, manyHosts(n), func(b *bench) {
				b.run(func() {
					time.Sleep(10 * time.Minute)
					if tries := m.count("create"); tries > 12*n && n < 16 || tries > 300 {
						t.Errorf("%d names were tried %d times in 10 minutes", n, tries)
					}
					if gone, back := b.logged("does not answer"), b.logged("answers again"); gone != 1 || back != 0 {
						t.Errorf("the log says %d times that the server is away and %d times that it is back", gone, back)
					}
					if b.r.InStep() == nil {
						t.Error("it counts as ready")
					}
					m.do(func() { m.before = nil })
					b.after(longestPause+time.Minute, sorted(manyHosts(n))...)
					if err := b.r.InStep(); err != nil || b.logged("answers again") != 1 {
						t.Errorf("InStep says %v, and the log %d times that the server is back", err, b.logged("answers again"))
					}
				})
			})
		})
	}
}

// A few names that the server chokes on keep no other from being written, and
// are tried rarely however much else is going on.
func TestNamesThatTheServerChokesOn(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	m.before = func(call, name string) error {
		return onlyFor(call == "create" && strings.HasPrefix(name, "bad"), errNoAnswer)
	}
	bad := []string{"bad1 192.0.2.1", "bad2 192.0.2.2", "bad3 192.0.2.3", "bad4 192.0.2.4"}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, bad, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Hour)
			var good []string
			for id := range int64(60) {
				host := fmt.Sprintf("good%d 198.51.100.%d", 100+id, id)
				good = append(good, host)
				b.put(100+id, host)
				b.after(6*time.Second, good...)
				time.Sleep(time.Minute)
			}
			if tries := m.count("create") - len(good); tries > 4*60 {
				t.Errorf("the bad names were tried %d times in two hours", tries)
			}
		})
	})
}

// When changes were made whose outcome was unclear, reading back is enough to
// know that the server is well.
func TestChangesThatWereMadeAfterAll(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 100 * time.Millisecond}
	hosts := manyHosts(12)
	m.before = func(call, name string) error {
		if call != "create" {
			return nil
		}
		for _, host := range hosts {
			if short, ip, _ := strings.Cut(host, " "); short+"."+labZone == name {
				m.put(short, ip, "us3")
			}
		}
		return errNoAnswer
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, hosts, func(b *bench) {
		b.run(func() {
			b.after(time.Minute, sorted(hosts)...)
			if err := b.r.InStep(); err != nil || m.count("create") != len(hosts) {
				t.Errorf("after %d creations InStep says %v", m.count("create"), err)
			}
		})
	})
}

// When the server could not be reached, all that waited for it goes on as soon
// as it can be.
func TestServerThatCanBeReachedAgain(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 10 * time.Millisecond}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, nil, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Second)
			m.do(func() {
				m.before = func(call, _ string) error {
					return errors.Join(errors.New("connection refused"), onlyFor(call == "create", dns.ErrUnclear))
				}
			})
			hosts := manyHosts(50)
			for i, host := range hosts {
				b.put(int64(i+1), host)
			}
			time.Sleep(time.Hour)
			m.do(func() { m.before = nil })
			b.after(10*time.Second, sorted(hosts)...)
			if gone, back := b.logged("does not answer"), b.logged("answers again"); gone != 1 || back != 1 {
				t.Errorf("the log says %d times that the server is away and %d times that it is back", gone, back)
			}
		})
	})
}

// A server that leaves many changes unclear is got along with step by step: a name
// with many addresses does not wait longer each time, as it gets on each time.
func TestManyAddressesOnAnUnclearServer(t *testing.T) {
	t.Parallel()
	m := &memory{latency: 50 * time.Millisecond}
	m.put("known", "203.0.113.1", "us3")
	creations := 0
	m.before = func(call, _ string) error {
		if call == "create" {
			creations++
		}
		return onlyFor(call == "create" && creations%4 == 0, fmt.Errorf("no answer: %w", dns.ErrUnclear))
	}
	want := []string{"known 203.0.113.1"}
	host := "a"
	for i := range 50 {
		addr := fmt.Sprintf("2001:db8::%x", i+1)
		host, want = host+" "+addr, append(want, "a "+addr)
	}
	inBubble(t, Config{Sweep: 24 * time.Hour}, m, []string{"known 203.0.113.1"}, func(b *bench) {
		b.run(func() {
			time.Sleep(time.Minute)
			b.put(2, host)
			b.after(time.Minute, sorted(want)...)
		})
	})
}
