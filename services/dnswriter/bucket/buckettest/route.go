// Package buckettest spoils the connection of a bucket, for tests.
package buckettest

import (
	"context"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
)

// Route is a connection to NATS on the way of which things get lost.
type Route struct {
	// Conn is the connection. It is made again whenever it breaks.
	Conn *nats.Conn

	t     *testing.T
	proxy *toxiproxy.Proxy
}

// NewRoute opens a route to the server of a URL, for as long as the test runs.
func NewRoute(t *testing.T, url string) *Route {
	t.Helper()
	api := &toxiproxy.ApiServer{Metrics: toxiproxy.NewMetricsContainer(nil)}
	silence(&api.Logger)
	r := &Route{t: t, proxy: toxiproxy.NewProxy(api, "nats", "127.0.0.1:0", strings.TrimPrefix(url, "nats://"))}
	if err := r.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.proxy.Stop)
	conn, err := nats.Connect("nats://"+r.proxy.Listen, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // else the library prints them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	r.Conn = conn
	return r
}

// silence makes a logger that writes nowhere, which the zero value is.
func silence[T any](logger **T) { *logger = new(T) }

// Directions of a route.
const (
	Requests = "upstream"
	Answers  = "downstream"
)

// Lose loses everything in a direction from now on.
func (r *Route) Lose(direction string) {
	r.t.Helper()
	if _, err := r.proxy.Toxics.AddToxicJson(strings.NewReader(`{"type":"timeout","stream":"` + direction + `","attributes":{"timeout":0}}`)); err != nil {
		r.t.Fatal(err)
	}
}

// Heal breaks the connections on which something was lost. New ones work.
func (r *Route) Heal() { r.proxy.Toxics.ResetToxics(context.Background()) }
