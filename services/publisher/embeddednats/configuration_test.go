package embeddednats_test

import (
	"net/netip"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keastream/keastream/pkg/events"
)

// The configuration that is recommended for a server apart from the publisher
// keeps what the embedded one keeps.
func TestRecommendedConfiguration(t *testing.T) {
	t.Parallel()
	opts, err := server.ProcessConfigFile("../../../deploy/nats/nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	ip, err := netip.ParseAddr(opts.Host)
	if err != nil || !ip.IsLoopback() {
		t.Errorf("it listens on %q, want loopback: it has no users", opts.Host)
	}
	if !opts.JetStream || !opts.SyncAlways {
		t.Errorf("JetStream is %v and sync_interval always is %v, want both", opts.JetStream, opts.SyncAlways)
	}
	if opts.MaxPayload < events.MaxMessageSize {
		t.Errorf("max_payload is %d, and a message may have %d", opts.MaxPayload, events.MaxMessageSize)
	}
}
