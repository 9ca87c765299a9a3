package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/lease"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// The answers of /api/v1. Names of fields keep their meaning; more may come. Lists
// are never null and are cut at the parameter limit: total says how much there is,
// and truncated whether something is missing.
const (
	usualLimit = 100
	mostLimit  = 1000
	// explained is how many names of a question are explained at most.
	explained = 20
)

// cutList is how a list is cut.
type cutList struct {
	Total     int  `json:"total"`
	Truncated bool `json:"truncated"`
}

type statusAnswer struct {
	Version string                   `json:"version"`
	Lease   leaseStatus              `json:"lease"`
	Scopes  []reconcile.Status       `json:"scopes"`
	Sources []reconcile.SourceStatus `json:"sources"`
}

// leaseStatus says which instance works. Without a lease it is this one.
type leaseStatus struct {
	Leads  bool   `json:"leads"`
	Holder string `json:"holder"`
}

// withheldAnswer has what the brakes withhold: total counts records.
type withheldAnswer struct {
	cutList
	Lists []withheldList `json:"lists"`
}

// withheldList is one list with the command that approves it.
type withheldList struct {
	brake.List
	Reason  string `json:"reason"`
	Approve string `json:"approve"`
}

type conflictsAnswer struct {
	cutList
	Conflicts []reconcile.ConflictItem `json:"conflicts"`
}

type parkedAnswer struct {
	cutList
	Parked []reconcile.ParkedItem `json:"parked"`
}

// serve adds the answers about the scopes to the HTTP server.
func (all scopes) serve(d *daemon.Daemon, view *events.View, lease *lease.Lease) {
	d.Answer("/api/v1/status", func(_ context.Context, query url.Values) (any, error) {
		answer := statusAnswer{Version: daemon.Version(), Scopes: []reconcile.Status{}, Sources: reconcile.Sources(view)}
		answer.Lease.Holder, answer.Lease.Leads = lease.Holder()
		for _, s := range all {
			answer.Scopes = append(answer.Scopes, s.Status())
		}
		return answer, onlyParameters(query)
	})
	d.Answer("/api/v1/conflicts", func(_ context.Context, query url.Values) (any, error) {
		list, cut, err := gather(all, query, func(s scope, limit int) ([]reconcile.ConflictItem, int) { return s.Conflicts(limit) })
		return conflictsAnswer{cut, list}, err
	})
	d.Answer("/api/v1/parked", func(_ context.Context, query url.Values) (any, error) {
		list, cut, err := gather(all, query, func(s scope, limit int) ([]reconcile.ParkedItem, int) { return s.Parked(limit) })
		return parkedAnswer{cut, list}, err
	})
	d.Answer("/api/v1/withheld", func(_ context.Context, query url.Values) (any, error) {
		lists, cut, err := withheld(all, query)
		return withheldAnswer{cut, lists}, err
	})
	d.Answer("/api/v1/explain", func(_ context.Context, query url.Values) (any, error) {
		if err := onlyParameters(query, "q", "scope"); err != nil {
			return nil, err
		}
		asked, err := all.named(query.Get("scope"))
		if err != nil {
			return nil, err
		}
		return asked.explain(query.Get("q"))
	})
}

// gather puts the lists of scopes together: of all, or of the one in the query.
func gather[T any](all scopes, query url.Values, list func(s scope, limit int) ([]T, int)) (items []T, cut cutList, err error) {
	items = []T{}
	if err := onlyParameters(query, "limit", "scope"); err != nil {
		return items, cut, err
	}
	limit, err := limitOf(query)
	if err != nil {
		return items, cut, err
	}
	asked, err := all.named(query.Get("scope"))
	if err != nil {
		return items, cut, err
	}
	for _, s := range asked {
		some, total := list(s, limit-len(items))
		items = append(items, some...)
		cut.Total += total
	}
	cut.Truncated = cut.Total > len(items)
	return items, cut, nil
}

// withheld returns the lists of the brakes, whose records are cut together.
func withheld(all scopes, query url.Values) (lists []withheldList, cut cutList, err error) {
	lists = []withheldList{}
	if err := onlyParameters(query, "limit", "scope"); err != nil {
		return lists, cut, err
	}
	limit, limitErr := limitOf(query)
	asked, scopeErr := all.named(query.Get("scope"))
	if err := errors.Join(limitErr, scopeErr); err != nil {
		return lists, cut, err
	}
	shown := 0
	for _, s := range asked {
		for _, list := range s.brake.Lists() {
			cut.Total += len(list.Items)
			list.Items = append([]brake.Item{}, list.Items[:min(len(list.Items), limit-shown)]...)
			shown += len(list.Items)
			lists = append(lists, withheldList{list, list.String(), list.Command()})
		}
	}
	cut.Truncated = cut.Total > shown
	return lists, cut, nil
}

// named returns the scope of a name, or all scopes for "".
func (all scopes) named(name string) (scopes, error) {
	if name == "" {
		return all, nil
	}
	for _, s := range all {
		if s.name == name {
			return scopes{s}, nil
		}
	}
	return nil, fmt.Errorf("scope: %.80q is none of those that are written", name)
}

func limitOf(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return usualLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 0 || limit > mostLimit {
		return 0, fmt.Errorf("limit: must be a number from 0 to %d", mostLimit)
	}
	return limit, nil
}

// onlyParameters refuses parameters that there are not: a mistyped one would be
// ignored.
func onlyParameters(query url.Values, known ...string) error {
	var errs []error
	for name := range query {
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("%.80q is no parameter; there are %q", name, known))
		}
	}
	return errors.Join(errs...)
}

func stampUTC(at time.Time) string { return at.UTC().Format(time.RFC3339) }
