package solidsim

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// tlsRecord is the first byte of every TLS connection: a handshake record.
const tlsRecord = 0x16

// firstByte is how long a connection may wait with its first byte.
const firstByte = 10 * time.Second

// An eitherListener accepts connections with TLS and without on one port, and
// tells them apart by their first byte. It is needed because an appliance
// answers plain HTTP, with a redirect. Accept gives a *tls.Conn or a connection
// in clear.
type eitherListener struct {
	inner  net.Listener
	config *tls.Config
	ready  chan accepted
	closed chan struct{}
	once   sync.Once
	tasks  sync.WaitGroup

	mu      sync.Mutex
	waiting map[net.Conn]struct{} // for their first byte; nil after Close
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// listenEither takes the listener over: Close closes it.
func listenEither(inner net.Listener, config *tls.Config) *eitherListener {
	l := &eitherListener{
		inner: inner, config: config, ready: make(chan accepted), closed: make(chan struct{}),
		waiting: make(map[net.Conn]struct{}),
	}
	l.tasks.Go(l.accept)
	return l
}

// accept takes connections until Close. Its errors go to the caller of Accept,
// who knows whether to go on.
func (l *eitherListener) accept() {
	for {
		conn, err := l.inner.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			l.give(accepted{err: err})
			continue
		}
		l.tasks.Go(func() { l.sort(conn) })
	}
}

// give hands over to Accept, and returns false if nobody will call that again.
func (l *eitherListener) give(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.closed:
		return false
	}
}

// sort waits for the first byte and hands the connection on.
func (l *eitherListener) sort(conn net.Conn) {
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		_ = conn.Close()
		return
	}
	l.waiting[conn] = struct{}{}
	l.mu.Unlock()

	first := make([]byte, 1)
	_ = conn.SetReadDeadline(time.Now().Add(firstByte))
	_, err := conn.Read(first)
	l.mu.Lock()
	delete(l.waiting, conn)
	l.mu.Unlock()
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	var sorted net.Conn = &peekedConn{Conn: conn, first: first}
	if first[0] == tlsRecord {
		sorted = tls.Server(sorted, l.config)
	}
	if !l.give(accepted{conn: sorted}) {
		_ = conn.Close()
	}
}

// Accept returns the next connection whose first byte has come.
func (l *eitherListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the listener and the connections that still wait for their
// first byte.
func (l *eitherListener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.inner.Close()
		l.mu.Lock()
		for conn := range l.waiting {
			_ = conn.Close()
		}
		l.waiting = nil
		l.mu.Unlock()
		l.tasks.Wait()
	})
	return err
}

// Addr is the address of the port.
func (l *eitherListener) Addr() net.Addr { return l.inner.Addr() }

// A peekedConn is a connection of which the first byte was read already.
type peekedConn struct {
	net.Conn
	first []byte
}

// Read gives the first byte, then the rest.
func (c *peekedConn) Read(p []byte) (int, error) {
	if len(c.first) == 0 || len(p) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
