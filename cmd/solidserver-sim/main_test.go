package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/miekg/dns"
)

// asCommand makes the test program behave as the command, so that the tests
// have a real process without building it a second time.
const asCommand = "SOLIDSERVER_SIM_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(env, asCommand+"=1")
	return cmd
}

func TestServesAndStops(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		ca := filepath.Join(t.TempDir(), "CA.pem")
		cmd := command(t, []string{"KEASTREAM_USERS=alice:secret", "KEASTREAM_ZONES=lab.example"},
			"--listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--latency", "1ms", "--tls-self-signed", ca)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		log := bufio.NewReader(stderr)
		var line strings.Builder
		for range 3 { // each DNS server and the API
			next, err := log.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			line.WriteString(next)
		}
		addrs := regexp.MustCompile(`(?s)server=dns-internal-smart.site.com addr=(\S+).*server=dns-primary.site.com addr=(\S+).* api=(\S+)`).FindStringSubmatch(line.String())
		if addrs == nil {
			t.Fatalf("no addresses in %q", line.String())
		}
		soa := new(dns.Msg).SetQuestion("lab.example.", dns.TypeSOA)
		for _, addr := range addrs[1:3] {
			reply, err := dns.Exchange(soa, addr)
			if err != nil || len(reply.Answer) != 1 {
				t.Errorf("SOA from %s: %v, %v", addr, reply, err)
			}
		}
		checkZones(t, addrs[3], ca)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(log)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", sig, err, rest)
		}
		if strings.Contains(line.String()+string(rest), "secret") {
			t.Errorf("the log tells the password: %s", rest)
		}
	}
}

// checkZones asks the API, with the CA that was written, as the user from the
// environment. It waits for the file, which comes after the log line.
func checkZones(t *testing.T, base, ca string) {
	t.Helper()
	pem, err := os.ReadFile(ca)
	for errors.Is(err, os.ErrNotExist) && t.Context().Err() == nil {
		pem, err = os.ReadFile(ca)
	}
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("CA %q: %v", pem, err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/rest/dns_zone_list", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-IPM-Username", base64.StdEncoding.EncodeToString([]byte("alice")))
	req.Header.Set("X-IPM-Password", base64.StdEncoding.EncodeToString([]byte("secret")))
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.Count(string(body), `"dnszone_name":"lab.example"`) != 2 {
		t.Errorf("zones: %s, %v", body, err)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  []string
		args []string
		code int
		want []string // all of them stand in the output
	}{
		{"version", nil, []string{"--version"}, daemon.ExitOK, []string{"solidserver-sim " + daemon.Version()}},
		{"help", nil, []string{"--help"}, daemon.ExitOK, []string{
			"$KEASTREAM_DNS_LISTEN", "--tls-self-signed", "--log-format", "(default: 127.0.0.1:8443)", "(default: 127.0.0.1:8053)", "(default: site.com)", "(default: ipmadmin:admin)",
		}},
		{"unknown flag", nil, []string{"--zone=a"}, daemon.ExitSettings, []string{"--zone"}},
		{"environment", []string{"KEASTREAM_LATENCY=soon"}, nil, daemon.ExitSettings, []string{"KEASTREAM_LATENCY", "soon"}},
		{"flags of the switches", nil, []string{"--help"}, daemon.ExitOK, []string{"$KEASTREAM_MAX_PAGE", "(default: 5m)", "(default: 403)", "--refuse-replays"}},
		{"token without secret", nil, []string{"--tokens=hunter2:hunter2:"}, daemon.ExitSettings, []string{"number 1", "user:id:secret"}},
		{"token of nobody", nil, []string{"--tokens=nobody:id:hunter2"}, daemon.ExitSettings, []string{`token "id"`, `"nobody"`}},
		{"right without user", nil, []string{"--deny=member_list"}, daemon.ExitSettings, []string{"--deny=member_list", "user:service"}},
		{"faults that are no plan", nil, []string{`--faults={"rules":[{"kind":"fire","rate":1}]}`}, daemon.ExitSettings, []string{"--faults", `"fire"`}},
		{"faults in no file", nil, []string{"--faults=/none/plan.json"}, daemon.ExitSettings, []string{"--faults", "/none/plan.json"}},
		{"control for all", nil, []string{"--control=0.0.0.0:1"}, daemon.ExitSettings, []string{"0.0.0.0:1", "loopback"}},
		{
			"wrong switches", nil, []string{"--forbidden-status=200", "--unknown-service-status=1", "--unauthorized=loud", "--token-window=-1s", "--max-page=-1"},
			daemon.ExitSettings, []string{"forbidden call 200", "unknown service 1", "unknown caller loud", "-1s", "largest page -1"},
		},
		{"user without password", nil, []string{"--users=a:b,hunter2"}, daemon.ExitSettings, []string{"number 2", "name:password"}},
		{
			"all at once", nil, []string{"--listen=here", "--dns-listen=h:99999", "--zones=a..b,c,C", "--latency=-1s", "--log-level=loud", "--log-format=xml", "--zone=d"},
			daemon.ExitSettings, []string{`"here"`, `"h:99999"`, `"a..b"`, `"c" is given twice`, "-1s", "--log-level=loud", "--log-format=xml", "unknown flag --zone"},
		},
		{
			"no directory for the CA", nil,
			[]string{"--listen=127.0.0.1:0", "--dns-listen=127.0.0.1:0", "--tls-self-signed=" + filepath.Join(t.TempDir(), "none", "CA.pem")},
			daemon.ExitFailed, []string{"write CA"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, test.env, test.args...)
			var output bytes.Buffer
			cmd.Stdout, cmd.Stderr = &output, &output
			err := cmd.Run()
			if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && exit.ExitCode() != test.code || err == nil && test.code != 0 {
				t.Errorf("%v, want exit code %d", err, test.code)
			}
			for _, want := range test.want {
				if !strings.Contains(strings.Join(strings.Fields(output.String()), " "), want) { // the help is wrapped
					t.Errorf("%q is missing in:\n%s", want, output.String())
				}
			}
			if strings.Contains(output.String(), "hunter2") {
				t.Error("the output tells what may be a password")
			}
		})
	}
}
