package embeddednats_test

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keastream/keastream/services/publisher/embeddednats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func start(t *testing.T, settings embeddednats.Settings) *embeddednats.Server {
	t.Helper()
	s, err := embeddednats.Start(t.Context(), settings, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

var streamConfig = jetstream.StreamConfig{Name: "KEA", Subjects: []string{"kea.>"}, MaxBytes: 1 << 20}

func TestRestartKeepsTheData(t *testing.T) {
	t.Parallel()
	settings := embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:0", StoreDir: filepath.Join(t.TempDir(), "store")}

	s := start(t, settings)
	_, js := connect(t, s.URL())
	if _, err := js.CreateStream(t.Context(), streamConfig); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kea.reservations.kea.5", []byte("five")); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.Shutdown() // the same as once
	if err := s.Ready(); err == nil {
		t.Error("ready after Shutdown")
	}
	if _, err := s.InProcessConn(); err == nil {
		t.Error("a connection after Shutdown")
	}

	s = start(t, settings)
	_, js = connect(t, "", nats.InProcessServer(s))
	stream, err := js.Stream(t.Context(), "KEA")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "kea.reservations.kea.5")
	if err != nil || string(msg.Data) != "five" {
		t.Errorf("after a restart: %v, %v", msg, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "store")
	s := start(t, embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:0", StoreDir: dir})
	nc, _ := connect(t, s.URL())
	if got := nc.MaxPayload(); got != 68<<10 {
		t.Errorf("max payload %d", got)
	}
	for _, d := range []string{dir, filepath.Join(dir, "jetstream")} {
		info, err := os.Stat(d)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v", d, info.Mode().Perm(), err)
		}
	}
}

func TestStoreInUse(t *testing.T) {
	t.Parallel()
	settings := embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:0", StoreDir: t.TempDir()}
	first := start(t, settings)

	_, err := embeddednats.Start(t.Context(), settings, testLog(t))
	if err == nil {
		t.Fatal("two servers on one store")
	}
	for _, want := range []string{settings.StoreDir, "process " + strconv.Itoa(os.Getpid()), "--nats-store-dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	first.Shutdown()
	start(t, settings)
}

// refused starts a server that must not come about.
func refused(t *testing.T, dir string, wants ...string) {
	t.Helper()
	s, err := embeddednats.Start(t.Context(), embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:0", StoreDir: dir}, testLog(t))
	if err == nil {
		s.Shutdown()
		t.Fatal("started")
	}
	for _, want := range append(wants, "--nats-store-dir="+dir) {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// The number of the process is written into the lock file.
func TestLockIsNoLink(t *testing.T) {
	t.Parallel()
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("keep this"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lock := filepath.Join(dir, "keastream.lock")
	for _, target := range []string{precious, precious + "-new"} {
		if err := os.Symlink(target, lock); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, lock+" is a symbolic link: remove it")
		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "keep this" {
		t.Errorf("the file behind the link holds %q, %v", text, err)
	}
	if _, err := os.Lstat(precious + "-new"); err == nil {
		t.Error("a file was made behind the link")
	}
	if err := syscall.Mkfifo(lock, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, lock+" is no regular file: remove it")
}

func TestStoreOfOthers(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o770, 0o702, 0o777 | os.ModeSticky} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "chmod go-w")
		if _, err := os.Lstat(filepath.Join(dir, "jetstream")); err == nil {
			t.Errorf("mode %v: something was made in it", mode)
		}
	}
	if os.Geteuid() == 0 { // only root can give it away
		dir := t.TempDir()
		if err := os.Chown(dir, 65534, -1); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "belongs to user 65534", "chown")
	}
}

func TestAddressTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	settings := embeddednats.Settings{Embedded: true, Listen: listener.Addr().String(), StoreDir: t.TempDir()}

	_, err = embeddednats.Start(t.Context(), settings, testLog(t))
	if err == nil {
		t.Fatal("started on an address that is taken")
	}
	for _, want := range []string{"--nats-listen=" + settings.Listen, "address already in use"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}

	// The store is free again.
	settings.Listen = "127.0.0.1:0"
	start(t, settings)
}

func TestStoreCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(file, "store")
	_, err := embeddednats.Start(t.Context(), embeddednats.Settings{Listen: "127.0.0.1:0", StoreDir: dir}, testLog(t))
	if err == nil || !strings.Contains(err.Error(), "--nats-store-dir="+dir) {
		t.Errorf("error: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		settings embeddednats.Settings
		want     []string // parts of the error; none means no error
	}{
		{"loopback", embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:4222", StoreDir: "/s"}, nil},
		{"IPv6 loopback", embeddednats.Settings{Embedded: true, Listen: "[::1]:4222", StoreDir: "/s"}, nil},
		{"localhost", embeddednats.Settings{Embedded: true, Listen: "localhost:4222", StoreDir: "/s"}, nil},
		{"not asked for", embeddednats.Settings{Listen: "0.0.0.0:4222"}, nil},
		{"all addresses", embeddednats.Settings{Embedded: true, Listen: "0.0.0.0:4222", StoreDir: "/s"}, []string{"--nats-listen=0.0.0.0:4222", "users nor TLS", "--nats-url"}},
		{"all addresses, short", embeddednats.Settings{Embedded: true, Listen: ":4222", StoreDir: "/s"}, []string{"--nats-listen=:4222", "users nor TLS"}},
		{"mapped", embeddednats.Settings{Embedded: true, Listen: "[::ffff:192.0.2.1]:4222", StoreDir: "/s"}, []string{"users nor TLS"}},
		{"a name", embeddednats.Settings{Embedded: true, Listen: "localhost.example.com:4222", StoreDir: "/s"}, []string{"users nor TLS"}},
		{"no port", embeddednats.Settings{Embedded: true, Listen: "127.0.0.1", StoreDir: "/s"}, []string{"missing port"}},
		{"large port", embeddednats.Settings{Embedded: true, Listen: "127.0.0.1:65536", StoreDir: "/s"}, []string{"65536"}},
		{"both", embeddednats.Settings{Embedded: true, Listen: "x"}, []string{"--nats-listen=x", "--nats-store-dir"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.settings.Validate()
			if (err != nil) != (test.want != nil) {
				t.Fatalf("error: %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if err != nil && test.settings.StoreDir != "" {
				if _, startErr := embeddednats.Start(t.Context(), test.settings, testLog(t)); startErr == nil {
					t.Error("Start does not refuse what Validate does")
				} else if errors.Is(startErr, os.ErrPermission) {
					t.Errorf("Start touched the store first: %v", startErr)
				}
			}
		})
	}
}
