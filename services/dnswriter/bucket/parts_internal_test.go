package bucket

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

// One who tidies up late leaves the parts of a Put that replaces his document in
// peace, though no head names them yet.
func TestTidyUpLeavesWhatIsNewer(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	eventstest.Open(t, conn, events.StreamConfig{})
	b, ctx := New(conn), t.Context()
	o, err := b.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	large := func(text string) packed {
		doc, err := pack(strings.Repeat(text, 100_000))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for _, first := range []packed{large("old"), {head: []byte(`"small"`)}} {
		put := func(doc packed, revision uint64) uint64 {
			msg := nats.NewMsg(subjectPrefix + "a")
			msg.Data = doc.head
			stored, err := o.compareAndSet(ctx, msg, revision)
			if err != nil {
				t.Fatal(err)
			}
			return stored
		}
		before, _ := b.Get(ctx, "a", new(string))
		if err := o.putParts(ctx, "a", first); err != nil {
			t.Fatal(err)
		}
		at := put(first, before)
		second := large("new")
		if err := o.putParts(ctx, "a", second); err != nil {
			t.Fatal(err)
		}
		b.tidyUp(ctx, o, "a", first, before, at)
		put(second, at)
		var got string
		if _, err := b.Get(ctx, "a", &got); err != nil || !strings.HasPrefix(got, "new") {
			t.Errorf("read %.10q: %v", got, err)
		}
	}
}
