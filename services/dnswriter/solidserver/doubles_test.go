package solidserver_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/keastream/keastream/services/dnswriter/dns"
	"github.com/keastream/keastream/solidsim"
)

// Of two equal rows of ours the one that was meant is changed or deleted, and
// never the other one in its place.
func testDoubledRows(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	create(t, s, record(host, "10.0.0.1"), owner(5))
	if err := sim.Double(solidsim.InternalServer, stored(t, sim, host)); err != nil {
		t.Fatal(err)
	}
	rows := lookup(t, s, host)
	if len(rows) != 2 || rows[0].ID == rows[1].ID || rows[0].Owner == nil || rows[1].Owner == nil {
		t.Fatalf("the rows are %+v", rows)
	}
	corrected := record(host, "10.0.0.1")
	corrected.TTL = 60
	if err := s.Update(t.Context(), rows[1], corrected, owner(5)); err != nil {
		t.Fatal(err)
	}
	if now := lookup(t, s, host); len(now) != 2 || now[0].TTL != 600 || now[1].TTL != 60 {
		t.Errorf("after a correction of the second the rows are %+v", now)
	}
	if err := s.Delete(t.Context(), rows[0]); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), rows[0]); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("the deletion of what is gone, beside an equal row: %v", err)
	}
	if now := lookup(t, s, host); len(now) != 1 || now[0].ID != rows[1].ID {
		t.Errorf("after the deletion of the first the rows are %+v", now)
	}
}

// If one of them is somebody else's, neither is touched.
func TestDoubledRowOfSomebodyElse(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	add(t, sim, solidsim.Record{Name: host, Type: "A", Value: "10.0.0.1", TTL: 600})
	if err := sim.Double(solidsim.InternalServer, stored(t, sim, host)); err != nil {
		t.Fatal(err)
	}
	rows := lookup(t, s, host)
	by := owner(5)
	rows[1].Owner = &by // as it was when it was read
	if err := s.Delete(t.Context(), rows[1]); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("delete: %v", err)
	}
	if err := s.Update(t.Context(), rows[1], record(host, "10.0.0.2"), by); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("update: %v", err)
	}
	if calls := sim.Calls(); calls.Writes != 0 {
		t.Errorf("%d writes", calls.Writes)
	}
}

// A row that an answer has twice, under one id, is one row: taken for two, one of
// them would be deleted, and with it the only one.
func TestRowTwiceInAnAnswer(t *testing.T) {
	t.Parallel()
	sim, s := scope(t)
	create(t, s, record(host, "10.0.0.1"), owner(5))
	var lists atomic.Int64
	sim.SetFaults(func(_ context.Context, c solidsim.Call) solidsim.Fault {
		return solidsim.Fault{Double: c.Service == "dns_rr_list" && lists.Add(1) == 1}
	})
	if rows := lookup(t, s, host); len(rows) != 1 {
		t.Errorf("the rows are %+v", rows)
	}
	sim.SetFaults(func(context.Context, solidsim.Call) solidsim.Fault { return solidsim.Fault{Double: true} })
	if rows, err := s.Lookup(t.Context(), site, host); err == nil {
		t.Errorf("an appliance that always does so: %+v", rows)
	}
}
