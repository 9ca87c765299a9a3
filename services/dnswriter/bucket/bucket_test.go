package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/bucket/buckettest"
)

type note struct {
	Text  string   `json:"text"`
	Names []string `json:"names,omitzero"`
}

// start starts a server with the stream of reservations, without which there is no
// bucket.
func start(t *testing.T) *eventstest.Server {
	t.Helper()
	srv := eventstest.Start(t)
	eventstest.Open(t, srv.Connect(), events.StreamConfig{})
	return srv
}

func put(t *testing.T, b *bucket.Bucket, key string, revision uint64, v any) uint64 {
	t.Helper()
	stored, err := b.Put(t.Context(), key, revision, v)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func wantNote(t *testing.T, b *bucket.Bucket, key string, revision uint64, want note) {
	t.Helper()
	var got note
	at, err := b.Get(t.Context(), key, &got)
	if err != nil {
		t.Fatal(err)
	}
	if at != revision || got.Text != want.Text || strings.Join(got.Names, " ") != strings.Join(want.Names, " ") {
		t.Errorf("%s is %q with %d names at revision %d, want %q with %d at %d", key, got.Text, len(got.Names), at, want.Text, len(want.Names), revision)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	conn := start(t).Connect()
	b, other := bucket.New(conn), bucket.New(conn)
	ctx := t.Context()

	_, err := b.Get(ctx, "brake.internal", new(note))
	wantErr(t, err, bucket.ErrNotFound)
	_, err = b.Put(ctx, "brake.internal", 7, note{})
	wantErr(t, err, bucket.ErrConflict)

	first := put(t, b, "brake.internal", 0, note{Text: "first"})
	wantNote(t, other, "brake.internal", first, note{Text: "first"})
	_, err = other.Put(ctx, "brake.internal", 0, note{Text: "also first"})
	wantErr(t, err, bucket.ErrConflict)
	second := put(t, other, "brake.internal", first, note{Text: "second"})
	_, err = b.Put(ctx, "brake.internal", first, note{Text: "second"})
	wantErr(t, err, bucket.ErrConflict)
	wantErr(t, b.Delete(ctx, "brake.internal", first), bucket.ErrConflict)
	wantNote(t, b, "brake.internal", second, note{Text: "second"})

	if err := b.Delete(ctx, "brake.internal", second); err != nil {
		t.Fatal(err)
	}
	_, err = other.Get(ctx, "brake.internal", new(note))
	wantErr(t, err, bucket.ErrNotFound)
	_, err = b.Put(ctx, "brake.internal", second, note{Text: "third"})
	wantErr(t, err, bucket.ErrConflict)
	third := put(t, b, "brake.internal", 0, note{Text: "third"})
	wantNote(t, other, "brake.internal", third, note{Text: "third"})
}

// People read the bucket with the tools of NATS.
func TestBucketIsOneOfNATS(t *testing.T) {
	t.Parallel()
	conn := start(t).Connect()
	b := bucket.New(conn)
	revision := put(t, b, "lease.default", 0, note{Text: "here"})
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), bucket.Name)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), "lease.default")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(entry.Value()), `{"text":"here"}`; got != want {
		t.Errorf("value %s, want %s", got, want)
	}
	if err := b.Delete(t.Context(), "lease.default", revision); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "lease.default"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("error after removal: %v", err)
	}
	// What a person removes is gone for the service too.
	put(t, b, "lease.default", 0, note{Text: "again"})
	if err := kv.Delete(t.Context(), "lease.default"); err != nil {
		t.Fatal(err)
	}
	_, err = b.Get(t.Context(), "lease.default", new(note))
	wantErr(t, err, bucket.ErrNotFound)
	put(t, b, "lease.default", 0, note{Text: "and again"})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	b := bucket.New(start(t).Connect())
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "A", "a b", "a*", "a.>", "parts.a", "parts.a.b.0", "ä"} {
		if _, err := b.Put(t.Context(), key, 0, note{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("key %q", key)) {
			t.Errorf("key %q: error %v", key, err)
		}
	}
}

func TestDocumentCannotBeRead(t *testing.T) {
	t.Parallel()
	b := bucket.New(start(t).Connect())
	put(t, b, "approval.1", 0, []string{"a"})
	if _, err := b.Get(t.Context(), "approval.1", new(note)); err == nil || !strings.Contains(err.Error(), "read approval.1 in key-value bucket keastream-dnswriter") {
		t.Errorf("error %v", err)
	}
}

