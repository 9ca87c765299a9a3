package solidsim

import (
	"maps"
	"sync"
)

// Calls says what clients did since the start or the last ResetCalls.
type Calls struct {
	// Total is the number of calls that arrived, refused ones too.
	Total int `json:"total"`
	// ByService counts calls that were authenticated and met a service, by
	// method and name: "POST dns_rr_add".
	ByService map[string]int `json:"by_service"`
	// Writes is how many of those went to a service that writes, whatever
	// came of them.
	Writes int `json:"writes"`
	// Changes is how many calls created, edited or deleted something: a record, a
	// zone, a view or a server.
	Changes int `json:"changes"`
	// Faulty is how many calls the fault hook let something go wrong with.
	Faulty int `json:"faulty"`
	// Faults counts these by kind: "reset after commit". Only the first 1,000
	// kinds are told apart, the others count as "other".
	Faults map[string]int `json:"faults"`
	// UnknownParameters counts parameters that the service does not know and
	// ignored, by service and name: "dns_rr_add zone_name". A real appliance
	// says nothing about them either, so a client's test should look here.
	// Only the first 1,000 names are told apart, the others count as "other".
	UnknownParameters map[string]int `json:"unknown_parameters"`
	// MaxConcurrent is the highest number of calls that were in progress at
	// the same time.
	MaxConcurrent int `json:"max_concurrent"`
}

// maxNames limits how many names of parameters and kinds are kept: they come
// from outside.
const maxNames = 1000

// counter counts calls. Its zero value is ready.
type counter struct {
	mu         sync.Mutex
	calls      Calls
	concurrent int
}

// enter counts a call that arrived and returns the function for its end.
func (c *counter) enter() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls.Total++
	c.concurrent++
	c.calls.MaxConcurrent = max(c.calls.MaxConcurrent, c.concurrent)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.concurrent--
	}
}

// served counts a call that met its service, with the parameters that this
// does not know.
func (c *counter) served(method, name string, writes bool, unknown []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls.ByService == nil {
		c.calls.ByService = make(map[string]int)
		c.calls.UnknownParameters = make(map[string]int)
	}
	c.calls.ByService[method+" "+name]++
	if writes {
		c.calls.Writes++
	}
	for _, parameter := range unknown {
		countName(c.calls.UnknownParameters, name+" "+parameter)
	}
}

func countName(counts map[string]int, name string) {
	if _, known := counts[name]; !known && len(counts) >= maxNames {
		name = "other"
	}
	counts[name]++
}

func (c *counter) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls.Changes++
}

func (c *counter) faulty(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls.Faulty++
	if c.calls.Faults == nil {
		c.calls.Faults = make(map[string]int)
	}
	countName(c.calls.Faults, kind)
}

func (c *counter) read() Calls {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	calls.ByService = maps.Clone(calls.ByService)
	calls.Faults = maps.Clone(calls.Faults)
	calls.UnknownParameters = maps.Clone(calls.UnknownParameters)
	return calls
}

// reset forgets all but the calls that are in progress.
func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = Calls{MaxConcurrent: c.concurrent}
}
