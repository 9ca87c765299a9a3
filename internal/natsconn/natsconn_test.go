package natsconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/natsconn"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// logbook is a log that a test can read and wait for.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newLog(t *testing.T) (*slog.Logger, *logbook) {
	b := &logbook{more: make(chan struct{}, 1)}
	return slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), b), &slog.HandlerOptions{Level: slog.LevelDebug})), b
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// wait waits until the text stands in the log n times.
func (b *logbook) wait(t *testing.T, n int, text string) {
	t.Helper()
	for strings.Count(b.String(), text) < n {
		select {
		case <-b.more:
		case <-t.Context().Done():
			t.Fatalf("%q is not in the log %d times", text, n)
		}
	}
}

// serve starts a nats-server; changes may change its options. Port 0 means a
// free one.
func serve(t *testing.T, port int, changes ...func(*server.Options)) *server.Server {
	t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, SyncAlways: true, StoreDir: t.TempDir()}
	if port == 0 {
		options.Port = server.RANDOM_PORT
	}
	for _, change := range changes {
		change(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if s.Addr() == nil {
		t.Fatal("nats-server does not listen")
	}
	t.Cleanup(func() { stop(s) })
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func portOf(s *server.Server) int { return s.Addr().(*net.TCPAddr).Port }

func connect(t *testing.T, settings natsconn.Settings, log *slog.Logger) *nats.Conn {
	t.Helper()
	nc, err := settings.Connect(t.Context(), "keastream-dnswriter", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestConnect(t *testing.T) {
	t.Parallel()
	s := serve(t, 0)
	log, book := newLog(t)
	nc := connect(t, natsconn.Settings{URL: []string{s.ClientURL()}}, log)
	if !nc.IsConnected() {
		t.Error("not connected")
	}
	if inbox := nc.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_dnswriter.") {
		t.Errorf("inbox %s", inbox)
	}
	conns, err := s.Connz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if conns.NumConns != 1 || conns.Conns[0].Name != "keastream-dnswriter" {
		t.Errorf("connections: %+v", conns.Conns)
	}
	book.wait(t, 1, `msg="nats connected"`)
	nc.Close()
	if strings.Contains(book.String(), "level=WARN") {
		t.Error("a clean end is warned of")
	}
}

func TestServerIsAwayAtFirst(t *testing.T) {
	t.Parallel()
	s := serve(t, 0)
	port, url := portOf(s), s.ClientURL()
	stop(s)

	log, book := newLog(t)
	nc := connect(t, natsconn.Settings{URL: []string{url}}, log)
	if nc.IsConnected() {
		t.Fatal("connected to nothing")
	}
	messages := make(chan *nats.Msg, 1)
	if _, err := nc.ChanSubscribe("early", messages); err != nil {
		t.Fatal(err)
	}
	book.wait(t, 1, "nats is not reachable")

	serve(t, port)
	book.wait(t, 1, `msg="nats connected"`)
	if err := nc.Publish("early", []byte("here")); err != nil {
		t.Fatal(err)
	}
	if msg := <-messages; string(msg.Data) != "here" {
		t.Errorf("got %q", msg.Data)
	}
}

// A JetStream consumer must survive that a publish fails at once while the
// server is away: its own requests are publishes.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	options := func(o *server.Options) { o.JetStream, o.StoreDir = true, dir }
	s := serve(t, 0, options)
	port := portOf(s)
	log, book := newLog(t)
	nc := connect(t, natsconn.Settings{URL: []string{s.ClientURL()}}, log)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEA", Subjects: []string{"kea.>"}})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	consume, err := consumer.Consume(func(msg jetstream.Msg) { got <- string(msg.Data()) })
	if err != nil {
		t.Fatal(err)
	}
	defer consume.Stop()
	if _, err := js.Publish(t.Context(), "kea.a", []byte("before")); err != nil {
		t.Fatal(err)
	}
	if msg := <-got; msg != "before" {
		t.Errorf("got %q", msg)
	}

	away := nc.StatusChanged(nats.RECONNECTING)
	stop(s)
	<-away
	book.wait(t, 1, "nats disconnected")
	if err := nc.Publish("kea.a", []byte("kept back")); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Errorf("publish while disconnected: %v", err)
	}

	serve(t, port, options)
	book.wait(t, 2, `msg="nats connected"`)
	if _, err := js.Publish(t.Context(), "kea.a", []byte("after")); err != nil {
		t.Fatal(err)
	}
	if msg := <-got; msg != "after" {
		t.Errorf("got %q", msg)
	}
	if n := strings.Count(book.String(), "nats disconnected"); n != 1 {
		t.Errorf("one loss is logged %d times", n)
	}
}

// The client's default gives up after the second refusal, at the start and later.
func TestServerRefusesForAWhile(t *testing.T) {
	t.Parallel()
	password := func(text string) func(*server.Options) {
		return func(o *server.Options) { o.Username, o.Password = "kea", text }
	}
	s := serve(t, 0, password("of today"))
	port := portOf(s)
	log, book := newLog(t)
	url := "nats://kea:of%20tomorrow@" + s.Addr().String()
	nc := connect(t, natsconn.Settings{URL: []string{url}}, log)
	waitForAttempts(t, s, 3)
	if nc.IsClosed() || nc.IsConnected() {
		t.Fatalf("status %v", nc.Status())
	}
	stop(s)
	s = serve(t, port, password("of tomorrow"))
	book.wait(t, 1, `msg="nats connected"`)

	stop(s)
	s = serve(t, port, password("of another day"))
	waitForAttempts(t, s, 3)
	stop(s)
	serve(t, port, password("of tomorrow"))
	book.wait(t, 2, `msg="nats connected"`)

	text := book.String()
	if strings.Contains(text, "tomorrow") {
		t.Error("the password is in the log")
	}
	if n := strings.Count(strings.ToLower(text), "authorization violation"); n != 2 {
		t.Errorf("the two times of refusal are logged %d times", n)
	}
}

func TestLogHoldsNoCredentials(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		demand func(*server.Options)
		login  string
	}{
		"token":             {func(o *server.Options) { o.Authorization = "hunter2" }, "hunter2"},
		"user and password": {func(o *server.Options) { o.Username, o.Password = "hunter", "hunter2" }, "hunter:hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, 0, test.demand)
			port := portOf(s)
			log, book := newLog(t)
			connect(t, natsconn.Settings{URL: []string{"nats://" + test.login + "@" + s.Addr().String()}}, log)
			book.wait(t, 1, `msg="nats connected" url=nats://[redacted]@`+s.Addr().String())
			stop(s)
			book.wait(t, 1, "nats connection attempt failed")
			serve(t, port, test.demand)
			book.wait(t, 2, `msg="nats connected"`)
			if strings.Contains(book.String(), "hunter") {
				t.Error("credentials are in the log")
			}
		})
	}
}

