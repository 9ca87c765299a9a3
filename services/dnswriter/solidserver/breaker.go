package solidserver

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// breaker keeps calls from an appliance that does not answer: they would only
// wait for their time-outs, and keep it from getting up again. It is for the
// appliance as a whole, and safe for concurrent use.
//
// It opens after breakAfter calls in a row without an answer of the appliance's
// own. Then calls fail at once. After a pause one is let through, to try: if it
// is answered, the breaker closes; if not, the next pause is longer.
type breaker struct {
	metrics *Metrics

	mu     sync.Mutex
	failed int       // calls in a row without an answer
	last   string    // why the last of them got none
	until  time.Time // open until a call may try; zero: closed
	trying bool      // a call is under way to try
	pause  backoff.ExponentialBackOff
}

const (
	// breakAfter is more than may fail for reasons that have to do with one
	// call.
	breakAfter = 5
	// shortestPause and longestPause are between two calls that try, before
	// chance moves them a little.
	shortestPause = time.Second
	longestPause  = 5 * time.Second
	// longestWish is how much of a Retry-After is granted.
	longestWish = time.Minute
)

// newBreaker makes a breaker that is closed.
func newBreaker(metrics *Metrics) *breaker {
	b := &breaker{metrics: metrics, pause: backoff.ExponentialBackOff{
		InitialInterval: shortestPause, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: longestPause,
	}}
	b.pause.Reset()
	return b
}

// verdict is what a call tells of the appliance.
type verdict int

const (
	untold     verdict = iota // it was given up by the caller
	answered                  // with whatever the appliance says
	unanswered                // no answer, or one that says that it cannot
)

// enter lets a call through, or refuses it. The call must tell done its verdict
// at its end.
func (b *breaker) enter(made call) (done func(verdict, *Error), refused *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tries := !b.until.IsZero()
	now := time.Now()
	if tries && (b.trying || now.Before(b.until)) {
		return nil, &Error{
			Method: made.method, Service: made.service, Outcome: NotSent, kept: true,
			RetryAfter: max(b.until.Sub(now), shortestPause), // it is not known when the call that tries ends
			Err:        fmt.Errorf("not sent, since SOLIDserver did not answer the last %d calls: %s", b.failed, b.last),
		}
	}
	b.trying = tries
	return func(v verdict, err *Error) { b.done(tries, v, err) }, nil
}

// done takes the verdict of a call that was let through.
func (b *breaker) done(tried bool, v verdict, err *Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if tried {
		b.trying = false // so that the next one may, if this one was given up
	}
	opened := !b.until.IsZero()
	switch {
	case v == answered:
		b.close()
	case v == untold, opened && !tried: // of one that began before it opened nothing is to be learned
	default:
		b.failed++
		b.last = err.Error()
		if opened || b.failed >= breakAfter {
			b.open(err)
		}
	}
}

// open begins a pause. The caller holds b.mu.
func (b *breaker) open(err *Error) {
	b.until = time.Now().Add(max(b.pause.NextBackOff(), min(err.RetryAfter, longestWish)))
	b.metrics.breaker.Set(1)
}

// close ends all pauses. The caller holds b.mu.
func (b *breaker) close() {
	b.failed, b.last, b.until, b.trying = 0, "", time.Time{}, false
	b.pause.Reset()
	b.metrics.breaker.Set(0)
}

// verdict returns what the end of a call tells of the appliance; givenUp says
// that its caller did not want to wait any longer. Answers with a status of 500
// and more come from the appliance or from what stands before it, and say that
// it is not able to do its work; 408 and 429 say so too.
func (e *Error) verdict(givenUp bool) verdict {
	switch {
	case e == nil:
		return answered
	case e.Status == 0, e.lost:
		if givenUp {
			return untold
		}
		return unanswered
	case e.Status >= 500, e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooManyRequests:
		return unanswered
	}
	return answered
}
