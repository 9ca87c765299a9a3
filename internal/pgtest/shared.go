package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// startLimit is for a slow machine that builds other packages at the same time.
const startLimit = 2 * time.Minute

// sharedServer is the one server of a test binary.
type sharedServer struct {
	mu     sync.Mutex // guards what follows
	ready  bool       // Run was called: somebody will stop the server
	server *Server
	err    error // of the start: tried once
	names  int   // given out so far
}

// shared is a package variable because a test has no other way to what TestMain made.
var shared sharedServer

// Run runs the tests of a package and then stops the server, if a test asked
// for one. It gives the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
func Run(m *testing.M) (code int) {
	shared.mu.Lock()
	shared.ready = true
	shared.mu.Unlock()
	code = m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

func (s *sharedServer) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	return s.server.Stop()
}

// get starts the server when it is called for the first time.
func (s *sharedServer) get() (*Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return nil, errors.New("this package needs: func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }")
	}
	if s.server == nil && s.err == nil {
		// Not the context of the test that happens to be the first.
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		s.server, s.err = Start(ctx, Options{})
	}
	return s.server, s.err
}

// name gives a name that no other test of this binary has.
func (s *sharedServer) name(kind string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names++
	return fmt.Sprintf("test_%s_%d", kind, s.names)
}

// Shared gives the server of this test binary. A test must not stop it, nor
// change what other tests may see: roles are common to all databases.
func Shared(t testing.TB) *Server {
	t.Helper()
	server, err := shared.get()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return server
}

// DB makes a database with Kea's schema for this test alone and gives its
// connection string for role kea. At the end of the test the database is
// dropped, whoever is still connected. [As] gives the string for other roles.
func DB(t testing.TB) (dsn string) {
	t.Helper()
	return newDatabase(t, func(s *Server, name string) error { return s.CreateDatabase(t.Context(), name) })
}

// EncodedDB is DB for a character encoding by its PostgreSQL name.
func EncodedDB(t testing.TB, encoding string) (dsn string) {
	t.Helper()
	return newDatabase(t, func(s *Server, name string) error { return s.CreateEncodedDatabase(t.Context(), name, encoding) })
}

func newDatabase(t testing.TB, create func(*Server, string) error) (dsn string) {
	t.Helper()
	server := Shared(t)
	name := shared.name("db")
	t.Cleanup(func() {
		if err := server.DropDatabase(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if err := create(server, name); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return server.DSN(name, Kea)
}

// As turns a connection string of DB into that for another role: Superuser,
// Kea, or one made by Role. Parameters that were added to it stay.
func As(t testing.TB, dsn, role string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("pgtest: not a connection string of DB") // without the text: it has a password
	}
	u.User = Shared(t).login(role)
	return u.String()
}

// Role makes a role for this test alone that may log in and has no other
// right. It lives as long as the server: it may own things in several databases.
func Role(t testing.TB) (name string) {
	t.Helper()
	name = shared.name("role")
	if err := Shared(t).CreateRole(t.Context(), name); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return name
}
