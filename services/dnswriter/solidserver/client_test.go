package solidserver_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sourcegraph/conc"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

func testHost(t *testing.T) {
	t.Parallel()
	sim := start(t)
	_, port, _ := strings.Cut(sim.Addr(), ":")
	for _, host := range []string{sim.Addr(), sim.URL(), sim.URL() + "/", "HTTPS://" + sim.Addr(), "localhost:" + port} {
		s := open(t, sim, solidserver.Config{Host: host}).Scope("internal", solidsim.InternalServer, "")
		if _, err := s.Records(t.Context(), site); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"sds", "sds.example.com:8443", "2001:db8::1", "[2001:db8::1]:443", "https://[::1]"} {
		if _, err := solidserver.New(solidserver.Config{Host: host, Username: source(user), Password: source(password)}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for host, want := range map[string]string{
		"":                                  "is empty",
		":443":                              "is empty",
		"http://sds":                        "https only",
		"sds:":                              "port is empty",
		"sds:x":                             "is not a host",
		"sds:70000":                         "port is not a number",
		"sds/rest":                          "nothing after the host",
		"sds?x":                             "nothing after the host",
		"sds?":                              "nothing after the host",
		"sds#x":                             "nothing after the host",
		"sds example":                       "is not a host",
		"https://ipmadmin:s3cret@sds":       "do not belong into it",
		"https://ipmadmin:s3cret@sds:%zz/x": "do not belong into it",
	} {
		_, err := solidserver.New(solidserver.Config{Host: host, Username: source(user), Password: source(password)})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error is %v, want %q in it", host, err, want)
		}
	}
}

func TestNewNamesAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := solidserver.New(solidserver.Config{
		Host: "http://sds", CAFile: "/does/not/exist", Rate: -1, Concurrency: -1, ReadTimeout: -1,
	})
	for _, want := range []string{"https only", "/does/not/exist", "rate -1", "concurrency -1", "time-outs", "are not set"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	_, err = solidserver.New(solidserver.Config{
		Host: "sds", Username: source(user), Password: source(password), CAFile: write(t, []byte("no certificate")),
	})
	if err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a CA file without a certificate: %v", err)
	}
}

func testCertificates(t *testing.T) {
	t.Parallel()
	sim, other := start(t), start(t)
	s := open(t, sim, solidserver.Config{CAFile: write(t, other.CAPEM())}).Scope("internal", solidsim.InternalServer, "")
	_, err := s.Records(t.Context(), site)
	failed, ok := errors.AsType[*solidserver.Error](err)
	if !ok || failed.Outcome != solidserver.NotSent || !strings.Contains(err.Error(), "--sds-ca") {
		t.Errorf("with the CA of another: %v", err)
	}
	if n := sim.Calls().Total; n > 0 {
		t.Errorf("%d calls went to a server that is not trusted", n)
	}
	s = open(t, sim, solidserver.Config{Insecure: true}).Scope("internal", solidsim.InternalServer, "")
	if _, err := s.Records(t.Context(), site); err != nil {
		t.Errorf("insecure: %v", err)
	}
}

// What was not sent may be sent again, a write too.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	sim := start(t)
	client := open(t, sim, solidserver.Config{})
	s := client.Scope("internal", solidsim.InternalServer, "")
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	client.Close() // on an old connection it could not be told whether it was sent
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), site, record("b.site.com", "10.0.0.1"), owner(5), true)
	failed, ok := errors.AsType[*solidserver.Error](err)
	if !ok || failed.Outcome != solidserver.NotSent || errors.Is(err, dns.ErrUnclear) {
		t.Errorf("create: %v", err)
	}
	if err := s.Delete(t.Context(), row); err == nil || errors.Is(err, dns.ErrUnclear) {
		t.Errorf("delete: %v", err)
	}
}

func testCredentialsOfTheMoment(t *testing.T) {
	t.Parallel()
	sim := start(t)
	var mu sync.Mutex
	current, sourceErr := "wrong", error(nil)
	set := func(text string, err error) {
		mu.Lock()
		defer mu.Unlock()
		current, sourceErr = text, err
	}
	s := open(t, sim, solidserver.Config{
		Username: source(user),
		Password: func(context.Context) (secrets.Value, error) {
			mu.Lock()
			defer mu.Unlock()
			return secrets.New(current), sourceErr
		},
	}).Scope("internal", solidsim.InternalServer, "")

	_, err := s.Records(t.Context(), site)
	if !errors.Is(err, dns.ErrUnauthorised) || !strings.Contains(err.Error(), "does not accept user and password") {
		t.Errorf("with a wrong password: %v", err)
	}
	if n := sim.Calls().Total; n != 1 {
		t.Errorf("a wrong password was sent %d times: that may lock the user out", n)
	}
	set(password, nil)
	row := create(t, s, record(host, "10.0.0.1"), owner(5))
	set("changed by nobody", nil)
	if err := s.Delete(t.Context(), row); !errors.Is(err, dns.ErrUnauthorised) || errors.Is(err, dns.ErrUnclear) {
		t.Errorf("delete, refused when reading: %v", err)
	}
	set("", errors.New("vault is sealed"))
	calls := sim.Calls().Total
	_, err = s.Records(t.Context(), site)
	failed, ok := errors.AsType[*solidserver.Error](err)
	if !ok || failed.Outcome != solidserver.NotSent || !strings.Contains(err.Error(), "password of SOLIDserver: vault is sealed") {
		t.Errorf("without a password: %v", err)
	}
	if sim.Calls().Total != calls {
		t.Error("a call was made without a password")
	}
}

