package solidserver

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Outcome is what is known of a call that did not end well.
type Outcome int

const (
	// Unclear: the call may have been carried out, or may still be.
	Unclear Outcome = iota
	// NotSent: the call did not reach the appliance.
	NotSent
	// Refused: the appliance answered with an error of its own.
	Refused
)

// Error is why a call did not end well. It never holds a secret. With
// errors.Is it is dns.ErrUnclear or dns.ErrRefused according to its Outcome,
// and dns.ErrUnauthorised with the status 401.
type Error struct {
	// Method and Service name the call: "POST", "dns_rr_add".
	Method, Service string
	Outcome         Outcome
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Errno, Message and Parameter are what the appliance says: number and text
	// of the error, and the parameter that it complains of. They are for
	// reading only.
	Errno, Message, Parameter string
	// RetryAfter is how long the appliance wants to be left alone, 0 if it says
	// nothing.
	RetryAfter time.Duration
	// Err is the cause when there was no answer, or none that can be read.
	Err error

	// kept tells that the call was not even tried: the breaker did not let it go, or
	// it could not be made. Nobody waited for an answer.
	kept bool
	// lost tells that the connection broke before the end of the answer.
	lost bool
	// doubtful tells of a status 401 that it may not be meant.
	doubtful bool
	// secrets are what is not accepted with a status 401.
	secrets string
}

func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s", e.Method, e.Service)
	switch {
	case e.Status == http.StatusUnauthorized:
		fmt.Fprintf(&text, ": SOLIDserver does not accept %s (status 401)", e.secrets)
	case e.Status != 0:
		fmt.Fprintf(&text, ": status %d", e.Status)
	case !e.kept:
		text.WriteString(": no answer")
	}
	if e.Message != "" || e.Errno != "" {
		fmt.Fprintf(&text, ": %q (errno %s", show(e.Message), cmp.Or(plain(e.Errno), "none"))
		if e.Parameter != "" {
			fmt.Fprintf(&text, ", parameter %q", show(e.Parameter))
		}
		text.WriteString(")")
	}
	if e.Err != nil {
		fmt.Fprintf(&text, ": %v", e.Err)
	}
	return text.String()
}

// show bounds what the other side sent.
func show(s string) string {
	const limit = 200
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

// plain is show for what should be a number or a word: anything else it puts in
// quotes, since it may hold what does harm to a terminal or a log.
func plain(s string) string {
	notPlain := func(r rune) bool { return r > '~' || !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	if strings.ContainsFunc(s, notPlain) {
		return strconv.Quote(show(s))
	}
	return show(s)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is find the sentinels of package dns.
func (e *Error) Is(target error) bool {
	switch target {
	case dns.ErrUnclear:
		return e.Outcome == Unclear && e.writes()
	case dns.ErrRefused:
		return e.Outcome == Refused
	case dns.ErrUnauthorised:
		return e.Status == http.StatusUnauthorized
	default:
		return false
	}
}

// Wait returns RetryAfter. It is what dns.RetryAfter asks for.
func (e *Error) Wait() time.Duration { return e.RetryAfter }

func (e *Error) writes() bool { return e.Method != http.MethodGet }

// busy are the statuses with which the appliance, or what stands before it,
// says that the same call may do well a little later. 412 says that the stamp of
// a signature is not of its time.
func busy() []int {
	return []int{
		http.StatusRequestTimeout, http.StatusPreconditionFailed, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}
}

// passing tells whether a read may do better a little later. A time-out is not
// among it: it was long enough.
func (e *Error) passing() bool { return e.lost || e.doubtful || slices.Contains(busy(), e.Status) }

// advise adds the remedy to errors that a person can do something about.
func advise(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: give the CA that signed SOLIDserver's certificate with --sds-ca, and the host by a name in it", err)
	}
	return err
}
