package outbox

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/pkg/events"
)

func TestDecodeState(t *testing.T) {
	t.Parallel()
	many := `{"address":"2001:db8::` + strings.Join(strings.Split(strings.Repeat("x", 20), ""), `","type":0},{"address":"y`) + `","type":0}`
	for name, test := range map[string]struct {
		state   string
		ip, mac string
		v6      int
		invalid []string
	}{
		"as the old example writes it": {state: `{"identifier":"aabbccddeeff","identifier_length":6,"identifier_type":1,"ipv4":2887652196,"hostname":"a","subnet4":1,"v6":[]}`,
			ip: "172.30.19.100", mac: "aa:bb:cc:dd:ee:ff"},
		"Kea's way of writing none": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"ipv4":0,"hostname":""}`},
		"address out of range": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"ipv4":99999999999}`,
			invalid: []string{"ip: 99999999999 is not an IPv4 address"}},
		"negative address": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"ipv4":-1}`,
			invalid: []string{"ip: -1 is not an IPv4 address"}},
		"addresses and a prefix": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"v6":[{"address":"2001:DB8::2","type":0},{"address":"2001:db8::1","type":0},{"address":"2001:db8:0::2","type":0},{"address":"2001:db8:1::","type":2}]}`,
			v6: 2},
		"text that is no address": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"v6":[{"address":"not-an-ip","type":0},{"address":"10.0.0.1","type":0}]}`,
			invalid: []string{`ipv6: "not-an-ip" is not an IPv6 address`, `ipv6: "10.0.0.1" is not an IPv6 address`}},
		"long identifier": {state: `{"identifier":"aabbccddeeff","identifier_length":200000,"identifier_type":0}`,
			invalid: []string{"identifier: 200000 bytes, the first 6 are kept"}},
		"more bad values than are named": {state: `{"identifier":"00","identifier_length":1,"identifier_type":0,"v6":[` + many + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := decodeState("us3", 5, []byte(test.state))
			if err != nil {
				t.Fatal(err)
			}
			ip := ""
			if r.IP.IsValid() {
				ip = r.IP.String()
			}
			if ip != test.ip || r.MAC != test.mac || len(r.IPv6) != test.v6 {
				t.Errorf("the reservation is %+v", r)
			}
			if test.invalid != nil {
				if d := cmp.Diff(test.invalid, r.Invalid); d != "" {
					t.Error(d)
				}
			}
			if len(r.Invalid) > maxInvalid {
				t.Errorf("%d bad values are named", len(r.Invalid))
			}
		})
	}
}

// Whatever a row holds, its event can be published.
func FuzzDecodeState(f *testing.F) {
	f.Add("aabb", 2, 0, int64(7), "name", "2001:db8::1", 3)
	f.Add("00", 900, 9, int64(-1), "\x00\xff{{", "fe80::1%eth0", 4000)
	f.Fuzz(func(t *testing.T, id string, length, kind int, ip int64, name, address string, n int) {
		v6 := make([]row6, max(0, min(n, 5000)))
		for i := range v6 {
			v6[i] = row6{Address: address}
		}
		if len(name) > 4*255 || len(address) > 39 {
			return // more than the columns take
		}
		state, err := json.Marshal(row{Identifier: id, IdentifierLength: length, IdentifierType: kind, IPv4: &ip, Hostname: &name, V6: v6})
		if err != nil {
			return
		}
		r, err := decodeState("us3", 5, state)
		if err != nil || len(r.Identifier) > 2*events.MaxIdentifier || strings.ToLower(r.Identifier) != r.Identifier {
			return // not what the snapshot function returns
		}
		c := events.Change{Operation: events.Insert, At: time.Now(), Reservation: r}
		if _, err := events.Encode(c); err != nil {
			t.Fatalf("a row cannot be published: %v", err)
		}
	})
}
