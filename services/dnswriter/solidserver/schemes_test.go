package solidserver_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

const tokenID, tokenSecret = "5fae08b2", "a secret that is never sent"

// withToken starts a simulator that knows a token too.
func withToken(t *testing.T, options solidsim.Options) *solidsim.Sim {
	t.Helper()
	sim, err := solidsim.Start(t.Context(), solidsim.Config{
		Users:   map[string]string{user: password},
		Tokens:  map[string]solidsim.Token{tokenID: {User: user, Secret: tokenSecret}},
		Options: options,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// Records live under each of the schemes, and another secret is not accepted.
func testSchemes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scheme   solidserver.Scheme
		user     secrets.Source
		password string
		names    string
	}{
		{solidserver.Native, source(user), password, "user and password"},
		{solidserver.Basic, source(user), password, "user and password"},
		{solidserver.Token, source(tokenID), tokenSecret, "token id and token secret"},
	} {
		t.Run(string(test.scheme), func(t *testing.T) {
			t.Parallel()
			sim := withToken(t, solidsim.Options{RefuseReplays: true})
			s := open(t, sim, solidserver.Config{Auth: test.scheme, Username: test.user, Password: source(test.password)}).
				Scope("internal", solidsim.InternalServer, "")
			for range 3 { // within a second
				lookup(t, s, host)
			}
			row := create(t, s, record(host, "10.0.0.1"), owner(5))
			if err := s.Update(t.Context(), row, record(host, "10.0.0.2"), owner(6)); err != nil {
				t.Error(err)
			}
			if err := s.Delete(t.Context(), lookup(t, s, host)[0]); err != nil {
				t.Error(err)
			}
			calls, accepted := sim.Calls(), 0
			for _, n := range calls.ByService {
				accepted += n
			}
			if calls.Total != accepted {
				t.Errorf("of %d calls %d were accepted", calls.Total, accepted)
			}
			s = open(t, sim, solidserver.Config{Auth: test.scheme, Username: test.user, Password: source("another")}).
				Scope("internal", solidsim.InternalServer, "")
			_, err := s.Records(t.Context(), site)
			if !errors.Is(err, dns.ErrUnauthorised) || !strings.Contains(err.Error(), "does not accept "+test.names) {
				t.Errorf("with another secret: %v", err)
			}
		})
	}
}

// The error for clocks that are too far apart says so.
func testTokenOutOfTime(t *testing.T) {
	t.Parallel()
	sim := withToken(t, solidsim.Options{TokenWindow: time.Nanosecond})
	s := open(t, sim, solidserver.Config{Auth: solidserver.Token, Username: source(tokenID), Password: source(tokenSecret)}).
		Scope("internal", solidsim.InternalServer, "")
	if _, err := s.Records(t.Context(), site); err == nil || !strings.Contains(err.Error(), "the clock") {
		t.Errorf("error is %v", err)
	}
}

// Wherever a server ends its pages, nothing is missing.
func TestLargestPage(t *testing.T) {
	t.Parallel()
	sim := withToken(t, solidsim.Options{MaxPage: 7})
	fill(t, sim, 50)
	s := open(t, sim, solidserver.Config{}).Scope("internal", solidsim.InternalServer, "")
	rows, err := s.Records(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	checkWhole(t, rows, 50)
}

// A server that cuts pages short and lists rows twice does not make anything
// look absent: what is read is all, or an error.
func TestPagesOfPoorQuality(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]solidsim.Fault{"short": {Short: true}, "double": {Double: true}} {
		for every := 1; every <= 3; every++ {
			sim := start(t)
			fill(t, sim, 2500)
			s := open(t, sim, solidserver.Config{Log: quiet()}).Scope("internal", solidsim.InternalServer, "")
			sim.SetFaults(faultEvery(every, fault))
			rows, err := s.Records(t.Context(), site)
			if err == nil {
				checkWhole(t, rows, 2500)
			}
			if n := sim.Calls().Total; n > 60 {
				t.Errorf("%s, every %d: %d calls", name, every, n)
			}
		}
	}
}

// faultEvery spoils each nth page of records.
func faultEvery(n int, fault solidsim.Fault) solidsim.FaultFunc {
	var pages atomic.Int64
	return func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Service == "dns_rr_list" && pages.Add(1)%int64(n) == 0 {
			return fault
		}
		return solidsim.Fault{}
	}
}
