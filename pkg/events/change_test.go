package events_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
)

var update = flag.Bool("update", false, "write testdata anew")

// equateAddrs compares addresses by value: they have unexported fields.
var equateAddrs = cmpopts.EquateComparable(netip.Addr{})

// example is the event of the design, as readable in `nats sub`.
func example() events.Change {
	return events.Change{
		Operation: events.Update, Seq: 4711,
		At: time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC),
		Reservation: events.Reservation{
			Source: "us3", HostID: 5, Hostname: "us3-cab10-ru20-idrac",
			IP:   netip.MustParseAddr("172.30.19.100"),
			IPv6: []netip.Addr{netip.MustParseAddr("2001:db8::10")},
			MAC:  "aa:bb:cc:dd:ee:ff", Identifier: "aabbccddeeff", IdentifierType: "hw-address",
			Subnet4: new(int64(1)),
		},
	}
}

// TestWireForm pins the bytes. A difference means that stored messages and
// consumers of other versions are affected: fields may be added, and that is all.
func TestWireForm(t *testing.T) {
	t.Parallel()
	bare := events.Change{
		Operation: events.Delete, At: time.Date(2026, 11, 23, 10, 11, 12, 0, time.UTC),
		Reservation: events.Reservation{Source: "kea", HostID: -7, Subnet6: new(int64(0)), IdentifierType: "9",
			Invalid: []string{`ip: 99999999999 is not an IPv4 address`}},
	}
	text := example()
	text.Reservation.Hostname = "a<b>&\"c\" \u2028.example."
	for name, c := range map[string]events.Change{"full": example(), "bare": bare, "text": text} {
		t.Run(name, func(t *testing.T) {
			got, err := events.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "change-"+name+".json", got)
			back, err := events.Decode(got)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c, back, equateAddrs); d != "" {
				t.Errorf("Decode(Encode(c)) differs from c:\n%s", d)
			}
		})
	}
	hb := events.Heartbeat{
		Source: "us3", Database: "7438912345678901234/kea", Timeline: 3, Epoch: "20261123T101112Z-ABCDEFGH",
		Hosts: 2000, Complete: true,
		DrainedAt: time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC),
		At:        time.Date(2026, 11, 23, 10, 11, 13, 0, time.UTC),
	}
	withOutbox, retired := hb, hb
	withOutbox.Outbox = true
	retired.Hosts, retired.Retired = 0, true
	for name, hb := range map[string]events.Heartbeat{"heartbeat": hb, "heartbeat-outbox": withOutbox, "heartbeat-retired": retired} {
		got, err := events.EncodeHeartbeat(hb)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".json", got)
		back, err := events.DecodeHeartbeat(got)
		if err != nil || back != hb {
			t.Errorf("DecodeHeartbeat(EncodeHeartbeat(h)) = %+v, %v", back, err)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
		t.Errorf("the wire form differs from %s:\n%s", path, d)
	}
}

