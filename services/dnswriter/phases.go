package main

import (
	"strings"
	"sync"
)

// phases joins what all scopes are doing into one line.
type phases struct {
	show func(string)

	mu    sync.Mutex
	names []string // of the scopes, in their order
	now   map[string]string
}

func newPhases(show func(string)) *phases {
	return &phases{show: show, now: make(map[string]string)}
}

// of returns what one of several scopes calls with its phase.
func (p *phases) of(scope string, scopes int) func(string) {
	if scopes == 1 {
		return p.show
	}
	p.names = append(p.names, scope)
	return func(phase string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now[scope] = scope + ": " + phase
		var parts []string
		for _, name := range p.names {
			if text := p.now[name]; text != "" {
				parts = append(parts, text)
			}
		}
		p.show(strings.Join(parts, "; "))
	}
}
