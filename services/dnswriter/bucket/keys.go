package bucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// MaxKeys is how many keys Keys returns at most.
const MaxKeys = 1000

// Keys returns the keys that begin with a word and a dot, sorted: those of
// "withheld" are "withheld.internal" and the like. Of one whose document was removed
// not long ago, Get may still return ErrNotFound. With more than MaxKeys it is an
// error.
func (b *Bucket) Keys(ctx context.Context, word string) ([]string, error) {
	if err := checkKey(word); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var keys []string
	err := b.with(ctx, func(ctx context.Context, o *opened) (err error) {
		keys, err = o.keys(ctx, word)
		return err
	})
	if b.readOnly && errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s.* in key-value bucket %s: %w", word, Name, err)
	}
	return keys, nil
}

func (o *opened) keys(ctx context.Context, word string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(subjectPrefix+word+".>"))
	if err != nil {
		return nil, err
	}
	if n := len(info.State.Subjects); n > MaxKeys {
		return nil, fmt.Errorf("there are %d keys, and %d are the most: remove what nobody needs with `nats kv del %s KEY`", n, MaxKeys, Name)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, subjectPrefix))
	}
	slices.Sort(keys)
	return keys, nil
}
