package main

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// base is where the program's HTTP server is.
func (s *service) base() string {
	s.w.t.Helper()
	s.get("/readyz")
	return "http://" + regexp.MustCompile(`http_addr=(\S+)`).FindStringSubmatch(s.log.String())[1]
}

// ask calls the verb explain, of a running dnswriter.
func (s *service) ask(query string, args ...string) (code int, output string) {
	s.w.t.Helper()
	return s.w.callWith([]string{"explain", query, "--url", s.base()}, args...)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, solidsim.Config{Zones: []string{zone, "2.0.192.in-addr.arpa"}})
	w.add("taken", "192.0.2.99")
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "taken", "192.0.2.2"), host(3, "gone", "192.0.2.3"))
	w.src.Beat(time.Second)
	s := w.start("--hold-down", "1s")
	s.checked(1)
	w.src.Delete(3)
	s.quiet()
	for _, test := range []struct {
		query string
		says  []string
	}{
		{"a", []string{"a.site.com (scope internal): in step\n", "  asked for: A 192.0.2.1, by us3/1 \"a\", hw-address ", "  in DNS: A 192.0.2.1, ttl 600, ours, for us3/1\n", "  last change: create A 192.0.2.1, 2"}},
		{"192.0.2.1", []string{"a.site.com (scope internal): in step\n", "1.2.0.192.in-addr.arpa (scope internal): in step\n", "  in DNS: PTR a.site.com, ttl 600, ours"}},
		{"taken.site.com", []string{"taken.site.com (scope internal): conflict\n", "  in DNS: A 192.0.2.99, ttl 3600, foreign\n", "  conflict: foreign A since "}},
		{"gone", []string{"gone.site.com (scope internal): withheld\n", "  to be done: remove A gone.site.com -> 192.0.2.3\n      withheld: ", "  gone: us3/3 \"gone\", deleted ", "      INSERT INTO hosts "}},
		{"nobody.example.org", []string{"nobody.example.org (scope internal): outside\n"}},
	} {
		code, output := s.ask(test.query)
		if code != daemon.ExitOK {
			t.Errorf("%s: the exit code is %d", test.query, code)
		}
		says(t, output, test.says...)
		if strings.Count(output, "INSERT INTO hosts") > 1 {
			t.Errorf("%s: the way back is told more than once:\n%s", test.query, output)
		}
	}
	w.beating("the record is gone", func() bool { return len(w.values("gone")) == 0 })
	w.await("explain says so", func() bool {
		_, output := s.ask("gone")
		return strings.Contains(output, "gone.site.com (scope internal): nothing") && strings.Contains(output, "last change: remove A 192.0.2.3")
	})
	if code, output := s.ask("no_name"); code != daemon.ExitFailed || output != "" {
		t.Errorf("of what is no name the exit code is %d: %s", code, output)
	}

	// Without a dnswriter the same is told of names, by a look at them alone.
	s.stop()
	w.readOnly()
	w.sim.ResetCalls()
	code, output := w.call("explain", "taken", "--url", "off")
	if code != daemon.ExitOK || w.sim.Calls().ByService["GET dns_rr_list"] != 1 {
		t.Errorf("the exit code is %d after %v", code, w.sim.Calls().ByService)
	}
	says(t, output, "taken.site.com (scope internal): conflict\n", "in DNS: A 192.0.2.99, ttl 3600, foreign\n")
	code, output = w.call("explain", "gone", "--url", "off", "--json")
	var answer explainAnswer
	if err := json.Unmarshal([]byte(output), &answer); err != nil || code != daemon.ExitOK || len(answer.Names) != 1 || len(answer.Names[0].Removed) != 1 || answer.Names[0].LastChange != nil {
		t.Errorf("%v, exit code %d: %s", err, code, output)
	}
}

func TestExplainSettings(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--dns-zone: must be set":         {"a", "--url", "off"},
		"--url: give it as http://HOST":   {"a", "--url", "127.0.0.1:9642"},
		"--url: give it as http://HOST:P": {"a", "--url", "http://user:secret@127.0.0.1:9642"},
	} {
		code, output := call(t, append([]string{"explain"}, args...)...)
		if code != daemon.ExitSettings || strings.Contains(output, "secret") {
			t.Errorf("%v: the exit code is %d: %s", args, code, output)
		}
		says(t, output, want)
	}
	code, output := call(t, "explain", "a", "--url", "http://127.0.0.1:1")
	if code != daemon.ExitFailed {
		t.Errorf("without a dnswriter the exit code is %d", code)
	}
	says(t, output, "or --url off to look without it")
}

func TestAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("taken", "192.0.2.99")
	w.add("other", "192.0.2.98")
	hostile := host(4, "<script>\x1b[2J", "192.0.2.4")
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "taken", "192.0.2.2"), host(3, "other", "192.0.2.3"), hostile)
	w.src.Beat(time.Second)
	s := w.start()
	s.checked(1)
	w.await("the conflicts are raised", func() bool { return s.log.count("conflict: the name is left as it is") == 2 })
	for _, test := range []struct {
		path   string
		status int
		says   []string
	}{
		{"status", 200, []string{`"scope": "internal"`, `"caught_up": true`, `"policy": "sync"`, `"conflicts": 2`, `"invalid_name": 1`, `"source": "us3"`, `"live": 4`, `"last_check": {`}},
		{"conflicts", 200, []string{`"total": 2`, `"truncated": false`, `"name": "other.site.com"`, `"kind": "foreign"`, `"raised": true`}},
		{"conflicts?limit=1", 200, []string{`"total": 2`, `"truncated": true`, `"name": "other.site.com"`}},
		{"conflicts?limit=0", 200, []string{`"conflicts": []`, `"truncated": true`}},
		{"conflicts?limit=1001", 400, []string{"limit: must be a number from 0 to 1000"}},
		{"conflicts?limit=-1", 400, []string{"limit: must be"}},
		{"conflicts?scope=external", 400, []string{"scope: "}},
		{"conflicts?lmit=1", 400, []string{`is no parameter`}},
		{"parked", 200, []string{`"total": 1`, `"reason": "invalid_name"`, `"hostname": "\u003cscript\u003e\u001b[2J"`, `"host_id": 4`}},
		{"explain?q=a", 200, []string{`"state": "in_step"`, `"total": 1`, `"owner": "ours"`}},
		{"explain?q=" + url.QueryEscape("<b>'"), 400, []string{`"error": `, `\u003cb\u003e`}},
		{"explain", 400, []string{"is not a host name"}},
		{"nothing", 404, nil},
	} {
		status, body := s.get("/api/v1/" + test.path)
		if status != test.status {
			t.Errorf("%s: status %d, want %d", test.path, status, test.status)
		}
		says(t, body, test.says...)
		if strings.Contains(body, password) || strings.Contains(body, "null") && !strings.Contains(body, `"last_failure": null`) {
			t.Errorf("%s: the answer is %s", test.path, body)
		}
	}
}

// What the name servers answer is asked, told of by explain, and no reason to write.
func TestVerification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"))
	w.src.Beat(time.Second)
	s := w.start("--verify-dns", "internal="+w.sim.DNSAddr(solidsim.InternalServer))
	w.await("the record is verified", func() bool {
		_, output := s.ask("a")
		return strings.Contains(output, "  A 192.0.2.1: verified, accepted ")
	})
	s.metric(`keastream_dns_verification_records{scope="internal",state="verified"} 1`)
	_, body := s.get("/api/v1/explain?q=a")
	says(t, body, `"stage": "verified"`, `"record": "A 192.0.2.1"`)
}
