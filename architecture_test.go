package keastream_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/keastream/keastream"

// rule says what the packages that match a pattern may import. In a pattern *
// stands for one folder.
type rule struct {
	packages string
	ours     []string // packages of this module; "own" is everything below the same services/<name>
	world    []string // modules outside the standard library
	why      string
}

// plain are small libraries that bind a package to nothing.
var plain = []string{
	"github.com/sourcegraph/conc", "github.com/cenkalti/backoff/v5", "golang.org/x/time", "github.com/prometheus/client_golang",
}

const (
	nats       = "github.com/nats-io/nats.go"
	natsServer = "github.com/nats-io/nats-server/v2"
	pgx        = "github.com/jackc/pgx/v5"
	kong       = "github.com/alecthomas/kong"
	yaml       = "go.yaml.in/yaml/v3"
	miekgDNS   = "github.com/miekg/dns"
	batches    = "github.com/synadia-io/orbit.go/jetstreamext"
	systemd    = "github.com/coreos/go-systemd/v22"
	toxiproxy  = "github.com/Shopify/toxiproxy/v2"
)

// rules is the architecture: the first row that matches a package is its rule,
// and a package without a row is an error. The rows hold for what a package
// links; its tests may import testParts too.
var rules = []rule{
	{"pkg/events", nil, with(plain, nats, batches),
		"the contract: a consumer in another repository takes in this and nothing else"},
	{"pkg/events/eventstest", []string{"pkg/events"}, []string{nats, natsServer},
		"a real server for tests; beside the contract because strangers test against it too"},

	{"internal/daemon", nil, with(plain, kong, systemd),
		"the life of a process, whatever it does"},
	{"internal/secrets", nil, nil,
		"secrets come near nothing that could show them"},
	{"internal/natsconn", nil, []string{nats},
		"connects, and does not know what goes over the connection"},
	{"internal/pgtest", nil, []string{pgx},
		"a real PostgreSQL for tests"},
	{"internal/e2e", []string{"pkg/events", "pkg/events/eventstest", "internal/pgtest", "solidsim"}, []string{nats, pgx, miekgDNS, yaml},
		"checks the whole system from outside: by its contract, its database, DNS and files, never by a service's own code"},

	{"internal/soak", []string{"pkg/events", "internal/pgtest", "internal/e2e", "solidsim"}, []string{nats, pgx, toxiproxy},
		"tries to break publisher and DNS writer, from outside as internal/e2e"},

	{"services/publisher", []string{"own", "pkg/events", "internal/daemon", "internal/secrets", "internal/natsconn"}, with(plain, kong, nats, pgx),
		"wires the parts"},
	{"services/publisher/outbox", []string{"pkg/events"}, with(plain, pgx),
		"the database's side: knows Kea's schema, knows no NATS"},
	{"services/publisher/relay", []string{"pkg/events", "services/publisher/outbox"}, with(plain, nats, pgx),
		"carries marks from the database to the stream"},
	{"services/publisher/retire", []string{"pkg/events"}, with(plain, nats),
		"speaks for a source whose database is gone: the stream is all that it knows"},
	{"services/publisher/embeddednats", nil, []string{natsServer},
		"the only place outside of tests that links a NATS server"},

	{"services/dnswriter", []string{"own", "pkg/events", "internal/daemon", "internal/secrets", "internal/natsconn"}, with(plain, kong, nats),
		"wires the parts"},
	{"services/dnswriter/dns", []string{"pkg/events"}, nil,
		"pure: which records follow from which reservations"},
	{"services/dnswriter/reconcile", []string{"pkg/events", "services/dnswriter/dns", "services/dnswriter/brake"}, plain,
		"decides and acts through an interface of its own: no word of SOLIDserver"},
	{"services/dnswriter/solidserver", []string{"pkg/events", "internal/secrets", "services/dnswriter/dns"}, plain,
		"speaks to SOLIDserver and decides nothing"},
	{"services/dnswriter/bucket/buckettest", nil, []string{nats, toxiproxy},
		"a connection that loses things, for tests of what builds on the bucket"},
	{"services/dnswriter/bucket", []string{"pkg/events"}, with(plain, nats),
		"documents in a key-value bucket: knows how they are kept, not what stands in them"},
	{"services/dnswriter/lease", []string{"services/dnswriter/bucket"}, plain,
		"who of several works: knows nothing of the work, and NATS through the bucket alone"},
	{"services/dnswriter/brake", []string{"services/dnswriter/bucket"}, plain,
		"judges how much may go at once; of the store it knows an interface and the errors"},
	{"services/dnswriter/verify", []string{"pkg/events", "services/dnswriter/dns"}, with(plain, miekgDNS),
		"asks name servers, and nothing follows from what they say"},
	{"services/dnswriter/byhand", []string{"pkg/events", "internal/secrets", "services/dnswriter/dns", "services/dnswriter/solidserver"}, nil,
		"what a person asks for: apart from the reconciler, which never sees it"},
	{"services/dnswriter/modeltest", []string{"own", "internal/secrets"}, nil,
		"nothing but tests: the reconciler and the client against a model, with flags of its own"},

	{"services/inventory", []string{"own", "pkg/events", "internal/daemon", "internal/secrets", "internal/natsconn"}, with(plain, kong, nats),
		"wires the parts"},
	{"services/inventory/cabinet", []string{"pkg/events"}, []string{yaml},
		"pure: which bytes follow from which reservations"},
	{"services/inventory/files", nil, plain,
		"puts bytes into a directory and does not know what they are"},

	{"services/*", []string{"own", "pkg/events", "internal/daemon", "internal/secrets", "internal/natsconn"}, with(plain, kong, nats),
		"a new consumer needs a folder here and not a line elsewhere"},
	{"services/*/*", []string{"own", "pkg/events", "internal/secrets"}, with(plain, nats),
		"the parts of a new consumer"},

	{"solidsim", nil, with(plain, miekgDNS),
		"stands for SOLIDserver: it must not share the mistakes of the code it tests"},
	{"cmd/solidserver-sim", []string{"solidsim", "internal/daemon"}, []string{kong},
		"the simulator as a program"},
	{"cmd/demo", []string{"solidsim", "pkg/events", "pkg/events/eventstest", "internal/pgtest", "internal/e2e", "internal/daemon"}, with(plain, kong, nats, pgx, yaml, miekgDNS),
		"runs the programs as an operator would, on parts made for tests"},
	{".", nil, nil,
		"this test"},
}

