package solidserver_test

import (
	"crypto/sha3"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/solidsim"
)

// An exchange is a call of the API and what comes of it. In the call $1 stands for
// the id that the first successful write of the statement answered, and so on.
type exchange struct {
	call   string // method, service with its parameters, and a body in JSON if there is one
	status int
	body   string // a regular expression that fits somewhere; "" for no body at all
}

// exchanges makes a test of calls that are made one after the other to an appliance
// of their own: see newAppliance.
func exchanges(all ...exchange) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		a := newAppliance(t, solidsim.Config{})
		for _, e := range all {
			a.exchange(t, e)
		}
	}
}

// An appliance is called without a client of ours.
type appliance struct {
	sim  *solidsim.Sim
	http *http.Client
	ids  []string // what $1, $2 stand for
}

// newAppliance starts the appliance of the statements: a SMART with two members and
// two views, and a server by itself.
func newAppliance(t *testing.T, cfg solidsim.Config) *appliance {
	t.Helper()
	zones := []solidsim.Zone{{Name: site}, {Name: reverse}}
	cfg.Users = map[string]string{user: password}
	cfg.Servers = []solidsim.Server{
		{Name: standalone, Kind: solidsim.Standalone, Zones: append(zones,
			solidsim.Zone{Name: "lab.site.com"},
			solidsim.Zone{Name: "auto.com", ClassParameters: map[string]string{"dnsptr": "1"}},
			solidsim.Zone{Name: "slave.com", Type: solidsim.SlaveZone})},
		{Name: smart, Members: []string{member, "ns2.site.com"}, Views: []solidsim.View{
			{Name: "in", Zones: zones}, {Name: "out", Zones: zones},
		}},
	}
	sim, err := solidsim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.CertPool()}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &appliance{sim: sim, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *appliance) exchange(t *testing.T, e exchange) {
	t.Helper()
	method, rest, _ := strings.Cut(e.call, " ")
	target, body, _ := strings.Cut(rest, " {")
	for i, id := range a.ids {
		target, body = strings.ReplaceAll(target, fmt.Sprint("$", i+1), id), strings.ReplaceAll(body, fmt.Sprint("$", i+1), id)
	}
	if body != "" {
		body = "{" + body
	}
	if !strings.HasPrefix(target, "/") {
		target = "/rest/" + target
	}
	// What stands for itself in a URL is written so in the statements.
	target = strings.NewReplacer("'", "%27", `"`, "%22", "<", "%3C", ">", "%3E").Replace(target)
	status, got := a.send(t, method, a.sim.URL()+target, body)
	if status != e.status || e.body == "" && got != "" || !regexp.MustCompile(e.body).MatchString(got) {
		t.Errorf("%s\nanswers %d %s\nwant    %d %s", e.call, status, got, e.status, e.body)
	}
	var written []struct {
		ID string `json:"ret_oid"`
	}
	if json.Unmarshal([]byte(got), &written) == nil && len(written) == 1 && written[0].ID != "" {
		a.ids = append(a.ids, written[0].ID)
	}
}

func (a *appliance) send(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json") // also without a body, as SOLIDserverRest does
	req.Header.Set("X-IPM-Username", base64.StdEncoding.EncodeToString([]byte(user)))
	req.Header.Set("X-IPM-Password", base64.StdEncoding.EncodeToString([]byte(password)))
	resp, err := a.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// signed is a call with an API token, signed at some time.
func signed(t *testing.T, method, url, secret string, at time.Time) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(at.Unix())
	sum := sha3.Sum256([]byte(secret + "\n" + stamp + "\n" + method + "\n" + url))
	req.Header.Set("X-SDS-TS", stamp)
	req.Header.Set("Authorization", "SDS "+tokenID+":"+hex.EncodeToString(sum[:]))
	return req
}
