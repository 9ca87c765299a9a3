package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

// braked adds to the settings of a scope's brake where its documents stand in NATS,
// and what it is of. Those who write the same records for the same reservations have
// the same documents, whatever their other settings are, and others have others: on
// one NATS there may be several SOLIDservers, and one may be written in parts.
func (s sight) braked(scope string, cfg brake.Config) brake.Config {
	servers, _ := s.Target.Names.servers()
	views, _ := s.Target.Names.views()
	server, view, host := servers[scope], views[scope], s.Appliance.place()
	zones, subnets, patterns := sorted(s.Placing.Zones), sorted(s.Filter.Subnets), sorted(s.Filter.Patterns)
	cfg.Key = brake.Key(scope, host, server, view, fmt.Sprintf("%q %q %q", zones, subnets, patterns))

	words := "server " + server
	if view != "" {
		words += " view " + view
	}
	words += " of " + host + ", zones " + strings.Join(zones, " ")
	if len(subnets) > 0 {
		words += ", subnets " + strings.Join(subnets, " ")
	}
	if len(patterns) > 0 {
		words += fmt.Sprintf(", names like %q", patterns)
	}
	cfg.Target = shortened(words)
	return cfg
}

// sorted returns what a list holds, for which order and repetition do not matter.
func sorted(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// shortened cuts a text for people.
func shortened(text string) string {
	const most = 300
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
