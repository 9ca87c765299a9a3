package solidsim

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A FaultPlan says by chance what goes wrong. What happens to a call is decided
// by the seed, the number of the call and the rules alone: the same calls in the
// same order meet the same faults.
type FaultPlan struct {
	// Seed makes another sequence of the same rules.
	Seed uint64 `json:"seed"`
	// Rules are asked in this order, and the first that strikes counts. Those of
	// the kinds delay and hold are asked before all others and add up.
	Rules []FaultRule `json:"rules"`
}

// A FaultRule is one thing that may go wrong.
type FaultRule struct {
	// Kind is what goes wrong.
	Kind FaultKind `json:"kind"`
	// Rate is which part of the calls it strikes, over 0 and up to 1.
	Rate float64 `json:"rate"`
	// Services are the services it may strike, as patterns of path.Match:
	// "dns_rr_*". Default: all.
	Services []string `json:"services,omitempty"`
	// AfterCommit strikes when the call has done its work: "it failed but
	// happened". For the kinds that spoil the answer: status, reset, empty,
	// disconnected, html, truncate.
	AfterCommit bool `json:"after_commit,omitempty"`
	// Burst strikes that many calls in a row, by number, or none of them: a
	// storm. Default 1.
	Burst int `json:"burst,omitempty"`
	// Status is that of the kind status: 400 to 599. Default 500.
	Status int `json:"status,omitempty"`
	// RetryAfter is that header for the kind status, in whole seconds. Default:
	// none.
	RetryAfter Duration `json:"retry_after,omitempty"`
	// Duration is how long the kinds delay and hold take, plus up to Jitter.
	Duration Duration `json:"duration,omitempty"`
	// Jitter is spread evenly.
	Jitter Duration `json:"jitter,omitempty"`
}

// A FaultKind names something that goes wrong.
type FaultKind string

// The kinds of faults.
const (
	// FaultDelay holds the call back before its work, for Duration. A long one is
	// a call that hangs and happens late.
	FaultDelay FaultKind = "delay"
	// FaultHold holds the answer back after the work.
	FaultHold FaultKind = "hold"
	// FaultStatus answers Status with an error object.
	FaultStatus FaultKind = "status"
	// FaultReset resets the connection.
	FaultReset FaultKind = "reset"
	// FaultEmpty answers 200 without a body.
	FaultEmpty FaultKind = "empty"
	// FaultDisconnected answers 200 and {"connected":false}.
	FaultDisconnected FaultKind = "disconnected"
	// FaultHTML answers 502 with a page of HTML, as a proxy does.
	FaultHTML FaultKind = "html"
	// FaultTruncate cuts the answer off.
	FaultTruncate FaultKind = "truncate"
	// FaultShort, FaultDouble and FaultStale are those fields of Fault. They
	// strike reading services alone.
	FaultShort  FaultKind = "short"
	FaultDouble FaultKind = "double"
	FaultStale  FaultKind = "stale"
)

// htmlPage is what a proxy says in the place of an appliance that is away.
const htmlPage = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"

// spoilers are the kinds that take the answer away from the client.
var spoilers = map[FaultKind]Fault{
	FaultStatus:       {},
	FaultReset:        {Reset: true},
	FaultEmpty:        {Status: http.StatusOK, Empty: true},
	FaultDisconnected: {Status: http.StatusOK, Body: disconnected},
	FaultHTML:         {Status: http.StatusBadGateway, Body: htmlPage},
	FaultTruncate:     {Truncate: true},
}

// readFaults are the kinds for reading services.
var readFaults = map[FaultKind]Fault{
	FaultShort:  {Short: true},
	FaultDouble: {Double: true},
	FaultStale:  {Stale: true},
}

// A Duration is a time span that stands in JSON as time.ParseDuration reads it:
// "1.5s".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// MarshalText writes a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// ParseFaultPlan reads a plan from JSON and validates it. A field that it does
// not know is an error.
func ParseFaultPlan(text []byte) (FaultPlan, error) {
	var plan FaultPlan
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&plan); err != nil {
		return FaultPlan{}, fmt.Errorf("read fault plan: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return FaultPlan{}, errors.New("read fault plan: something follows the object")
	}
	return plan, plan.Validate()
}

