package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
)

func openStream(t testing.TB, conn *nats.Conn, cfg events.StreamConfig) *events.Stream {
	t.Helper()
	return eventstest.Open(t, conn, cfg)
}

func replay(t testing.TB, s *events.Stream) events.Replayed {
	t.Helper()
	r, err := s.Replay(t.Context(), "us3", func() {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func change(op events.Operation, id int64, hostname string) events.Change {
	return events.Change{
		Operation: op, Seq: id, At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		Reservation: eventstest.Reservation("us3", id, hostname, "192.0.2.1"),
	}
}

func TestPublishStoresInBatchesAndSingly(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{})
	for _, n := range []int64{1, 15, 16, 2300} {
		before := replay(t, s)
		var pubs []events.Publication
		for id := range n {
			op := events.Insert
			if _, ok := before.Hosts[id]; ok {
				op = events.Update
			}
			pubs = append(pubs, events.Publication{
				Change: change(op, id, fmt.Sprintf("n%d", n)),
				Expect: before.Hosts[id].Sequence,
			})
		}
		sequences, err := s.Publish(t.Context(), pubs)
		if err != nil {
			t.Fatalf("publish %d: %v", n, err)
		}
		after := replay(t, s)
		if len(after.Hosts) != int(n) {
			t.Errorf("after publishing %d rows the stream holds %d", n, len(after.Hosts))
		}
		for i, p := range pubs {
			got := after.Hosts[p.Change.Reservation.HostID]
			if got.Err != nil || got.Sequence != sequences[i] || !got.Change.Reservation.Equal(p.Change.Reservation) {
				t.Fatalf("of %d: Publish said sequence %d for host %d, the stream holds %+v", n, sequences[i], i, got)
			}
		}
	}
}

// Each kind of trouble is counted, and a plain publication is not.
func TestStatistics(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	var counted events.Statistics
	s := openStream(t, srv.Connect(), events.StreamConfig{Statistics: &counted})
	pub := events.Publication{Change: change(events.Insert, 1, "a")}
	publish := func() error { _, err := s.Publish(t.Context(), []events.Publication{pub}); return err }
	expect := func(when string, refused, unclear, readBacks uint64) {
		t.Helper()
		if counted.Refused() != refused || counted.Unclear() < unclear || counted.ReadBacks() < readBacks || counted.Retries() > 0 && unclear == 0 {
			t.Errorf("%s: %d refused, %d unclear, %d read back, %d retries; want %d, %d, %d", when,
				counted.Refused(), counted.Unclear(), counted.ReadBacks(), counted.Retries(), refused, unclear, readBacks)
		}
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	expect("after a plain publication", 0, 0, 0)
	if err := publish(); err != nil { // as if the answer to the first had been lost
		t.Fatal(err)
	}
	expect("after a repeated one", 1, 0, 1)
	srv.Stop()
	if err := publish(); !errors.Is(err, events.ErrUnclear) {
		t.Fatalf("without a server Publish gives %v, want ErrUnclear", err)
	}
	expect("without a server", 1, 1, 2)
	if counted.Retries() == 0 {
		t.Error("no attempt after the first was counted")
	}
}

// A message whose acknowledgement was lost is found by reading back.
func TestPublishAgainWhatWasStored(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{})
	for _, n := range []int64{1, 40} { // singly, and in a batch
		var pubs []events.Publication
		for id := range n {
			pubs = append(pubs, events.Publication{Change: change(events.Insert, 1000*n+id, "a")})
		}
		first, err := s.Publish(t.Context(), pubs)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Publish(t.Context(), pubs)
		if err != nil || !slices.Equal(first, second) {
			t.Errorf("the second time %d messages got sequences %v, %v; the first time %v", n, second, err, first)
		}
	}
}

func TestPublishRefusesToOverwriteAnotherPublisher(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{})
	var pubs []events.Publication
	for id := range int64(40) {
		pubs = append(pubs, events.Publication{Change: change(events.Insert, id, "mine")})
	}
	other := events.Publication{Change: change(events.Insert, 7, "theirs")}
	if _, err := s.Publish(t.Context(), []events.Publication{other}); err != nil {
		t.Fatal(err)
	}
	sequences, err := s.Publish(t.Context(), pubs)
	if !errors.Is(err, events.ErrConflict) {
		t.Fatalf("the error is %v, want ErrConflict", err)
	}
	after := replay(t, s)
	if got := after.Hosts[7].Change.Reservation.Hostname; got != "theirs" || sequences[7] != 0 {
		t.Errorf("host 7 is %q with sequence %d after a refused publication", got, sequences[7])
	}
	for i, seq := range sequences {
		if seq != 0 && after.Hosts[int64(i)].Sequence != seq {
			t.Errorf("host %d was said to be stored at %d, the stream has %d", i, seq, after.Hosts[int64(i)].Sequence)
		}
	}
}

func TestPublishNoticesThatTheStreamLostTheMessage(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	s := openStream(t, conn, events.StreamConfig{})
	first, err := s.Publish(t.Context(), []events.Publication{{Change: change(events.Insert, 1, "a")}})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := jetStream(t, conn).Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := events.Publication{Change: change(events.Update, 1, "b"), Expect: first[0]}
	if _, err := s.Publish(t.Context(), []events.Publication{again}); !errors.Is(err, events.ErrConflict) {
		t.Errorf("publishing over a purged live message gives %v, want ErrConflict", err)
	}
	again.ExpectTombstone = true // a deletion may have aged: that is no surprise
	if _, err := s.Publish(t.Context(), []events.Publication{again}); err != nil {
		t.Errorf("publishing over an expired deletion: %v", err)
	}
}

func TestDeletionsExpire(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	s := openStream(t, conn, events.StreamConfig{TombstoneTTL: time.Second})
	seqs, err := s.Publish(t.Context(), []events.Publication{{Change: change(events.Insert, 1, "a")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context(), []events.Publication{{Change: change(events.Delete, 1, "a"), Expect: seqs[0]}})
	if err != nil {
		t.Fatal(err)
	}
	if got := replay(t, s).Hosts[1]; !got.Change.Deleted() {
		t.Fatalf("the stream holds %+v, want a deletion", got)
	}
	deadline := time.Now().Add(30 * time.Second)
	for len(replay(t, s).Hosts) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("a deletion with a TTL of one second is there after 30 seconds")
		}
	}
}

func TestHeartbeatFencesASecondPublisher(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{})
	hb := events.Heartbeat{Source: "us3", Database: "1/kea", Epoch: "mine", DrainedAt: time.Now(), At: time.Now()}
	mine, err := s.PublishHeartbeat(t.Context(), hb, 0)
	if err != nil {
		t.Fatal(err)
	}
	hb.Epoch = "theirs"
	if _, err := s.PublishHeartbeat(t.Context(), hb, 0); !errors.Is(err, events.ErrConflict) {
		t.Errorf("a second first heartbeat gives %v, want ErrConflict", err)
	}
	if _, err := s.PublishHeartbeat(t.Context(), hb, mine); err != nil {
		t.Errorf("a heartbeat over the last one: %v", err)
	}
	hb.Epoch = "mine"
	if _, err := s.PublishHeartbeat(t.Context(), hb, mine); !errors.Is(err, events.ErrConflict) {
		t.Errorf("a heartbeat over an older one gives %v, want ErrConflict", err)
	}
}

