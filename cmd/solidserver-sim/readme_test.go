package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme runs every command of the README in one shell, as a reader pastes
// them, against a simulator on free ports, and compares what is printed with
// what the README shows. In the README … stands for anything.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sim := startSim(t, dir)
	free := strings.NewReplacer("127.0.0.1:8443", sim["api"], "127.0.0.1:8444", sim["control"],
		"-p 8053", "-p "+strings.TrimPrefix(sim["server=dns-internal-smart.site.com addr"], "127.0.0.1:"))

	const mark = "--- end of a block"
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```\n\n```text\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if alone := strings.Count(string(text), "```sh\n"); len(blocks) == 0 || len(blocks) != alone {
		t.Fatalf("%d of %d blocks of commands are followed by what they print", len(blocks), alone)
	}
	var script strings.Builder
	for _, block := range blocks {
		script.WriteString(free.Replace(block[1]) + "echo '" + mark + "'\n")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script.String())
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	printed := strings.Split(string(out), mark+"\n")
	for i, block := range blocks {
		parts := strings.Split(free.Replace(strings.TrimSpace(block[2])), "…")
		for j := range parts {
			parts[j] = regexp.QuoteMeta(parts[j])
		}
		if !regexp.MustCompile(`\A` + strings.Join(parts, ".*") + `\z`).MatchString(strings.TrimSpace(printed[i])) {
			t.Errorf("%sprints\n%s\nbut the README says\n%s", block[1], printed[i], block[2])
		}
	}
}

// startSim starts the program as the README says, but on free ports, and
// returns its addresses by their names in the log.
func startSim(t *testing.T, dir string) map[string]string {
	t.Helper()
	ca := filepath.Join(dir, "CA.pem")
	cmd := command(t, nil, "--listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
		"--tls-self-signed", ca, "--tokens", "ipmadmin:mytoken:s3cret")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	for t.Context().Err() == nil { // the CA is the last that it writes
		if _, err := os.Stat(ca); err == nil {
			break
		}
		if text, _ := os.ReadFile(log.Name()); bytes.Contains(text, []byte("failed")) {
			t.Fatalf("%s", text)
		}
	}
	line, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	addrs := make(map[string]string)
	for _, pair := range regexp.MustCompile(`(api|control|\S+ addr)=(?:https://)?(127\.0\.0\.1:\d+)`).FindAllSubmatch(line, -1) {
		addrs[string(pair[1])] = string(pair[2])
	}
	return addrs
}

// TestReadmeDescribesServers reads the description of servers that the README shows,
// and the addresses that it gives to them.
func TestReadmeDescribesServers(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, description, found := strings.Cut(string(text), "<<'EOF'\n")
	description, command, _ := strings.Cut(description, "\nEOF\n")
	path := filepath.Join(t.TempDir(), "servers.json")
	if err := os.WriteFile(path, []byte(description), 0o600); err != nil || !found {
		t.Fatal(err)
	}
	c := cli{Listen: "127.0.0.1:0", Servers: path, Zones: []string{"site.com"}}
	for _, pair := range regexp.MustCompile(`--dns-listen (\S+=\S+\d)`).FindAllStringSubmatch(command[:strings.Index(command, "```")], -1) {
		c.DNSListen = append(c.DNSListen, pair[1])
	}
	cfg, err := c.config()
	if err != nil || len(cfg.Servers) != 2 || len(cfg.DNSListen) != 2 {
		t.Errorf("%d servers, addresses %v: %v", len(cfg.Servers), cfg.DNSListen, err)
	}
}

// TestReadmeNamesEachKind keeps a kind of fault from being left out.
func TestReadmeNamesEachKind(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, err = faults(`{"rules":[{"kind":"?","rate":1}]}`)
	if err == nil {
		t.Fatal("a kind that does not exist was taken")
	}
	_, kinds, found := strings.Cut(err.Error(), "want one of ")
	kinds, _, _ = strings.Cut(kinds, "\n")
	if !found {
		t.Fatal(err)
	}
	for kind := range strings.SplitSeq(kinds, ", ") {
		if !bytes.Contains(text, []byte("| `"+kind+"` |")) {
			t.Errorf("the table has no row for %s", kind)
		}
	}
}
