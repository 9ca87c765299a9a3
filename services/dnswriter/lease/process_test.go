package lease_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/services/dnswriter/lease"
)

// A test process is a contender of its own if it is told a server: one that can be
// stopped and killed.
func TestMain(m *testing.M) {
	if url := os.Getenv("KEASTREAM_TEST_LEASE_URL"); url != "" {
		compete(url)
		return
	}
	os.Exit(m.Run())
}

// compete is a process that competes. It tells when it leads, and what it finds
// when it was stopped.
func compete(url string) {
	conn, err := nats.Connect(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	l := lease.New(lease.Config{Bucket: bucket.New(conn), Name: "default", Term: term, Renew: renew})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // the process ends with the test that started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	go func() { _ = l.Run(ctx) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	wasHeld, last := false, time.Now()
	for ctx.Err() == nil {
		<-look.C
		// In this order: it may be stopped between any two.
		now := time.Now()
		held := l.Held(0)
		if now.Sub(last) > term {
			fmt.Println("woke up held", held)
		} else if held && !wasHeld {
			fmt.Println("held")
		}
		wasHeld, last = held, now
	}
}

// process starts a process that competes, and returns the lines that it prints.
func process(t *testing.T, url string) (*os.Process, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "KEASTREAM_TEST_LEASE_URL="+url)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process, bufio.NewScanner(out)
}

func wantLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || lines.Text() != want {
		t.Fatalf("the process says %q (%v), want %q", lines.Text(), lines.Err(), want)
	}
}

func TestProcessIsKilled(t *testing.T) {
	t.Parallel()
	srv := start(t)
	p, lines := process(t, srv.URL())
	wantLine(t, lines, "held")
	c := contend(t, srv.Connect(), term)
	await(t, "it waits", c.waits)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", c.holds)
}

// A process that was stopped for longer than the term finds that it does not hold
// the lease before it can do anything else.
func TestProcessIsStopped(t *testing.T) {
	t.Parallel()
	srv := start(t)
	p, lines := process(t, srv.URL())
	wantLine(t, lines, "held")
	c := contend(t, srv.Connect(), term)
	await(t, "it waits", c.waits)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "it leads", c.holds)
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wantLine(t, lines, "woke up held false")
	if !c.holds() {
		t.Error("the standby does not lead any more")
	}
}
