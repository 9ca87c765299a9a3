package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
	"github.com/keastream/keastream/services/dnswriter/solidserver"
	"github.com/keastream/keastream/solidsim"
)

// call runs the program with arguments that make it end by itself.
func call(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	out := &journal{out: t.Output()}
	code = daemon.Program{
		Name: name, Description: description, CLI: &cli{}, Args: args, Stdout: out, Stderr: out,
	}.Run(t.Context())
	return code, out.String()
}

func TestAllWrongSettingsAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	code, output := call(t, "--sources", "US3,ok", "--dns-zone", "bad zone,12=lab.example.com", "--dns-scope", "internal,public,internal",
		"--subnet-id", "7,lab", "--name-pattern", "(bmc", "--name-pattern", "^[a-z]{1,3}$", "--verify-dns", "192.0.2.53,internal=:53,external=192.0.2.53",
		"--lease", "a b", "--max-removals", "10%", "--policy", "destroy", "--ptr", "maybe", "--allow-private", "all",
		"--dns-server", "internal", "--dns-server", "secret=x", "--dns-view", "in", "--dns-view", "public=x", "--ttl", "4", "--hold-down", "0s", "--sweep", "10ms", "--workers", "65",
		"--api-rate=-1", "--sds-host", "http://sds.example.com", "--sds-ca", "/does/not/exist", "--sds-auth", "kerberos", "--sds-username", "u")
	if code != daemon.ExitSettings {
		t.Errorf("the exit code is %d", code)
	}
	for _, want := range []string{
		`--sources: source "US3"`, `--dns-zone: zone "bad zone"`, "--dns-scope=public: not internal or external", "--dns-scope=internal: is given twice",
		`--policy: "destroy" is none of sync, upsert-only`, `--ptr: "maybe" is none of auto, on, off`, "--allow-private=all: not internal",
		"--dns-server=internal: give it as SCOPE=NAME", `scope "secret" is not internal or external`,
		"--dns-view=in: give it as SCOPE=NAME", `--dns-view=public=x: scope "public" is not`, "--ttl=4", "--hold-down=0s",
		"--sweep=10ms", "--workers=65", "--api-rate=-1", "the API speaks https only", "/does/not/exist",
		"--sds-auth=kerberos: not one of native, basic, token", "--sds-host: SOLIDserver host", "--sds-ca: read CA",
		"there is no password for SOLIDserver: give the file, or the variable KEASTREAM_SDS_PASSWORD or SDS_PASSWORD",
		"--subnet-id=lab: not the id of a subnet", "--name-pattern=(bmc: ", `--verify-dns: "192.0.2.53": give it as SCOPE=HOST:PORT`, `--lease: lease "a b"`, `--max-removals: "10%" is not of the form MIN,PERCENT,MAX`,
	} {
		if !strings.Contains(output, want) {
			t.Errorf("the output does not say %q", want)
		}
	}
}

func TestNeededSettings(t *testing.T) {
	t.Parallel()
	code, output := call(t, "run")
	if code != daemon.ExitSettings {
		t.Errorf("the exit code is %d", code)
	}
	for _, want := range []string{"--dns-zone", "--sds-host", "SDS_HOST", "--sds-username", "SDS_USERNAME", "SDS_PASSWORD"} {
		if !strings.Contains(output, want) {
			t.Errorf("the output does not ask for %s", want)
		}
	}
}

func TestServersOfScopes(t *testing.T) {
	t.Parallel()
	servers, err := serverNames{Servers: []string{"external=dns-external-smart.site.com"}}.servers()
	if err != nil || servers[internalScope] != solidsim.InternalServer || servers[externalScope] != "dns-external-smart.site.com" {
		t.Errorf("the servers are %v, %v", servers, err)
	}
}

