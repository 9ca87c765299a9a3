package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// many returns a document with names that begin with text.
func many(text string, n int) note {
	d := note{Text: text}
	for i := range n {
		d.Names = append(d.Names, fmt.Sprintf("%s-%x-%06d.site%d.example.com A 192.0.2.%d", text, (i+1)*7919*104729, i, i%97, i%256))
	}
	return d
}

// subjects returns the subjects below the parts of a key, with what they stand for.
func subjects(t *testing.T, srv *eventstest.Server, filter string) map[string]uint64 {
	t.Helper()
	js, err := jetstream.New(srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+bucket.Name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$KV."+bucket.Name+"."+filter))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

func versions(t *testing.T, srv *eventstest.Server, key string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for s := range subjects(t, srv, "parts."+key+".>") {
		all[s[:strings.LastIndexByte(s, '.')]] = true
	}
	return all
}

func wantVersions(t *testing.T, srv *eventstest.Server, key string, want int) {
	t.Helper()
	if got := versions(t, srv, key); len(got) != want {
		t.Errorf("parts of %s: %v, want those of %d documents", key, got, want)
	}
}

func TestLargeDocument(t *testing.T) {
	t.Parallel()
	srv := start(t)
	b, other := bucket.New(srv.Connect()), bucket.New(srv.Connect())
	large := many("a", 100_000)
	first := put(t, b, "withheld.internal", 0, large)
	wantNote(t, other, "withheld.internal", first, large)
	wantVersions(t, srv, "withheld.internal", 1)
	wantFits(t, srv)

	// Another key is not touched by what follows.
	put(t, b, "withheld.external", 0, many("x", 3000))

	large = many("b", 3000)
	second := put(t, other, "withheld.internal", first, large)
	wantNote(t, b, "withheld.internal", second, large)
	wantVersions(t, srv, "withheld.internal", 1)

	_, err := b.Put(t.Context(), "withheld.internal", first, many("c", 3000))
	wantErr(t, err, bucket.ErrConflict)
	wantNote(t, b, "withheld.internal", second, large)
	wantVersions(t, srv, "withheld.internal", 1)

	third := put(t, b, "withheld.internal", second, note{Text: "small"})
	wantNote(t, other, "withheld.internal", third, note{Text: "small"})
	wantVersions(t, srv, "withheld.internal", 0)

	fourth := put(t, other, "withheld.internal", third, many("d", 3000))
	if err := b.Delete(t.Context(), "withheld.internal", fourth); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, srv, "withheld.internal", 0)
	wantVersions(t, srv, "withheld.external", 1)
}

// wantFits wants each message to pass an embedded server.
func wantFits(t *testing.T, srv *eventstest.Server) {
	t.Helper()
	js, err := jetstream.New(srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+bucket.Name)
	if err != nil {
		t.Fatal(err)
	}
	all := subjects(t, srv, ">")
	if len(all) < 10 {
		t.Errorf("only %d messages: %v", len(all), all)
	}
	for subject := range all {
		msg, err := stream.GetLastMsgForSubject(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		if size := len(msg.Data); size > 64<<10 {
			t.Errorf("%s has %d bytes", subject, size)
		}
	}
}

// A server may take no more than what a reservation has.
func TestSmallMessagesOnly(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 68 << 10})
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
	conn, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	openStream(t, conn)
	b := bucket.New(conn)
	for _, n := range []int{700, 800, 850, 900, 1000, 1100, 1300, 5000} {
		key := fmt.Sprintf("withheld.%d", n)
		wantNote(t, b, key, put(t, b, key, 0, many("a", n)), many("a", n))
	}
}

// Readers see whole documents while two writers replace them.
func TestReadersSeeWholeDocuments(t *testing.T) {
	t.Parallel()
	srv := start(t)
	b := bucket.New(srv.Connect())
	put(t, b, "a", 0, many("begin", 3000))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers, readers conc.WaitGroup
	for w := range 2 {
		writer := bucket.New(srv.Connect())
		writers.Go(func() {
			for i := 0; i < 8; {
				var old note
				revision, err := writer.Get(ctx, "a", &old)
				if err == nil {
					_, err = writer.Put(ctx, "a", revision, many(fmt.Sprintf("w%d-%d", w, i), 3000))
				}
				switch {
				case err == nil:
					i++
				case !errors.Is(err, bucket.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		reader := bucket.New(srv.Connect())
		readers.Go(func() {
			for ctx.Err() == nil {
				var got note
				if _, err := reader.Get(ctx, "a", &got); err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				if len(got.Names) != 3000 {
					t.Errorf("%d names", len(got.Names))
				}
				for _, n := range got.Names {
					if !strings.HasPrefix(n, got.Text+"-") {
						t.Errorf("%s in the document %s", n, got.Text)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	wantVersions(t, srv, "a", 1)
}

// A process that ended between the parts and the head leaves parts that nobody
// names. The next one removes them.
func TestPartsOfADeadProcess(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]note{"small": {Text: "small"}, "large": many("b", 3000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			first := put(t, bucket.New(srv.Connect()), "a", 0, many("a", 3000))
			js, err := jetstream.New(srv.Connect())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), "$KV."+bucket.Name+".parts.a.dead.0", []byte("x")); err != nil {
				t.Fatal(err)
			}
			wantVersions(t, srv, "a", 2)
			b := bucket.New(srv.Connect())
			second := put(t, b, "a", first, next)
			wantNote(t, b, "a", second, next)
			if len(next.Names) > 0 {
				wantVersions(t, srv, "a", 1)
				return
			}
			wantVersions(t, srv, "a", 0)
		})
	}
}
