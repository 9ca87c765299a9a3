package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/keastream/keastream/pkg/events"
)

// filter narrows which reservations get records.
type filter struct {
	Subnets []string `name:"subnet-id" placeholder:"ID" help:"Write only reservations of these Kea subnets; a list or repeated. 0 stands for global reservations. Without it those of all subnets."`
	// A comma may be part of a pattern.
	Patterns []string `name:"name-pattern" sep:"none" placeholder:"RE2" help:"Write only reservations whose host name, in lower case and without trailing dot, matches this regular expression (RE2) somewhere; ^ and $ bind it to the ends. Repeated: any of them."`
}

func (f filter) check() (errs []error) {
	if _, err := f.cares(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// cares returns what tells whether a reservation gets records; nil if all do. The
// error names all values that are not right.
func (f filter) cares() (func(events.Reservation) bool, error) {
	var errs []error
	var subnets []int64
	for _, text := range f.Subnets {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			errs = append(errs, fmt.Errorf("--subnet-id=%s: not the id of a subnet, a number from 0 to 4294967295", text))
		}
		subnets = append(subnets, int64(id))
	}
	var patterns []*regexp.Regexp
	for _, text := range f.Patterns {
		pattern, err := regexp.Compile(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--name-pattern=%s: %w: give a regular expression in the syntax of RE2", text, err))
		}
		patterns = append(patterns, pattern)
	}
	if len(errs) > 0 || len(subnets)+len(patterns) == 0 {
		return nil, errors.Join(errs...)
	}
	return func(r events.Reservation) bool { return inSubnets(subnets, r) && matches(patterns, r.Hostname) }, nil
}

// inSubnets tells whether a reservation belongs to one of the subnets, if there are
// any.
func inSubnets(subnets []int64, r events.Reservation) bool {
	in := func(subnet *int64) bool { return subnet != nil && slices.Contains(subnets, *subnet) }
	return len(subnets) == 0 || in(r.Subnet4) || in(r.Subnet6)
}

// matches tells whether a host name matches one of the patterns, if there are any.
func matches(patterns []*regexp.Regexp, hostname string) bool {
	if len(patterns) == 0 {
		return true
	}
	name, err := events.CanonicalHostname(hostname)
	return err == nil && slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) })
}