func TestDecodeIgnoresWhatLaterVersionsAdd(t *testing.T) {
	t.Parallel()
	c, err := events.Decode([]byte(`{"v":1,"operation":"INSERT","source":"us3","host_id":5,"at":"2026-11-23T10:00:00Z","rack":{"row":7},"ipv6":["2001:db8::2","2001:db8::1","2001:DB8:0::1"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Reservation.IPv6; len(got) != 2 || got[0].String() != "2001:db8::1" {
		t.Errorf("addresses are %v, want two, ascending", got)
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const head = `{"v":1,"operation":"INSERT","source":"us3","host_id":5,"at":"2026-11-23T10:00:00Z"`
	for _, test := range []struct{ data, want string }{
		{``, "unexpected end of JSON input"},
		{`[]`, "cannot unmarshal array"},
		{`{"v":2}`, "v: version 2 is not known"},
		{`{"v":1,"operation":"UPSERT"}`, `operation: "UPSERT"`},
		{`{"v":1,"operation":"INSERT","source":"US 3"}`, `source "US 3"`},
		{`{"v":1,"operation":"INSERT","source":"us3"}`, "host_id: is missing"},
		{`{"v":1,"operation":"INSERT","source":"us3","host_id":5}`, "at: is missing"},
		{`{"v":1,"operation":"INSERT","source":"us3","host_id":"5"}`, "host_id"},
		{head + `,"ip":"10.0.0"}`, `ip: "10.0.0"`},
		{head + `,"ip":"2001:db8::1"}`, `ip: "2001:db8::1"`},
		{head + `,"ipv6":["fe80::1%eth0"]}`, `ipv6: "fe80::1%eth0"`},
		{head + `,"ipv6":["10.0.0.1"]}`, `ipv6: "10.0.0.1"`},
		{head + `,"mac":"AA:BB:CC:DD:EE:FF"}`, `mac: "AA:BB:CC:DD:EE:FF"`},
		{head + `,"identifier":"abc"}`, `identifier: "abc"`},
		{head + `,"identifier":"AB"}`, `identifier: "AB"`},
		{head + `,"hostname":"` + strings.Repeat("x", 256) + `"}`, "hostname: "},
		{head + `,"identifier":"` + strings.Repeat("ab", 1025) + `"}`, "identifier: "},
		{head + `,"identifier_type":"` + strings.Repeat("x", 17) + `"}`, "identifier_type: "},
		{head + `,"ipv6":["::1"` + strings.Repeat(`,"::1"`, 256) + `]}`, "ipv6: 257"},
		{head + `,"invalid":["` + strings.Repeat("x", 4097) + `"]}`, "invalid: 1 texts"},
		{`{"x":"` + strings.Repeat("x", 1<<20) + `"}`, "bytes are more than"},
	} {
		_, err := events.Decode([]byte(test.data))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Decode(%.60s) gives the error %v, want one that says %q", test.data, err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("the error for %.40s is %d bytes long", test.data, len(err.Error()))
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*events.Change){
		"operation": func(c *events.Change) { c.Operation = "" },
		"source":    func(c *events.Change) { c.Reservation.Source = "a.b" },
		"at":        func(c *events.Change) { c.At = time.Time{} },
		"ip":        func(c *events.Change) { c.Reservation.IP = netip.MustParseAddr("::1") },
		"ipv6":      func(c *events.Change) { c.Reservation.IPv6 = []netip.Addr{netip.MustParseAddr("10.0.0.1")} },
		"mac":       func(c *events.Change) { c.Reservation.MAC = "aabbccddeeff" },
		"hostname":  func(c *events.Change) { c.Reservation.Hostname = strings.Repeat("x", events.MaxHostname+1) },
	} {
		c := example()
		spoil(&c)
		if _, err := events.Encode(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Encode of a change with a bad %s gives the error %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	full, err := events.Encode(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(`{"v":1,"operation":"DELETE","source":"us3","host_id":5,"at":"2026-11-23T10:00:00Z"}`))
	f.Add([]byte(`{"v":1,"operation":"DELETE","source":"us3","host_id":5,"at":"2026-11-23T10:00:00Z","hostname":"` + strings.Repeat("\u2028", 255) +
		`","invalid":["` + strings.Repeat(`\u0001`, 4096) + `"]}`))
	f.Add([]byte(`{"v":1,"operation":"DELETE","source":"us3","host_id":5,"at":"0000-01-01T00:00:00Z","ip":"::ffff:1.2.3.4"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := events.Decode(data)
		if err != nil {
			return
		}
		again, err := events.Encode(c)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		back, err := events.Decode(again)
		if err != nil {
			t.Fatalf("what was encoded cannot be decoded: %v", err)
		}
		if !back.Reservation.Equal(c.Reservation) || back.Operation != c.Operation || back.Seq != c.Seq {
			t.Fatalf("a second time around %+v became %+v", c, back)
		}
	})
}

func FuzzDecodeHeartbeat(f *testing.F) {
	f.Add([]byte(`{"v":1,"source":"us3","database":"1/kea","timeline":1,"epoch":"e","hosts":3,"complete":true,"drained_at":"2026-11-23T10:00:00Z","at":"2026-11-23T10:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := events.DecodeHeartbeat(data)
		if err != nil {
			return
		}
		if _, err := events.EncodeHeartbeat(h); err != nil && !strings.Contains(err.Error(), "are more than") {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
	})
}

func FuzzCanonicalHostname(f *testing.F) {
	for _, s := range []string{"us3-cab10-ru17-idrac", "A.B.", "xn--bcher-kva.example", "a..b", "-a", "a_b", "1.2.3.4", "*", "' OR '1'='1", "../x", "{{ x }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := events.CanonicalHostname(s)
		if err != nil {
			if name != "" || len(err.Error()) > 600 {
				t.Fatalf("CanonicalHostname(%q) = %q, %v", s, name, err)
			}
			return
		}
		if again, err := events.CanonicalHostname(name); err != nil || again != name {
			t.Fatalf("the canonical form %q is not its own: %q, %v", name, again, err)
		}
		if !strings.EqualFold(name, strings.TrimSuffix(s, ".")) {
			t.Fatalf("CanonicalHostname(%q) = %q is another name", s, name)
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || len(name) > 253 {
			t.Fatalf("CanonicalHostname(%q) = %q has other characters", s, name)
		}
	})
}

func TestCanonicalHostname(t *testing.T) {
	t.Parallel()
	label63 := strings.Repeat("a", 63)
	for _, test := range []struct{ in, want string }{
		{"us3-cab10-ru17-idrac", "us3-cab10-ru17-idrac"},
		{"US3-Cab10-RU17-iDRAC", "us3-cab10-ru17-idrac"},
		{"host.lab.example.", "host.lab.example"},
		{"3com", "3com"},
		{"123", "123"},
		{"xn--bcher-kva", "xn--bcher-kva"},
		{label63 + "." + label63, label63 + "." + label63},
		{"", ""}, {".", ""}, {"a..b", ""}, {".a", ""}, {"-a", ""}, {"a-", ""}, {"a_b", ""}, {"a b", ""}, {"*", ""},
		{"ab--cd", ""}, {"host.123", ""}, {"1.2.3.4", ""}, {"123.", ""}, {label63 + "a", ""}, {"bücher", ""}, {"a\x00b", ""},
		{strings.Repeat("a.", 127) + "a", ""},
	} {
		got, err := events.CanonicalHostname(test.in)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("CanonicalHostname(%.40q) = %q, %v, want %q", test.in, got, err, test.want)
		}
	}
}

