package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"

	"github.com/keastream/keastream/internal/e2e"
)

// route is the way of one process to one server: a proxy that nobody else
// uses. A fault of a route is a fault of the network.
type route struct {
	addr  string
	proxy *toxiproxy.Proxy
}

// Directions of a route.
const (
	toServer   = "upstream"
	fromServer = "downstream"
)

// newRoute opens a route to a server's address.
func newRoute(name, server string) (*route, error) {
	addr, err := e2e.FreeAddr()
	if err != nil {
		return nil, err
	}
	api := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)}
	silence(&api.Logger)
	r := &route{addr: addr, proxy: toxiproxy.NewProxy(api, name, addr, server)}
	if err := r.proxy.Start(); err != nil {
		return nil, fmt.Errorf("start proxy %s: %w", name, err)
	}
	return r, nil
}

// openRoutes opens a route to each of the addresses.
func openRoutes(name string, servers ...string) (routes []*route, err error) {
	for i, server := range servers {
		r, err := newRoute(fmt.Sprintf("%s-%d", name, i+1), server)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// silence makes a logger that writes nowhere, which the zero value is. Its
// module is not ours to name.
func silence[T any](logger **T) { *logger = new(T) }

// holding passes nothing on and takes nothing in. The toxics that come with the
// library take everything in; what came from an end that is dead by then is
// given 5 s a piece when they are taken away.
type holding struct{}

func (*holding) Pipe(stub *toxics.ToxicStub) { <-stub.Interrupt }

// hold keeps back everything in the given directions. Nothing is lost, nothing
// is closed, and nobody is told; new connections are taken and then are as
// silent as the old ones. heal lets everything go on, what was held back first.
func (r *route) hold(directions ...string) error {
	const name = "holding"
	toxics.Register(name, new(holding))
	return r.add(name, "{}", directions)
}

// slow makes everything later by d.
func (r *route) slow(d time.Duration, directions ...string) error {
	return r.add("latency", fmt.Sprintf(`{"latency":%d}`, d.Milliseconds()), directions)
}

func (r *route) add(toxic, attributes string, directions []string) error {
	for _, direction := range directions {
		text := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, toxic, direction, attributes)
		if _, err := r.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			return fmt.Errorf("proxy %s: %w", r.proxy.Name, err)
		}
	}
	return nil
}

// cut closes all connections and refuses new ones.
func (r *route) cut() { r.proxy.Stop() }

// heal ends all faults of the route.
func (r *route) heal() error {
	r.proxy.Toxics.ResetToxics(context.Background())
	if err := r.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("proxy %s: %w", r.proxy.Name, err)
	}
	return nil
}
