// Package secrets hands secrets out as functions, so that the current one is
// used at each call: a password that was changed in its file is taken at the
// next login, without a restart. Secrets stay in memory. [Value] cannot be
// printed by accident.
//
// A [Source] is anything that can be asked for a secret. There are sources for
// files and environment variables; one for a secret server is the same
// function with another inside.
package secrets

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// redacted is how a Value prints.
const redacted = "[redacted]"

// maxFile is the largest secret file in bytes. A larger one is not a secret but
// a mistake in the path.
const maxFile = 64 << 10

// ErrNotSet is returned (wrapped) by a [Source] whose place is not configured,
// in contrast to one that is configured and cannot be read. [First] goes on to
// the next source only after this error.
var ErrNotSet = errors.New("secret is not set")

// Value is a secret. It prints as [redacted] whatever prints it: every verb of
// fmt, slog, JSON, text. [Value.Reveal] gives it. The zero value is the empty
// secret. Values cannot be compared with ==, see [Value.Equal].
type Value struct {
	// A function, because fmt reads unexported fields of structs without
	// asking their methods: a string in here would be printed from inside
	// another struct.
	reveal func() string
}

// New makes a Value of text.
func New(text string) Value { return Value{reveal: func() string { return text }} }

// Reveal returns the secret itself.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// IsZero reports whether the secret is empty.
func (v Value) IsZero() bool { return v.Reveal() == "" }

// Equal reports whether both secrets are the same, in a time that depends only
// on their lengths.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// String implements [fmt.Stringer].
func (Value) String() string { return redacted }

// Format implements [fmt.Formatter] for every verb.
func (Value) Format(state fmt.State, _ rune) { io.WriteString(state, redacted) }

// LogValue implements [slog.LogValuer].
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements [encoding.TextMarshaler], which JSON and YAML use too.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Source returns the current secret. It is called anew whenever the secret is
// needed, from several goroutines at once, and may block until ctx ends. Its
// error never holds the secret.
type Source func(ctx context.Context) (Value, error)

// FromFile reads the secret from a file at each call, without one newline at
// its end ("\n" or "\r\n"). An empty path is [ErrNotSet]. It is an error if the
// file cannot be read, is not a regular file, is empty or larger than 64 KiB;
// the error names the path and the remedy.
func FromFile(path string) Source {
	return func(context.Context) (Value, error) {
		if path == "" {
			return Value{}, fmt.Errorf("%w: no file is given", ErrNotSet)
		}
		text, err := readFile(path)
		if err != nil {
			return Value{}, fmt.Errorf("read secret: %w", err)
		}
		return New(text), nil
	}
}

// FromEnv takes the secret from a variable of the environment. A variable that
// is missing or empty is [ErrNotSet].
func FromEnv(name string) Source {
	return func(context.Context) (Value, error) {
		text := os.Getenv(name)
		if text == "" {
			return Value{}, fmt.Errorf("%w: the variable %s is not set", ErrNotSet, name)
		}
		return New(text), nil
	}
}

// First asks the sources in order and takes the first that is set. One that is
// set but fails ends the search with its error: a broken place is not passed
// over in silence. If none is set the error is [ErrNotSet] and names all.
func First(sources ...Source) Source {
	return func(ctx context.Context) (Value, error) {
		var unset []error
		for _, source := range sources {
			value, err := source(ctx)
			if !errors.Is(err, ErrNotSet) {
				return value, err
			}
			unset = append(unset, err)
		}
		if len(unset) == 0 {
			return Value{}, ErrNotSet
		}
		return Value{}, errors.Join(unset...)
	}
}

func readFile(path string) (string, error) {
	// Opening a named pipe would block, and could be read only once.
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: put the secret there, readable for the user of this service", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file: it is read anew each time the secret is needed", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: make it readable for the user of this service", err)
	}
	defer file.Close()

	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("%s is larger than %d bytes: is that the right path?", path, maxFile)
	}
	if secret := cutNewline(string(text)); secret != "" {
		return secret, nil
	}
	return "", fmt.Errorf("%s is empty: put the secret there", path)
}

// cutNewline takes off the newline that editors and echo put at the end, and
// only that one: more may belong to the secret.
func cutNewline(s string) string {
	s, cut := strings.CutSuffix(s, "\n")
	if cut {
		s = strings.TrimSuffix(s, "\r")
	}
	return s
}
