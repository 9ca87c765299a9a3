package secrets_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keastream/keastream/internal/secrets"
)

const password = "hunter2"

func TestValueNeverPrints(t *testing.T) {
	t.Parallel()
	value := secrets.New(password)
	type inside struct {
		Exported   secrets.Value
		unexported secrets.Value
		pointer    *secrets.Value
		any        any
		list       []secrets.Value
		byName     map[string]secrets.Value
	}
	in := inside{value, value, &value, value, []secrets.Value{value}, map[string]secrets.Value{"a": value}}
	subjects := map[string]any{
		"value": value, "pointer": &value, "struct": in, "pointer to struct": &in,
		"slice": in.list, "map": in.byName, "error": fmt.Errorf("log in with %v: %w", value, errors.New("no")),
	}

	hexed := fmt.Sprintf("%x", password)
	check := func(how, text string) {
		t.Helper()
		if lower := strings.ToLower(text); strings.Contains(lower, password) || strings.Contains(lower, hexed) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
	for name, subject := range subjects {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e", "%T", "%p", "%20s", "%-5q", "%!"} {
			check(name+" with "+verb, fmt.Sprintf(verb, subject))
		}
		check(name+" with Sprint", fmt.Sprint(subject))

		if text, err := json.Marshal(subject); err == nil {
			check(name+" as JSON", string(text))
		}
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).With("with", subject).WithGroup("group").Info("text", "key", subject, slog.Group("deep", "key", subject))
		}
		check(name+" in the log", log.String())
	}

	for how, got := range map[string]string{
		"%v": fmt.Sprintf("%v", value), "%x": fmt.Sprintf("%x", value), "%#v": fmt.Sprintf("%#v", value), "String": value.String(),
	} {
		if got != "[redacted]" {
			t.Errorf("%s prints %q", how, got)
		}
	}
	if text, err := json.Marshal(value); err != nil || string(text) != `"[redacted]"` {
		t.Errorf("JSON: %s, %v", text, err)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	var zero secrets.Value
	value := secrets.New(password)
	switch {
	case value.Reveal() != password || zero.Reveal() != "":
		t.Error("Reveal does not give the secret")
	case value.IsZero() || !zero.IsZero() || !secrets.New("").IsZero():
		t.Error("IsZero is wrong")
	case !value.Equal(secrets.New(password)) || value.Equal(zero) || value.Equal(secrets.New("hunter3")) || !zero.Equal(secrets.New("")):
		t.Error("Equal is wrong")
	}
}

func TestFromFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name, path string
		want       string   // the secret
		wrong      []string // in the error
	}{
		{"no newline", write("plain", "hunter2"), "hunter2", nil},
		{"newline", write("newline", "hunter2\n"), "hunter2", nil},
		{"newline of Windows", write("crlf", "hunter2\r\n"), "hunter2", nil},
		{"only one newline is cut", write("two", "hunter2\n\n"), "hunter2\n", nil},
		{"spaces belong to it", write("spaces", " hunter2 \n"), " hunter2 ", nil},
		{"largest", write("largest", strings.Repeat("x", 64<<10)), strings.Repeat("x", 64<<10), nil},
		{"too large", write("large", strings.Repeat("x", 64<<10+1)), "", []string{filepath.Join(dir, "large"), "65536", "right path"}},
		{"empty", write("empty", ""), "", []string{filepath.Join(dir, "empty"), "is empty"}},
		{"empty line", write("line", "\r\n"), "", []string{"is empty"}},
		{"missing", filepath.Join(dir, "missing"), "", []string{filepath.Join(dir, "missing"), "no such file", "put the secret there"}},
		{"directory", dir, "", []string{dir, "not a regular file"}},
		{"pipe", pipe, "", []string{pipe, "not a regular file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			value, err := secrets.FromFile(test.path)(t.Context())
			if (err != nil) != (test.wrong != nil) || value.Reveal() != test.want {
				t.Fatalf("secret %q, error %v", value.Reveal(), err)
			}
			if errors.Is(err, secrets.ErrNotSet) {
				t.Errorf("a broken file counts as not set: %v", err)
			}
			for _, want := range test.wrong {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestFromFileIsCurrent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	source := secrets.FromFile(path)
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(path, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if value, err := source(t.Context()); err != nil || value.Reveal() != want {
			t.Errorf("secret %q, error %v", value.Reveal(), err)
		}
	}
	if _, err := secrets.FromFile("")(t.Context()); !errors.Is(err, secrets.ErrNotSet) {
		t.Errorf("no path: %v", err)
	}
}

func TestFromEnv(t *testing.T) {
	source := secrets.FromEnv("SECRETS_TEST_PASSWORD")
	t.Setenv("SECRETS_TEST_PASSWORD", "")
	if _, err := source(t.Context()); !errors.Is(err, secrets.ErrNotSet) || !strings.Contains(err.Error(), "SECRETS_TEST_PASSWORD") {
		t.Errorf("error %v", err)
	}
	t.Setenv("SECRETS_TEST_PASSWORD", password)
	if value, err := source(t.Context()); err != nil || value.Reveal() != password {
		t.Errorf("secret %q, error %v", value.Reveal(), err)
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	errServer := errors.New("the server is away")
	unset := secrets.FromFile("")
	broken := func(context.Context) (secrets.Value, error) { return secrets.Value{}, errServer }
	set := func(text string) secrets.Source {
		return func(context.Context) (secrets.Value, error) { return secrets.New(text), nil }
	}
	for _, test := range []struct {
		name    string
		sources []secrets.Source
		want    string
		err     error
	}{
		{"the first", []secrets.Source{set("a"), set("b")}, "a", nil},
		{"the first that is set", []secrets.Source{unset, set("b"), broken}, "b", nil},
		{"a broken one is not passed over", []secrets.Source{unset, broken, set("c")}, "", errServer},
		{"none is set", []secrets.Source{unset, secrets.FromEnv("SECRETS_TEST_MISSING")}, "", secrets.ErrNotSet},
		{"none", nil, "", secrets.ErrNotSet},
		{"nested", []secrets.Source{secrets.First(unset), set("b")}, "b", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			value, err := secrets.First(test.sources...)(t.Context())
			if value.Reveal() != test.want || !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Errorf("secret %q, error %v", value.Reveal(), err)
			}
		})
	}
}