// testParts may be imported by every test and, as said in the rules, by what is
// itself no part of a service.
var testParts = []string{"pkg/events", "pkg/events/eventstest", "internal/pgtest", "internal/e2e", "solidsim"}

// direct are the direct dependencies. The default answer to another one is no.
var direct = map[string]string{
	kong:                                  "flags and environment with help, and errors that name the flag",
	nats:                                  "the client of NATS",
	natsServer:                            "the embedded server and the server of the tests",
	batches:                               "atomic batches, which the client does not have yet",
	pgx:                                   "PostgreSQL with LISTEN and COPY",
	miekgDNS:                              "DNS messages: the simulator answers them, --verify-dns and the checks of the whole system ask",
	yaml:                                  "YAML with a quoting style of one's choice",
	systemd:                               "sd_notify",
	toxiproxy:                             "connections that go silent, slow or away, in tests",
	"github.com/prometheus/client_golang": "metrics",
	"github.com/sourcegraph/conc":         "pools of goroutines that are waited for",
	"github.com/cenkalti/backoff/v5":      "pauses between attempts",
	"golang.org/x/time":                   "a rate limit",
	"github.com/google/go-cmp":            "differences in tests",
	"pgregory.net/rapid":                  "properties in tests",
}

var tools = []string{"honnef.co/go/tools/cmd/staticcheck"}

func with(base []string, more ...string) []string { return slices.Concat(base, more) }

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath, Name                   string
	Imports, TestImports, XTestImports []string
}

func (p goPackage) short() string { return short(p.ImportPath) }

