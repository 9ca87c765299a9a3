package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
)

// What the soak itself puts over messages of the publisher's: garbage, or an
// event whose host name begins with stranger.
const (
	garbage  = "not even JSON"
	stranger = "stranger-"
)

// observer reads the stream from the beginning of the run to its end, in a way
// of its own: a plain consumer, begun anew from the first message whenever it
// ends.
type observer struct {
	conn   *nats.Conn
	source string
	times  *timeline
	failed func(error) // is called at once when a row went back

	newest   atomic.Int64 // highest mark that was published
	refilled atomic.Int64 // streams that came after the first one

	mu      sync.Mutex
	book    ledger
	created time.Time // of the stream that book is about
}

// run reads until ctx ends.
func (o *observer) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := o.pass(ctx)
		if err != nil && !errors.Is(err, context.Canceled) {
			o.times.note("observer", "reads anew: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pass reads from the first message on, until something is odd.
func (o *observer) pass(ctx context.Context) error {
	const request = 3 * time.Second
	js, err := jetstream.New(o.conn)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	stream, err := js.Stream(asking, events.StreamName)
	if err != nil {
		return err
	}
	created := stream.CachedInfo().Created
	o.open(created)
	consumer, err := stream.CreateConsumer(asking, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
		FilterSubject: events.ReservationsFilter(o.source),
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullExpiry(4*time.Second), jetstream.PullHeartbeat(time.Second),
		jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer messages.Stop()
	looked := time.Now()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextMaxWait(500 * time.Millisecond))
		switch {
		case err == nil:
			o.take(created, msg)
		case !errors.Is(err, nats.ErrTimeout):
			return err
		}
		if time.Since(looked) < 500*time.Millisecond {
			continue
		}
		looked = time.Now()
		asking, cancel := context.WithTimeout(ctx, request)
		info, err := stream.Info(asking)
		cancel()
		if err != nil {
			return err
		}
		if !info.Created.Equal(created) {
			return errors.New("the stream is another one")
		}
	}
	return nil
}

// open begins a new book for a stream that is another one.
func (o *observer) open(created time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if created.Equal(o.created) {
		return
	}
	if !o.created.IsZero() {
		o.refilled.Add(1)
		o.times.note("observer", "there is a new stream")
	}
	o.created, o.book = created, make(ledger)
}

func (o *observer) take(created time.Time, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		o.failed(fmt.Errorf("observer: %w", err))
		return
	}
	if string(msg.Data()) == garbage {
		return
	}
	change, err := events.Decode(msg.Data())
	if err != nil {
		o.failed(fmt.Errorf("observer: sequence %d of %s: %w", meta.Sequence.Stream, msg.Subject(), err))
		return
	}
	r := change.Reservation
	if strings.HasPrefix(r.Hostname, stranger) {
		return
	}
	o.newest.Store(max(o.newest.Load(), change.Seq))
	o.times.noteHost(r.HostID, "stream", "%s at %d, version %d, mark %d, %s", change.Operation, meta.Sequence.Stream, version(r), change.Seq, r.IP)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !created.Equal(o.created) {
		return
	}
	if err := o.book.take(meta.Sequence.Stream, change); err != nil {
		o.failed(err)
	}
}

// forget begins a new page for a row whose message was purged.
func (o *observer) forget(host int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.book, host)
}

// sawDeletion tells whether the deletion of a row is the last that was read of it.
func (o *observer) sawDeletion(host int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.book[host]
	return p != nil && p.deleted
}
