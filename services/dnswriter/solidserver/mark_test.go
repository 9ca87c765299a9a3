package solidserver

import (
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/dns"
)

// The mark stands on records of all users: were this text to change, they all
// would be strangers.
func TestMarkIsForEver(t *testing.T) {
	t.Parallel()
	p := place{server: "dns-internal-smart.site.com", name: "a.site.com", rtype: dns.A}
	o := dns.NewOwner(events.Key{Source: "us3", HostID: 5}, events.Key{Source: "us4", HostID: 17})
	const want = "kea_host_id=5%2C17&kea_source=us3%2Cus4&keastream_digest=7f8cc216f223de24468381d0b14fdef0&managed_by=keastream"
	if got := p.mark(o); got != want {
		t.Errorf("the mark is %s", got)
	}
}

func places() *rapid.Generator[place] {
	name := rapid.SampledFrom([]string{"", "a", "b", `a" "b`, "a b"})
	return rapid.Custom(func(t *rapid.T) place {
		return place{
			server: name.Draw(t, "server"), view: name.Draw(t, "view"), name: name.Draw(t, "name"),
			rtype: rapid.SampledFrom(dns.Types()).Draw(t, "type"),
		}
	})
}

func TestMarkFitsItsPlaceOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		here, there := places().Draw(t, "here"), places().Draw(t, "there")
		owner := dns.NewOwner(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.Key {
			return events.Key{Source: rapid.StringMatching(`[a-z0-9_-]{1,32}`).Draw(t, "source"), HostID: rapid.Int64().Draw(t, "host")}
		}), 1, 20).Draw(t, "hosts")...)
		mark := here.mark(owner)
		if got := here.owner(mark); got == nil || !got.Equal(owner) {
			t.Fatalf("%v was read as %v", owner, got)
		}
		if got := there.owner(mark); (got != nil) != (here == there) {
			t.Fatalf("the mark of %v, read at %v: %v", here, there, got)
		}
	})
}

// FuzzOwner: no text makes the reader panic, and what it takes for a mark has
// the digest and names valid sources.
func FuzzOwner(f *testing.F) {
	p := place{server: "s", name: "a.site.com", rtype: dns.A}
	f.Add(p.mark(dns.NewOwner(events.Key{Source: "us3", HostID: 5})))
	f.Add("managed_by=keastream&managed_by=keastream")
	f.Add("%zz;=&managed_by=keastream")
	f.Fuzz(func(t *testing.T, text string) {
		owner := p.owner(text)
		if owner == nil {
			return
		}
		params, _ := url.ParseQuery(text)
		if params.Get(paramDigest) != p.digest() || len(owner.Hosts) == 0 {
			t.Fatalf("%q is taken for %v", text, owner)
		}
		for _, source := range owner.Sources() {
			if err := events.CheckSource(source); err != nil {
				t.Fatal(err)
			}
		}
	})
}