// No error and no line of the log holds the password in any form.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	sim := start(t)
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	s := open(t, sim, solidserver.Config{Log: slog.New(handler)}).Scope("internal", solidsim.InternalServer, "")
	var texts []string
	for _, fault := range unclearFaults() {
		sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
			if c.Writes {
				return fault
			}
			return solidsim.Fault{}
		})
		_, err := s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true)
		texts = append(texts, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Records(t.Context(), site)
	for _, text := range append(texts, fmt.Sprint(err), log.String()) {
		for _, secret := range []string{password, base64.StdEncoding.EncodeToString([]byte(password))} {
			if strings.Contains(text, secret) {
				t.Errorf("the password stands in %s", text)
			}
		}
	}
	if !strings.Contains(log.String(), "service=dns_rr_add") {
		t.Errorf("the log is %s", log.String())
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"3600":                          time.Hour,
		"-5":                            0,
		"soon":                          0,
		"Wed, 21 Oct 2015 07:28:00 GMT": 0,
	} {
		calls := 0
		s := other(t, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set("Retry-After", header)
			status := http.StatusTooManyRequests
			if want == 0 {
				status = http.StatusForbidden // not repeated
			}
			w.WriteHeader(status)
		})
		_, err := s.Records(t.Context(), site)
		failed, ok := errors.AsType[*solidserver.Error](err)
		if !ok || failed.RetryAfter != want || calls != 1 {
			t.Errorf("%s: %d calls, error %v", header, calls, err)
		}
	}
}

func testConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	sim := start(t)
	s := open(t, sim, solidserver.Config{Concurrency: 3}).Scope("internal", solidsim.InternalServer, "")
	lookup(t, s, host)
	sim.SetLatency(5 * time.Millisecond)
	var workers conc.WaitGroup
	for range 12 {
		workers.Go(func() {
			if _, err := s.Lookup(t.Context(), site, host); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	if n := sim.Calls().MaxConcurrent; n > 3 {
		t.Errorf("%d calls at a time", n)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	sim := start(t)
	s := open(t, sim, solidserver.Config{Concurrency: 1}).Scope("internal", solidsim.InternalServer, "")
	entered := make(chan struct{})
	sim.SetFaults(func(ctx context.Context, _ solidsim.Call) solidsim.Fault {
		close(entered)
		<-ctx.Done()
		return solidsim.Fault{}
	})
	first, cancelFirst := context.WithCancel(t.Context())
	var workers conc.WaitGroup
	workers.Go(func() {
		if _, err := s.Records(first, site); !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
	})
	<-entered
	second, cancelSecond := context.WithCancel(t.Context())
	cancelSecond()
	if _, err := s.Records(second, site); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "free slot") {
		t.Errorf("the second: %v", err)
	}
	cancelFirst()
	workers.Wait()
}

func testRateLimit(t *testing.T) {
	t.Parallel()
	sim := start(t)
	s := open(t, sim, solidserver.Config{Rate: 1e-4}).Scope("internal", solidsim.InternalServer, "")
	lookup(t, s, host) // the two calls that may be made at once
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := s.Lookup(ctx, site, host); err == nil || !strings.Contains(err.Error(), "rate limit") {
		t.Errorf("a third call: %v", err)
	}
	if n := sim.Calls().Total; n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	sim := start(t)
	registry := prometheus.NewRegistry()
	s := open(t, sim, solidserver.Config{Metrics: solidserver.NewMetrics(registry)}).Scope("internal", solidsim.InternalServer, "")
	create(t, s, record(host, "10.0.0.1"), owner(5))
	if _, err := s.Create(t.Context(), site, record(host, "10.0.0.1"), owner(5), true); !errors.Is(err, dns.ErrExists) {
		t.Fatal(err)
	}
	lookup(t, s, "none.site.com")
	fail(sim, "dns_rr_add", solidsim.Fault{Reset: true})
	if _, err := s.Create(t.Context(), site, record("b.site.com", "10.0.0.1"), owner(5), true); !errors.Is(err, dns.ErrUnclear) {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var name strings.Builder
			name.WriteString(family.GetName())
			for _, label := range metric.GetLabel() {
				name.WriteString(" " + label.GetValue())
			}
			got[name.String()] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"keastream_dns_api_requests_total 200 dns_zone_list":      1,
		"keastream_dns_api_requests_total 201 dns_rr_add":         1,
		"keastream_dns_api_requests_total 400 dns_rr_add":         1,
		"keastream_dns_api_requests_total none dns_rr_add":        1,
		"keastream_dns_api_requests_total 200 dns_rr_list":        2,
		"keastream_dns_api_requests_total 204 dns_rr_list":        1,
		"keastream_dns_api_request_duration_seconds dns_rr_add":   3,
		"keastream_dns_api_request_duration_seconds dns_rr_list":  3,
		"keastream_dns_api_requests_in_flight":                    0,
		"keastream_dns_api_breaker_open":                          0,
		"keastream_dns_api_request_duration_seconds dns_rr_count": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