// A full stream refuses new rows, and known ones still change and go.
func TestFullStreamKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{MaxBytes: 20 << 10})
	known := make(map[int64]uint64)
	var refused error
	for id := int64(0); refused == nil && id < 1000; id++ {
		seqs, err := s.Publish(t.Context(), []events.Publication{{Change: change(events.Insert, id, "a")}})
		if err != nil {
			refused = err
		} else {
			known[id] = seqs[0]
		}
	}
	if apiErr, ok := errors.AsType[*jetstream.APIError](refused); !ok || apiErr.ErrorCode != 10077 {
		t.Fatalf("a full stream refuses with %v, want the server's error 10077", refused)
	}
	if got := replay(t, s); len(got.Hosts) != len(known) {
		t.Errorf("%d rows were acknowledged, %d are there", len(known), len(got.Hosts))
	}
	// In one call with many that are refused, and behind them.
	var pubs []events.Publication
	for id := range int64(70) {
		pubs = append(pubs, events.Publication{Change: change(events.Insert, 5000+id, "a")})
	}
	pubs = append(pubs, events.Publication{Change: change(events.Update, 0, "b"), Expect: known[0]})
	seqs, err := s.Publish(t.Context(), pubs)
	if _, refused := errors.AsType[*jetstream.APIError](err); !refused || seqs[70] == 0 {
		t.Errorf("an update on a full stream got sequence %d; the error of the call is %v", seqs[70], err)
	}
	if got := replay(t, s).Hosts[0].Change.Reservation.Hostname; got != "b" {
		t.Errorf("after the update host 0 is %q", got)
	}
}