// short is the folder of a package of this module.
func short(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

func isOurs(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// ruleFor finds the row of a folder. The rows with a * are for services that
// have no row of their own.
func ruleFor(folder string) (rule, bool) {
	known := slices.ContainsFunc(rules, func(r rule) bool { return r.packages == service(folder) })
	for _, r := range rules {
		if known && strings.Contains(r.packages, "*") {
			continue
		}
		if ok, err := path.Match(r.packages, folder); ok && err == nil {
			return r, true
		}
	}
	return rule{}, false
}

// service is services/<name> of a folder, or "".
func service(folder string) string {
	parts := strings.Split(folder, "/")
	if len(parts) < 2 || parts[0] != "services" {
		return ""
	}
	return path.Join(parts[:2]...)
}

// allows says whether the rule lets folder import importPath.
func (r rule) allows(folder, importPath string) bool {
	if isOurs(importPath) {
		to := short(importPath)
		return slices.Contains(r.ours, to) || slices.Contains(r.ours, "own") && service(to) == service(folder)
	}
	return isStandard(importPath) || slices.ContainsFunc(r.world, func(m string) bool { return inModule(importPath, m) })
}

// allowsTest says the same for the tests of folder: they may also import the
// test parts, everything of the same service and each direct dependency.
func (r rule) allowsTest(folder, importPath string) bool {
	if r.allows(folder, importPath) {
		return true
	}
	if isOurs(importPath) {
		to := short(importPath)
		return to == folder || slices.Contains(testParts, to) || service(folder) != "" && service(to) == service(folder)
	}
	return slices.ContainsFunc(slices.Collect(maps.Keys(direct)), func(m string) bool { return inModule(importPath, m) })
}

func inModule(importPath, module string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-buildvcs=false", "-json=ImportPath,Name,Imports,TestImports,XTestImports", "./...")))
	var all []goPackage
	for {
		var p goPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		r, ok := ruleFor(p.short())
		if !ok {
			t.Errorf("%s: no row of the table covers this package: add one that says why it exists", p.short())
			continue
		}
		for _, i := range p.Imports {
			if !r.allows(p.short(), i) {
				t.Errorf("%s imports %s, which its row does not allow: %s", p.short(), i, r.why)
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if !r.allowsTest(p.short(), i) {
				t.Errorf("the tests of %s import %s, which its row does not allow: %s", p.short(), i, r.why)
			}
		}
	}
}

// The table must be able to fail.
func TestTableRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		folder, importPath string
		want, wantInTest   bool
	}{
		{"services/mailer", module + "/pkg/events", true, true},
		{"services/mailer", module + "/services/mailer/smtp", true, true},
		{"services/mailer", module + "/services/dnswriter/dns", false, false},
		{"services/mailer", module + "/services/mailer2/x", false, false},
		{"services/mailer", module + "/solidsim", false, true},
		{"services/mailer", natsServer + "/server", false, true},
		{"services/mailer/smtp", module + "/internal/daemon", false, false},
		{"services/dnswriter", module + "/services/inventory/cabinet", false, false},
		{"services/dnswriter/reconcile", module + "/services/dnswriter/solidserver", false, true},
		{"services/dnswriter", miekgDNS, false, true},
		{"services/dnswriter/dns", miekgDNS, false, true},
		{"pkg/events", module + "/internal/daemon", false, false},
		{"pkg/events", nats + "/jetstream", true, true},
		{"pkg/events", "net/netip", true, true},
		{"internal/secrets", "example.com/other", false, false},
		{"internal/e2e", module + "/services/dnswriter/dns", false, false},
	} {
		r, ok := ruleFor(test.folder)
		if !ok {
			t.Errorf("no row for %s", test.folder)
		}
		if got := r.allows(test.folder, test.importPath); got != test.want {
			t.Errorf("%s importing %s: %v", test.folder, test.importPath, got)
		}
		if got := r.allowsTest(test.folder, test.importPath); got != test.wantInTest {
			t.Errorf("tests of %s importing %s: %v", test.folder, test.importPath, got)
		}
	}
	for _, folder := range []string{"pkg/util", "internal/new", "tools", "services/a/b/c", "services/dnswriter/new", "cmd/new"} {
		if r, ok := ruleFor(folder); ok {
			t.Errorf("%s is covered by the row of %s", folder, r.packages)
		}
	}
}

// What is linked in the end matters for the size of a program and for what can
// go wrong in it.
func TestPrograms(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.Name != "main" || service(p.short()) == "" {
			continue
		}
		linked := string(goCommand(t, "list", "-buildvcs=false", "-deps", p.ImportPath))
		for l := range strings.FieldsSeq(linked) {
			switch {
			case inModule(l, natsServer) && p.short() != "services/publisher":
				t.Errorf("%s links %s: only the publisher has a server in it", p.short(), l)
			case isOurs(l) && short(l) != "pkg/events" && slices.Contains(testParts, short(l)):
				t.Errorf("%s links %s, which is for tests", p.short(), l)
			case isOurs(l) && service(short(l)) != "" && service(short(l)) != p.short():
				t.Errorf("%s links %s of another service", p.short(), l)
			}
		}
	}
}

func TestPackageNames(t *testing.T) {
	t.Parallel()
	empty := []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "base", "misc", "shared"}
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(p.short(), "/") {
			if slices.Contains(empty, part) {
				t.Errorf("%s: %q says nothing about what is in it", p.short(), part)
			}
		}
		if slices.Contains(empty, strings.TrimSuffix(p.Name, "_test")) {
			t.Errorf("%s: package %s says nothing about what is in it", p.short(), p.Name)
		}
	}
}

func TestFileSizes(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return fs.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".sql", ".sh"}, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		lines, limit := bytes.Count(text, []byte("\n")), 500
		if d.Name() == "main.go" {
			limit = 60
		}
		if lines > limit {
			t.Errorf("%s has %d lines: more than %d do not fit into a reader's head", name, lines, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	var got, gotTools []string
	for _, r := range mod.Require {
		if !r.Indirect {
			got = append(got, r.Path)
		}
	}
	for _, tool := range mod.Tool {
		gotTools = append(gotTools, tool.Path)
	}
	for _, m := range got {
		if direct[m] == "" {
			t.Errorf("go.mod requires %s: tell in this file why nothing there will do", m)
		}
	}
	for m := range direct {
		if !slices.Contains(got, m) {
			t.Errorf("go.mod does not require %s any more: take it out of this file", m)
		}
	}
	if fmt.Sprint(gotTools) != fmt.Sprint(tools) {
		t.Errorf("tools are %v, not %v", gotTools, tools)
	}
}
