package soak

import (
	"testing"

	"github.com/keastream/keastream/solidsim"
)

// Beside a foreign record ours may stay, and none may come.
func TestForeignersSeeWhatIsAdded(t *testing.T) {
	t.Parallel()
	const mark = "managed_by=keastream"
	foreign := solidsim.Record{Name: "a.site.com", Type: "A", Value: "192.0.2.1", TTL: 3600}
	one := solidsim.Record{Name: "a.site.com", Type: "A", Value: "10.0.0.1", TTL: 600, ClassParameters: mark}
	two := one
	two.Value = "10.0.0.2"
	f := newForeigners()
	f.add(foreign)
	for i, step := range []struct {
		records []solidsim.Record
		bad     bool
	}{
		{[]solidsim.Record{foreign, one}, false}, // it came to ours
		{[]solidsim.Record{foreign, one}, false},
		{[]solidsim.Record{foreign, two}, true},
	} {
		if err := f.settle(step.records); (err != nil) != step.bad {
			t.Errorf("quiet point %d: %v, want an error: %v", i+1, err, step.bad)
		}
	}
	if err := f.settle([]solidsim.Record{foreign}); err != nil {
		t.Errorf("after ours went: %v", err)
	}
	if err := f.settle([]solidsim.Record{foreign, one}); err == nil {
		t.Error("ours came back, and that is no error")
	}
	f.remove(foreign)
	f.add(foreign) // as after a resynchronisation
	if err := f.settle([]solidsim.Record{foreign, one}); err != nil {
		t.Errorf("the foreign record is a new one: %v", err)
	}
}