func TestChangeThatCannotBeEncodedStopsNoOther(t *testing.T) {
	t.Parallel()
	s := openStream(t, eventstest.Start(t).Connect(), events.StreamConfig{})
	bad := change(events.Insert, 1, strings.Repeat("x", events.MaxHostname+1))
	seqs, err := s.Publish(t.Context(), []events.Publication{{Change: bad}, {Change: change(events.Insert, 2, "b")}})
	if err == nil || !strings.Contains(err.Error(), "hostname") || seqs[0] != 0 || seqs[1] == 0 {
		t.Errorf("Publish gives %v, %v, want the second stored and an error about the first", seqs, err)
	}
}

func TestUnclearOutcomeIsSaid(t *testing.T) {
	t.Parallel()
	srv := eventstest.Start(t)
	s := openStream(t, srv.Connect(), events.StreamConfig{})
	srv.Stop()
	seqs, err := s.Publish(t.Context(), []events.Publication{{Change: change(events.Insert, 1, "a")}})
	if !errors.Is(err, events.ErrUnclear) || seqs[0] != 0 {
		t.Errorf("without a server Publish gives %v, %v, want ErrUnclear", seqs, err)
	}
}

func TestOpenStreamRefusesAnUnsafeOne(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	openStream(t, conn, events.StreamConfig{})
	stream, err := jetStream(t, conn).Stream(t.Context(), events.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	good := stream.CachedInfo().Config
	for name, test := range map[string]struct {
		spoil func(*jetstream.StreamConfig)
		want  []string
	}{
		"drops the oldest": {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld; c.MaxAge = time.Hour }, []string{"discard is", "max_age is 1h0m0s"}},
		"keeps a history":  {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, []string{"max_msgs_per_subject is 5, must be 1"}},
		"in memory":        {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, []string{"storage is"}},
		"without TTL":      {func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false; c.AllowAtomicPublish = false }, []string{"allow_msg_ttl", "allow_atomic"}},
		"other subjects":   {func(c *jetstream.StreamConfig) { c.Subjects = []string{"kea.reservations.>"} }, []string{"subjects is [kea.reservations.>], must be kea.>"}},
		"bounded count":    {func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, []string{"max_msgs is 10"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := eventstest.Start(t).Connect()
			cfg := good
			test.spoil(&cfg)
			if _, err := jetStream(t, conn).CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			_, err := events.OpenStream(t.Context(), conn, events.StreamConfig{})
			if !errors.Is(err, events.ErrUnsafeStream) {
				t.Fatalf("the error is %v, want ErrUnsafeStream", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestReplayShowsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	conn := eventstest.Start(t).Connect()
	s := openStream(t, conn, events.StreamConfig{})
	seq := publishRaw(t, conn, "kea.reservations.us3.1", "not JSON")
	publishRaw(t, conn, "kea.reservations.us3.007", "not a row of ours")
	publishRaw(t, conn, "kea.reservations.us4.1", "another source")
	got := replay(t, s)
	if len(got.Hosts) != 1 || got.Hosts[1].Err == nil || got.Hosts[1].Sequence != seq {
		t.Errorf("the replay gives %+v, want one unreadable row", got.Hosts)
	}
}
