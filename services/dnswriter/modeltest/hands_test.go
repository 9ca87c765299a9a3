package modeltest

import (
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/keastream/keastream/solidsim"
)

// hand edits a record of ours that is there once, if there is one. Which there are
// depends on how far the reconciler has come, so the place is drawn and not the
// record.
func (w *world) hand(rt *rapid.T, name string, f func(r solidsim.Record) error) {
	place := rapid.IntRange(0, 99).Draw(rt, "record")
	w.byHand(func() error {
		all := w.ours()
		counts, _ := split(all)
		all = slices.DeleteFunc(all, func(r solidsim.Record) bool {
			return counts[set{r.Name, r.Type}][r.Value] > 1 || strings.HasPrefix(r.Name, "fence.")
		})
		if len(all) == 0 {
			return nil
		}
		r := all[place%len(all)]
		w.note("  %+v", r)
		if err := f(r); err != nil {
			return err
		}
		w.reached.add(name)
		return nil
	})
}

// loosen forgets that records of a name were steady: a person took part. So it is
// with the PTR records that lead there. The caller holds w.mu.
func (w *world) loosen(name string) {
	for r := range w.steady {
		if r.name == name || r.value == name {
			delete(w.steady, r)
		}
	}
}

func (w *world) handRemove(rt *rapid.T) {
	w.hand(rt, caseHandRemoved, func(r solidsim.Record) error {
		w.loosen(r.Name)
		return w.sim.Remove(server, r)
	})
}

// handChange gives a row of ours another value, or another TTL.
func (w *world) handChange(rt *rapid.T) {
	onlyTTL := rapid.IntRange(0, 2).Draw(rt, "only the TTL") == 0
	w.hand(rt, caseHandChanged, func(r solidsim.Record) error {
		w.loosen(r.Name)
		if err := w.sim.Remove(server, r); err != nil {
			return err
		}
		switch {
		case onlyTTL:
			r.TTL = 77
		case r.Type == "A":
			r.Value = "198.51.100.177"
		case r.Type == "AAAA":
			r.Value = "2001:db8::177"
		default: // PTR records that lead out of our zones are left alone
			r.Value = "elsewhere." + zone
		}
		if slices.ContainsFunc(w.sim.Records(server), func(o solidsim.Record) bool { return recordOf(o) == recordOf(r) }) {
			return nil
		}
		return w.sim.Add(server, r)
	})
}

func (w *world) handUnmark(rt *rapid.T) {
	w.hand(rt, caseHandUnmarked, func(r solidsim.Record) error {
		w.loosen(r.Name)
		if err := w.sim.Remove(server, r); err != nil {
			return err
		}
		r.ClassParameters = ""
		return w.plant(r)
	})
}

func (w *world) handDouble(rt *rapid.T) {
	w.hand(rt, caseHandDoubled, func(r solidsim.Record) error { return w.sim.Double(server, r) })
}

func (w *world) handBeside(rt *rapid.T) {
	w.hand(rt, caseHandBeside, func(r solidsim.Record) error {
		w.loosen(r.Name)
		r.ClassParameters, r.TTL = "", 3600
		r.Value = map[string]string{"A": "198.51.100.178", "AAAA": "2001:db8::178", "PTR": "beside.example.com"}[r.Type]
		return w.plantNew(r)
	})
}

// plantNew adds a record of somebody else, unless there is one like it. The caller
// holds w.mu.
func (w *world) plantNew(r solidsim.Record) error {
	if slices.ContainsFunc(w.sim.Records(server), func(o solidsim.Record) bool {
		return o.Name == r.Name && (recordOf(o) == recordOf(r) || o.Type == "CNAME" || r.Type == "CNAME")
	}) {
		return nil
	}
	return w.plant(r)
}

// handCopy puts a copy of our row, with its mark, at another name.
func (w *world) handCopy(rt *rapid.T) {
	name := drawName(rt)
	w.hand(rt, caseHandCopied, func(r solidsim.Record) error {
		if r.Type == "PTR" {
			r.Name = "77." + reverse4
		} else {
			r.Name = name + "-copy." + zone
		}
		return w.plantNew(r)
	})
}

// handAdd adds a record of somebody else at a name that reservations may have.
func (w *world) handAdd(rt *rapid.T) {
	r := solidsim.Record{Name: drawName(rt) + "." + zone, TTL: 3600}
	r.Type = rapid.SampledFrom([]string{"A", "A", "AAAA", "CNAME", "TXT", "PTR"}).Draw(rt, "type")
	switch r.Type {
	case "A":
		r.Value = drawIP(rt)
	case "AAAA":
		r.Value = "2001:db8::1"
	case "PTR":
		r.Name, r.Value = reverseName(netip.MustParseAddr("192.0.2.1")), r.Name
	case "TXT":
		r.Value = "hello"
	default:
		r.Value = "elsewhere.example.com"
	}
	w.byHand(func() error {
		w.loosen(r.Name)
		return w.plantNew(r)
	})
}

func (w *world) handRemoveForeign(rt *rapid.T) {
	place := rapid.IntRange(0, 99).Draw(rt, "foreign")
	w.byHand(func() error {
		if len(w.foreign) == 0 {
			return nil
		}
		i := place % len(w.foreign)
		r := w.foreign[i]
		w.loosen(r.Name)
		w.foreign = slices.Delete(w.foreign, i, i+1)
		return w.sim.Remove(server, r)
	})
}
