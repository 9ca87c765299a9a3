package events

import "errors"

var (
	// ErrConflict is returned by the publishing methods of Stream when the
	// subject does not hold the message that was to be replaced: another
	// publisher wrote to it, or the stream lost it. Nothing was stored. The
	// caller's picture of the stream is out of date; it must replay before it
	// publishes again.
	ErrConflict = errors.New("the subject holds another message than expected")

	// ErrUnclear is returned by the publishing methods of Stream when it could
	// not be found out in time whether the server stored a message. It may have,
	// or may still. Publishing the same change again later is safe.
	ErrUnclear = errors.New("it is not known whether the message was stored")

	// ErrUnsafeStream is returned by OpenStream when the stream on the server
	// has settings with which it could lose reservations, or the server is too
	// old. The text names every such setting, its value and the wanted one.
	ErrUnsafeStream = errors.New("the stream is not safe to use")
)
