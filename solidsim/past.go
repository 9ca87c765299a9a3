package solidsim

import (
	"net/http"
	"sync"
)

// generation is how many changes lie between two states that past keeps.
const generation = 10

// The past keeps what the reading services showed some changes ago, for stale
// reads. It costs a copy of all lists of rows each generation, and nothing
// while it is off. The zero value is off.
type past struct {
	mu           sync.Mutex
	on           bool
	changes      int
	older, newer map[string]handler // by service
}

// start keeps the state as it is now.
func (p *past) start(services map[string]service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := freeze(services)
	p.on, p.changes, p.older, p.newer = true, 0, now, now
}

func (p *past) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on, p.older, p.newer = false, nil, nil
}

// changed counts a change. The older of two states is shown, so that it is
// never the present one after a change.
func (p *past) changed(services map[string]service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on {
		return
	}
	if p.changes++; p.changes%generation == 0 {
		p.older, p.newer = p.newer, freeze(services)
	}
}

// reader returns the service on the older state, nil if there is none.
func (p *past) reader(name string) handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.older[name]
}

func freeze(services map[string]service) map[string]handler {
	frozen := make(map[string]handler)
	for name, svc := range services {
		if svc.freeze != nil && svc.handlers[http.MethodGet] != nil {
			frozen[name] = svc.freeze()
		}
	}
	return frozen
}
