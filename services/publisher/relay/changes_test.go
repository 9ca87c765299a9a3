package relay

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/publisher/outbox"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	row := func(name string) events.Reservation {
		return events.Reservation{Source: "us3", HostID: 5, Hostname: name}
	}
	stored := func(op events.Operation, seq int64, name string) map[int64]events.Stored {
		return map[int64]events.Stored{5: {Sequence: 77, Change: events.Change{Operation: op, Seq: seq, Reservation: row(name)}}}
	}
	exists := func(name string) map[int64]events.Reservation { return map[int64]events.Reservation{5: row(name)} }
	type reading struct {
		outbox.Reading
		rows map[int64]events.Reservation
	}
	marked := []outbox.Mark{{Seq: 8, HostID: new(int64(5)), CreatedAt: at}, {Seq: 9, HostID: new(int64(5)), CreatedAt: at}}
	unreadable := stored("", 0, "")
	unreadable[5] = events.Stored{Sequence: 77, Err: errors.New("vandalism"), Change: unreadable[5].Change}

	type want struct {
		op        events.Operation
		seq       int64
		name      string
		expect    uint64
		tombstone bool
	}
	for name, test := range map[string]struct {
		known map[int64]events.Stored
		rd    reading
		want  *want
	}{
		"new row":                            {nil, reading{outbox.Reading{Marks: marked}, exists("a")}, &want{op: events.Insert, seq: 9, name: "a"}},
		"row after a deletion":               {stored(events.Delete, 3, "a"), reading{outbox.Reading{Marks: marked}, exists("a")}, &want{events.Insert, 9, "a", 77, true}},
		"changed row":                        {stored(events.Insert, 3, "a"), reading{outbox.Reading{Marks: marked}, exists("b")}, &want{events.Update, 9, "b", 77, false}},
		"marked and equal":                   {stored(events.Insert, 3, "a"), reading{outbox.Reading{Marks: marked}, exists("a")}, &want{events.Update, 9, "a", 77, false}},
		"marked, equal, told by this mark":   {stored(events.Insert, 9, "a"), reading{outbox.Reading{Marks: marked}, exists("a")}, nil},
		"told by this mark, other state":     {stored(events.Insert, 9, "a"), reading{outbox.Reading{Marks: marked}, exists("b")}, &want{events.Update, 9, "b", 77, false}},
		"deleted row":                        {stored(events.Insert, 3, "a"), reading{outbox.Reading{Marks: marked}, nil}, &want{events.Delete, 9, "a", 77, false}},
		"deleted twice":                      {stored(events.Delete, 3, "a"), reading{outbox.Reading{Marks: marked}, nil}, &want{events.Delete, 9, "a", 77, true}},
		"deletion told by this mark":         {stored(events.Delete, 9, "a"), reading{outbox.Reading{Marks: marked}, nil}, nil},
		"came and went":                      {nil, reading{outbox.Reading{Marks: marked}, nil}, &want{op: events.Delete, seq: 9}},
		"compared and equal":                 {stored(events.Insert, 3, "a"), reading{outbox.Reading{All: true}, exists("a")}, nil},
		"compared, missing in the stream":    {nil, reading{outbox.Reading{All: true}, exists("a")}, &want{op: events.Snapshot, name: "a"}},
		"compared, other state":              {stored(events.Insert, 3, "a"), reading{outbox.Reading{All: true}, exists("b")}, &want{events.Snapshot, 0, "b", 77, false}},
		"compared, deleted in the stream":    {stored(events.Delete, 3, "a"), reading{outbox.Reading{All: true}, exists("a")}, &want{events.Snapshot, 0, "a", 77, true}},
		"compared, row is gone":              {stored(events.Insert, 3, "a"), reading{outbox.Reading{All: true}, nil}, &want{events.Delete, 0, "a", 77, false}},
		"compared, gone in both":             {stored(events.Delete, 3, "a"), reading{outbox.Reading{All: true}, nil}, nil},
		"compared, unreadable message":       {unreadable, reading{outbox.Reading{All: true}, exists("a")}, &want{events.Snapshot, 0, "a", 77, false}},
		"compared, unreadable, no row":       {unreadable, reading{outbox.Reading{All: true}, nil}, &want{events.Delete, 0, "", 77, false}},
		"not compared, not marked, no rows":  {stored(events.Insert, 3, "a"), reading{}, nil},
		"a truncation tells nothing of rows": {stored(events.Insert, 3, "a"), reading{outbox.Reading{Marks: []outbox.Mark{{Seq: 9}}}, nil}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := changes("us3", test.known, test.rd.Reading, maps.Values(test.rd.rows))
			if test.want == nil {
				if len(all) != 0 {
					t.Fatalf("changes are %+v, want none", all)
				}
				return
			}
			if len(all) != 1 {
				t.Fatalf("changes are %+v, want one", all)
			}
			c := all[0].Change
			got := want{c.Operation, c.Seq, c.Reservation.Hostname, all[0].Expect, all[0].ExpectTombstone}
			if d := cmp.Diff(*test.want, got, cmp.AllowUnexported(want{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	at := func(seq uint64, op events.Operation) map[int64]events.Stored {
		return map[int64]events.Stored{1: {Sequence: seq, Change: events.Change{Operation: op}}}
	}
	for name, test := range map[string]struct {
		before, now map[int64]events.Stored
		want        bool
	}{
		"first replay":     {nil, at(5, events.Insert), false},
		"unchanged":        {at(5, events.Insert), at(5, events.Insert), false},
		"gone":             {at(5, events.Insert), nil, true},
		"overwritten":      {at(5, events.Insert), at(9, events.Insert), true},
		"expired deletion": {at(5, events.Delete), nil, false},
	} {
		if got := lost(liveSequences(test.before), test.now); got != test.want {
			t.Errorf("%s: lost is %v", name, got)
		}
	}
}

func TestOurs(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]bool{
		`{"operation":"INSERT","hostname":"a","ipv4_address":1,"dhcp_identifier":"aa","host_id":5}`: true,
		`{"operation":"WAKE"}`: true,
		`{"operation":"INSERT","hostname":"a","ipv4_address":1,"dhcp_identifier":"aa"}`: false, // the replaced system's
		`192.0.2.1:aabbccddeeff:name`: false, // and its older one's
		`{"test":"data"}`:             false,
		``:                            false,
		`[]`:                          false,
		`null`:                        false,
	} {
		if got := ours(payload); got != want {
			t.Errorf("ours(%s) = %v", payload, got)
		}
	}
}
