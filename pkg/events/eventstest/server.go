// Package eventstest gives tests a real nats-server with JetStream in their own
// process, and a source to publish from.
package eventstest

import (
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a nats-server with JetStream that listens on a free port of
// loopback and keeps its files in the test's temporary directory.
type Server struct {
	t    testing.TB
	opts *server.Options
	srv  *server.Server // nil while stopped
	url  string
}

// Start starts a server, which is stopped at the end of the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, opts: &server.Options{
		ServerName: "eventstest",
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		SyncAlways: true, // as in production: an acknowledgement means that it is on disk
		NoSigs:     true,
		NoLog:      true,
	}}
	t.Cleanup(s.Stop)
	s.Resume()
	return s
}

// Stop ends the server and keeps its files. Stopping twice does nothing.
func (s *Server) Stop() {
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
		s.srv = nil
	}
}

// Resume starts the server again, on the same port and with the same files.
func (s *Server) Resume() {
	s.t.Helper()
	srv, err := server.NewServer(s.opts)
	if err != nil {
		s.t.Fatalf("make nats-server: %v", err)
	}
	go srv.Start() // ends with Shutdown
	if !srv.ReadyForConnections(20 * time.Second) {
		srv.Shutdown()
		s.t.Fatal("nats-server is not ready after 20 s")
	}
	s.srv, s.url = srv, srv.ClientURL()
	s.opts.Port = srv.Addr().(*net.TCPAddr).Port // the same one after Stop and Resume
}

// URL returns the address for clients. It stays the same for the whole test.
func (s *Server) URL() string { return s.url }

// Connect returns a connection that comes back by itself when the server does.
// It is closed at the end of the test.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.URL(),
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		s.t.Fatalf("connect to nats-server: %v", err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}
