package brake_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// memory is a store with the contract of a bucket, without a network: the tests
// of hours and days run in the time of synctest. The tests of store_nats_test.go
// use the bucket itself.
type memory struct {
	mu       sync.Mutex
	docs     map[string]entry
	revision uint64
	puts     map[string]int
	bytes    int
	watchers map[*func()][]string
	// fault decides before each call what becomes of it; nil: all is well.
	fault func(call, key string) fault
	// latency is how long a Put takes.
	latency time.Duration
}

type entry struct {
	revision uint64
	data     []byte
}

// fault is what goes wrong.
type fault int

const (
	none fault = iota
	fails
	failsButHappens
)

var errAway = errors.New("nats: timeout")

func newMemory() *memory {
	return &memory{docs: make(map[string]entry), puts: make(map[string]int), watchers: make(map[*func()][]string)}
}

func (m *memory) decide(call, key string) fault {
	if m.fault == nil {
		return none
	}
	return m.fault(call, key)
}

func (m *memory) Get(ctx context.Context, key string, into any) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if m.decide("get", key) != none {
		return 0, errAway
	}
	e, ok := m.docs[key]
	if !ok {
		return 0, bucket.ErrNotFound
	}
	return e.revision, json.Unmarshal(e.data, into)
}

func (m *memory) Put(ctx context.Context, key string, revision uint64, v any) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	time.Sleep(m.latency)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f := m.decide("put", key)
	switch {
	case f == fails:
		return 0, errAway
	case m.docs[key].revision != revision:
		return 0, bucket.ErrConflict
	}
	m.revision++
	m.docs[key] = entry{m.revision, data}
	m.puts[key]++
	m.bytes += len(data)
	for changed, keys := range m.watchers {
		if slices.Contains(keys, key) {
			(*changed)()
		}
	}
	if f == failsButHappens {
		return 0, bucket.ErrUnclear
	}
	return m.revision, nil
}

func (m *memory) Watch(ctx context.Context, changed func(), keys ...string) {
	changed()
	m.mu.Lock()
	m.watchers[&changed] = keys
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	delete(m.watchers, &changed)
	m.mu.Unlock()
}

func (m *memory) Keys(ctx context.Context, word string) (keys []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.decide("keys", word) != none {
		return nil, errAway
	}
	for key := range m.docs {
		if strings.HasPrefix(key, word+".") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// setFault replaces what goes wrong.
func (m *memory) setFault(f func(call, key string) fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// putsOf counts the puts of a document, "" of all.
func (m *memory) putsOf(prefix string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for key := range maps.Keys(m.puts) {
		if strings.HasPrefix(key, prefix) {
			n += m.puts[key]
		}
	}
	return n
}
