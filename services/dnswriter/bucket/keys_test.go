package bucket_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// The keys of a word are those of its documents, not of their parts or of other
// words that begin alike.
func TestKeysOfAWord(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	conn := srv.Connect()
	reader := bucket.NewReader(conn)
	if keys, err := reader.Keys(t.Context(), "withheld"); err != nil || keys != nil {
		t.Errorf("a bucket that is not there has the keys %v, %v", keys, err)
	}
	eventstest.Open(t, conn, events.StreamConfig{})
	b := bucket.New(conn)
	put(t, b, "withheld.internal-b", 0, many("large", 3000))
	put(t, b, "withheld.internal-a.more", 0, note{})
	put(t, b, "withheld.external", 0, note{})
	put(t, b, "withheldelse.internal", 0, note{})
	put(t, b, "counts.internal-a", 0, note{})
	for _, b := range []*bucket.Bucket{b, reader} {
		keys, err := b.Keys(t.Context(), "withheld")
		if want := []string{"withheld.external", "withheld.internal-a.more", "withheld.internal-b"}; err != nil || !slices.Equal(keys, want) {
			t.Errorf("keys %v, %v; want %v", keys, err, want)
		}
	}
	if keys, err := b.Keys(t.Context(), "none"); err != nil || keys != nil {
		t.Errorf("keys %v, %v; want none", keys, err)
	}
	if keys, err := b.Keys(t.Context(), "*"); err == nil {
		t.Errorf("no word is refused: %v", keys)
	}
	for i := range bucket.MaxKeys - 2 {
		if err := conn.Publish(fmt.Sprintf("$KV.%s.withheld.more.%d", bucket.Name, i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, "an error about too many keys", func() bool {
		_, err := b.Keys(t.Context(), "withheld")
		return err != nil && strings.Contains(err.Error(), "nats kv del")
	})
}
