package bucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// maxPart bytes fit into a message of the embedded server, with headers; a
	// larger document comes in parts.
	maxPart = 60 << 10
	// maxDocument bounds a document before compression, so that a reader need not
	// take in what he cannot hold.
	maxDocument = 64 << 20
)

// errTorn tells that parts of a document are missing: another one replaced it
// while it was being read.
var errTorn = errors.New("parts of the document are missing")

// packed is a document as it is stored: what lies under its key, and its parts.
type packed struct {
	head    []byte
	version string
	parts   [][]byte // nil: the head is the document
}

// head stands under the key of a document in parts. Fields may be added.
type head struct {
	Parts *parts `json:"keastream_parts"`
}

type parts struct {
	Version string `json:"version"`
	Count   int    `json:"count"`
	Size    int    `json:"size"`   // of the document, in bytes
	SHA256  string `json:"sha256"` // of the document, in hex digits
}

var headPrefix = []byte(`{"keastream_parts":`)

func pack(v any) (packed, error) {
	doc, err := json.Marshal(v)
	switch {
	case err != nil:
		return packed{}, err
	case len(doc) > maxDocument:
		return packed{}, fmt.Errorf("the document has %d bytes, and %d are the most", len(doc), maxDocument)
	case bytes.HasPrefix(doc, headPrefix):
		return packed{}, fmt.Errorf("the document begins as the head of one in parts: %s", headPrefix)
	case len(doc) <= maxPart:
		return packed{head: doc}, nil
	}
	var small bytes.Buffer
	w, err := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if err != nil {
		return packed{}, err
	}
	if _, err := w.Write(doc); err != nil {
		return packed{}, err
	}
	if err := w.Close(); err != nil {
		return packed{}, err
	}
	p := packed{version: newMark(), parts: slices.Collect(slices.Chunk(small.Bytes(), maxPart))}
	sum := sha256.Sum256(doc)
	p.head, err = json.Marshal(head{&parts{p.version, len(p.parts), len(doc), hex.EncodeToString(sum[:])}})
	return p, err
}

// document reads what lies under a key.
func (o *opened) document(ctx context.Context, key string) (revision uint64, doc []byte, err error) {
	for range patience {
		msg, err := o.last(ctx, subjectPrefix+key)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && isMarker(msg) {
			return 0, nil, ErrNotFound
		}
		if err != nil {
			return 0, nil, err
		}
		if !bytes.HasPrefix(msg.Data, headPrefix) {
			return msg.Sequence, msg.Data, nil
		}
		doc, err := o.join(ctx, key, msg.Data)
		if !errors.Is(err, errTorn) {
			return msg.Sequence, doc, err
		}
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-time.After(firstPause):
		}
	}
	return 0, nil, fmt.Errorf("%w: remove it with `nats kv del %s %s`", errTorn, Name, key)
}

// join reads the parts that a head names and returns the document.
func (o *opened) join(ctx context.Context, key string, text []byte) ([]byte, error) {
	var h head
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("read its list of parts: %w", err)
	}
	var small bytes.Buffer
	for i := range h.Parts.Count {
		msg, err := o.last(ctx, partSubject(key, h.Parts.Version, strconv.Itoa(i)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, errTorn
		}
		if err != nil {
			return nil, fmt.Errorf("part %d of %d: %w", i+1, h.Parts.Count, err)
		}
		small.Write(msg.Data)
		if small.Len() > maxDocument {
			return nil, fmt.Errorf("its parts have more than %d bytes", maxDocument)
		}
	}
	r, err := gzip.NewReader(&small)
	if err != nil {
		return nil, fmt.Errorf("unpack its parts: %w", err)
	}
	doc, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("unpack its parts: %w", err)
	}
	if sum := sha256.Sum256(doc); len(doc) != h.Parts.Size || hex.EncodeToString(sum[:]) != h.Parts.SHA256 {
		return nil, errors.New("its parts do not belong together")
	}
	return doc, nil
}
