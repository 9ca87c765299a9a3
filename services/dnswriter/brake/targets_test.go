package brake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
	"github.com/keastream/keastream/services/dnswriter/bucket"
)

// of is a target of scope internal.
func of(host string) func(*brake.Config) {
	return func(c *brake.Config) {
		c.Key, c.Target = brake.Key("internal", host), "server dns of "+host
	}
}

// Two targets with the same scope have one store, and the same records: neither
// knows of the other's counts, lists and approvals.
func TestTwoTargets(t *testing.T) {
	inTime(t, func(t *testing.T) {
		store := newMemory()
		a, b := start(t, store, of("a.site.com")), start(t, store, of("b.site.com"))
		a.want(1, 10)
		b.want(101, 110) // a name that has gone may go again
		pass(holdDown)
		if gone := a.remove(brake.Removal, 1, 10) + b.remove(brake.Removal, 101, 110); gone != 20 {
			t.Errorf("%d names went, want 10 of each", gone)
		}
		a.wantNone(1, 10)
		b.wantNone(101, 110)
		a.want(11, 40)
		b.want(11, 40)
		pass(holdDown)
		ofA, ofB := a.withheld(30), b.withheld(30)
		if ofA.Hash == ofB.Hash {
			t.Fatalf("lists of two targets have the hash %s", ofA.Hash)
		}
		pass(3 * 24 * time.Hour)
		a.want(41, 60) // too many even after the hour is over
		b.want(41, 60)
		pass(time.Minute)
		_, err := brake.Approve(t.Context(), store, "123456789abc")
		for _, l := range []brake.List{a.Lists()[0], b.Lists()[0]} {
			want := fmt.Sprintf("%s (removal, names: 50; scope internal, %s, withheld for 3 days)", l.Hash, l.Target)
			if !errors.Is(err, brake.ErrOutdated) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %v, want one that says %s", err, want)
			}
		}
		list, err := brake.Approve(t.Context(), store, b.Lists()[0].Hash)
		if err != nil || list.Target != "server dns of b.site.com" {
			t.Errorf("approved %q, %v", list.Target, err)
		}
		pass(time.Second)
		a.wantMay(11, 60, 0)
		b.wantMay(11, 60, 50)
		a.approve(a.Lists()[0].Hash)
		pass(time.Second)
		a.wantMay(11, 60, 50)
		if lists, err := brake.Withheld(t.Context(), store); err != nil || len(lists) != 0 {
			t.Errorf("withheld still: %v, %v", lists, err)
		}
	})
}

// What cannot be read of one target keeps nobody from approving for another.
func TestUnreadableListOfAnotherTarget(t *testing.T) {
	t.Parallel()
	srv := onNATS(t)
	documents := bucket.New(srv.Connect())
	if _, err := documents.Put(t.Context(), "withheld.other", 0, "nonsense"); err != nil {
		t.Fatal(err)
	}
	l := start(t, documents, soon, of("a.site.com"))
	l.want(1, 40)
	l.awaitList(t, 40)
	hash := l.withheld(40).Hash
	await(t, "stored", func() bool {
		lists, err := brake.Withheld(t.Context(), documents)
		return len(lists) == 1 && err != nil
	})
	if _, err := brake.Approve(t.Context(), documents, "123456789abc"); err == nil || errors.Is(err, brake.ErrOutdated) ||
		!strings.Contains(err.Error(), "withheld.other") {
		t.Errorf("error %v, want one about the document that cannot be read", err)
	}
	l.approve(hash)
	await(t, "approved", func() bool { return l.May(brake.Removal, name(40)) })
}

// The name of a target's documents does not change with the version.
func TestKey(t *testing.T) {
	t.Parallel()
	if got, want := brake.Key("internal", "sds.example.com", "internal"), "internal-8258d1394b58"; got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	if brake.Key("internal", "a", "bc") == brake.Key("internal", "ab", "c") || brake.Key("internal", "a") == brake.Key("external", "a") {
		t.Error("other parts have the same key")
	}
}
