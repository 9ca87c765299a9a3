package solidserver

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keastream/keastream/solidsim"
)

func TestWhere(t *testing.T) {
	t.Parallel()
	got, err := where(condition{colServer, "it's 'x'"}, condition{colFullName, "_a.0/25.B--1.*"})
	if want := "dns_name='it''s ''x''' AND rr_full_name='_a.0/25.B--1.*'"; got != want || err != nil {
		t.Errorf("clause is %q, %v; want %q", got, err, want)
	}
	for _, value := range []string{"", "a\x00", "a\nb", "\x7f", `\`, "%", "ä", "\xff", strings.Repeat("a", maxLiteral+1)} {
		if clause, err := where(condition{colServer, "a"}, condition{colFullName, value}); !errors.Is(err, errLiteral) || clause != "" {
			t.Errorf("%q: %q, %v", value, clause, err)
		}
	}
	for _, value := range []string{"x' OR '1'='1", "'", " ", "a b", "a=b", "a;b", "(a)", `"`, "a,b", "a&b", "a+b"} {
		for _, c := range []column{colZone, colFullName} {
			if clause, err := where(condition{c, value}); !errors.Is(err, errLiteral) || clause != "" {
				t.Errorf("%s %q: %q, %v", c, value, clause, err)
			}
		}
	}
}

// literals reads a clause as SQL does and returns its columns and strings, in
// turn. It knows nothing of how the clause was made.
func literals(clause string) (parts []string, ok bool) {
	for {
		column, rest, found := strings.Cut(clause, "='")
		if !found {
			return nil, false
		}
		var value strings.Builder
		for {
			text, after, closed := strings.Cut(rest, "'")
			if !closed {
				return nil, false
			}
			value.WriteString(text)
			if rest, closed = strings.CutPrefix(after, "'"); !closed {
				rest = after
				break
			}
			value.WriteByte('\'')
		}
		parts = append(parts, column, value.String())
		if rest == "" {
			return parts, true
		}
		if clause, found = strings.CutPrefix(rest, " AND "); !found {
			return nil, false
		}
	}
}

// FuzzWhere: whatever goes into a clause, a real parser finds in it exactly
// that comparison, or the clause is refused. The simulator has a record whose
// text is the value, and others that must not be found.
func FuzzWhere(f *testing.F) {
	for _, value := range []string{
		"a", "'", "''", "x' OR '1'='1", "x'--", "'; DROP TABLE x; --", `\'`, "%", "_", "a\x00", "ä", " ", "=", ")", "(",
		"a' AND dns_name='b", "' IN ('a", strings.Repeat("'", maxLiteral),
	} {
		f.Add(value)
	}
	sim, err := solidsim.Start(f.Context(), solidsim.Config{Users: map[string]string{"u": "p"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := sim.Close(); err != nil {
			f.Error(err)
		}
	})
	client, err := New(Config{Host: sim.URL(), Insecure: true, Username: secret("u"), Password: secret("p")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(client.Close)
	decoy := solidsim.Record{Name: "decoy.site.com", Type: "TXT", Value: "a decoy that nobody asks for"}
	if err := sim.Add(solidsim.InternalServer, decoy); err != nil {
		f.Fatal(err)
	}

	f.Fuzz(func(t *testing.T, value string) {
		const colValue column = "value1"
		clause, err := where(condition{colValue, value}, condition{colServer, solidsim.InternalServer})
		if err != nil {
			if !errors.Is(err, errLiteral) || clause != "" {
				t.Fatalf("%q: %q, %v", value, clause, err)
			}
			return
		}
		want := []string{string(colValue), value, string(colServer), solidsim.InternalServer}
		if got, ok := literals(clause); !ok || !slices.Equal(got, want) {
			t.Fatalf("%q is read as %q", clause, got)
		}
		r := solidsim.Record{Name: "fuzz.site.com", Type: "TXT", Value: value}
		for _, server := range []string{solidsim.InternalServer, solidsim.ExternalServer} {
			if err := sim.Add(server, r); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := sim.Remove(server, r); err != nil {
					t.Error(err)
				}
			}()
		}
		answer, err := client.read(t.Context(), "dns_rr_list", url.Values{"WHERE": {clause}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := decodeRows[rrRow](answer)
		if err != nil || len(rows) != 1 || string(rows[0].Value.text) != value || string(rows[0].Server.text) != solidsim.InternalServer {
			t.Fatalf("%q finds %+v, %v", clause, rows, err)
		}
	})
}