func TestMAC(t *testing.T) {
	t.Parallel()
	mac := []byte{0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0x0f}
	for _, test := range []struct {
		kind string
		id   []byte
		want string
	}{
		{"hw-address", mac, "aa:bb:cc:dd:ee:0f"},
		{"duid", mac, "aa:bb:cc:dd:ee:0f"},
		{"duid", append([]byte{0, 1, 0, 1, 1, 2, 3, 4}, mac...), "aa:bb:cc:dd:ee:0f"},
		{"duid", append([]byte{0, 3, 0, 1}, mac...), "aa:bb:cc:dd:ee:0f"},
		{"duid", append([]byte{0, 3, 0, 32}, mac...), ""}, // InfiniBand
		{"duid", append([]byte{0, 2, 0, 1}, mac...), ""},  // DUID-EN
		{"hw-address", append(mac, 1, 2), ""},
		{"client-id", mac, ""}, {"circuit-id", mac, ""}, {"flex-id", mac, ""}, {"hw-address", nil, ""},
	} {
		if got := events.MAC(test.kind, test.id); got != test.want {
			t.Errorf("MAC(%s, %x) = %q, want %q", test.kind, test.id, got, test.want)
		}
	}
}

// TestCurrent compares with the rule itself: a row counts unless a later row of
// the same device is there.
func TestCurrent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subnet := rapid.SampledFrom([]*int64{nil, new(int64(0)), new(int64(1))})
		rs := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) events.Reservation {
			return events.Reservation{
				Source: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source"), HostID: rapid.Int64Range(1, 9).Draw(t, "id"),
				Identifier: rapid.SampledFrom([]string{"00", "01"}).Draw(t, "identifier"), IdentifierType: "duid",
				Subnet4: subnet.Draw(t, "subnet4"), Subnet6: subnet.Draw(t, "subnet6"),
			}
		}), events.Reservation.Key).Draw(t, "reservations")
		var want []events.Key
		for _, r := range rs {
			replaced := false
			for _, o := range rs {
				replaced = replaced || sameDevice(r, o) && o.HostID > r.HostID
			}
			if !replaced {
				want = append(want, r.Key())
			}
		}
		var got []events.Key
		for _, r := range events.Current(rs) {
			got = append(got, r.Key())
		}
		if d := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b events.Key) bool { return a.Compare(b) < 0 })); d != "" {
			t.Fatalf("Current(%+v):\n%s", rs, d)
		}
	})
}

func sameDevice(r, o events.Reservation) bool {
	same := func(a, b *int64) bool { return a != nil && b != nil && *a == *b }
	return r.Source == o.Source && r.IdentifierType == o.IdentifierType && r.Identifier == o.Identifier &&
		(same(r.Subnet4, o.Subnet4) || same(r.Subnet6, o.Subnet6))
}
