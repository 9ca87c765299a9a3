package embeddednats

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A full disk makes nats-server call ShutdownJetStream: the test calls it too.
func TestRunSwitchesJetStreamOnAgain(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Start(t.Context(), Settings{Listen: "127.0.0.1:0", StoreDir: filepath.Join(t.TempDir(), "store")}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	url := s.URL()

	back := make(chan struct{}, 1)
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEA", Subjects: []string{"kea.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kea.a", []byte("kept")); err != nil {
		t.Fatal(err)
	}

	if err := s.nats.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	if s.Ready() == nil {
		t.Fatal("ready with JetStream off")
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-back
	stream, err := js.Stream(t.Context(), "KEA")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "kea.a")
	if err != nil || string(msg.Data) != "kept" {
		t.Errorf("after the restart: %v, %v", msg, err)
	}
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	if s.URL() != url {
		t.Errorf("the address changed from %s to %s", url, s.URL())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