func TestViewsOfScopes(t *testing.T) {
	t.Parallel()
	views, err := serverNames{Views: []string{"external=Public=1"}}.views()
	if err != nil || views[internalScope] != "" || views[externalScope] != "Public=1" {
		t.Errorf("the views are %v, %v", views, err)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	if got := (appliance{Auth: "token"}).config(1).Auth; got != solidserver.Token {
		t.Errorf("the scheme is %q", got)
	}
	if code, output := call(t, "run", "--help"); code != daemon.ExitOK || !strings.Contains(output, "--sds-auth") || !strings.Contains(output, "(default: native)") {
		t.Errorf("the exit code is %d", code)
	}
}

func TestScopesThatCannotBe(t *testing.T) {
	t.Parallel()
	same := []string{"external=one", "internal=one"}
	internal, both := []string{"internal"}, []string{"internal", "external"}
	for want, v := range map[string]sight{
		"the scopes would write the same records":                           {Target: target{both, serverNames{Servers: same}}},
		"--dns-scope: there is none":                                        {},
		"--allow-private=external: is given twice":                          {Target: target{Scopes: both}, Placing: placing{AllowPrivate: []string{"external", "external"}}},
		"--allow-private=internal: scope internal shows private addresses":  {Target: target{Scopes: internal}, Placing: placing{AllowPrivate: internal}},
		"--allow-private=external: scope external is not written: add it":   {Target: target{Scopes: internal}, Placing: placing{AllowPrivate: []string{"external"}}},
		"--dns-server=external=one: scope external is not written: add it":  {Target: target{internal, serverNames{Servers: same}}},
		"--dns-view=external=public: scope external is not written: add it": {Target: target{internal, serverNames{Views: []string{"external=public"}}}},
		"": {Target: target{both, serverNames{Servers: same, Views: []string{"external=out"}}}},
	} {
		errs := slices.Concat(v.Target.check(), v.Placing.checkPrivate(v.Target.Scopes))
		if err := errors.Join(errs...); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", v, err, want)
		}
	}
}

func TestExternalScopeShowsNoPrivateAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.src.Put(host(1, "inside", "10.0.0.1"), host(2, "outside", "198.51.100.1"))
	w.src.Beat(time.Second)
	s := w.start("--dns-scope", "external")
	s.checked(1)
	records := w.sim.Records(solidsim.ExternalServer)
	if len(records) != 1 || records[0].Name != "outside.site.com" || len(w.sim.Records(solidsim.InternalServer)) != 0 {
		t.Errorf("the records are %+v", records)
	}
	s.metric(`keastream_parked_names{reason="private_address",scope="external"} 1`)
}

func TestOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("taken", "192.0.2.99")
	w.src.Put(host(1, "a", "192.0.2.1"), host(2, "b", "192.0.2.2"), host(3, "taken", "192.0.2.3"), host(4, "no_name", "192.0.2.4"))
	w.src.Beat(time.Second)
	s := w.start("--once")
	if code := s.wait(); code != daemon.ExitOK || s.log.count("2 records created, 0 updated, 0 removed, 0 removals withheld, 1 conflict, 1 parked\n") != 1 {
		t.Errorf("the exit code is %d", code)
	}
	w.src.Delete(1)
	w.src.Put(host(2, "b", "192.0.2.22"))
	s = w.start("--once", "--sources", "us3")
	w.beating("the removal has its proof", func() bool { return len(w.values("a")) == 0 })
	if code := s.wait(); code != daemon.ExitOK || s.log.count("0 records created, 1 updated, 1 removed, 0 removals withheld") != 1 {
		t.Errorf("the exit code is %d", code)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	failure := errors.New("two names could not be brought into step")
	for _, test := range []struct {
		result reconcile.Result
		err    error
		want   error
	}{
		{reconcile.Result{Created: 1}, nil, nil},
		{reconcile.Result{Created: 1, Skipped: 1}, nil, daemon.ErrDifference},
		{reconcile.Result{Withheld: []string{"a.site.com A 192.0.2.1"}}, nil, daemon.ErrDifference},
		{reconcile.Result{Withheld: []string{"a.site.com A 192.0.2.1"}, Incomplete: []string{"us3"}}, nil, daemon.ErrDifference},
		{reconcile.Result{Withheld: []string{"a.site.com A 192.0.2.1"}}, failure, failure},
	} {
		if got := verdict(test.result, test.err); !errors.Is(got, test.want) {
			t.Errorf("%+v, %v: the end is %v, want %v", test.result, test.err, got, test.want)
		}
	}
}
