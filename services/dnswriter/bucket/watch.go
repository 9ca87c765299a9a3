package bucket

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sourcegraph/conc"
)

const (
	// watchPeriod is how long one watch goes on. Beginning anew is what makes good
	// whatever a watch may have missed, so it is done now and then anyway.
	watchPeriod = 30 * time.Second
	// watchPause is between watches that failed.
	watchPause = 500 * time.Millisecond
	// watchTick is how often the connection is looked at.
	watchTick = 250 * time.Millisecond
)

// Watch calls changed when it begins, and whenever one of the keys may have
// changed: also after each reconnect, and now and then without a reason. What
// changed has to be read. It returns when ctx ends; changed is never called from
// two goroutines at the same time.
func (b *Bucket) Watch(ctx context.Context, changed func(), keys ...string) {
	changed()
	for ctx.Err() == nil {
		if err := b.watch(ctx, changed, keys); err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

// watch returns nil when it is time to begin anew, otherwise why it ended.
func (b *Bucket) watch(ctx context.Context, changed func(), keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, watchPeriod)
	defer cancel()
	reconnects := b.conn.Stats().Reconnects
	o, err := b.open(ctx)
	if err != nil {
		return err
	}
	consumer, err := o.consumer(ctx, keys)
	if err != nil {
		if isGone(err) {
			b.forget(o)
		}
		return err
	}
	defer func() { // what is not deleted here, the server removes by itself
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = o.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	messages, err := consumer.Messages(jetstream.PullHeartbeat(time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("watch key-value bucket %s: %w", Name, err)
	}
	changed() // the consumer has all that comes from here on

	failed := make(chan error, 1)
	updates := make(chan struct{}, 1)
	var fetching conc.WaitGroup
	fetching.Go(func() {
		for {
			if _, err := messages.Next(); err != nil {
				failed <- err
				return
			}
			select {
			case updates <- struct{}{}:
			default:
			}
		}
	})
	defer fetching.Wait()
	defer messages.Stop()
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-updates:
			changed()
		case err := <-failed:
			return fmt.Errorf("watch key-value bucket %s: %w", Name, err)
		case <-tick.C:
			if b.conn.Stats().Reconnects != reconnects {
				return nil
			}
		}
	}
}

func (o *opened) consumer(ctx context.Context, keys []string) (jetstream.Consumer, error) {
	subjects := make([]string, 0, len(keys))
	for _, key := range keys {
		subjects = append(subjects, subjectPrefix+key)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumer, err := o.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverNewPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    subjects,
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("watch key-value bucket %s: %w", Name, err)
	}
	return consumer, nil
}
