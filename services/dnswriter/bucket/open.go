package bucket

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxBytes bounds the bucket on disk. It holds a few documents of up to some
// megabytes.
const maxBytes = 256 << 20

// permissions are the subjects that a user with restricted rights must be allowed
// to publish on.
var permissions = []string{
	"$JS.API.STREAM.INFO." + events.StreamName,
	"$JS.API.STREAM.INFO." + streamName,
	"$JS.API.STREAM.CREATE." + streamName,
	"$JS.API.STREAM.PURGE." + streamName,
	"$JS.API.DIRECT.GET." + streamName + ".>",
	"$JS.API.CONSUMER.*." + streamName + ".>",
	"$JS.API.CONSUMER.MSG.NEXT." + streamName + ".>",
	subjectPrefix + ">",
}

// open returns the bucket, which it looks for on the server if need be.
func (b *Bucket) open(ctx context.Context) (*opened, error) {
	b.mu.Lock()
	o := b.opened
	b.mu.Unlock()
	if o != nil {
		return o, nil
	}
	o, err := find(ctx, b.conn, !b.readOnly)
	if err != nil {
		return nil, fmt.Errorf("open key-value bucket %s: %w", Name, b.explain(err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = o
	clear(b.tidy)
	return o, nil
}

func find(ctx context.Context, conn *nats.Conn, mayCreate bool) (*opened, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := streamOf(ctx, js, streamName)
	if mayCreate && errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := create(ctx, js); err != nil {
			return nil, err
		}
		stream, err = streamOf(ctx, js, streamName)
	}
	if err != nil {
		return nil, err
	}
	cfg := stream.CachedInfo().Config
	if err := check(cfg); err != nil {
		return nil, err
	}
	return &opened{js: js, stream: stream, mayExpire: cfg.AllowMsgTTL}, nil
}

func streamOf(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return js.Stream(ctx, name)
}

// create makes the bucket as `nats kv add` does, so that the tools of NATS can be
// used with it. Another one may do the same at the same time.
func create(ctx context.Context, js jetstream.JetStream) error {
	reservations, err := streamOf(ctx, js, events.StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("create it with the replicas of stream %s: %w: start the publisher, which creates that", events.StreamName, err)
	}
	if err != nil {
		return fmt.Errorf("create it with the replicas of stream %s: %w", events.StreamName, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name:              streamName,
		Description:       "what dnswriters share: lease, brake, approvals",
		Subjects:          []string{subjectPrefix + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          reservations.CachedInfo().Config.Replicas,
		MaxMsgsPerSubject: 1,
		MaxBytes:          maxBytes,
		Discard:           jetstream.DiscardNew,
		AllowRollup:       true,
		AllowDirect:       true,
		AllowMsgTTL:       true,
		DenyDelete:        true,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("create it: %w", err)
	}
	return nil
}

// check names what would make a bucket forget or refuse documents.
func check(c jetstream.StreamConfig) error {
	var bad []string
	want := func(ok bool, setting string, got, wanted any) {
		if !ok {
			bad = append(bad, fmt.Sprintf("%s is %v, must be %v", setting, got, wanted))
		}
	}
	want(c.MaxAge == 0, "max_age", c.MaxAge, 0)
	want(c.Storage == jetstream.FileStorage, "storage", c.Storage, jetstream.FileStorage)
	want(c.Discard == jetstream.DiscardNew, "discard", c.Discard, jetstream.DiscardNew)
	want(c.MaxMsgSize <= 0 || c.MaxMsgSize >= events.MaxMessageSize, "max_msg_size", c.MaxMsgSize, events.MaxMessageSize)
	want(c.AllowRollup, "allow_rollup_hdrs", c.AllowRollup, true)
	want(!c.DenyPurge, "deny_purge", c.DenyPurge, false)
	want(!c.NoAck, "no_ack", c.NoAck, false)
	want(!c.Sealed, "sealed", c.Sealed, false)
	if bad == nil {
		return nil
	}
	return fmt.Errorf("%s: delete it with `nats kv del %s` and let the dnswriter create it", strings.Join(bad, "; "), Name)
}

// explain adds the remedy if it may be that the user of this connection has not
// the rights: to the caller a denied call is one that nobody answers.
func (b *Bucket) explain(err error) error {
	denied := errors.Is(b.conn.LastError(), nats.ErrPermissionViolation)
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
	apiErr, refused := errors.AsType[*jetstream.APIError](err)
	switch {
	case silent && denied:
		return fmt.Errorf("%w: NATS denies it: allow the user to publish on %s", err, strings.Join(permissions, ", "))
	case silent && b.conn.IsConnected(), refused && apiErr.Code == 403:
		return fmt.Errorf("%w: no answer also comes if the user of NATS may not ask: he needs to publish on %s", err, strings.Join(permissions, ", "))
	}
	return err
}
