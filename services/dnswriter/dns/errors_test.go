package dns_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	busy := &solidserver.Error{Method: "GET", Service: "dns_rr_list", RetryAfter: time.Minute}
	for _, test := range []struct {
		err  error
		want time.Duration
	}{
		{nil, 0},
		{errors.New("no"), 0},
		{fmt.Errorf("read zone: %w", busy), time.Minute},
		{errors.Join(dns.ErrUnclear, busy), time.Minute},
	} {
		if got := dns.RetryAfter(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}
