package solidserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// A line is the network between the client and the appliance.
type line struct {
	addr string

	mu      sync.Mutex
	waiting chan struct{} // closed: what was sent goes on; nil: nothing is held up
}

// newLine makes a line to addr.
func newLine(t *testing.T, addr string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{addr: listener.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.release()
		_ = listener.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				_ = from.Close()
				return
			}
			all.Go(func() {
				defer to.Close()
				_, _ = io.Copy(held{to, l}, from)
			})
			all.Go(func() {
				defer from.Close()
				_, _ = io.Copy(from, to)
			})
		}
	})
	return l
}

// hold has all that the client sends from now on sit where it is.
func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = make(chan struct{})
}

// release lets it go on.
func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting != nil {
		close(l.waiting)
		l.waiting = nil
	}
}

// held is the end of a line at the appliance.
type held struct {
	net.Conn
	line *line
}

func (h held) Write(p []byte) (int, error) {
	h.line.mu.Lock()
	waiting := h.line.waiting
	h.line.mu.Unlock()
	if waiting != nil {
		<-waiting
	}
	return h.Conn.Write(p)
}

// testWriteInASocket: a request that left the client, and did not reach the
// appliance in time, may still do so. The client does not know, and says so when
// the time-out for changes is over, not that for reading; and it happens.
func testWriteInASocket(t *testing.T) {
	t.Parallel()
	sim := start(t)
	l := newLine(t, sim.Addr())
	s := open(t, sim, solidserver.Config{Host: l.addr, ReadTimeout: time.Hour, WriteTimeout: 200 * time.Millisecond}).
		Scope("internal", solidsim.InternalServer, "")
	directly := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	lookup(t, s, host) // the zone is known, and there is a connection
	l.hold()
	_, err := s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true)
	if !errors.Is(err, dns.ErrUnclear) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v", err)
	}
	if rows := lookup(t, directly, host); len(rows) > 0 {
		t.Fatalf("there is %v already", rows)
	}
	l.release()
	for len(lookup(t, directly, host)) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the write was never carried out")
		}
	}
}

// TestWritesThatMayNotBe: no write is sent when it may not be any more, though it
// was when its reading began. Nothing is unclear then.
func TestWritesThatMayNotBe(t *testing.T) {
	t.Parallel()
	sim := start(t)
	lost := errors.New("another instance writes")
	calls := 0
	s := open(t, sim, solidserver.Config{MayWrite: func() error {
		calls = sim.Calls().Total
		return lost
	}}).Scope("internal", solidsim.InternalServer, "")
	row := create(t, open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, ""), record(host, "10.0.0.1"), owner(5))
	add(t, sim, solidsim.Record{Name: host, Type: "AAAA", Value: "2001:db8::1"})
	theirs := lookup(t, s, host)
	theirs = theirs[len(theirs)-1:]
	writes := sim.Calls().Writes
	for name, write := range map[string]func() error{
		"create": func() error {
			_, err := s.Create(t.Context(), site, record("b.site.com", "10.0.0.1"), owner(5), true)
			return err
		},
		"update": func() error { return s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(5)) },
		"delete": func() error { return s.Delete(t.Context(), row) },
		"adopt":  func() error { return s.Adopt(t.Context(), theirs[0], owner(5)) },
	} {
		before := sim.Calls().Total
		err := write()
		if !errors.Is(err, dns.ErrNotNow) || !errors.Is(err, lost) || errors.Is(err, dns.ErrUnclear) || errors.Is(err, dns.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "create" && calls != before+1 {
			t.Errorf("%s: asked before the row was read", name)
		}
	}
	if n := sim.Calls().Writes; n != writes {
		t.Errorf("%d writes were sent", n-writes)
	}
}
