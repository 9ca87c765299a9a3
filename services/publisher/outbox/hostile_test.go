package outbox_test

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/internal/pgtest"
	"github.com/keastream/keastream/services/publisher/outbox"
)

// state is what snapshot gives for a host.
type state struct {
	Identifier       string  `json:"identifier"`
	IdentifierLength int     `json:"identifier_length"`
	IdentifierType   int     `json:"identifier_type"`
	Subnet4          *int64  `json:"subnet4"`
	Subnet6          *int64  `json:"subnet6"`
	IPv4             *int64  `json:"ipv4"`
	Hostname         *string `json:"hostname"`
	V6               []struct {
		Address   string `json:"address"`
		Type      int    `json:"type"`
		PrefixLen int    `json:"prefix_len"`
	} `json:"v6"`
}

// snapshot calls the function with ids, as superuser.
func snapshot(t *testing.T, dsn string, ids any) map[int]state {
	t.Helper()
	rows, err := connect(t, superuser(t, dsn)).Query(t.Context(), `SELECT host_id, state FROM keastream.snapshot($1::int[])`, ids)
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[int]state)
	var id int
	var s state
	if _, err := pgx.ForEachRow(rows, []any{&id, &s}, func() error {
		if _, ok := states[id]; ok {
			t.Errorf("host %d came twice", id)
		}
		states[id], s = s, state{}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return states
}

// hostileRow is a row of hosts that Kea's schema lets in.
type hostileRow struct {
	name       string
	identifier []byte
	ipv4       *int64
	hostname   *string
	ip         string // as it stands in a payload
}

func hostileRows() []hostileRow {
	allBytes := make([]byte, 256)
	for i := range allBytes {
		allBytes[i] = byte(i)
	}
	var control strings.Builder
	for r := rune(1); r < 0x20; r++ {
		control.WriteRune(r)
	}
	return []hostileRow{
		{"nothing", []byte{}, nil, nil, ""},
		{"Kea's none", []byte{1}, new(int64(0)), new(""), ""},
		{"every byte", allBytes, new(int64(1)), new("a"), "0.0.0.1"},
		{"200 kB of identifier", slices.Repeat([]byte{0, 0xff, '\\', '\''}, 50<<10), new(int64(4294967295)), new("a"), "255.255.255.255"},
		{"address too large", []byte{1}, new(int64(99999999999)), new("a"), ""},
		{"address one too large", []byte{1}, new(int64(4294967296)), new("a"), ""},
		{"address of 8 bytes", []byte{1}, new(int64(math.MaxInt64)), new("a"), ""},
		{"address below 0", []byte{1}, new(int64(-1)), new("a"), ""},
		{"address far below 0", []byte{1}, new(int64(math.MinInt64)), new("a"), ""},
		{"quotes", []byte{1}, new(int64(1)), new(`"';--\"\\$$%s%n{}[]`), "0.0.0.1"},
		{"control characters", []byte{1}, new(int64(1)), new(control.String() + "\u007f\u0085\u2028"), "0.0.0.1"},
		{"255 characters of 4 bytes", []byte{1}, new(int64(1)), new(strings.Repeat("𝕂", 255)), "0.0.0.1"},
		{"255 control characters", []byte{1}, new(int64(1)), new(strings.Repeat("\x01", 255)), "0.0.0.1"},
		{"200 characters of many scripts", []byte{1}, new(int64(1)), new(strings.Repeat("aß中🖥", 50)), "0.0.0.1"},
		{"dots and spaces", []byte{1}, new(int64(1)), new(" .host..lab. "), "0.0.0.1"},
	}
}

// hostileAddresses are what schemas before 18 take as the address of an IPv6 row.
var hostileAddresses = []string{"not-an-ip", "", `"\';--`, "///", "2001:db8::1/128", "\x01\n\t\x7f", strings.Repeat("𝕂", 39)}

// TestHostileRows inserts, changes and deletes the rows. Payload and state must
// be what they should be; that nothing fails, TestWritesAsWithoutUs shows.
func TestHostileRows(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	for _, c := range hostileRows() {
		t.Run(c.name, func(t *testing.T) {
			id := one[int](t, conn, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, ipv4_address, hostname) VALUES ($1, 4, $2, $3) RETURNING host_id`,
				c.identifier, c.ipv4, c.hostname)
			checkPayload(t, l, "INSERT", id, c.identifier, c.ipv4, c.hostname, c.ip)
			got := snapshot(t, dsn, []int{id})[id]
			if want := hex.EncodeToString(c.identifier[:min(1024, len(c.identifier))]); got.Identifier != want || got.IdentifierLength != len(c.identifier) {
				t.Errorf("state has identifier %.80s of %d bytes", got.Identifier, got.IdentifierLength)
			}
			if !same(got.IPv4, c.ipv4) || !same(got.Hostname, c.hostname) {
				t.Errorf("state %+v", got)
			}
			execute(t, conn, `UPDATE hosts SET dhcp_identifier_type = 3 WHERE host_id = $1`, id)
			checkPayload(t, l, "UPDATE", id, c.identifier, c.ipv4, c.hostname, c.ip)
			execute(t, conn, `DELETE FROM hosts WHERE host_id = $1`, id)
			checkPayload(t, l, "DELETE", id, c.identifier, c.ipv4, c.hostname, c.ip)
			if got, want := takeMarks(t, dsn), []int{id, id, id}; !slices.Equal(got, want) {
				t.Errorf("marks %v, want %v", got, want)
			}
		})
	}
}

func same[T comparable](a, b *T) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

func checkPayload(t *testing.T, l listener, operation string, id int, identifier []byte, ipv4 *int64, hostname *string, ip string) {
	t.Helper()
	heard := l.heard(t)
	if len(heard) != 1 {
		t.Fatalf("%d payloads for %s", len(heard), operation)
	}
	if len(heard[0]) > 4000 {
		t.Errorf("payload of %d bytes", len(heard[0]))
	}
	var got struct {
		Operation  string  `json:"operation"`
		Hostname   *string `json:"hostname"`
		IPv4       *int64  `json:"ipv4_address"`
		Identifier string  `json:"dhcp_identifier"`
		IP         string  `json:"ip"`
		HostID     int     `json:"host_id"`
	}
	if err := json.Unmarshal([]byte(heard[0]), &got); err != nil {
		t.Fatalf("%s: %v", heard[0], err)
	}
	cut := hex.EncodeToString(identifier[:min(128, len(identifier))])
	if got.Operation != operation || got.HostID != id || got.Identifier != cut || got.IP != ip || !same(got.IPv4, ipv4) || !same(got.Hostname, hostname) {
		t.Errorf("payload %s", heard[0])
	}
}

func TestHostileIPv6(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	execute(t, conn, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	l.heard(t)
	for _, address := range hostileAddresses {
		stored, _, _ := strings.Cut(address, "/")
		for _, sql := range []string{
			`INSERT INTO ipv6_reservations (address, host_id) VALUES ($1, 1)`,
			`UPDATE ipv6_reservations SET prefix_len = 64 WHERE address = $1`,
			`DELETE FROM ipv6_reservations WHERE address = $1`,
		} {
			execute(t, conn, sql, address)
			var got struct{ Address string }
			if heard := l.heard(t); len(heard) != 1 || json.Unmarshal([]byte(heard[0]), &got) != nil || got.Address != stored {
				t.Errorf("%q: payloads %q", address, heard)
			}
			if v6 := snapshot(t, dsn, []int{1})[1].V6; len(v6) > 0 && v6[0].Address != stored {
				t.Errorf("%q: state has %q", address, v6[0].Address)
			}
		}
	}
}

// TestOtherEncodings has names that the client's encoding, UTF-8, cannot take.
// One of them must not make the state of the others unreadable.
func TestOtherEncodings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		encoding string
		bytes    string // hexadecimal, of a name
		want     string
	}{
		{"SQL_ASCII", "61ff", "a?"},
		{"WIN1252", "6181", "a?"}, // 81 means nothing there
		{"LATIN1", "61e4", "a?"},
		{"EUC_JP", "61b0a1", "a?"},
	} {
		t.Run(c.encoding, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.EncodedDB(t, c.encoding)
			install(t, dsn, outbox.InstallOptions{})
			conn, l := connect(t, dsn), listen(t, dsn+"&client_encoding=UTF8", outbox.DefaultChannel)
			id := one[int](t, conn, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type, hostname) VALUES ('\x01', 0, convert_from(decode($1, 'hex'), getdatabaseencoding())) RETURNING host_id`, c.bytes)
			execute(t, conn, `INSERT INTO ipv6_reservations (address, host_id) SELECT hostname, host_id FROM hosts`)
			execute(t, conn, insertHost+`VALUES ('\x02', 0, 1, E'two\t')`)
			l.expect(t,
				`{"operation":"INSERT","hostname":"`+c.want+`","ipv4_address":null,"dhcp_identifier":"01","host_id":1}`,
				`{"operation":"INSERT","host_id":1,"address":"`+c.want+`"}`,
				`{"operation":"INSERT","hostname":"two\t","ipv4_address":null,"dhcp_identifier":"02","host_id":2}`)
			got := snapshot(t, dsn+"&client_encoding=UTF8", nil)
			if *got[id].Hostname != c.want || got[id].V6[0].Address != c.want || *got[id+1].Hostname != "two\t" {
				t.Errorf("states %+v", got)
			}
		})
	}
}
