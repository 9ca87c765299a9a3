package bucket

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// Name is the name of the bucket; its stream is KV_ and the name.
	Name = "keastream-dnswriter"

	streamName    = "KV_" + Name
	subjectPrefix = "$KV." + Name + "."
	partsPrefix   = "parts."
)

var (
	// ErrNotFound is returned by Get when nothing lies under the key.
	ErrNotFound = errors.New("nothing is stored under the key")

	// ErrConflict is returned by Put and Delete when the key has another revision
	// than the expected one. Nothing was stored or removed, or it was and something
	// else took its place at once; read again.
	ErrConflict = errors.New("the key has another revision than expected")

	// ErrUnclear is returned by Put and Delete when it could not be found out in
	// time whether the server did what was asked. It may have, or may still. Doing
	// the same again with the same revision is safe: if it was done, that returns
	// ErrConflict.
	ErrUnclear = errors.New("it is not known whether it was stored")
)

var errReadOnly = errors.New("key-value bucket " + Name + ": it was opened for reading only")

const (
	// requestTimeout bounds one request to the server.
	requestTimeout = 2 * time.Second
	// callTimeout bounds a call with all its requests. One whose document comes in
	// parts gets partTimeout more for each.
	callTimeout = 5 * time.Second
	partTimeout = time.Second
	readTimeout = 30 * time.Second
)

// keys are the names of documents: words of a-z, 0-9, _ and -, with dots between.
var keys = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// Bucket is the bucket through one connection. Its methods may be called from
// several goroutines. Each request to the server is given up after 2 s, and each
// call after 5 s, or more for a document of many parts.
type Bucket struct {
	conn     *nats.Conn
	readOnly bool

	mu     sync.Mutex // guards what follows
	opened *opened    // nil: not yet, or it went away
	// tidy has by key the revision with which this process left no parts behind.
	// When a document replaces another revision, parts are looked for.
	tidy map[string]uint64
}

// opened is the bucket as it was found on the server.
type opened struct {
	js        jetstream.JetStream
	stream    jetstream.Stream
	mayExpire bool // messages may have a time to live
}

// New returns the bucket of a connection. It asks for nothing: the server may be
// away. The first call opens the bucket, and creates it if it is missing, with as
// many replicas as the stream of reservations has.
func New(conn *nats.Conn) *Bucket {
	return &Bucket{conn: conn, tidy: map[string]uint64{}}
}

// NewReader returns the bucket for one who only looks: it is not created if it is
// missing, and then holds nothing. Put and Delete refuse.
func NewReader(conn *nats.Conn) *Bucket {
	return &Bucket{conn: conn, readOnly: true, tidy: map[string]uint64{}}
}

// Get decodes the document under key into what into points to, and returns its
// revision, for Put and Delete. With nothing there it returns ErrNotFound.
//
// In a cluster the answer may come from a replica that lags behind for a moment.
// Whoever writes by it finds out by ErrConflict.
func (b *Bucket) Get(ctx context.Context, key string, into any) (revision uint64, err error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var doc []byte
	err = b.with(ctx, func(ctx context.Context, o *opened) error {
		revision, doc, err = o.document(ctx, key)
		return err
	})
	switch {
	case err == nil:
		err = json.Unmarshal(doc, into)
	case b.readOnly && errors.Is(err, jetstream.ErrStreamNotFound):
		err = ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("read %s in key-value bucket %s: %w", key, Name, err)
	}
	return revision, nil
}

// Put stores v as JSON under key, in place of the document with the revision; 0
// means that there is none. It returns the new revision. Errors are ErrConflict,
// ErrUnclear, or that the server or the bucket refuses.
func (b *Bucket) Put(ctx context.Context, key string, revision uint64, v any) (stored uint64, err error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	if b.readOnly {
		return 0, errReadOnly
	}
	doc, err := pack(v)
	if err != nil {
		return 0, fmt.Errorf("store %s in key-value bucket %s: %w", key, Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout+time.Duration(len(doc.parts))*partTimeout)
	defer cancel()
	err = b.with(ctx, func(ctx context.Context, o *opened) error {
		if err := o.putParts(ctx, key, doc); err != nil {
			return err
		}
		msg := nats.NewMsg(subjectPrefix + key)
		msg.Data = doc.head
		stored, err = o.compareAndSet(ctx, msg, revision)
		if err == nil {
			b.tidyUp(ctx, o, key, doc, revision, stored)
		} else if !errors.Is(err, ErrUnclear) {
			o.dropParts(ctx, key, doc)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store %s in key-value bucket %s: %w", key, Name, err)
	}
	return stored, nil
}

// Delete removes the document with the revision. Its errors are those of Put.
func (b *Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if b.readOnly {
		return errReadOnly
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := b.with(ctx, func(ctx context.Context, o *opened) error {
		removed, err := o.compareAndSet(ctx, o.marker(key), revision)
		if err == nil {
			b.tidyUp(ctx, o, key, packed{}, revision, removed)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove %s from key-value bucket %s: %w", key, Name, err)
	}
	return nil
}

func checkKey(key string) error {
	if !keys.MatchString(key) || strings.HasPrefix(key, partsPrefix) {
		return fmt.Errorf("key %q of key-value bucket %s: give words of a-z, 0-9, _ and - with dots between, the first one not %q",
			key, Name, strings.TrimSuffix(partsPrefix, "."))
	}
	return nil
}

// with does something with the opened bucket. A bucket that turns out to have gone
// away is opened again, once.
func (b *Bucket) with(ctx context.Context, do func(context.Context, *opened) error) error {
	for again := true; ; again = false {
		o, err := b.open(ctx)
		if err != nil {
			return err
		}
		err = do(ctx, o)
		if !isGone(err) {
			return err
		}
		b.forget(o)
		if !again {
			return err
		}
	}
}

// isGone tells whether nobody answered for the bucket: it was deleted, or the
// server has just started.
func isGone(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrNoResponders)
}

func (b *Bucket) forget(o *opened) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened == o {
		b.opened = nil
	}
}

// marker is a message that takes the place of a removed document: watchers see it.
// It expires, unless the bucket was made without that.
func (o *opened) marker(key string) *nats.Msg {
	msg := nats.NewMsg(subjectPrefix + key)
	msg.Header.Set(operationHeader, "PURGE")
	msg.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	if o.mayExpire {
		msg.Header.Set(jetstream.MsgTTLHeader, markerTTL.String())
	}
	return msg
}

const (
	operationHeader = "KV-Operation"
	markerTTL       = time.Hour
	// putHeader names the Put that a message is of.
	putHeader = "Keastream-Put"
)

// isMarker tells whether a message says that there is no document.
func isMarker(msg *jetstream.RawStreamMsg) bool {
	return msg.Header.Get(operationHeader) != "" || msg.Header.Get(jetstream.MarkerReasonHeader) != ""
}

// newMark is unique among all Puts of all processes.
func newMark() string { return strings.ToLower(rand.Text()) }
