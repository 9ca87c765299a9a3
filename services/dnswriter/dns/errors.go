package dns

import (
	"errors"
	"time"
)

// What a DNS server, or the client of one, says of a call that did not end
// well. They are here because the callers and the clients know nothing of one
// another. A client's errors wrap at most one of the first five, and possibly
// ErrUnauthorised.
var (
	// ErrUnclear: it is not known whether a write was done. It may have been,
	// or may still be: the connection broke, the answer did not come in time or
	// cannot be read. Read back before anything else is decided.
	ErrUnclear = errors.New("it is not known whether the change was made")

	// ErrExists: a record was not created, because there is one that stands in
	// its way. Nothing was changed by the call.
	ErrExists = errors.New("a record is there already")

	// ErrChanged: a row was not changed or deleted, because it is not what the
	// caller thinks: it is gone, has another value, or is not ours any more.
	// Nothing was changed by the call.
	ErrChanged = errors.New("the record has changed meanwhile")

	// ErrRefused: the server understood the call and said no. Nothing was
	// changed, and the same call will be refused again until a person changes
	// something.
	ErrRefused = errors.New("refused by the DNS server")

	// ErrNotNow: a change was not sent, because the caller's own settings did not
	// allow it at the moment when it was about to be. The server has no part in
	// that, nothing was changed, and the same call may do later.
	ErrNotNow = errors.New("a change may not be sent now")

	// ErrUnauthorised: the server does not accept user and password.
	ErrUnauthorised = errors.New("user and password are not accepted")
)

// RetryAfter returns how long the one who made the error wants to be left alone,
// a server or its client: what the method Wait of an error in the tree of err
// says. It is 0 if none has one.
func RetryAfter(err error) time.Duration {
	waits, ok := errors.AsType[interface {
		error
		Wait() time.Duration
	}](err)
	if !ok {
		return 0
	}
	return waits.Wait()
}
