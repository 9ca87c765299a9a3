package bucket_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// Who only looks creates nothing, and finds what is there.
func TestReader(t *testing.T) {
	t.Parallel()
	server := eventstest.Start(t)
	conn := server.Connect()
	eventstest.NewSource(t, conn, "us3")
	reader := bucket.NewReader(conn)
	var doc string
	if _, err := reader.Get(t.Context(), "thing", &doc); !errors.Is(err, bucket.ErrNotFound) {
		t.Errorf("of a bucket that is not there the error is %v", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "KV_"+bucket.Name); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("the bucket was created: %v", err)
	}
	revision, err := bucket.New(conn).Put(t.Context(), "thing", 0, "text")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Get(t.Context(), "thing", &doc); err != nil || doc != "text" {
		t.Errorf("it holds %q, %v", doc, err)
	}
	if _, err := reader.Put(t.Context(), "thing", revision, "other"); err == nil {
		t.Error("a reader may write")
	}
	if err := reader.Delete(t.Context(), "thing", revision); err == nil {
		t.Error("a reader may delete")
	}
}