// Validate returns all that is wrong with the plan, joined.
func (p FaultPlan) Validate() error {
	var errs []error
	for i, rule := range p.Rules {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("fault rule %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (r FaultRule) validate() error {
	_, spoils := spoilers[r.Kind]
	_, reads := readFaults[r.Kind]
	waits := r.Kind == FaultDelay || r.Kind == FaultHold
	errs := []error{checkPatterns("services", r.Services)}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(spoils || reads || waits, "kind %q: want one of %s", r.Kind, strings.Join(faultKinds(), ", "))
	check(r.Rate > 0 && r.Rate <= 1, "rate %v: want over 0 and up to 1", r.Rate)
	check(spoils || !r.AfterCommit, "after_commit: the kind %q spoils no answer", r.Kind)
	check(r.Burst >= 0, "burst %d: want 1 or more", r.Burst)
	check(r.Kind == FaultStatus || r.Status == 0 && r.RetryAfter == 0, "status and retry_after go with the kind status")
	check(r.Status == 0 || r.Status >= 400 && r.Status <= 599, "status %d: want 400 to 599", r.Status)
	check(r.RetryAfter == 0 || r.RetryAfter >= Duration(time.Second), "retry_after %s: want whole seconds", time.Duration(r.RetryAfter))
	check(waits == (r.Duration > 0 || r.Jitter > 0), "duration and jitter go with the kinds delay and hold, which need one")
	check(r.Duration >= 0 && r.Jitter >= 0, "duration and jitter: want 0 or more")
	return errors.Join(errs...)
}

func faultKinds() []string {
	kinds := []string{string(FaultDelay), string(FaultHold)}
	for kind := range maps.Keys(spoilers) {
		kinds = append(kinds, string(kind))
	}
	for kind := range maps.Keys(readFaults) {
		kinds = append(kinds, string(kind))
	}
	slices.Sort(kinds)
	return kinds
}

// Func is the plan as a hook. It does not block.
func (p FaultPlan) Func() FaultFunc {
	return func(_ context.Context, c Call) Fault { return p.decide(c) }
}

func (p FaultPlan) decide(c Call) Fault {
	var fault Fault
	struck := false
	for i, rule := range p.Rules {
		waits := rule.Kind == FaultDelay || rule.Kind == FaultHold
		if struck && !waits || !rule.concerns(c) {
			continue
		}
		burst := max(rule.Burst, 1)
		chance := p.chance(i, (c.Number-1)/burst)
		if chance.Float64() >= rule.Rate {
			continue
		}
		took := time.Duration(rule.Duration)
		if rule.Jitter > 0 {
			took += time.Duration(p.chance(i, -c.Number).Int64N(int64(rule.Jitter) + 1))
		}
		switch {
		case rule.Kind == FaultDelay:
			fault.Delay += took
		case rule.Kind == FaultHold:
			fault.Hold += took
		default:
			struck = true
			spoiled := rule.fault()
			spoiled.Delay, spoiled.Hold = fault.Delay, fault.Hold
			fault = spoiled
		}
	}
	if fault.Kind == "" && fault != (Fault{}) {
		fault.Kind = fault.kind()
	}
	return fault
}

// chance is a source of numbers for one decision. Decisions of neighbours have
// nothing to do with each other.
func (p FaultPlan) chance(rule, number int) *rand.Rand {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[0:], p.Seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(rule))
	binary.LittleEndian.PutUint64(seed[16:], uint64(number))
	return rand.New(rand.NewChaCha8(seed))
}

func (r FaultRule) concerns(c Call) bool {
	if _, reads := readFaults[r.Kind]; reads && c.Writes {
		return false
	}
	return len(r.Services) == 0 || matches(r.Services, c.Service)
}

// fault is what the rule does, with a name for the counts.
func (r FaultRule) fault() Fault {
	if fault, reads := readFaults[r.Kind]; reads {
		fault.Kind = string(r.Kind)
		return fault
	}
	fault := spoilers[r.Kind]
	fault.Kind = string(r.Kind)
	fault.Committed = r.AfterCommit
	if r.Kind == FaultStatus {
		fault.Status = http.StatusInternalServerError
		if r.Status != 0 {
			fault.Status = r.Status
		}
		fault.RetryAfter = time.Duration(r.RetryAfter)
		fault.Kind = fmt.Sprint("status ", fault.Status)
	}
	if r.AfterCommit {
		fault.Kind += " after commit"
	}
	return fault
}

// SetFaultPlan puts a plan into force, in the place of the one or of the hook
// that is there. It fails if the plan is not valid, or names services that do not
// exist.
func (s *Sim) SetFaultPlan(p FaultPlan) error {
	errs := []error{p.Validate()}
	for i, rule := range p.Rules {
		errs = append(errs, checkMeaning(fmt.Sprintf("fault rule %d", i+1), rule.Services, s.api.services))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	p.Rules = slices.Clone(p.Rules)
	s.api.strike(p.Func(), &p)
	return nil
}

// FaultPlan returns the plan in force, and false if there is none.
func (s *Sim) FaultPlan() (FaultPlan, bool) {
	hook := s.api.faults.Load()
	if hook == nil || hook.plan == nil {
		return FaultPlan{}, false
	}
	return *hook.plan, true
}
