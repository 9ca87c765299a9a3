package solidsim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options are switches for what no public source tells for certain about the
// API over HTTP. The zero value takes the strict side, or the one that more
// sources speak for.
type Options struct {
	// ForbiddenStatus answers a call that the user has no right to: 403 or 400.
	// Default 403. Clients take any 4xx for it.
	ForbiddenStatus int
	// UnknownServiceStatus answers a call to a service that does not exist: 404
	// or 400. Default 404.
	UnknownServiceStatus int
	// Unauthorized is what a caller gets who is not known. Default
	// UnauthorizedObject.
	Unauthorized UnauthorizedForm
	// TokenWindow is how far the time stamp of an API token may be from the
	// clock of this host, to both sides; beyond it the answer is 412. Default 5
	// minutes.
	TokenWindow time.Duration
	// RefuseReplays answers 401 to a signature of an API token that was used
	// before. It is off, because a client of the vendor sends the same one twice
	// for two writes within a second: it does not cover the body.
	RefuseReplays bool
	// MaxPage is the most rows in one answer of a list, whatever limit says; the
	// vendor says only that a page may be shorter than that. Default 0: no limit.
	MaxPage int
}

// An UnauthorizedForm is a form of the answer to a caller who is not known.
type UnauthorizedForm string

// The forms that clients tell of.
const (
	// UnauthorizedObject is a 401 with an error object.
	UnauthorizedObject UnauthorizedForm = "object"
	// UnauthorizedText is a 401 with plain text.
	UnauthorizedText UnauthorizedForm = "text"
	// UnauthorizedDisconnected is {"connected":false}, which the web layer gives
	// when a call met no session, with status 200: of two the worse one for a
	// client that looks at the status alone.
	UnauthorizedDisconnected UnauthorizedForm = "disconnected"
)

// disconnected is the body of UnauthorizedDisconnected, as clients look for it.
const disconnected = `{"connected":false}`

// complete puts the defaults in and checks the switches.
func (o Options) complete() (Options, error) {
	o.ForbiddenStatus = cmp.Or(o.ForbiddenStatus, http.StatusForbidden)
	o.UnknownServiceStatus = cmp.Or(o.UnknownServiceStatus, http.StatusNotFound)
	o.Unauthorized = cmp.Or(o.Unauthorized, UnauthorizedObject)
	o.TokenWindow = cmp.Or(o.TokenWindow, 5*time.Minute)
	errs := []error{
		oneOf("status of a forbidden call", o.ForbiddenStatus, http.StatusForbidden, http.StatusBadRequest),
		oneOf("status of an unknown service", o.UnknownServiceStatus, http.StatusNotFound, http.StatusBadRequest),
		oneOf("answer to an unknown caller", o.Unauthorized, UnauthorizedObject, UnauthorizedText, UnauthorizedDisconnected),
	}
	if o.TokenWindow < 0 {
		errs = append(errs, fmt.Errorf("time window of tokens %s: want more than 0", o.TokenWindow))
	}
	if o.MaxPage < 0 {
		errs = append(errs, fmt.Errorf("largest page %d: want 0, for no limit, or more", o.MaxPage))
	}
	return o, errors.Join(errs...)
}

// page is the parameters with a limit that MaxPage allows. A limit that is no
// number stays, to be refused.
func (o Options) page(service string, p params) params {
	limit, err := strconv.Atoi(cmp.Or(p["limit"], strconv.Itoa(o.MaxPage+1)))
	if o.MaxPage == 0 || !strings.HasSuffix(service, "_list") || err != nil || limit <= o.MaxPage {
		return p
	}
	p = maps.Clone(p)
	p["limit"] = strconv.Itoa(o.MaxPage)
	return p
}

func oneOf[T comparable](what string, value T, choices ...T) error {
	if slices.Contains(choices, value) {
		return nil
	}
	return fmt.Errorf("%s %v: want one of %v", what, value, choices)
}