func waitForAttempts(t *testing.T, s *server.Server, n uint64) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		v, err := s.Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		if v.TotalConnections >= n {
			return
		}
		<-look.C
	}
}

// To the caller a denied call is a time-out; the log says what it was.
func TestDeniedCallIsLogged(t *testing.T) {
	t.Parallel()
	s := serve(t, 0, func(o *server.Options) {
		o.JetStream = true
		o.Users = []*server.User{{Username: "dnswriter", Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.INFO"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_dnswriter.>"}},
		}}}
	})
	log, book := newLog(t)
	nc := connect(t, natsconn.Settings{URL: []string{"nats://dnswriter:secret@" + s.Addr().String()}}, log)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Errorf("an allowed call with our own inbox: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := js.Stream(ctx, "KEA"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a denied call: %v", err)
	}
	book.wait(t, 1, "nats reported an error")
	book.wait(t, 1, "$JS.API.STREAM.INFO.KEA")
	if strings.Contains(book.String(), "secret") {
		t.Error("the password is in the log")
	}
}

func TestConnectOverInProcessServer(t *testing.T) {
	t.Parallel()
	s := serve(t, 0)
	log, _ := newLog(t)
	nc := connect(t, natsconn.Settings{InProcess: s, URL: []string{"nats://192.0.2.1:1"}}, log)
	if !nc.IsConnected() {
		t.Error("not connected")
	}
}

func TestConnectWithEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log, _ := newLog(t)
	if _, err := (natsconn.Settings{}).Connect(ctx, "keastream-test", log); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}