func TestBucketComesLater(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	b := bucket.New(conn)
	_, err := b.Get(t.Context(), "a", new(note))
	if err == nil || !strings.Contains(err.Error(), "start the publisher") {
		t.Errorf("without a stream: %v", err)
	}
	eventstest.Open(t, conn, events.StreamConfig{})
	first := put(t, b, "a", 0, note{Text: "kept"})

	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Get(ctx, "a", new(note)); err == nil {
		t.Error("read from a server that is stopped")
	}
	srv.Resume()
	await(t, "the document after a restart", func() bool {
		_, err := b.Get(t.Context(), "a", new(note))
		return err == nil
	})
	wantNote(t, b, "a", first, note{Text: "kept"})

	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "KV_"+bucket.Name); err != nil {
		t.Fatal(err)
	}
	await(t, "a new bucket in place of the removed one", func() bool {
		_, err := b.Put(t.Context(), "a", 0, note{Text: "new"})
		return err == nil
	})
}

// A bucket that forgets, or refuses what is needed, is not used.
func TestUnsuitableBucket(t *testing.T) {
	t.Parallel()
	conn := start(t).Connect()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket.Name, TTL: time.Hour, MaxValueSize: 1000, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	_, err = bucket.New(conn).Get(t.Context(), "a", new(note))
	for _, want := range []string{"max_age is 1h0m0s", "max_msg_size is 1000", "storage is Memory", "nats kv del keastream-dnswriter"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// An operator who does not let services create streams makes the bucket himself.
func TestBucketMadeByHand(t *testing.T) {
	t.Parallel()
	conn := start(t).Connect()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket.Name}); err != nil {
		t.Fatal(err)
	}
	b := bucket.New(conn)
	revision := put(t, b, "a", 0, note{})
	if err := b.Delete(t.Context(), "a", revision); err != nil {
		t.Error(err)
	}
}

// The outcome of a write is not known. Failed, and failed but happened.
func TestAnswerGetsLost(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{buckettest.Requests, buckettest.Answers} {
		for _, op := range []string{"put", "delete"} {
			t.Run(op+" "+lost, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				r, direct := buckettest.NewRoute(t, srv.URL()), bucket.New(srv.Connect())
				b := bucket.New(r.Conn)
				first := put(t, b, "a", 0, note{Text: "first"})
				r.Lose(lost)
				done := make(chan error, 1)
				go func() {
					if op == "delete" {
						done <- b.Delete(t.Context(), "a", first)
						return
					}
					stored, err := b.Put(t.Context(), "a", first, note{Text: "second"})
					var got note
					if at, err := direct.Get(t.Context(), "a", &got); err != nil || at != stored || got.Text != "second" {
						t.Errorf("stored %q at %d: %v, and Put returned %d", got.Text, at, err, stored)
					}
					done <- err
				}()
				if lost == buckettest.Answers {
					await(t, "the write", func() bool {
						at, err := direct.Get(t.Context(), "a", new(note))
						return errors.Is(err, bucket.ErrNotFound) || err == nil && at > first
					})
				}
				r.Heal()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if _, err := direct.Get(t.Context(), "a", new(note)); errors.Is(err, bucket.ErrNotFound) != (op == "delete") {
					t.Errorf("in the end: %v", err)
				}
			})
		}
	}
}

func TestOutcomeStaysUnclear(t *testing.T) {
	t.Parallel()
	srv := start(t)
	r, direct := buckettest.NewRoute(t, srv.URL()), bucket.New(srv.Connect())
	b := bucket.New(r.Conn)
	first := put(t, b, "a", 0, note{Text: "first"})
	r.Lose(buckettest.Answers)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := b.Put(ctx, "a", first, note{Text: "second"})
	wantErr(t, err, bucket.ErrUnclear)
	wantNote(t, direct, "a", first+1, note{Text: "second"})
	r.Heal()
	await(t, "the same again", func() bool {
		_, err := b.Put(t.Context(), "a", first, note{Text: "second"})
		return errors.Is(err, bucket.ErrConflict)
	})
}

// Another writer with the very same document is another writer.
func TestEqualDocumentOfAnother(t *testing.T) {
	t.Parallel()
	srv := start(t)
	r, direct := buckettest.NewRoute(t, srv.URL()), bucket.New(srv.Connect())
	b := bucket.New(r.Conn)
	first := put(t, b, "a", 0, note{Text: "first"})
	r.Lose(buckettest.Requests)
	done := make(chan error, 1)
	go func() {
		_, err := b.Put(t.Context(), "a", first, note{Text: "second"})
		done <- err
	}()
	second := put(t, direct, "a", first, note{Text: "second"})
	r.Heal()
	wantErr(t, <-done, bucket.ErrConflict)
	wantNote(t, direct, "a", second, note{Text: "second"})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look, limit := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}
