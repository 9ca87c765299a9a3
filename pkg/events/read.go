package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc"
)

// errDisturbed ends a reading that can no longer promise to have seen every
// message: the remedy is to read again from the first message.
var errDisturbed = errors.New("the stream must be read anew")

// errEnough is returned by the callbacks of a reading to end it.
var errEnough = errors.New("enough")

const (
	// readHeartbeat is how often the server tells an idle reader that it is
	// there; a reader that hears nothing for twice as long is disturbed.
	readHeartbeat = 5 * time.Second
	// checkEvery is how often a reader compares what it knows with the server.
	checkEvery = 2 * time.Second
	tick       = time.Second
)

// reading is one pass over the stream from its first message: an ordered
// consumer that ends, instead of mending itself, when anything is odd.
//
// The client library's ordered consumer goes on at its old position when the
// stream was deleted and filled again, and so skips messages without an error;
// and a position is worth nothing anyway once the tail of the stream was lost.
// Starting again is always right and costs a second per 100,000 messages.
type reading struct {
	conn    *nats.Conn
	filters []string // nil: every subject

	// message is called for each message in stream order. Data is valid after
	// the call.
	message func(subject string, data []byte, header nats.Header, sequence uint64) error
	// caughtUp is called once, when all that was stored at the start was seen.
	caughtUp func() error
	// alive is called at least every few seconds.
	alive func()
}

// run returns nil after errEnough, otherwise why the reading ended.
func (r reading) run(ctx context.Context) error {
	js, err := jetstream.New(r.conn)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	reconnects := r.conn.Stats().Reconnects
	stream, err := js.Stream(ctx, StreamName)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    r.filters,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return fmt.Errorf("read stream %s: create consumer: %w", StreamName, err)
	}
	defer func() { // what is not deleted here, the server removes after InactiveThreshold
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(2000),
		jetstream.PullHeartbeat(readHeartbeat),
		jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	deliveries, stop := follow(messages)
	defer stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()

	c := cursor{
		reading:    r,
		stream:     stream,
		consumer:   consumer,
		created:    stream.CachedInfo().Created,
		target:     stream.CachedInfo().State.LastSeq,
		reconnects: reconnects,
		checked:    time.Now(),
	}
	if consumer.CachedInfo().NumPending == 0 {
		if err := c.nowCaughtUp(); err != nil {
			return ended(err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-deliveries:
			if d.err != nil {
				return fmt.Errorf("read stream %s: %w", StreamName, d.err)
			}
			err = c.take(d.msg)
		case <-ticker.C:
			err = c.check(ctx)
		}
		if err != nil {
			return ended(err)
		}
	}
}

// delivery is a message, or why there are no more.
type delivery struct {
	msg jetstream.Msg
	err error
}

// follow fetches messages in a goroutine of its own, so that one is decoded
// while the next is taken off the connection. stop ends it and waits for it.
func follow(messages jetstream.MessagesContext) (deliveries <-chan delivery, stop func()) {
	ch, done := make(chan delivery, 256), make(chan struct{})
	var fetching conc.WaitGroup
	fetching.Go(func() {
		for {
			msg, err := messages.Next()
			select {
			case ch <- delivery{msg, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	return ch, func() {
		close(done)
		messages.Stop()
		fetching.Wait()
	}
}

func ended(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// cursor is how far a reading is.
type cursor struct {
	reading
	stream     jetstream.Stream
	consumer   jetstream.Consumer
	created    time.Time // of the stream that is read
	target     uint64    // last sequence of the stream when the reading began
	reconnects uint64

	sequence  uint64 // of the last message, in the stream
	delivered uint64 // of the last message, in the consumer
	isCaught  bool
	checked   time.Time
}

func (c *cursor) take(msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	if meta.Sequence.Consumer != c.delivered+1 {
		return fmt.Errorf("%w: delivery %d followed %d", errDisturbed, meta.Sequence.Consumer, c.delivered)
	}
	c.delivered, c.sequence = meta.Sequence.Consumer, meta.Sequence.Stream
	if err := c.message(msg.Subject(), msg.Data(), msg.Headers(), c.sequence); err != nil {
		return err
	}
	// The last message of the start may have expired since, or not pass the
	// filter: then the number of those that are still to come tells.
	if !c.isCaught && (c.sequence >= c.target || meta.NumPending == 0) {
		return c.nowCaughtUp()
	}
	return nil
}

func (c *cursor) nowCaughtUp() error {
	c.isCaught = true
	return c.caughtUp()
}

// check looks at what no message tells: that messages were lost with a
// connection, that the stream is another one, that it lost its tail, or that
// there is nothing left to come.
func (c *cursor) check(ctx context.Context) error {
	c.alive()
	if c.conn.Stats().Reconnects != c.reconnects {
		return fmt.Errorf("%w: the connection was lost for a while", errDisturbed)
	}
	if time.Since(c.checked) < checkEvery {
		return nil
	}
	c.checked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, readHeartbeat)
	defer cancel()
	info, err := c.stream.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: the stream was deleted", errDisturbed)
	case err != nil:
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	case !info.Created.Equal(c.created):
		return fmt.Errorf("%w: the stream was deleted and created again", errDisturbed)
	case info.State.LastSeq < c.sequence:
		return fmt.Errorf("%w: the stream ends at %d, behind %d, which was read", errDisturbed, info.State.LastSeq, c.sequence)
	}
	if c.isCaught {
		return nil
	}
	state, err := c.consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", StreamName, err)
	}
	if state.NumPending == 0 && state.Delivered.Consumer == c.delivered {
		return c.nowCaughtUp()
	}
	return nil
}
