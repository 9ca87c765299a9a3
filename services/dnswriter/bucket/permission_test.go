package bucket_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// restricted starts a server with the stream of reservations, and returns the
// connection of a user who may publish on the subjects alone.
func restricted(t *testing.T, subjects ...string) *nats.Conn {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Users: []*server.User{
			{Username: "admin", Password: "admin"},
			{Username: "dnswriter", Password: "secret", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: subjects}}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start() // ends with Shutdown
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(timeLimit) {
		t.Fatal("nats-server is not ready")
	}
	connect := func(user, password string) *nats.Conn {
		conn, err := nats.Connect(srv.ClientURL(), nats.UserInfo(user, password),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // else the library prints them
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return conn
	}
	openStream(t, connect("admin", "admin"))
	return connect("dnswriter", "secret")
}

// The error of a user who may not says what he needs, and that is enough.
func TestMissingPermission(t *testing.T) {
	t.Parallel()
	_, err := bucket.New(restricted(t, "$JS.API.STREAM.INFO.KEA")).Get(t.Context(), "a", new(note))
	if err == nil || !strings.Contains(err.Error(), "NATS denies it") || !strings.Contains(err.Error(), "$KV.keastream-dnswriter.>") {
		t.Fatalf("error %v", err)
	}
	_, list, found := strings.Cut(err.Error(), "allow the user to publish on ")
	if !found {
		t.Fatalf("no subjects in %v", err)
	}
	conn := restricted(t, strings.Split(list, ", ")...)
	b := bucket.New(conn)
	w := watch(t, bucket.New(conn), "a")
	revision := put(t, b, "a", 0, many("large", 3000))
	await(t, "the document", w.is("large"))
	revision = put(t, b, "a", revision, note{Text: "small"})
	await(t, "the next document", w.is("small"))
	if err := b.Delete(t.Context(), "a", revision); err != nil {
		t.Error(err)
	}
	put(t, b, "a.b", 0, note{})
	if keys, err := b.Keys(t.Context(), "a"); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := conn.LastError(); err != nil {
		t.Errorf("something was denied: %v", err)
	}
}
