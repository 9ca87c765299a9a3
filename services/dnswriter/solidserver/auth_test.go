package solidserver

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keastream/keastream/internal/secrets"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

func secret(text string) secrets.Source {
	return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
}

// The signature was made with another implementation of SHA3-256.
func TestSignature(t *testing.T) {
	t.Parallel()
	const want = "3a5f474594105a7f66c82defc2ec920c6c0d630bc9ac8d55a8407ca03f717f8e"
	got := signature("correct horse", "1700000000", http.MethodGet,
		"https://sds.example.com:8443/rest/dns_zone_list?WHERE=dns_name%3D%27a+b%27&limit=1")
	if got != want {
		t.Errorf("the signature is %s", got)
	}
}

// appliance answers every call with the handler, on a real connection.
func appliance(t *testing.T, auth Scheme, password string, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	client, err := New(Config{
		Host: server.URL, Insecure: true, Auth: auth, Username: secret("ümlaut"), Password: secret(password),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// What is signed is what arrives: the verifier knows the raw request alone.
func TestTokenSignsWhatIsSent(t *testing.T) {
	t.Parallel()
	const zone = "it's-a b&c=d+e%20ü#.site.com"
	var checked atomic.Int64
	client := appliance(t, Token, "s3cret", func(w http.ResponseWriter, r *http.Request) {
		stamp := r.Header.Get("X-SDS-TS")
		sum := sha3.Sum256([]byte("s3cret\n" + stamp + "\n" + r.Method + "\nhttps://" + r.Host + r.RequestURI))
		if got, want := r.Header.Get("Authorization"), "SDS ümlaut:"+hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s %s is signed with %q, want %q", r.Method, r.RequestURI, got, want)
		}
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if age := time.Since(time.Unix(seconds, 0)); err != nil || age < -time.Minute || age > time.Minute {
			t.Errorf("the stamp is %q", stamp)
		}
		if r.Header.Get("X-IPM-Password") != "" {
			t.Error("the secret is sent")
		}
		checked.Add(1)
		fmt.Fprint(w, `[{"ret_oid":"7"}]`)
	})
	params := map[string][]string{"rr_name": {zone}, "value1": {""}}
	if _, err := client.read(t.Context(), "dns_rr_list", params, 0); err != nil {
		t.Error(err)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if _, err := client.write(t.Context(), method, "dns_rr_add", params); err != nil {
			t.Error(err)
		}
	}
	if checked.Load() != 4 {
		t.Errorf("%d calls were checked", checked.Load())
	}
}

// A call that is made twice within a second is signed anew.
func TestStampsDiffer(t *testing.T) {
	t.Parallel()
	var s stamps
	for _, step := range []struct {
		call      string
		now, want int64
	}{
		{"a", 100, 100}, {"b", 100, 100}, {"a", 100, 101}, {"a", 101, 102}, {"b", 101, 101}, {"a", 102, 103}, {"a", 104, 104},
		{"a", 104, 105}, {"a", 104, 106}, {"a", 50, 50}, // the clock was set back
	} {
		if got := s.next(step.call, step.now); got != step.want {
			t.Errorf("%s at %d is stamped %d, want %d", step.call, step.now, got, step.want)
		}
	}
	for i := range int64(2 * maxAhead) {
		if got, want := s.next("c", 200), 200+min(i, maxAhead); got != want {
			t.Errorf("call %d is stamped %d, want %d", i, got, want)
		}
	}
	if len(s.last) != 1 {
		t.Errorf("it remembers %v", s.last)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	client := appliance(t, Basic, "s3:cret", func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "ümlaut" || password != "s3:cret" {
			t.Errorf("the credentials are %q %q", user, password)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if _, err := client.read(t.Context(), "dns_rr_list", nil, 0); err != nil {
		t.Error(err)
	}
}

func TestNoScheme(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Host: "sds", Auth: "Token", Username: secret("u"), Password: secret("p")})
	if err == nil || !strings.Contains(err.Error(), `authentication "Token": is none of native, basic and token`) {
		t.Errorf("error is %v", err)
	}
	for _, host := range []string{"sds-ü", "[fe80::1%25eth0]"} {
		_, err = New(Config{Host: host, Username: secret("u"), Password: secret("p")})
		if err == nil || !strings.Contains(err.Error(), "letters outside of ASCII") {
			t.Errorf("%s: error is %v", host, err)
		}
	}
}

// A token whose stamp is not accepted: a person is told of the clocks.
func TestClockDrift(t *testing.T) {
	t.Parallel()
	for shift, want := range map[time.Duration]string{
		10 * time.Minute:  "ahead of this machine's",
		-10 * time.Minute: "behind this machine's",
		0:                 "though the Date of the answer is right",
	} {
		t.Run(shift.String(), func(t *testing.T) {
			t.Parallel()
			client := appliance(t, Token, "s3cret", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Date", time.Now().Add(shift).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusPreconditionFailed)
			})
			_, err := client.write(t.Context(), http.MethodPost, "dns_rr_add", nil)
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, dns.ErrRefused) {
				t.Errorf("error is %v, want %q in it", err, want)
			}
		})
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for date, want := range map[string]string{
		"Fri, 02 Jan 2026 03:09:05 GMT": "the clock of SOLIDserver is 5m0s ahead",
		"Fri, 02 Jan 2026 03:04:00 GMT": "the clock of SOLIDserver is 5s behind",
		"":                              "are too far apart: let NTP",
	} {
		if got := clockDrift(date, now); !strings.Contains(got, want) {
			t.Errorf("%q: %s", date, got)
		}
	}
}

// The names of the secrets are right in the error of a token.
func TestTokenNotAccepted(t *testing.T) {
	t.Parallel()
	client := appliance(t, Token, "s3cret", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	_, err := client.read(t.Context(), "dns_zone_list", nil, 0)
	if !errors.Is(err, dns.ErrUnauthorised) || !strings.Contains(err.Error(), "does not accept token id and token secret (status 401)") {
		t.Errorf("error is %v", err)
	}
}

// exchange is a network and an appliance in one: it answers calls as it is
// told to. It makes the clients of tests with a false clock.
type exchange func(*http.Request) (*http.Response, error)

func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) { return e(r) }

// clientOf makes a client whose calls go to e.
func clientOf(t *testing.T, cfg Config, e exchange) *Client {
	t.Helper()
	cfg.Host = "sds.example.com"
	if cfg.Username == nil {
		cfg.Username, cfg.Password = secret("u"), secret("p")
	}
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client.http.Transport = e
	return client
}

// with answers a status, with headers in pairs.
func with(status int, headers ...string) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	for pair := range slices.Chunk(headers, 2) {
		recorder.Header().Set(pair[0], pair[1])
	}
	recorder.WriteHeader(status)
	if status == http.StatusOK {
		fmt.Fprint(recorder, `[{"ret_oid":"7"}]`)
	}
	return recorder.Result(), nil
}

// Credentials that were just accepted are tried a few times more, and not for
// ever; a write is not.
func TestPassingUnauthorised(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refuse, calls := 0, 0 // how many calls to refuse; all made
		password := "p"
		client := clientOf(t, Config{
			Username: secret("u"),
			Password: func(context.Context) (secrets.Value, error) { return secrets.New(password), nil },
		}, func(*http.Request) (*http.Response, error) {
			calls++
			if refuse > 0 {
				refuse--
				return with(http.StatusUnauthorized)
			}
			return with(http.StatusOK)
		})
		read := func() error {
			_, err := client.read(t.Context(), "dns_rr_list", nil, 0)
			return err
		}
		expect := func(what string, err error, fails bool, made int) {
			t.Helper()
			if errors.Is(err, dns.ErrUnauthorised) != fails || calls != made {
				t.Errorf("%s: %d calls, want %d, error %v", what, calls, made, err)
			}
			calls = 0
		}
		refuse = 1
		expect("before any was accepted", read(), true, 1)
		expect("accepted", read(), false, 1)
		refuse = 2
		expect("twice not", read(), false, 3)
		refuse = 1
		_, err := client.write(t.Context(), http.MethodPost, "dns_rr_add", nil)
		expect("a write", err, true, 1)
		refuse = 1000
		expect("not any more", read(), true, 3) // the write was a doubt too
		expect("not any more, again", read(), true, 1)
		refuse = 0
		expect("accepted again", read(), false, 1)
		refuse, password = 1, "changed"
		expect("with another password", read(), true, 1)
	})
}
