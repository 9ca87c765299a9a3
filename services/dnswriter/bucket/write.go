package bucket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	firstPause = 25 * time.Millisecond
	maxPause   = 500 * time.Millisecond
	// patience is how often an answer that is older than what is known may come
	// from a replica that lags (ADR-31) before it is believed.
	patience = 3
)

// compareAndSet stores msg in place of the message with the revision, 0 for none,
// and returns the new revision.
//
// An attempt whose outcome is unknown is made again with the same expectation:
// only one of them can be stored, and one that arrives late cannot win. If it was
// stored already, the mark in the header tells.
func (o *opened) compareAndSet(ctx context.Context, msg *nats.Msg, revision uint64) (uint64, error) {
	mark := newMark()
	msg.Header.Set(putHeader, mark)
	expect, older, unclear := revision, 0, error(nil)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		stored, err := o.attempt(ctx, msg, expect)
		if err == nil {
			return stored, nil
		}
		apiErr, answered := errors.AsType[*jetstream.APIError](err)
		switch {
		case answered && !wrongRevision(apiErr), isGone(err) && unclear == nil:
			return 0, err
		case !answered && unclear == nil:
			unclear = err
		case !answered: // the same again
		default:
			there, readErr := o.last(ctx, msg.Subject)
			switch {
			case readErr != nil && !errors.Is(readErr, jetstream.ErrMsgNotFound):
				// Ask again: what is there decides.
				if unclear == nil && revision != 0 {
					return 0, ErrConflict
				}
			case readErr == nil && there.Header.Get(putHeader) == mark:
				return there.Sequence, nil
			case readErr == nil && revision == 0 && isMarker(there) && there.Sequence > expect:
				expect = there.Sequence
				continue
			case readErr == nil && there.Sequence > expect || older >= patience && unclear == nil:
				return 0, ErrConflict
			case readErr != nil && revision == 0:
				expect = 0 // a marker that has expired meanwhile
				older++
			default:
				older++
			}
		}
		select {
		case <-ctx.Done():
			if unclear == nil {
				return 0, ErrConflict
			}
			return 0, fmt.Errorf("%w: %w", ErrUnclear, unclear)
		case <-time.After(pause):
		}
	}
}

// attempt publishes a copy of msg: the library writes into the header.
func (o *opened) attempt(ctx context.Context, msg *nats.Msg, expect uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	one := nats.NewMsg(msg.Subject)
	one.Data = msg.Data
	maps.Copy(one.Header, msg.Header)
	one.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	// The library's own retry does not read back, so it is off.
	ack, err := o.js.PublishMsg(ctx, one, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// wrongRevision tells whether the server refused because the key has another
// revision. A single server and a cluster have a code each for it.
func wrongRevision(err *jetstream.APIError) bool {
	return err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

func (o *opened) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return o.stream.GetLastMsgForSubject(ctx, subject)
}

// putParts stores the parts of a document. Their subjects are of this Put alone, so
// that storing one twice does no harm.
func (o *opened) putParts(ctx context.Context, key string, doc packed) error {
	for i, part := range doc.parts {
		for pause := firstPause; ; pause = min(2*pause, maxPause) {
			msg := nats.NewMsg(partSubject(key, doc.version, strconv.Itoa(i)))
			msg.Data = part
			attempt, cancel := context.WithTimeout(ctx, requestTimeout)
			_, err := o.js.PublishMsg(attempt, msg, jetstream.WithRetryAttempts(0))
			cancel()
			if err == nil {
				break
			}
			if _, answered := errors.AsType[*jetstream.APIError](err); answered || isGone(err) {
				return fmt.Errorf("part %d of %d: %w", i+1, len(doc.parts), err)
			}
			select {
			case <-ctx.Done(): // whether the part is there makes no difference: no head names it
				return fmt.Errorf("part %d of %d: %w", i+1, len(doc.parts), err)
			case <-time.After(pause):
			}
		}
	}
	return nil
}

// partSubject is where a part lies. With the token > it stands for all that follows.
func partSubject(key string, tokens ...string) string {
	return subjectPrefix + partsPrefix + key + "." + strings.Join(tokens, ".")
}

// dropParts removes the parts of a document that has no head. If that fails the
// next tidyUp does it.
func (o *opened) dropParts(ctx context.Context, key string, doc packed) {
	if len(doc.parts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_ = o.stream.Purge(ctx, jetstream.WithPurgeSubject(partSubject(key, doc.version, ">")))
}

// tidyUp removes the parts that the head stored just now does not name. Only those
// that are older than the head: what is newer belongs to a Put that is going
// on, and that may win. What is older cannot, since it expects an older revision.
//
// It is no error when that does not succeed: parts without a head cost nothing but
// room, and are looked for again.
func (b *Bucket) tidyUp(ctx context.Context, o *opened, key string, doc packed, replaced, stored uint64) {
	tidy := b.takeTidy(key) == replaced && replaced != 0
	if len(doc.parts) == 0 {
		if !tidy {
			tidy = o.purge(ctx, partSubject(key, ">"), stored) == nil
		}
		if tidy {
			b.setTidy(key, stored)
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := o.stream.Info(ctx, jetstream.WithSubjectFilter(partSubject(key, ">")))
	if err != nil {
		return
	}
	versions := map[string]bool{}
	for subject := range info.State.Subjects {
		version, _, _ := strings.Cut(strings.TrimPrefix(subject, partSubject(key, "")), ".")
		versions[version] = true
	}
	delete(versions, doc.version)
	for version := range versions {
		_ = o.purge(ctx, partSubject(key, version, ">"), stored)
	}
}

// purge removes the messages of the subjects that are older than a revision.
func (o *opened) purge(ctx context.Context, subjects string, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return o.stream.Purge(ctx, jetstream.WithPurgeSubject(subjects), jetstream.WithPurgeSequence(before))
}

// takeTidy returns what is known of a key, and forgets it.
func (b *Bucket) takeTidy(key string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer delete(b.tidy, key)
	return b.tidy[key]
}

func (b *Bucket) setTidy(key string, revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tidy[key] = revision
}
