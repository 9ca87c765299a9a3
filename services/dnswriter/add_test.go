package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/solidsim"
)

// The exit codes are those of the replaced system's dns-add.
func TestAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(name, rtype, value string) {
		t.Helper()
		if err := w.sim.Add(solidsim.InternalServer, solidsim.Record{Name: name, Type: rtype, Value: value, TTL: 60}); err != nil {
			t.Fatal(err)
		}
	}
	put("taken.site.com", "TXT", "text")
	put("web.site.com", "A", "192.0.2.80")
	add := func(args ...string) (int, string) {
		return call(t, append([]string{"add", "--sds-host", w.sim.Addr(), "--sds-ca", w.ca, "--sds-username", user,
			"--sds-password-file", w.password}, args...)...)
	}
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --dry-run", 0, "Would create A record: new.site.com -> 192.0.2.1 (scope: internal)"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --dryrun-only", 0, "nothing was written"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal", 0, "Created A record: new.site.com -> 192.0.2.1 (scope: internal)"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal", exitExists, `the name exists: new.site.com A 192.0.2.1`},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --dry-run", exitExists, "the name exists"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c external --ttl 60", 0, "(scope: external)"},
		{"-n six -z site.com -r 2001:db8::1 -t aaaa -c internal", 0, "Created AAAA record: six.site.com -> 2001:db8::1"},
		{"-n taken -z site.com -r 192.0.2.1 -t A -c internal", exitExists, "taken.site.com TXT"},
		{"--name alias --zone site.com --target web.site.com --type CNAME --scope internal", 0, "It is not keastream's"},
		{"-n other -z site.com -r gone.site.com -t CNAME -c internal", exitNoTarget, "the target does not resolve: gone.site.com has no address"},
		{"-n new -z lab.com -r 192.0.2.1 -t A -c internal", exitNoZone, "the zone was not found"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --dns-server internal=nowhere", exitNoZone, "--dns-server, which is case-sensitive"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --sds-username nobody", daemon.ExitFailed, "does not accept"},
		{"-n ne'w -z site.com -r here -t A -c public", daemon.ExitSettings, "--name=ne'w"},
		{"-n new -z site.com -r 192.0.2.1 -t MX -c internal", daemon.ExitSettings, "--type=MX: not A, AAAA or CNAME"},
		{"-n new -z site.com -r 192.0.2.1 -t A -c internal --ttl 1", daemon.ExitSettings, "--ttl=1"},
	} {
		if code, output := add(strings.Fields(test.args)...); code != test.code || !strings.Contains(output, test.says) {
			t.Errorf("%s: exit code %d, it does not say %q:\n%s", test.args, code, test.says, output)
		}
	}
	want := []solidsim.Record{
		{Name: "alias.site.com", Type: "CNAME", Value: "web.site.com", TTL: 600},
		{Name: "new.site.com", Type: "A", Value: "192.0.2.1", TTL: 600},
		{Name: "six.site.com", Type: "AAAA", Value: "2001:db8::1", TTL: 600},
		{Name: "taken.site.com", Type: "TXT", Value: "text", TTL: 60},
		{Name: "web.site.com", Type: "A", Value: "192.0.2.80", TTL: 60},
	}
	if diff := cmp.Diff(want, w.sim.Records(solidsim.InternalServer)); diff != "" {
		t.Errorf("records of scope internal (-want +got):\n%s", diff)
	}
	if got := w.sim.Records(solidsim.ExternalServer); len(got) != 1 || got[0].TTL != 60 {
		t.Errorf("records of scope external: %v", got)
	}
}

func TestAddNeedsItsSettings(t *testing.T) {
	t.Parallel()
	code, output := call(t, "add")
	if code != daemon.ExitSettings {
		t.Errorf("the exit code is %d", code)
	}
	for _, want := range []string{"--name", "--zone", "--target", "--type", "--scope", "--sds-host", "--sds-username"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output does not ask for %s", want)
		}
	}
	if _, output := call(t, "add", "-c", "public"); !strings.Contains(output, "--scope=public: not internal or external") {
		t.Errorf("the output is %s", output)
	}
	code, output = call(t, "add", "--help")
	for _, want := range []string{"5 the name exists", "6 the target of a CNAME does", "11 the zone was not found"} {
		if code != daemon.ExitOK || !strings.Contains(strings.Join(strings.Fields(output), " "), want) {
			t.Errorf("the help does not say %q", want)
		}
	}
}

// "Failed" and "failed but happened".
func TestAddWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{false, true} {
		w := newWorld(t)
		w.strike(solidsim.Fault{Reset: true, Committed: committed})
		code, output := call(t, "add", "--sds-host", w.sim.Addr(), "--sds-ca", w.ca, "--sds-username", user, "--sds-password-file", w.password,
			"-n", "new", "-z", zone, "-r", "192.0.2.1", "-t", "A", "-c", "internal")
		want, says := daemon.ExitFailed, "it is not known whether the record was created"
		if committed {
			want, says = daemon.ExitOK, "Created A record: new.site.com -> 192.0.2.1"
		}
		if code != want || !strings.Contains(output, says) || strings.Contains(output, "Created") != committed {
			t.Errorf("committed=%t: exit code %d:\n%s", committed, code, output)
		}
		if n := len(w.sim.Records(solidsim.InternalServer)); (n == 1) != committed {
			t.Errorf("committed=%t: %d records", committed, n)
		}
	}
}

// strike has a fault strike each write.
func (w *world) strike(fault solidsim.Fault) {
	w.sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		if c.Writes {
			return fault
		}
		return solidsim.Fault{}
	})
}
