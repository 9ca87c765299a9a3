package bucket_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/bucket/buckettest"
)

const timeLimit = 30 * time.Second

func openStream(t *testing.T, conn *nats.Conn) { eventstest.Open(t, conn, events.StreamConfig{}) }

// watched follows a key as the users of Watch do: told that it may have changed,
// it reads.
type watched struct {
	text  atomic.Pointer[string]
	calls atomic.Int64
}

func (w *watched) is(text string) func() bool {
	return func() bool { got := w.text.Load(); return got != nil && *got == text }
}

func watch(t *testing.T, b *bucket.Bucket, keys ...string) *watched {
	t.Helper()
	w := new(watched)
	ctx, cancel := context.WithCancel(t.Context())
	var running conc.WaitGroup
	running.Go(func() {
		b.Watch(ctx, func() {
			w.calls.Add(1)
			var n note
			if _, err := b.Get(ctx, keys[0], &n); err == nil {
				w.text.Store(&n.Text)
			}
		}, keys...)
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

func TestWatch(t *testing.T) {
	t.Parallel()
	srv := start(t)
	conn := srv.Connect()
	b := bucket.New(conn)
	revision := put(t, b, "a", 0, note{Text: "before"})
	w := watch(t, bucket.New(srv.Connect()), "a", "b")
	await(t, "what was there", w.is("before"))
	revision = put(t, b, "a", revision, note{Text: "then"})
	await(t, "a change", w.is("then"))
	calls := w.calls.Load()
	put(t, b, "b", 0, note{})
	await(t, "a change of another key", func() bool { return w.calls.Load() > calls })
	revision = put(t, b, "a", revision, many("large", 3000))
	await(t, "a large document", w.is("large"))
	calls = w.calls.Load()
	if err := b.Delete(t.Context(), "a", revision); err != nil {
		t.Fatal(err)
	}
	await(t, "a removal", func() bool { return w.calls.Load() > calls })
	revision = put(t, b, "a", 0, note{Text: "again"})
	await(t, "a new document", w.is("again"))

	srv.Stop()
	srv.Resume()
	await(t, "the server", conn.IsConnected)
	await(t, "a change after a restart of the server", func() bool {
		at, err := b.Put(t.Context(), "a", revision, note{Text: "after"})
		if err == nil {
			revision = at
		}
		return w.is("after")()
	})

	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_"+bucket.Name); err != nil {
		t.Fatal(err)
	}
	await(t, "a change in a new bucket", func() bool {
		_, _ = b.Put(t.Context(), "a", 0, note{Text: "new"})
		return w.is("new")()
	})
}

// What is changed while the watcher is cut off it learns when it is back.
func TestWatchAfterLostConnection(t *testing.T) {
	t.Parallel()
	srv := start(t)
	r, direct := buckettest.NewRoute(t, srv.URL()), bucket.New(srv.Connect())
	revision := put(t, direct, "a", 0, note{Text: "before"})
	w := watch(t, bucket.New(r.Conn), "a")
	await(t, "what was there", w.is("before"))
	r.Lose(buckettest.Answers)
	put(t, direct, "a", revision, note{Text: "meanwhile"})
	r.Heal()
	await(t, "the change meanwhile", w.is("meanwhile"))
}
