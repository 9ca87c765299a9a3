package main

import (
	"testing"

	"github.com/keastream/keastream/pkg/events"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	in4 := func(name string, subnet int64) events.Reservation {
		return events.Reservation{Hostname: name, Subnet4: &subnet}
	}
	in6 := func(name string, subnet int64) events.Reservation {
		return events.Reservation{Hostname: name, Subnet6: &subnet}
	}
	for _, test := range []struct {
		filter filter
		r      events.Reservation
		want   bool
	}{
		{filter{Subnets: []string{"7", "0"}}, in4("a", 7), true},
		{filter{Subnets: []string{"7", "0"}}, in6("a", 0), true},
		{filter{Subnets: []string{"7"}}, in4("a", 8), false},
		{filter{Subnets: []string{"7"}}, events.Reservation{Hostname: "a"}, false},
		{filter{Patterns: []string{"-bmc$", "^us3-[a-z]{1,3}$"}}, in4("US3-Node-BMC", 7), true},
		{filter{Patterns: []string{"-bmc$", "^us3-[a-z]{1,3}$"}}, in4("us3-abc.", 7), true},
		{filter{Patterns: []string{"-bmc$", "^us3-[a-z]{1,3}$"}}, in4("us3-abcd", 7), false},
		{filter{Patterns: []string{"."}}, in4("no_host_name", 7), false},
		{filter{Patterns: []string{"bmc"}, Subnets: []string{"7"}}, in4("a-bmc", 7), true},
		{filter{Patterns: []string{"bmc"}, Subnets: []string{"7"}}, in4("a-bmc", 8), false},
		{filter{Patterns: []string{"bmc"}, Subnets: []string{"7"}}, in4("a", 7), false},
	} {
		cares, err := test.filter.cares()
		if err != nil {
			t.Fatal(err)
		}
		if got := cares(test.r); got != test.want {
			t.Errorf("%+v: %s in %v, %v is %v", test.filter, test.r.Hostname, test.r.Subnet4, test.r.Subnet6, got)
		}
	}
	if cares, err := (filter{}).cares(); cares != nil || err != nil {
		t.Errorf("without settings there is a filter, or an error: %v", err)
	}
}
