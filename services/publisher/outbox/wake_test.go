package outbox_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keastream/keastream/services/publisher/outbox"
)

const bareWake = `{"operation":"WAKE"}`

// listener hears what is sent in a database.
type listener struct{ conn *pgx.Conn }

func listen(t *testing.T, dsn, channel string) listener {
	t.Helper()
	conn := connect(t, dsn)
	execute(t, conn, "LISTEN "+channel)
	return listener{conn}
}

// heard gives the payloads that were sent since the last call.
func (l listener) heard(t *testing.T) []string {
	t.Helper()
	// PostgreSQL delivers in the order of commits: what comes before this has come.
	const end = "end"
	execute(t, l.conn, "SELECT pg_notify(channel, $1) FROM pg_listening_channels() channel", end)
	var payloads []string
	for {
		n, err := l.conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n.Payload == end {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

func (l listener) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := l.heard(t); !slices.Equal(got, want) {
		t.Errorf("payloads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPayloads has the INSERT of the replaced system's instructions and what it
// must give: the four keys that it had, in its spelling, and more.
func TestPayloads(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)

	execute(t, conn, `INSERT INTO hosts (dhcp_identifier_type, dhcp_identifier, dhcp4_subnet_id, ipv4_address, hostname) VALUES (1, decode('aabbccddeeff', 'hex'), 1, ('172.30.19.100'::inet - '0.0.0.0'::inet), 'us3-cab10-ru20-idrac')`)
	l.expect(t, `{"operation":"INSERT","hostname":"us3-cab10-ru20-idrac","ipv4_address":2887652196,"dhcp_identifier":"aabbccddeeff","ip":"172.30.19.100","mac":"aa:bb:cc:dd:ee:ff","host_id":1}`)
	execute(t, conn, `UPDATE hosts SET hostname = NULL, ipv4_address = NULL, dhcp_identifier = '\x01'`)
	l.expect(t, `{"operation":"UPDATE","hostname":null,"ipv4_address":null,"dhcp_identifier":"01","host_id":1}`)
	execute(t, conn, `UPDATE hosts SET auth_key = 'secret'`)
	l.expect(t)
	execute(t, conn, `INSERT INTO ipv6_reservations (address, host_id) VALUES ('2001:db8::10', 1)`)
	l.expect(t, `{"operation":"INSERT","host_id":1,"address":"2001:db8::10"}`)
	execute(t, conn, `UPDATE ipv6_reservations SET address = '2001:db8::11'`)
	l.expect(t, `{"operation":"UPDATE","host_id":1,"address":"2001:db8::11"}`)
	execute(t, conn, `UPDATE hosts SET host_id = 7 WHERE false`)
	l.expect(t)
	execute(t, conn, `DELETE FROM hosts`)
	l.expect(t,
		`{"operation":"DELETE","hostname":null,"ipv4_address":null,"dhcp_identifier":"01","host_id":1}`,
		`{"operation":"DELETE","host_id":1,"address":"2001:db8::11"}`)
	execute(t, conn, `TRUNCATE hosts CASCADE`)
	l.expect(t, bareWake)
}

func TestPayloadMAC(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	for _, c := range []struct {
		name       string
		kind       int
		identifier string
		want       string
	}{
		{"hw-address", 0, "020000000001", "02:00:00:00:00:01"},
		{"hw-address of InfiniBand", 0, "0200000000010203", ""},
		{"MAC stored as DUID", 1, "0aff00000001", "0a:ff:00:00:00:01"},
		{"DUID-LL of Ethernet", 1, "000300010200000000ab", "02:00:00:00:00:ab"},
		{"DUID-LL of another hardware", 1, "000300200200000000ab", ""},
		{"DUID-LLT of Ethernet", 1, "00010001112233440200000000cd", "02:00:00:00:00:cd"},
		{"DUID-LLT of another hardware", 1, "00010006112233440200000000cd", ""},
		{"DUID-LL, too long", 1, "000300010200000000ab00", ""},
		{"DUID-EN", 1, "000200000009aabbccddeeff0011", ""},
		{"client-id", 3, "020000000001", ""},
		{"empty", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			execute(t, conn, `INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) VALUES (decode($2, 'hex'), $1)`, c.kind, c.identifier)
			heard := l.heard(t)
			if len(heard) != 1 {
				t.Fatalf("payloads %v", heard)
			}
			var got struct{ MAC string }
			if err := json.Unmarshal([]byte(heard[0]), &got); err != nil {
				t.Fatal(err)
			}
			if got.MAC != c.want {
				t.Errorf("mac %q, want %q", got.MAC, c.want)
			}
		})
	}
}

func TestOnePayloadPerHostUpTo100(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	insert := func(n int) {
		execute(t, conn, fmt.Sprintf(`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT int4send(n), 0 FROM generate_series(1, %d) n`, n))
	}
	insert(100)
	if n := len(l.heard(t)); n != 100 {
		t.Errorf("%d payloads for 100 hosts", n)
	}
	insert(101)
	l.expect(t, bareWake)
	insert(10000)
	l.expect(t, bareWake)
	if n := len(takeMarks(t, dsn)); n != 10201 {
		t.Errorf("%d marks, want 10201", n)
	}
	execute(t, conn, `UPDATE hosts SET hostname = 'x' WHERE host_id <= 100`)
	if n := len(l.heard(t)); n != 100 {
		t.Errorf("%d payloads for an update of 100 hosts", n)
	}
	execute(t, conn, `UPDATE hosts SET hostname = 'y'`)
	l.expect(t, bareWake)
	execute(t, conn, `UPDATE hosts SET host_id = host_id + 100000 WHERE host_id <= 60`) // 120 marks
	l.expect(t, bareWake)
	// Two addresses each: a host is named once.
	execute(t, conn, `INSERT INTO ipv6_reservations (address, host_id) SELECT '2001:db8::' || a, h.host_id FROM hosts h, generate_series(1, 2) a WHERE h.host_id BETWEEN 101 AND 200`)
	if n := len(l.heard(t)); n != 100 {
		t.Errorf("%d payloads for IPv6 rows of 100 hosts", n)
	}
	execute(t, conn, `UPDATE ipv6_reservations SET prefix_len = 127`)
	if n := len(l.heard(t)); n != 100 {
		t.Errorf("%d payloads for an update of IPv6 rows of 100 hosts", n)
	}
	execute(t, conn, `INSERT INTO ipv6_reservations (address, host_id) SELECT 'x', h.host_id FROM hosts h`)
	l.expect(t, bareWake)
	execute(t, conn, `UPDATE ipv6_reservations SET prefix_len = 64`)
	l.expect(t, bareWake)
	execute(t, conn, `DELETE FROM ipv6_reservations`)
	l.expect(t, bareWake)
	execute(t, conn, `DELETE FROM hosts`)
	l.expect(t, bareWake)
}

// TestOnlyOneTransactionSends: NOTIFY makes commits wait for each other.
func TestOnlyOneTransactionSends(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	first, second, l := connect(t, dsn), connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	execute(t, first, `BEGIN`)
	execute(t, first, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, second, insertHost+`VALUES ('\x02', 0, 1, 'two')`)
	l.expect(t)
	execute(t, first, `COMMIT`)
	l.expect(t, `{"operation":"INSERT","hostname":"one","ipv4_address":null,"dhcp_identifier":"01","host_id":1}`)
	execute(t, second, `DELETE FROM hosts WHERE host_id = 2`)
	l.expect(t, `{"operation":"DELETE","hostname":"two","ipv4_address":null,"dhcp_identifier":"02","host_id":2}`)

	// A statement that changes nothing does not keep the others from sending.
	execute(t, first, `BEGIN`)
	for _, nothing := range []string{
		`INSERT INTO hosts (dhcp_identifier, dhcp_identifier_type) SELECT '\x01', 0 WHERE false`,
		`UPDATE hosts SET hostname = 'x' WHERE false`,
		`UPDATE hosts SET auth_key = 'x'`,
		`DELETE FROM hosts WHERE false`,
		`INSERT INTO ipv6_reservations (address, host_id) SELECT 'x', 1 WHERE false`,
		`UPDATE ipv6_reservations SET address = 'x'`,
		`DELETE FROM ipv6_reservations`,
	} {
		execute(t, first, nothing)
	}
	execute(t, second, insertHost+`VALUES ('\x03', 0, 1, 'three')`)
	l.expect(t, `{"operation":"INSERT","hostname":"three","ipv4_address":null,"dhcp_identifier":"03","host_id":3}`)
	execute(t, first, `COMMIT`)
	l.expect(t)
}

func TestRolledBackChangeSendsNothing(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel)
	execute(t, conn, `BEGIN`)
	execute(t, conn, insertHost+`VALUES ('\x01', 0, 1, 'one')`)
	execute(t, conn, `ROLLBACK`)
	l.expect(t)
}

// TestLongPayload: 8000 bytes would abort the transaction. No row that the
// triggers see gives that much, so the function is asked itself.
func TestLongPayload(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{})
	conn, l := connect(t, superuser(t, dsn)), listen(t, dsn, outbox.DefaultChannel)
	execute(t, conn, `SELECT keastream.wake($1, ARRAY['short', repeat('x', 4000), repeat('y', 4001), repeat('z', 9000)])`, outbox.DefaultChannel)
	l.expect(t, "short", strings.Repeat("x", 4000), bareWake) // the same payload is sent once per transaction
}

func TestOtherChannel(t *testing.T) {
	t.Parallel()
	dsn := installed(t, outbox.InstallOptions{Channel: "Other_2"})
	conn, old, other := connect(t, dsn), listen(t, dsn, outbox.DefaultChannel), listen(t, dsn, `"Other_2"`)
	execute(t, conn, `TRUNCATE ipv6_reservations`)
	other.expect(t, bareWake)
	old.expect(t)
	// The channel can be changed later.
	if got := install(t, dsn, outbox.InstallOptions{}).Channel; got != outbox.DefaultChannel {
		t.Errorf("report has channel %s", got)
	}
	execute(t, conn, `TRUNCATE ipv6_reservations`)
	other.expect(t)
	old.expect(t, bareWake)
}
