package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// call runs a verb that looks at the stream and at DNS and ends. It returns what
// it printed, without its log.
func (w *world) call(verb string, args ...string) (code int, output string) {
	w.t.Helper()
	return w.callWith([]string{
		verb, "--nats-url", w.url, "--dns-zone", zone, "--sds-host", w.sim.Addr(), "--sds-ca", w.ca,
		"--sds-username", user, "--sds-password-file", w.password, "--log-level", "debug",
	}, args...)
}

func (w *world) callWith(base []string, args ...string) (code int, output string) {
	w.t.Helper()
	var out bytes.Buffer
	code = daemon.Program{
		Name: name, Description: description, CLI: &cli{}, Vars: kong.Vars{"http_addr": "127.0.0.1:0"},
		Args: slices.Concat(base, args), Stdout: io.MultiWriter(&out, w.t.Output()), Stderr: w.t.Output(),
	}.Run(w.t.Context())
	if strings.Contains(out.String(), password) {
		w.t.Error("the password is in the output")
	}
	return code, out.String()
}

// readOnly has every write from now on fail the test.
func (w *world) readOnly() {
	w.sim.SetFaults(faults(func(c solidsim.Call) solidsim.Fault {
		if c.Method != http.MethodGet {
			w.t.Errorf("%s %s was called", c.Method, c.Service)
		}
		return solidsim.Fault{}
	}))
}

// readOnlyWhile has every write fail the test while do runs.
func (w *world) readOnlyWhile(do func()) {
	w.readOnly()
	do()
	w.sim.SetFaults(nil)
}

func says(t *testing.T, output string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(output, want) {
			t.Errorf("the output does not say %q:\n%s", want, output)
		}
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "gone", "192.0.2.3"))
	w.src.Beat(time.Second)
	if code := w.start("--once").wait(); code != daemon.ExitOK {
		t.Fatalf("the exit code is %d", code)
	}
	w.readOnly()
	if code, output := w.call("plan"); code != daemon.ExitOK {
		t.Errorf("of DNS in step the exit code is %d", code)
	} else {
		says(t, output, "scope internal: 0 changes to be made, 0 of them withheld, 0 not allowed by --policy sync, 0 conflicts, 0 parked\n")
	}

	w.add("taken", "192.0.2.99")
	w.src.Delete(3)
	w.src.Put(host(2, "b", "192.0.2.22"), host(4, "new", "192.0.2.4"), host(5, "taken", "192.0.2.5"), host(6, "no_name", "192.0.2.6"))
	code, output := w.call("plan")
	if code != daemon.ExitDifference {
		t.Errorf("the exit code is %d", code)
	}
	says(t, output, "scope internal: 3 changes to be made, 1 of them withheld, 0 not allowed by --policy sync, 1 conflict, 1 parked\n",
		"  create A new.site.com -> 192.0.2.4 (ttl 600)\n", "  update A b.site.com: 192.0.2.2 -> 192.0.2.22 (ttl 600)\n",
		"  remove A gone.site.com -> 192.0.2.3\n      withheld: source us3 is not complete", "  conflict: foreign A taken.site.com",
		"  parked: us3/6: invalid_name: ")

	code, output = w.call("plan", "--policy", "observe", "--json")
	var doc struct {
		Scopes []struct {
			Scope, Policy string
			Plan          struct {
				Steps, Skipped, Conflicts []map[string]any
			}
			Parked []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(output), &doc); err != nil || code != daemon.ExitDifference || len(doc.Scopes) != 1 {
		t.Fatalf("%v, exit code %d: %s", err, code, output)
	}
	if s := doc.Scopes[0]; s.Scope != "internal" || s.Policy != "observe" || len(s.Plan.Steps) != 0 || len(s.Plan.Skipped) != 3 || len(s.Plan.Conflicts) != 1 || len(s.Parked) != 1 {
		t.Errorf("it says %s", output)
	}
}

func TestPlanOfWhatCannotBeReadFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Beat(time.Second)
	if code, output := w.call("plan", "--dns-server", "internal=nobody"); code != daemon.ExitFailed || output != "" {
		t.Errorf("the exit code is %d: %s", code, output)
	}
}

func TestVerbsNeedTheirSettings(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"run", "plan"} {
		if code, output := call(t, verb); code != daemon.ExitSettings {
			t.Errorf("%s: the exit code is %d", verb, code)
		} else {
			says(t, output, "--dns-zone: must be set", "--sds-host: must be set", "SDS_USERNAME", "there is no password")
		}
	}
}
