package events

import (
	"errors"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// Statistics counts what did not go straight while publishing: messages, or
// attempts to store them, since the process started. The zero value is ready.
// Any number of streams may count on one, one after the other or together, and
// it may be read from any goroutine.
type Statistics struct {
	refused, unclear, readBacks, retries atomic.Uint64
}

// Refused is the number of attempts that the server refused because the subject
// did not hold the message that was expected: somebody else published, or the
// stream lost something, or it was an attempt that had succeeded after all.
func (s *Statistics) Refused() uint64 { return s.refused.Load() }

// Unclear is the number of attempts without an answer, which may have been
// stored or not.
func (s *Statistics) Unclear() uint64 { return s.unclear.Load() }

// ReadBacks is the number of times that a subject was read to find out what an
// attempt had led to.
func (s *Statistics) ReadBacks() uint64 { return s.readBacks.Load() }

// Retries is the number of attempts after the first one. The messages of a
// batch that are then stored one by one count, too.
func (s *Statistics) Retries() uint64 { return s.retries.Load() }

// failed counts an attempt that ended with err.
func (s *Statistics) failed(err error) {
	apiErr, answered := errors.AsType[*jetstream.APIError](err)
	switch {
	case !answered:
		s.unclear.Add(1)
	case wrongExpectation(apiErr):
		s.refused.Add(1)
	}
}
