package solidsim

import (
	"net"
	"net/http"
	"sync"
)

// unusedConns knows the connections that carried no request yet. HTTP clients
// open such ones in advance, and http.Server.Shutdown would wait for them. The
// zero value is ready.
type unusedConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// watch is the ConnState function of the server.
func (u *unusedConns) watch(conn net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state != http.StateNew {
		delete(u.conns, conn)
		return
	}
	if u.closed {
		_ = conn.Close()
		return
	}
	if u.conns == nil {
		u.conns = make(map[net.Conn]struct{})
	}
	u.conns[conn] = struct{}{}
}

// close closes them, and those that still come.
func (u *unusedConns) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for conn := range u.conns {
		_ = conn.Close()
	}
}
